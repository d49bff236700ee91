"""Measuring: in which order, how often, and what is stored."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from time import monotonic

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, known, read_record, write_record
from vlm_contract.console import LiveLine, time_left
from vlm_contract.errors import VlmError
from vlm_contract.files import locked
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Device, Latency, Measurement, Repetition, Throughput
from vlm_contract.workspace import Workspace
from vlm_profile.energy import energy_of, temperature_of
from vlm_profile.inputs import fixed_batch, resolved
from vlm_profile.preflight import Preflight, wait_until_quiet
from vlm_profile.process import TIMEOUT_S, WorkerFailed, run_worker, worker_variables
from vlm_profile.protocol import FULL, QUICK, Protocol
from vlm_profile.rows import HOST, Request, Row, check_runtimes, check_usable, installed_version, rows_of
from vlm_profile.runtimes import runtimes
from vlm_profile.sampler import sampled
from vlm_profile.statistics import (
    cold_start_of,
    latency_of,
    memory_of,
    pacing_of,
    sustained_of,
    throughput_of,
)
from vlm_profile.subjects import Subject, subjects_of
from vlm_profile.sweeps import batches_worth_measuring, best_batch, best_threads, cliffs
from vlm_profile.trials import Trial
from vlm_profile.verdicts import judge
from vlm_profile.worker import Findings, Spec
from vlm_targets.catalogue import target_named
from vlm_targets.host import device_of

# Address space of a worker: all memory of the machine, and never less than libraries map without using it.
ADDRESS_SPACE_BYTES_MIN = 8 * 2**30
LOADED_BYTES_PER_S = 20e6  # of a slow board's card
CAUSE_SHOWN = 600  # characters of what a library says
SCOUT = replace(QUICK, mode="scout", processes=1, processes_max=1, processes_sure=1, measure_s=0.4, measure_s_max=1.5)


@dataclass(frozen=True)
class Measured:
    """The answer to a request: records by their file, those that stood there already, and what else is to be said."""

    records: dict[Path, Measurement]
    kept: frozenset[Path]
    skipped: tuple[str, ...]
    noise: tuple[str, ...]  # why the machine was not quiet before the first process
    advice: tuple[str, ...]  # what sweeps over batches and threads came to


def measure(workspace: Workspace, request: Request, line: LiveLine | None = None) -> Measured:
    """Measure every row of a request that no stored result answers, and store each as it is finished.

    Raises VlmError where the request or a model is wrong; then nothing was measured. What ends badly later is a
    `failed` record, and the others go on.
    """
    line = line or LiveLine(quiet=True)
    check_target(request.target)
    check_runtimes(request.runtime)
    device = device_of()
    subjects, passed_over = _runnable(subjects_of(workspace, request.artifacts, request.trusted), request)
    with locked(workspace.root / "measurements", "vlm-profile"):
        looks = Looks(request, device)
        before = wait_until_quiet(request.wait_quiet_s, line) if request.batches == "auto" else None
        rows = [row for subject in subjects for row in _rows(workspace, request, subject, looks, line)]
        kept = {} if request.again else _kept(rows, request, device)
        trials, skipped = _opened([row for row in rows if row.path not in kept], looks)
        if not trials and not kept:
            hint = "--batch with the batch that the model takes" if skipped else "vlm-export, which makes ONNX files"
            raise VlmError(" ".join(passed_over + skipped), hint=hint)
        before = before or (wait_until_quiet(request.wait_quiet_s, line) if trials else None)
        records = {**kept, **dict(_run(trials, request, before, line))}
    measured = {row.path: records[row.path] for row in rows if row.path in records}
    return Measured(
        measured,
        frozenset(kept),
        passed_over + skipped,
        before.sentences if before and not before.quiet else (),
        tuple(advice_on(request, list(measured.values()))),
    )


def advice_on(request: Request, records: Sequence[Measurement]) -> Iterator[str]:
    """What the sweeps that were asked for came to."""
    yield from cliffs(records)
    if request.batches == "auto":
        yield from best_batch(records)
    if request.threads == "auto":
        yield from best_threads(records)


def check_target(name: str) -> None:
    """Raise VlmError unless the target is this machine."""
    target = target_named(name)
    if target.name != HOST:
        raise VlmError(
            f"This version measures this machine only, as {HOST!r}: it neither reaches {target.title} over SSH, "
            "nor estimates for it, nor checks whether this machine is one.",
            hint=f"--target {HOST}",
        )


class Looks:
    """What a process of its own finds in each model: its inputs, and that it opens."""

    def __init__(self, request: Request, device: Device) -> None:
        self._request, self._device = request, device
        self._found: dict[tuple[Path, str], Findings] = {}

    def at(self, row: Row) -> Findings:
        """Raises VlmError where the model does not open."""
        key = row.subject.path, row.runtime.name
        if key not in self._found:
            installed_version(row.runtime)
            check_usable(row.runtime)
            try:
                spec = spec_of(row, (), self._request.protocol, self._request, self._device)
                look = replace(spec, look=True, input_shapes=dict(self._request.input_shapes))
                self._found[key] = run_worker(look, timeout_s=look_timeouts(row))
            except WorkerFailed as error:
                cause = str(error).rstrip(".")[:CAUSE_SHOWN]
                raise VlmError(f"{row.runtime.name} cannot run {row.subject.path}: {cause}.") from None
        return self._found[key]

    def trial_of(self, row: Row, protocol: Protocol) -> Trial:
        """Raises VlmError where a dimension of its inputs is not known."""
        look = self.at(row)
        inputs = resolved(look.inputs, row.setup.batch, self._request.input_shapes)
        return Trial(row, inputs, look.runtime, look.versions, protocol, self._device)

    def rate(self, row: Row) -> float | None:
        """Images a second as one short process finds it; None where that fails."""
        trial = self.trial_of(row, SCOUT)
        try:
            found = run_worker(spec_of(row, trial.inputs, SCOUT, self._request, self._device)).repetition
        except WorkerFailed:
            return None
        assert isinstance(found, Repetition)
        return row.setup.batch * len(found.samples_ns) / found.measure_s

    def only_batch(self, row: Row) -> int | None:
        """The batch that the model fixes."""
        return fixed_batch(self.at(row).inputs)

    @property
    def device(self) -> Device:
        return self._device

    @property
    def request(self) -> Request:
        return self._request


def look_timeouts(row: Row) -> dict[str, float]:
    """Short ones for a model with a loop, which may never end; on a GPU the first inference may build an engine."""
    if not row.subject.may_not_end or row.runtime.device != "cpu":
        return TIMEOUT_S
    return TIMEOUT_S | {"load": 4.0 + row.subject.used.bytes / LOADED_BYTES_PER_S, "first": 4.0}


def _runnable(subjects: Sequence[Subject], request: Request) -> tuple[list[Subject], tuple[str, ...]]:
    """Of a whole workspace, what some runtime takes, and a sentence for each of the rest; all that was named."""
    named = request.runtime.split(",")
    kinds = [kind for name, kind in runtimes().items() if name in named or named == ["auto"]]
    takes = {name for kind in kinds for name in kind.formats if not kind.unusable()}
    runnable = [subject for subject in subjects if request.artifacts or subject.used.format in takes]
    rest = (subject.used for subject in subjects if subject not in runnable)
    return runnable, tuple(f"{used.name}: no runtime here runs the format {used.format}." for used in rest)


def _rows(workspace: Workspace, request: Request, subject: Subject, looks: Looks, line: LiveLine) -> Iterator[Row]:
    """The rows of one artifact; its batches are looked for where that is wanted."""
    batches = request.batches
    if batches == "auto":
        first = next(rows_of(workspace, request, subject, (1,), looks.device))
        only = looks.only_batch(first)

        def rate(batch: int) -> float | None:
            line.show(f"{subject.used.name}: which batches are worth measuring; a look at {batch}")
            return looks.rate(replace(first, setup=replace(first.setup, batch=batch)))

        batches = batches_worth_measuring(rate) or (1,) if only is None else (only,)
    yield from rows_of(workspace, request, subject, batches, looks.device)


def _kept(rows: Sequence[Row], request: Request, device: Device) -> dict[Path, Measurement]:
    """Stored results that answer the request, invalid ones too; a damaged file answers nothing, and is written anew."""
    kept = {}
    for row in rows:
        with suppress(VlmError):
            stored = read_record(Measurement, row.path)
            if _answers(stored, row, request, device):
                kept[row.path] = stored
    return kept


def _answers(stored: Measurement, row: Row, request: Request, device: Device) -> bool:
    """Same model, setup, machine, runtime and rules; the full rules answer for all shorter ones."""
    rules = (request.protocol,) if request.protocol.soak_s else (request.protocol, FULL)
    return (
        stored.status != "failed"
        and stored.artifact.sha256 == row.subject.used.sha256
        and stored.setup == row.setup
        and stored.device == device
        and stored.runtime.version == installed_version(row.runtime)
        and any(
            stored.settings == {**_settings(request, rule), "seed": stored.settings.get("seed", "")} for rule in rules
        )
    )


def _settings(request: Request, protocol: Protocol) -> dict[str, Scalar]:
    shapes = (f"{name}:{'x'.join(map(str, shape))}" for name, shape in sorted(request.input_shapes.items()))
    return {**protocol.settings(), "seed": request.seed, "input_shapes": " ".join(shapes)}


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
    trials: Sequence[Trial], request: Request, before: Preflight | None, line: LiveLine
) -> Iterator[tuple[Path, Measurement]]:
    """Rounds of one process for each trial that wants more, each round in a random order; yields what is finished."""
    generator, order = random.Random(request.seed), count()
    while waiting := [trial for trial in trials if trial.wants_more()]:
        generator.shuffle(waiting)
        for trial in waiting:
            line.show(_progress(trial, trials))
            begin = monotonic()
            spec = spec_of(trial.row, trial.inputs, trial.protocol, request, trial.device)
            try:
                with sampled() as readings:
                    findings = run_worker(replace(spec, order=next(order), attempt=trial.attempt))
            except WorkerFailed as error:
                trial.failure = str(error)
            else:
                trial.take(findings, readings, monotonic() - begin)
            if not trial.wants_more():
                line.clear()
                assert before
                measurement = measurement_of(trial, request, before)
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


def spec_of(row: Row, inputs: tuple[TensorSpec, ...], protocol: Protocol, request: Request, device: Device) -> Spec:
    """What a worker is told."""
    return Spec(
        runtime=row.runtime.name,
        model=str(row.subject.path),
        setup=row.setup,
        memory_limit_bytes=max(ADDRESS_SPACE_BYTES_MIN, known(device.memory_bytes)),
        parent=os.getpid(),
        inputs=inputs,
        protocol=protocol,
        seed=request.seed,
        order=0,
        attempt=1,
    )


def measurement_of(trial: Trial, request: Request, before: Preflight) -> Measurement:
    """The record of a finished trial, judged."""
    row, protocol, repetitions = trial.row, trial.protocol, tuple(trial.repetitions)
    failed = Absent(f"a process failed: {trial.failure}") if trial.failure else None
    measurement = Measurement(
        target=HOST,
        evidence="measured",
        protocol=protocol.name,
        settings=_settings(request, protocol),
        device=trial.device,
        runtime=trial.runtime,
        artifact=row.subject.used,
        setup=row.setup,
        latency=failed or latency_of(repetitions),
        throughput=failed or throughput_of(repetitions, row.setup),
        memory=memory_of(repetitions, row.subject.used.bytes),
        cold_start=failed or cold_start_of(repetitions),
        pacing=failed or pacing_of(repetitions, row.setup),
        sustained=failed or sustained_of(repetitions, protocol),
        energy=failed or energy_of(repetitions, row.setup, before.idle_w),
        temperature=failed or temperature_of(repetitions),
        estimate=Absent("measured"),
        origin=Absent("measured here"),
        verdicts=(),
        repetitions=repetitions,
        environment=_environment(trial, before),
        measured_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    verdicts = judge(measurement, protocol, failure=trial.failure)
    if any(verdict.code == "neighbours" for verdict in verdicts):
        measurement = widened(measurement, protocol)
    return replace(measurement, verdicts=verdicts)


def widened(measurement: Measurement, protocol: Protocol) -> Measurement:
    """The same with intervals of at least ±10 %: others used the machine, if not our CPUs."""
    share = protocol.interval_percent_invalid / 100
    latency, throughput = measurement.latency, measurement.throughput
    if isinstance(latency, Latency):
        half = max(share * latency.latency_ms_p50, known(latency.latency_ms_p50_high) - latency.latency_ms_p50)
        low, high = latency.latency_ms_p50 - half, latency.latency_ms_p50 + half
        latency = replace(latency, latency_ms_p50_low=low, latency_ms_p50_high=high)
    if isinstance(throughput, Throughput):
        half = max(share * throughput.images_per_s, known(throughput.images_per_s_high) - throughput.images_per_s)
        low, high = throughput.images_per_s - half, throughput.images_per_s + half
        throughput = replace(throughput, images_per_s_low=low, images_per_s_high=high)
    return replace(measurement, latency=latency, throughput=throughput)


def _environment(trial: Trial, before: Preflight) -> dict[str, str]:
    """What else shapes the result: the machine's state, versions, the workers' variables, the inputs."""
    inputs = (f"{t.name}:{'x'.join(map(str, t.shape))} {t.dtype}" for t in trial.inputs)
    variables = worker_variables(known(trial.row.setup.threads))
    noise = {"not_quiet": "; ".join(before.sentences)} if not before.quiet else {}
    return {**before.fingerprint, **noise, **trial.versions, **variables, "inputs": ", ".join(inputs)}
