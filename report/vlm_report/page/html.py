"""The page: one file that fetches nothing, and whose policy lets no script run but its own."""

from collections.abc import Callable, Iterator
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vlm_contract.console import printable
from vlm_report.page.document import Document, Figure, Part
from vlm_report.page.references import Evidence, References, links_html, mark_html
from vlm_report.page.specs import json_in_html, with_own_names
from vlm_report.page.tables import Tables
from vlm_report.page.templates import environment
from vlm_report.page.vega import Packed, hash_of, packed_vega

if TYPE_CHECKING:
    from markupsafe import Markup

PAGE_BYTES = 3_000_000
ROWS = (300, 150, 75, 35)  # of each table; the first number whose page is within PAGE_BYTES, or the last


def html_of(document: Document) -> str:
    """The page as text, with as many rows of each table as PAGE_BYTES leave room for."""
    vega = packed_vega() if any(isinstance(part, Figure) for part in _parts(document)) else None
    page = ""
    for rows in ROWS:
        page = _page(document, vega, rows)
        if len(page.encode()) <= PAGE_BYTES:
            break
    return page


def _page(document: Document, vega: Packed | None, rows: int) -> str:
    from markupsafe import Markup

    css, script = _source("page.css"), _source("page.js")
    references = References(document, rows)
    filters: dict[str, Callable[..., Any]] = {
        "table": Tables(references, Evidence(document)).html,
        "figure": figure_html,
        "mark": lambda evidence: Markup(mark_html(evidence)),
        "links": lambda records: Markup(links_html(references.numbers(records))),
    }
    template = environment(filters, _printed, html=True).get_template("report.html.j2")
    return template.render(
        document=document,
        policy=policy_of(hash_of(script.encode()), *([vega.source] if vega else [])),
        css=Markup(css),
        script=Markup(script),
        vega=Markup(vega.text) if vega else "",
    )


def policy_of(*scripts: str) -> str:
    """Nothing is fetched and no script runs but these; drawings bring styles of their own."""
    return f"default-src 'none'; script-src {' '.join(scripts)}; style-src 'unsafe-inline'"


def figure_html(figure: Figure) -> "Markup":
    """The drawing with its caption, and its definition for the script that brings it to life."""
    from markupsafe import Markup

    title, caption = escape(printable(figure.title)), escape(printable(figure.caption))
    svg, spec = with_own_names(figure.svg, figure.name), json_in_html(figure.spec)
    return Markup(
        f'<figure id="figure-{escape(figure.name)}">\n<h3>{title}</h3>\n'
        f'<div class="drawing" role="img" aria-label="{title}. {caption}">{svg}</div>\n'
        f'<figcaption>{caption}</figcaption>\n<script type="application/json">{spec}</script>\n</figure>'
    )


def _parts(document: Document) -> Iterator[Part]:
    return (part for section in document.sections for part in section.parts)


def _printed(value: Any) -> Any:
    """What a template prints, without control characters; markup made here passes."""
    return printable(value) if type(value) is str else value


def _source(name: str) -> str:
    return files("vlm_report.page").joinpath(name).read_text(encoding="utf-8")
