"""The report's files, each written whole."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.codec import Absent, encode
from vlm_contract.console import require_extra
from vlm_contract.files import locked, write_whole
from vlm_report.charts import charts_of, svg_of
from vlm_report.findings import findings_of
from vlm_report.page.document import Document, Figure
from vlm_report.page.html import html_of
from vlm_report.page.markdown import FIGURES, markdown_of
from vlm_report.page.sections import document_of
from vlm_report.recommendation import Candidate, Recommendation
from vlm_report.records import Records
from vlm_report.sentences import in_brief
from vlm_report.tables import csv_of, frames_of, tables_of

if TYPE_CHECKING:
    import pandas as pd

# vlm-edge/report/1: first version
# vlm-edge/report/2: `recommendations`, one for each target and question, in the place of `recommendation`; more frames
SCHEMA = "vlm-edge/report/2"
FORMATS = ("md", "html", "json", "csv")
NOT_IN_JSON = ("provenance", "curves")  # every record, and every epoch: the CSV files have them


@dataclass(frozen=True)
class Report:
    """All that the report says, before it is given a form."""

    records: Records
    recommendations: tuple[Recommendation, ...]  # of each target × question
    frames: "dict[str, pd.DataFrame]"
    document: Document


def report_of(records: Records, recommendations: Sequence[Recommendation]) -> Report:
    """Frames, tables, charts and sentences. Raises VlmError where the extra `report` is not installed."""
    try:
        frames = frames_of(records)
        charts = charts_of(records, frames)
        drawn = [Figure(chart.name, chart.title, chart.caption, chart.spec, svg_of(chart)) for chart in charts.drawn]
    except ImportError as error:
        raise require_extra("report", error) from None
    tables, findings = tables_of(records, frames), findings_of(frames)
    document = document_of(records, recommendations, tables, findings, drawn, charts.absent)
    return Report(records, tuple(recommendations), frames, document)


def write_report(
    records: Records, recommendations: Sequence[Recommendation], formats: Collection[str] = FORMATS
) -> tuple[Path, ...]:
    """Write the report into the workspace in each of `formats` (of FORMATS); the paths written, pages first.

    Files that an earlier report left, and that this one does not have, go.
    """
    folder = records.workspace.report
    report = report_of(records, recommendations)
    with locked(folder, "vlm-report"):
        written = {}
        for name, data in files_of(report, formats):
            write_whole(folder / name, data)
            written[name] = folder / name
        for stale in (*folder.glob(f"{FIGURES}/*"), *folder.glob("tables/*.csv")):
            if str(stale.relative_to(folder)) not in written and stale.is_file():
                stale.unlink()
    return tuple(written.values())


def files_of(report: Report, formats: Collection[str]) -> Iterator[tuple[str, str | bytes]]:
    """Each file's name within the report's folder, and what it holds."""
    if "html" in formats:
        yield "report.html", html_of(report.document)
    if "md" in formats:
        yield "report.md", markdown_of(report.document)
    if "json" in formats:
        yield "report.json", json_of(report)
    if "csv" in formats:
        yield from ((f"tables/{name}.csv", csv_of(frame)) for name, frame in report.frames.items())
    for section in report.document.sections:
        for figure in section.parts:
            if isinstance(figure, Figure):
                alone = on_white(figure.svg)
                yield f"{FIGURES}/{figure.name}.svg", alone
                yield f"{FIGURES}/{figure.name}.png", png_from_svg(alone)


def on_white(svg: str) -> str:
    """A drawing that stands by itself: in a page it takes ink and ground from what is around it."""
    opening, end, rest = svg.partition(">")
    return f'{opening} color="#111"{end}<rect width="100%" height="100%" fill="#fff"/>{rest}'


def png_from_svg(svg: str) -> bytes:
    """Two pixels a point."""
    import vl_convert

    return bytes(vl_convert.svg_to_png(svg, scale=2))


def json_of(report: Report) -> str:
    """The recommendations and the frames' raw rows, a line each; what is absent is `{"absent": reason}`."""
    lists: dict[str, Sequence[Any]] = {
        "recommendations": [recommendation_document(each) for each in report.recommendations],
        **{name: frame.to_dict("records") for name, frame in report.frames.items() if name not in NOT_IN_JSON},
        "problems": report.records.problems,
    }
    members = [f"{json.dumps(name)}: {_lines(rows)}" for name, rows in lists.items()]
    return "{\n" + ",\n".join([f'"schema": {json.dumps(SCHEMA)}', *members]) + "\n}\n"


def _lines(rows: Sequence[Any]) -> str:
    """A list as JSON, a line a row."""
    lines = ",\n".join(json.dumps(encode(row), allow_nan=False, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]" if rows else "[]"


def recommendation_document(recommendation: Recommendation) -> dict[str, Any]:
    """The recommendation as JSON types."""
    question = recommendation.question
    return {
        "target": recommendation.target or encode(Absent("training is asked about, whatever the device")),
        "question": question.name,
        "compares": question.compares,
        "rule": question.rule,
        "data": recommendation.task.name,
        "samples": encode(recommendation.samples),
        "evidence": recommendation.evidence,
        "requirements": [str(requirement) for requirement in recommendation.requirements],
        "pick": _candidate_document(recommendation.pick),
        "runner_up": _candidate_document(recommendation.runner_up),
        "ties": [candidate.name for candidate in recommendation.ties],
        "feasible": [candidate.name for candidate in recommendation.feasible],
        "pareto_front": [candidate.name for candidate in recommendation.front],
        "changes": encode(recommendation.changes),
        "apart": [_candidate_document(candidate) for candidate in recommendation.apart],
        "left_out": [{"artifact": out.name, "reason": out.reason} for out in recommendation.left_out],
        "why_not": encode(recommendation.why_nots),
        "to_type": recommendation.to_type,
        "text": in_brief(recommendation),
    }


def _candidate_document(candidate: Candidate | Absent) -> Any:
    if isinstance(candidate, Absent):
        return encode(candidate)
    document = {
        "artifact": candidate.name,
        "model": candidate.model.label,
        "evidence": candidate.evidence,
        "runs": list(candidate.runs),
        "figures": encode(dict(candidate.figures)),
    }
    if isinstance(candidate.entry, Absent):
        return document
    setup = candidate.measurement.setup
    return {**document, "threads": encode(setup.threads), "latency": encode(candidate.latency)}
