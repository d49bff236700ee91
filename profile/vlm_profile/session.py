"""Measuring: in which order, how often, and what is stored."""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from time import monotonic

from vlm_contract.codec import read_record, write_record
from vlm_contract.console import LiveLine, time_left
from vlm_contract.errors import VlmError
from vlm_contract.files import locked
from vlm_contract.measurement import Measurement
from vlm_contract.workspace import Workspace
from vlm_profile.looks import Looks, spec_of
from vlm_profile.places import Place
from vlm_profile.preflight import Preflight
from vlm_profile.process import TIMEOUT_S, WorkerFailed
from vlm_profile.protocol import FULL
from vlm_profile.recording import measurement_of, settings_of
from vlm_profile.rows import Request, Row, check_runtimes, choices_at, rows_of
from vlm_profile.runtimes import Runtime
from vlm_profile.subjects import Subject, Trust, subjects_of
from vlm_profile.sweeps import (
    batches_worth_measuring,
    best_batch,
    best_threads,
    cliffs,
    kept_batches,
    rows_worth_measuring,
)
from vlm_profile.trials import Trial


@dataclass(frozen=True)
class Measured:
    """The answer to a request: records by their file, those that stood there already, and what else is to be said."""

    records: dict[Path, Measurement]
    kept: frozenset[Path]
    skipped: tuple[str, ...]
    noise: tuple[str, ...]  # why the machine was not quiet before the first process
    advice: tuple[str, ...]  # what sweeps over batches and threads came to
    out_of_reach: frozenset[Path] = frozenset()  # of those that stood there: nothing measures their device anew


def measure_at(place: Place, workspace: Workspace, request: Request, line: LiveLine) -> Measured:
    """Measure every row of a request at a place, and store each as it is finished.

    Raises VlmError where the request or a model is wrong; then nothing was measured.
    """
    check_runtimes(request.runtime, place)
    gpu = place.device.gpu if place.address and isinstance(place.device.gpu, str) else None
    trust = Trust(workspace, request.trusted, gpu)
    subjects, passed_over = _runnable(subjects_of(workspace, request.artifacts, trust), request, place)
    with locked(workspace.root / "measurements" / (place.target if place.address else ""), "vlm-profile"):
        looks = Looks(request, place)
        before = _quiet(place, request, line, place.runtimes.values()) if request.batches == "auto" else None
        rows = [row for subject in subjects for row in _rows(workspace, request, subject, looks, line)]
        kept = {} if request.again else _kept(rows, request, place)
        trials, skipped = _opened([row for row in rows if row.path not in kept], looks)
        if not trials and not kept:
            hint = "--batch with the batch that the model takes" if skipped else "vlm-export, which makes ONNX files"
            raise VlmError(" ".join(passed_over + skipped), hint=hint)
        before = before or (_quiet(place, request, line, [t.row.runtime for t in trials]) if trials else None)
        records = {**kept, **dict(_run(trials, request, place, before, line))}
    measured = {row.path: records[row.path] for row in rows if row.path in records}
    return Measured(
        measured,
        frozenset(kept),
        passed_over + skipped,
        before.sentences if before and not before.quiet else (),
        tuple(advice_on(request, list(measured.values()))),
    )


def _quiet(place: Place, request: Request, line: LiveLine, kinds: Iterable[type[Runtime]]) -> Preflight:
    """Wait until nobody else uses what these runtimes compute on."""
    return place.wait_until_quiet(request.wait_quiet_s, line, {kind.device for kind in kinds})


def advice_on(request: Request, records: Sequence[Measurement]) -> Iterator[str]:
    """What the sweeps that were asked for came to."""
    yield from cliffs(records)
    if request.batches == "auto":
        yield from best_batch(records)
    if request.threads == "auto":
        yield from best_threads(records)


def _runnable(subjects: Sequence[Subject], request: Request, place: Place) -> tuple[list[Subject], tuple[str, ...]]:
    """Of a whole workspace, what some runtime takes, and a sentence for each of the rest; all that was named."""
    named = request.runtime.split(",")
    kinds = [kind for name, kind in place.runtimes.items() if name in named]
    kinds += choices_at(place) if "auto" in named else []
    takes = {name for kind in kinds for name in kind.formats if not place.unusable(kind)}
    runnable = [subject for subject in subjects if request.artifacts or subject.used.format in takes]
    rest = (subject.used for subject in subjects if subject not in runnable)
    return runnable, tuple(f"{used.name}: no runtime here runs the format {used.format}." for used in rest)


def _rows(workspace: Workspace, request: Request, subject: Subject, looks: Looks, line: LiveLine) -> Iterator[Row]:
    """The rows of one artifact; with each runtime, its batches are looked for where that is wanted."""

    def rows_at(batches: Sequence[int]) -> Iterator[Row]:
        return rows_of(workspace, request, subject, batches, looks.place)

    def batches_for(scout: Row) -> Sequence[int]:
        if only := looks.only_batch(scout):
            return (only,)

        def rate(batch: int) -> float | None:
            line.show(f"{subject.used.name}  which batches are worth measuring; a look at {batch}")
            return looks.rate(replace(scout, setup=replace(scout.setup, batch=batch)))

        version, device = looks.place.version(scout.runtime), looks.place.device
        return kept_batches(scout, version, device, lambda: batches_worth_measuring(rate), again=request.again)

    if request.batches == "auto":
        yield from rows_worth_measuring(rows_at, batches_for)
    else:
        yield from rows_at(request.batches)


def _kept(rows: Sequence[Row], request: Request, place: Place) -> dict[Path, Measurement]:
    """Stored results that answer the request, invalid ones too; a damaged file answers nothing, and is written anew."""
    kept = {}
    for row in rows:
        with suppress(VlmError):
            stored = read_record(Measurement, row.path)
            if _answers(stored, row, request, place):
                kept[row.path] = stored
    return kept


def _answers(stored: Measurement, row: Row, request: Request, place: Place) -> bool:
    """Same model, setup, machine, runtime and rules; the full rules answer for all shorter ones."""
    rules = (request.protocol,) if request.protocol.soak_s else (request.protocol, FULL)
    return (
        stored.status != "failed"
        and stored.artifact.sha256 == row.subject.used.sha256
        and stored.setup == row.setup
        and stored.device == place.device
        and stored.runtime.version == place.version(row.runtime)
        and any(
            stored.settings == {**settings_of(request, rule), "seed": stored.settings.get("seed", "")} for rule in rules
        )
    )


def _opened(rows: Sequence[Row], looks: Looks) -> tuple[list[Trial], tuple[str, ...]]:
    """A trial for each row that its model can run, and a sentence for each other one."""
    trials, skipped = [], []
    for row in rows:
        name, batch = row.subject.used.name, row.setup.batch
        try:
            if looks.only_batch(row) not in (None, batch):
                skipped.append(f"{name} takes batch {looks.only_batch(row)} only: no figures for batch {batch}.")
                continue
            trials.append(looks.trial_of(row, looks.request.protocol))
        except VlmError as error:
            if looks.request.artifacts:
                raise
            skipped.append(f"{name} is not measured. {error} Try: {error.hint}")
    return trials, tuple(skipped)


def _run(
    trials: Sequence[Trial], request: Request, place: Place, before: Preflight | None, line: LiveLine
) -> Iterator[tuple[Path, Measurement]]:
    """Rounds of one process for each trial that wants more, each round in a random order; yields what is finished."""
    generator, order = random.Random(request.seed), count()
    while waiting := [trial for trial in trials if trial.wants_more()]:
        generator.shuffle(waiting)
        for trial in waiting:
            line.show(_progress(trial, trials))
            begin = monotonic()
            spec = spec_of(trial.row, trial.inputs, trial.protocol, request, place)
            try:
                findings = place.work(replace(spec, order=next(order), attempt=trial.attempt), TIMEOUT_S)
            except WorkerFailed as error:
                trial.failure = str(error)
            else:
                trial.take(findings, monotonic() - begin)
            if not trial.wants_more():
                line.clear()
                assert before
                measurement = measurement_of(trial, request, place, before)
                write_record(measurement, trial.row.path)
                yield trial.row.path, measurement
    line.clear()


def _progress(trial: Trial, trials: Sequence[Trial]) -> str:
    """The line that stands while a process runs: it is not redrawn then."""
    seconds = [second for each in trials for second in each.seconds] or [trial.protocol.measure_s * 1.7]
    left = sum(max(0, t.protocol.processes - len(t.repetitions)) for t in trials if not t.failure)
    row, number = trial.row, len(trial.repetitions) + 1
    return (
        f"{row.subject.used.name} b{row.setup.batch}  process {number} of {max(number, trial.protocol.processes)}"
        f"  {trial.estimate()}  {time_left(left * sum(seconds) / len(seconds))} left"
    )
