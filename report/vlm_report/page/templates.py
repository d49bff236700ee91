"""The templates of the pages: what is not defined is an error, and lines of statements alone leave none."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vlm_report.cells import Table
from vlm_report.page.document import Figure

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(filters: dict[str, Callable[..., Any]], finalize: Callable[[Any], Any], *, html: bool) -> "Environment":
    """For the templates beside this module; `finalize` sees every value that is printed."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("vlm_report", "page"),
        autoescape=html,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters
    made.tests |= {"table": lambda part: isinstance(part, Table), "figure": lambda part: isinstance(part, Figure)}
    return made
