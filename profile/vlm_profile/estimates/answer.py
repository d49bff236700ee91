"""A request for a target that is out of reach: each row estimated, stored as an estimate, and told so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from vlm_contract.codec import Absent, known, write_record
from vlm_contract.errors import VlmError
from vlm_contract.evidence import why_no_evidence
from vlm_contract.measurement import Estimate, Measurement
from vlm_contract.workspace import Workspace, default_workspace, safe_name
from vlm_profile.estimates.assumed import SURPRISES
from vlm_profile.estimates.ladder import Ladder, ladder_of
from vlm_profile.estimates.record import estimate_on, models_of
from vlm_profile.inputs import Shapes
from vlm_profile.rows import Request
from vlm_profile.session import Measured
from vlm_profile.subjects import Subject, subjects_of
from vlm_targets.catalogue import Target
from vlm_targets.host import why_not

BATCHES = (1, 8)  # where a sweep was asked for: what a larger batch gains can be had from these


@dataclass
class _Answers:
    """What came of the rows."""

    records: dict[Path, Measurement] = field(default_factory=dict)
    stored: list[Path] = field(default_factory=list)  # measured on the target itself, earlier
    skipped: dict[str, None] = field(default_factory=dict)  # sentences in their order, each once
    error: VlmError | None = None  # the first


def estimated(workspace: Workspace, request: Request, target: Target) -> Measured:
    """Estimate the rows of a request; where one was measured on the target, that record is the answer.

    A row that no estimate covers is left out with a sentence. Raises VlmError where none is left, and where nothing is
    known of the target or of the runtime there.
    """
    check_can_be_estimated(request)
    subjects = subjects_of(workspace, request.artifacts)
    graphs = [subject for subject in subjects if subject.used.format == "onnx"]
    unfit = tuple(f"{s.used.name} is no ONNX graph: not estimated." for s in subjects if s not in graphs)
    if not graphs:
        raise VlmError(" ".join(unfit), hint="vlm-export --fmt onnx")
    found = workspace.measurements().records
    records = {path: record for path, record in found.items() if not why_no_evidence(record)}
    models = models_of(workspace, {str(subject.used.sha256): subject.path for subject in graphs})
    threads = request.threads if isinstance(request.threads, int) else None
    ladders = [
        ladder_of(target, runtime, request.power_mode, threads, records, models)
        for runtime in dict.fromkeys(request.runtime.split(","))
    ]
    answers = _answers(workspace, request, ladders, graphs, {id(record): path for path, record in records.items()})
    if not answers.records and answers.error:
        raise answers.error
    advice = (*_said_of_stored(target, answers.stored), *advice_on(target, list(answers.records.values())))
    return Measured(answers.records, frozenset(), (*unfit, *answers.skipped), (), advice)


def check_can_be_estimated(request: Request) -> None:
    """Raise VlmError for what only a device can tell."""
    asked = {
        "--fps": request.fps is not None,
        "--soak": bool(request.protocol.soak_s),
        "--streams": request.streams != (1,),
        "--threads auto": request.threads == "auto",
    }
    for option, is_asked in asked.items():
        if is_asked:
            raise VlmError(
                f"{option} asks for what no estimate says; the target {request.target} is out of reach.",
                hint=f"the same without {option}, or with --host USER@BOARD",
            )


def advice_on(target: Target, rows: Sequence[Measurement]) -> Iterator[str]:
    """That nothing was measured, how far to trust it, what may surprise, and what would make it better."""
    estimates = [row.estimate for row in rows if isinstance(row.estimate, Estimate)]
    if not estimates:
        return
    yield f"{why_not(target)} Figures that are estimated are no measurement.".strip()
    for rung in dict.fromkeys(estimate.rung for estimate in estimates):
        of_rung = [estimate for estimate in estimates if estimate.rung == rung]
        factor = max(estimate.factor_high for estimate in of_rung)
        share = f"{of_rung[0].coverage_percent:g} % of such estimates lie within ×/÷ {factor:.2f}"
        yield f"{rung}: {of_rung[0].method}; {share}."
    for sentence in dict.fromkeys(
        each.assumed[name] for each in estimates for name in SURPRISES if name in each.assumed
    ):
        yield f"{sentence}."
    yield f"What would improve it most: {estimates[0].improved_by}."


def _said_of_stored(target: Target, paths: Sequence[Path]) -> Iterator[str]:
    """Of rows that are no estimates; `--again` would not help, as the target is out of reach."""
    if paths:
        yield f"Measured on {target.title} earlier: {', '.join(path.name for path in paths)}."


def _answers(
    workspace: Workspace,
    request: Request,
    ladders: Sequence[Ladder],
    graphs: Sequence[Subject],
    measured: Mapping[int, Path],
) -> _Answers:
    batches = BATCHES if request.batches == "auto" else request.batches
    answers = _Answers()
    for subject, ladder, batch in product(graphs, ladders, batches):
        typed = _typed(workspace, request, subject, ladder.runtime, batch)
        try:
            record = estimate_on(ladder, subject.path, subject.used, batch, request.input_shapes, typed)
        except VlmError as error:
            answers.error = answers.error or error
            hint = f" ({error.hint})" if error.hint else ""
            answers.skipped[f"{subject.used.name}: {str(error).rstrip('.')}{hint}."] = None
            continue
        path = measured.get(id(record))
        if path is None:
            name = row_name(subject, record, request.input_shapes)
            path = workspace.measurement(ladder.target.name, name)
            write_record(record, path)
        else:
            answers.stored.append(path)
        answers.records[path] = record
    return answers


def _typed(workspace: Workspace, request: Request, subject: Subject, runtime: str, batch: int) -> list[str]:
    """The words that measure this row, where the target is in reach."""
    is_stored = subject.path.parent == workspace.artifact(subject.used.name)
    words = ["--artifact", subject.used.name if is_stored else str(subject.path), "--batch", str(batch)]
    words += ["--runtime", runtime] if request.runtime != "auto" else []
    words += ["--threads", str(request.threads)] if request.threads is not None else []
    for name, shape in sorted(request.input_shapes.items()):
        words += ["--input-shape", f"{name}:{'x'.join(map(str, shape))}"]
    return words + (["--workspace", str(workspace.root)] if workspace.root != default_workspace() else [])


def row_name(subject: Subject, record: Measurement, shapes: Shapes) -> str:
    """The artifact, that it is an estimate, the runtime, batch and threads; the power mode where there are several."""
    mode, threads = record.device.power_mode, record.setup.threads
    words = [str(known(record.runtime.name)), f"b{known(record.setup.batch)}"]
    words += [f"t{threads}"] if isinstance(threads, int) else []
    words += [safe_name(f"{name}-{'x'.join(map(str, shape))}") for name, shape in sorted(shapes.items())]
    words += [] if isinstance(mode, Absent) else [safe_name(mode.lower())]
    return f"{safe_name(subject.label)}.estimated-{'-'.join(words)}"
