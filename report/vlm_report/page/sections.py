"""The report as a document: the picks, then the sections in the order of the results document that they fill."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from vlm_contract.codec import Absent
from vlm_report.cells import Table
from vlm_report.charts import NoChart
from vlm_report.decision.models import names_of
from vlm_report.findings import TITLES, Finding
from vlm_report.findings import Section as Group
from vlm_report.frames.rows import records_in
from vlm_report.page.document import Document, Figure, Line, Part, Pick, Picks, Section, Text
from vlm_report.page.experiments import experiment_log
from vlm_report.page.notes import newest_of, notes_of
from vlm_report.recommendation import Candidate, Recommendation
from vlm_report.records import HOST, Records
from vlm_report.sentences import figures, headline, place, reasons, refusal

TITLE = "Which model to deploy"
MARKED = "≈ est. marks what is estimated and † rep. what a document reports; the rest was measured."
SHOWN = 12  # sentences of a kind; more of them are folded away
NO_STUDY = "No study was run in this workspace: vlm-study run STUDY.toml fills one, and keeps the log."


def document_of(
    records: Records,
    recommendations: Sequence[Recommendation],
    tables: Sequence[Table],
    findings: Sequence[Finding],
    drawn: Sequence[Figure],
    undrawn: Sequence[NoChart],
) -> Document:
    """All that the pages say."""
    of, told = partial(_of, tables), partial(_on, findings)
    return Document(
        title=TITLE,
        made_of=made_of(records),
        picks=picks_of(recommendations),
        problems=records.problems,
        sections=(
            Section("benchmark", "Benchmark", of("benchmark", "estimates"), MARKED),
            Section("artifacts", "Exported artifacts", of("exported")),
            Section("training", "Training", of("training")),
            Section("sample-efficiency", "Sample efficiency", of("samples")),
            Section("comparison", "Comparison summary", of("efficiency")),
            Section("findings", "Key findings", (*told("performance", "families"), *of("families"), *told("export"))),
            Section("recommendations", "Recommendations", tuple(_answers(recommendations, records))),
            Section("rankings", "Rankings", of("rankings")),
            Section("training-time", "Training time", (*of("times"), *told("times"))),
            Section("next", "Next steps", told("next"), nothing="Nothing that was begun is missing."),
            Section("figures", "Figures", (*drawn, *_undrawn(undrawn))),
            Section("log", "Experiment log", tuple(experiment_log(records.workspace)), nothing=NO_STUDY),
            Section("notes", "Notes", (*told("models", "general"), _about(records), *of("provenance"))),
        ),
    )


def _of(tables: Sequence[Table], *frames: str) -> tuple[Part, ...]:
    """The tables that are made from these frames, frame after frame."""
    return tuple(table for frame in frames for table in tables if table.section == frame)


def _on(findings: Sequence[Finding], *groups: Group) -> tuple[Part, ...]:
    """The findings of these groups, each with a heading; none of a group that has none."""
    texts = (_told(group, [each for each in findings if each.section == group]) for group in groups)
    return tuple(text for text in texts if text.lines)


def _told(group: Group, findings: Sequence[Finding]) -> Text:
    lines = [Line(_sentence(f), f.command, records_in(f.record), f.evidence) for f in findings]
    rest = lines[SHOWN:] if len(lines) > SHOWN + 2 else []
    return Text(f"findings-{group}", TITLES[group], None, lines[: len(lines) - len(rest)], rest, "More")


def _sentence(finding: Finding) -> str:
    """An observation of a model, behind the model's name."""
    if finding.section != "models":
        return finding.text
    return f"{finding.subject}: {finding.text[:1].lower()}{finding.text[1:]}"


def _about(records: Records) -> Text:
    return Text("about", "About this report", None, [Line(note) for note in notes_of(records)])


def made_of(records: Records) -> str:
    """What the report rests on, counted, and how new it is."""
    kinds = Counter(measurement.evidence for measurement in records.measurements.values())
    counts = (
        (len(records.cards), "training run"),
        (len(records.manifests), "exported artifact"),
        (kinds["measured"], "measurement"),
        (kinds["estimated"], "estimate"),
        (kinds["reported"] + len(records.reported_runs), "reported result"),
    )
    listed = ", ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count)
    return f"Made from records alone: {listed}. The newest is of {newest_of(records)}."


def picks_of(recommendations: Sequence[Recommendation]) -> Picks:
    """One row a target and data set, one column a question; what is asked of training has a row to itself."""
    links = {id(each): _link(index) for index, each in enumerate(recommendations)}
    deployed = [each for each in recommendations if each.target]
    questions = tuple(dict.fromkeys(each.question.title for each in deployed))
    rows: dict[tuple[str, str], list[Recommendation]] = {}
    for each in deployed:
        rows.setdefault((each.target, each.task.name), []).append(each)
    several = len({task for _, task in rows}) > 1
    asked = [
        (_target(target) + (f", {task}" if several else ""), tuple(_pick(each, links[id(each)]) for each in own))
        for (target, task), own in rows.items()
    ]
    trained = [(place(each), (_pick(each, links[id(each)]),)) for each in recommendations if not each.target]
    return Picks(questions, (*asked, *trained))


def _pick(recommendation: Recommendation, link: str) -> Pick:
    pick = recommendation.pick
    if isinstance(pick, Absent):
        return Pick("none", pick.reason, "", link)
    names = names_of(candidate.model for candidate in recommendation.candidates)
    name = pick.name if recommendation.target else names[pick.model]
    tie = f"; ties with {len(recommendation.ties)}" if recommendation.ties else ""
    return Pick(name, figures(pick) + tie, pick.evidence, link)


def _answers(recommendations: Sequence[Recommendation], records: Records) -> Iterator[Text]:
    return (_answer(index, each, records) for index, each in enumerate(recommendations))


def _answer(index: int, recommendation: Recommendation, records: Records) -> Text:
    refused = [refusal(line) for line in recommendation.why_nots]
    typed = f"Type: {recommendation.to_type}"
    pick = recommendation.pick
    behind = () if isinstance(pick, Absent) else _behind(pick, records)
    return Text(
        name=_link(index),
        title=place(recommendation),
        lead=Line(headline(recommendation), records=behind),
        lines=[
            Line("Type", recommendation.to_type) if line == typed else Line(line)
            for line in reasons(recommendation)
            if line not in refused
        ],
        folded=[Line(line) for line in refused],
        folded_title="Why not the others",
    )


def _behind(pick: Candidate, records: Records) -> tuple[str, ...]:
    """The records that a pick's figures are from: its row's and its artifact's, or its runs'."""
    if isinstance(pick.entry, Absent):
        paths = [path for path, card in records.cards.items() if card.run in pick.runs]
    else:
        manifests = [path for path, manifest in records.manifests.items() if manifest is pick.entry.manifest]
        paths = [pick.entry.record, *manifests]
    return tuple(dict.fromkeys(map(records.within, paths)))


def _link(index: int) -> str:
    return f"answer-{index + 1}"


def _target(target: str) -> str:
    return "this host" if target == HOST else target


def _undrawn(charts: Iterable[NoChart]) -> Iterator[Text]:
    lines = [Line(f"{chart.title}: {chart.reason}") for chart in charts]
    if lines:
        yield Text("not-drawn", "Not drawn", None, lines)
