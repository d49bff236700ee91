"""The page as GitHub-flavoured Markdown; charts are links to their files."""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from vlm_contract.console import printable
from vlm_report.cells import Cell, Column, Table
from vlm_report.page.document import Document, Figure
from vlm_report.page.references import MARKS, Evidence
from vlm_report.page.templates import environment

if TYPE_CHECKING:
    from markupsafe import Markup

ROWS = 300  # of a table that the page shows
FIGURES = "figures"  # the folder of the charts, beside the page


def markdown_of(document: Document) -> str:
    """The page as text."""
    grid = partial(_grid, evidence=Evidence(document))
    filters: dict[str, Callable[..., Any]] = {"code": _code, "grid": grid, "more": _more, "image": _image}
    text = environment(filters, _plain, html=False).get_template("report.md.j2").render(document=document)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _plain(value: Any) -> Any:
    """What a template prints, without control characters and without a meaning in Markdown."""
    return re.sub(r"([\\|`*<>\[\]&~])", r"\\\1", printable(value)) if type(value) is str else value


def _image(figure: Figure) -> "Markup":
    from markupsafe import Markup

    return Markup(f"![{_plain(figure.title)}]({FIGURES}/{figure.name}.svg)")


def _code(text: str) -> "Markup":
    """A code span; its fence is longer than any run of backticks inside."""
    from markupsafe import Markup

    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " * text.startswith("`") or " " * text.endswith("`")
    return Markup(f"{fence}{pad}{printable(text)}{pad}{fence}")


def _grid(table: Table, evidence: Evidence) -> "Markup":
    """The rows as an aligned table."""
    from markupsafe import Markup
    from tabulate import tabulate

    rows = [
        [_cell(cell, column, evidence) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows[:ROWS]
    ]
    sides = ["right" if column.numeric else "left" for column in table.columns]
    headers = [_plain(column.title) for column in table.columns]
    return Markup(tabulate(rows, headers, "pipe", disable_numparse=True, colalign=sides))


def _more(table: Table) -> str:
    """What is said of rows that the page has not."""
    count = len(table.rows)
    return f"The first {ROWS} of {count} rows: tables/{table.section}.csv has all." if count > ROWS else ""


def _cell(cell: Cell, column: Column, evidence: Evidence) -> str:
    marks = [MARKS[kind] for kind in evidence.of(cell, column) if kind in MARKS]
    note = [f"({cell.note})"] if cell.note else []
    return " ".join([str(_plain(cell.text)), *marks, *note])
