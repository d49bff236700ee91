"""The report's files, each written whole."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.codec import Absent, encode
from vlm_contract.console import printable, require_extra
from vlm_contract.files import locked, write_whole
from vlm_report.charts import latency_accuracy_svg
from vlm_report.recommendation import RULE, Candidate, Recommendation
from vlm_report.records import Records
from vlm_report.sentences import headline, in_brief, reasons
from vlm_report.tables import Table, csv_of, frames_of, tables_of

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

SCHEMA = "vlm-edge/report/1"  # first version
FORMATS = ("md", "html", "json", "csv")
FIGURE_FILE = "figures/latency-accuracy.svg"
NO_FIGURE = "No plot: it needs a valid measurement at batch 1 of an artifact with an accuracy."


@dataclass(frozen=True)
class Report:
    """All that the report says, before it is given a form."""

    records: Records
    recommendation: Recommendation
    frames: "dict[str, pd.DataFrame]"
    tables: tuple[Table, ...]
    svg: str  # of the latency-accuracy plot; empty where there is nothing to plot


def report_of(records: Records, recommendation: Recommendation) -> Report:
    """Frames, tables and plot. Raises VlmError where the extra `report` is not installed."""
    try:
        frames = frames_of(records)
        return Report(records, recommendation, frames, tables_of(records, frames), latency_accuracy_svg(recommendation))
    except ImportError as error:
        raise require_extra("report", error) from None


def write_report(
    records: Records, recommendation: Recommendation, formats: Collection[str] = FORMATS
) -> tuple[Path, ...]:
    """Write the report into the workspace in each of `formats` (of FORMATS); the paths written, pages first."""
    folder = records.workspace.report
    files = files_of(report_of(records, recommendation), formats)
    with locked(folder, "vlm-report"):
        for name, text in files.items():
            write_whole(folder / name, text)
        if FIGURE_FILE not in files:
            (folder / FIGURE_FILE).unlink(missing_ok=True)
    return tuple(folder / name for name in files)


def files_of(report: Report, formats: Collection[str]) -> dict[str, str]:
    """The text of each file, by its name within the report's folder."""
    files = {}
    if "html" in formats:
        files["report.html"] = html_of(report)
    if "md" in formats:
        files["report.md"] = markdown_of(report)
    if "json" in formats:
        files["report.json"] = json_of(report)
    if "csv" in formats:
        files |= {f"tables/{name}.csv": csv_of(frame) for name, frame in report.frames.items()}
    if report.svg:
        files[FIGURE_FILE] = report.svg.replace("<svg ", '<svg style="background:#fff;color:#111" ', 1)
    return files


def html_of(report: Report) -> str:
    """One self-contained page: no script, nothing fetched."""
    from markupsafe import Markup

    return _rendered("report.html.j2", report, autoescape=True, finalize=_printed, svg=Markup(report.svg))


def markdown_of(report: Report) -> str:
    """GitHub-flavoured Markdown; the plot is a link to its file."""
    text = _rendered("report.md.j2", report, autoescape=False, finalize=_plain, svg=FIGURE_FILE if report.svg else "")
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def json_of(report: Report) -> str:
    """The recommendation and the tables' raw rows; what is absent is `{"absent": reason}`."""
    document = {
        "schema": SCHEMA,
        "recommendation": recommendation_document(report.recommendation),
        **{name: encode(frame.to_dict("records")) for name, frame in report.frames.items() if name != "provenance"},
        "problems": list(report.records.problems),
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def recommendation_document(recommendation: Recommendation) -> dict[str, Any]:
    """The recommendation as JSON types."""
    return {
        "rule": RULE,
        "requirements": [str(requirement) for requirement in recommendation.requirements],
        "pick": _candidate_document(recommendation.pick),
        "runner_up": _candidate_document(recommendation.runner_up),
        "ties": [candidate.entry.name for candidate in recommendation.ties],
        "pareto_front": [candidate.entry.name for candidate in recommendation.front],
        "left_out": [{"artifact": out.entry.name, "reason": out.reason} for out in recommendation.left_out],
        "text": in_brief(recommendation),
    }


def _candidate_document(candidate: Candidate | Absent) -> Any:
    if isinstance(candidate, Absent):
        return encode(candidate)
    return {
        "artifact": candidate.entry.name,
        "threads": candidate.measurement.setup.threads,
        "latency": encode(candidate.latency),
        "accuracy": encode(candidate.accuracy),
    }


def _rendered(template: str, report: Report, *, autoescape: bool, finalize: Any, svg: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vlm_report"),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": _code, "grid": _grid}
    return environment.get_template(template).render(
        problems=report.records.problems,
        headline=headline(report.recommendation),
        reasons=reasons(report.recommendation),
        tables=report.tables,
        svg=svg,
        no_figure=NO_FIGURE,
    )


def _printed(value: Any) -> Any:
    """What a template prints, without control characters; markup made here passes."""
    return printable(value) if type(value) is str else value


def _plain(value: Any) -> Any:
    """What a Markdown template prints, without control characters and without a meaning in Markdown."""
    return re.sub(r"([\\|`*<>\[\]&~])", r"\\\1", printable(value)) if type(value) is str else value


def _code(text: str) -> "Markup":
    """A Markdown code span; its fence is longer than any run of backticks inside."""
    from markupsafe import Markup

    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " * text.startswith("`") or " " * text.endswith("`")
    return Markup(f"{fence}{pad}{printable(text)}{pad}{fence}")


def _grid(table: Table) -> "Markup":
    """The rows as an aligned Markdown table."""
    from markupsafe import Markup
    from tabulate import tabulate

    rows = [[_plain(cell.text) + (f" ({cell.note})" if cell.note else "") for cell in row] for row in table.rows]
    sides = ["right" if column.numeric else "left" for column in table.columns]
    headers = [column.title for column in table.columns]
    return Markup(tabulate(rows, headers, "pipe", disable_numparse=True, colalign=sides))
