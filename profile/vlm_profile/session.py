"""Measuring: which configurations, in which order, how often, and what is stored."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from statistics import median
from time import monotonic

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, read_record, write_record
from vlm_contract.console import LiveLine, require_extra, time_left
from vlm_contract.errors import VlmError
from vlm_contract.files import locked
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Device, Measurement, Repetition, RuntimeUsed, Setup
from vlm_contract.workspace import Workspace, safe_name
from vlm_profile.inputs import Shapes, fixed_batch, resolved
from vlm_profile.process import WorkerFailed, run_worker, worker_variables
from vlm_profile.protocol import FULL, QUICK, Protocol
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.statistics import half_interval, latency_of, memory_of, process_medians_ms, throughput_of
from vlm_profile.subjects import Subject, subjects_of
from vlm_profile.verdicts import contention, judge
from vlm_profile.worker import Findings, Spec
from vlm_targets.catalogue import target_named
from vlm_targets.host import device_of

HOST = "host"
# Address space of a worker: all memory of the machine, and never less than libraries map without using it.
ADDRESS_SPACE_BYTES_MIN = 8 * 2**30


@dataclass(frozen=True)
class Request:
    """What to measure, and how. `threads` of None are all usable CPUs; no `artifacts` are those of the workspace."""

    target: str = HOST
    artifacts: tuple[Path, ...] = ()
    batches: tuple[int, ...] = (1, 8)
    threads: int | None = None
    runtime: str = "auto"
    input_shapes: Shapes = field(default_factory=dict)
    protocol: Protocol = FULL
    seed: int = 0  # of the order and of the inputs
    again: bool = False  # measure what a stored result already answers


@dataclass(frozen=True)
class Measured:
    """The answer to a request: records by their file, those that stood there already, and what was left out."""

    records: dict[Path, Measurement]
    kept: frozenset[Path]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Configuration:
    """One row to be."""

    path: Path  # of its record
    subject: Subject
    runtime: type[Runtime]
    setup: Setup


@dataclass
class Trial:
    """A configuration while its processes run."""

    configuration: Configuration
    inputs: tuple[TensorSpec, ...]
    runtime: RuntimeUsed
    versions: dict[str, str]
    protocol: Protocol
    device: Device
    repetitions: list[Repetition] = field(default_factory=list)
    nonfinite_outputs: tuple[str, ...] = ()
    failure: str = ""
    attempt: int = 1
    seconds: list[float] = field(default_factory=list)  # of each process, dropped ones too

    def wants_more(self) -> bool:
        """Whether another process is due."""
        done = len(self.repetitions)
        if self.failure or done >= self.protocol.processes_max:
            return False
        if self.attempt > 1 or done < self.protocol.processes_sure:
            return True
        return self._fits() and (done < self.protocol.processes or not self._steady())

    def take(self, findings: Findings, seconds: float) -> None:
        """Count a process in, or drop it for another attempt where others used our CPUs."""
        assert isinstance(findings.repetition, Repetition)
        self.seconds.append(seconds)
        self.nonfinite_outputs = self.nonfinite_outputs or findings.nonfinite_outputs
        contended = contention(findings.repetition, self.configuration.setup, self.device, self.protocol)
        if contended and self.attempt <= self.protocol.retries and self._fits():
            self.attempt += 1
            return
        self.repetitions.append(findings.repetition)
        self.attempt = 1

    def estimate(self) -> str:
        """The headline so far."""
        medians = process_medians_ms(self.repetitions)
        return f"{median(medians):.3g} ms" if medians else "no estimate yet"

    def _fits(self) -> bool:
        return sum(self.seconds) + max(self.seconds, default=0.0) <= self.protocol.seconds_max

    def _steady(self) -> bool:
        medians = process_medians_ms(self.repetitions)
        half = half_interval(medians)
        return half <= self.protocol.interval_percent / 100 * median(medians)


def measure(workspace: Workspace, request: Request, line: LiveLine | None = None) -> Measured:
    """Measure every configuration of a request that no stored result answers, and store each as it is finished.

    Raises VlmError where the request or a model is wrong; then nothing was measured. What ends badly later is a
    `failed` record, and the others go on.
    """
    line = line or LiveLine(quiet=True)
    check_target(request.target)
    device = device_of()
    threads = check_threads(device.usable_cpus if request.threads is None else request.threads, device)
    subjects, passed_over = _runnable(subjects_of(workspace, request.artifacts), request)
    with locked(workspace.root / "measurements", "vlm-profile"):
        rows = list(_configurations(workspace, request, subjects, threads))
        kept = {} if request.again else _kept(rows, request, device)
        trials, skipped = _opened([row for row in rows if row.path not in kept], request, device)
        if not trials and not kept:
            hint = "--batch with the batch that the model takes" if skipped else "vlm-export, which makes ONNX files"
            raise VlmError(" ".join(passed_over + skipped), hint=hint)
        records = {**kept, **dict(_run(trials, request, line))}
    measured = {row.path: records[row.path] for row in rows if row.path in records}
    return Measured(measured, frozenset(kept), passed_over + skipped)


def check_target(name: str) -> None:
    """Raise VlmError unless the target is this machine."""
    target = target_named(name)
    if target.name != HOST:
        raise VlmError(
            f"This version measures this machine only, as {HOST!r}: it neither reaches {target.title} over SSH, "
            "nor estimates for it, nor checks whether this machine is one.",
            hint=f"--target {HOST}",
        )


def check_threads(threads: int, device: Device) -> int:
    """Raise VlmError where more threads than CPUs were asked for."""
    if not 1 <= threads <= device.usable_cpus:
        raise VlmError(
            f"--threads {threads}: the affinity mask and the cgroup quota leave 1 to {device.usable_cpus}.",
            hint=f"--threads {device.usable_cpus}",
        )
    return threads


def _runnable(subjects: Sequence[Subject], request: Request) -> tuple[list[Subject], tuple[str, ...]]:
    """Of a whole workspace, what some runtime takes, and a sentence for each of the rest; all that was named."""
    takes = {name for kind in runtimes().values() for name in kind.formats}
    runnable = [subject for subject in subjects if request.artifacts or subject.used.format in takes]
    rest = (subject.used for subject in subjects if subject not in runnable)
    return runnable, tuple(
        f"{used.name} is a {used.format} artifact: no runtime of this version runs it." for used in rest
    )


def runtime_for(subject: Subject, name: str) -> type[Runtime]:
    """The named runtime, or the first that takes the subject's format. Raises VlmError."""
    fitting = [kind for kind in runtimes().values() if subject.used.format in kind.formats]
    for kind in fitting:
        if name in ("auto", kind.name):
            return kind
    raise VlmError(
        f"{name} runs no {subject.used.format} artifact, which {subject.used.name} is.",
        hint=f"--runtime {' or '.join(kind.name for kind in fitting) or 'auto'}",
    )


def _configurations(
    workspace: Workspace, request: Request, subjects: Sequence[Subject], threads: int
) -> Iterator[Configuration]:
    for subject in subjects:
        kind = runtime_for(subject, request.runtime)
        for batch in request.batches:
            name = f"{safe_name(subject.label)}.{kind.name}-b{batch}-t{threads}"
            setup = Setup(batch=batch, threads=threads, streams=1, scope=kind.scope)
            yield Configuration(workspace.measurement(HOST, name), subject, kind, setup)


def _kept(rows: Sequence[Configuration], request: Request, device: Device) -> dict[Path, Measurement]:
    """Stored results that answer the request, invalid ones too; a damaged file answers nothing, and is written anew."""
    kept = {}
    for row in rows:
        with suppress(VlmError):
            stored = read_record(Measurement, row.path)
            if _answers(stored, row, request, device):
                kept[row.path] = stored
    return kept


def _answers(stored: Measurement, row: Configuration, request: Request, device: Device) -> bool:
    """Same model, setup, machine, runtime and rules; the full rules answer for the quick ones."""
    rules = (request.protocol, FULL) if request.protocol == QUICK else (request.protocol,)
    return (
        stored.status != "failed"
        and stored.artifact.sha256 == row.subject.used.sha256
        and stored.setup == row.setup
        and stored.device == device
        and stored.runtime.version == _installed_version(row.runtime)
        and any(stored.settings == {**_settings(request, rule), "seed": stored.settings["seed"]} for rule in rules)
    )


def _settings(request: Request, protocol: Protocol) -> dict[str, Scalar]:
    shapes = (f"{name}:{'x'.join(map(str, shape))}" for name, shape in sorted(request.input_shapes.items()))
    return {**protocol.settings(), "seed": request.seed, "input_shapes": " ".join(shapes)}


def _installed_version(kind: type[Runtime]) -> str:
    try:
        return version(kind.distribution)
    except PackageNotFoundError:
        raise require_extra(kind.extra, ImportError(name=kind.distribution)) from None


def _opened(rows: Sequence[Configuration], request: Request, device: Device) -> tuple[list[Trial], tuple[str, ...]]:
    """A trial for each configuration that its model can run, and a sentence for each other one."""
    trials, skipped = [], []
    looks: dict[Path, Findings] = {}
    for row in rows:
        model, batch = row.subject.path, row.setup.batch
        if model not in looks:
            looks[model] = _look_at(row, request, device)
        look = looks[model]
        only = fixed_batch(look.inputs)
        if only not in (None, batch):
            skipped.append(f"{row.subject.used.name} takes batch {only} only: no figures for batch {batch}.")
            continue
        try:
            inputs = resolved(look.inputs, batch, request.input_shapes)
        except VlmError as error:
            if request.artifacts:
                raise
            skipped.append(f"{row.subject.used.name} is not measured. {error} Try: {error.hint}")
            continue
        trials.append(Trial(row, inputs, look.runtime, look.versions, request.protocol, device))
    return trials, tuple(skipped)


def _look_at(row: Configuration, request: Request, device: Device) -> Findings:
    """The model's inputs, as the runtime finds them in a process of its own."""
    _installed_version(row.runtime)
    try:
        return run_worker(_spec(row, (), request, device))
    except WorkerFailed as error:
        cause = str(error).rstrip(".")
        raise VlmError(f"{row.runtime.name} cannot open {row.subject.path}: {cause}.") from None


def _run(trials: Sequence[Trial], request: Request, line: LiveLine) -> Iterator[tuple[Path, Measurement]]:
    """Rounds of one process for each trial that wants more, each round in a random order; yields what is finished."""
    generator, order = random.Random(request.seed), count()
    while waiting := [trial for trial in trials if trial.wants_more()]:
        generator.shuffle(waiting)
        for trial in waiting:
            line.show(_progress(trial, trials))
            begin = monotonic()
            try:
                findings = run_worker(_spec_of(trial, request, next(order)))
            except WorkerFailed as error:
                trial.failure = str(error)
            else:
                trial.take(findings, monotonic() - begin)
            if not trial.wants_more():
                line.clear()
                measurement = _measurement(trial, request)
                write_record(measurement, trial.configuration.path)
                yield trial.configuration.path, measurement
    line.clear()


def _progress(trial: Trial, trials: Sequence[Trial]) -> str:
    """The line that stands while a process runs: it is not redrawn then."""
    seconds = [second for each in trials for second in each.seconds] or [trial.protocol.measure_s * 1.7]
    left = sum(max(0, t.protocol.processes - len(t.repetitions)) for t in trials if not t.failure)
    row, number = trial.configuration, len(trial.repetitions) + 1
    return (
        f"{row.subject.used.name} b{row.setup.batch}  process {number} of {max(number, trial.protocol.processes)}"
        f"  {trial.estimate()}  {time_left(left * sum(seconds) / len(seconds))} left"
    )


def _spec_of(trial: Trial, request: Request, order: int) -> Spec:
    spec = _spec(trial.configuration, trial.inputs, request, trial.device)
    return replace(spec, order=order, attempt=trial.attempt)


def _spec(row: Configuration, inputs: tuple[TensorSpec, ...], request: Request, device: Device) -> Spec:
    return Spec(
        runtime=row.runtime.name,
        model=str(row.subject.path),
        threads=row.setup.threads,
        memory_limit_bytes=max(ADDRESS_SPACE_BYTES_MIN, device.memory_bytes),
        parent=os.getpid(),
        inputs=inputs,
        protocol=request.protocol,
        seed=request.seed,
        order=0,
        attempt=1,
    )


def _measurement(trial: Trial, request: Request) -> Measurement:
    """The record of a finished trial, judged."""
    row, repetitions = trial.configuration, tuple(trial.repetitions)
    failed = Absent(f"a process failed: {trial.failure}") if trial.failure else None
    measurement = Measurement(
        target=HOST,
        evidence="measured",
        protocol=trial.protocol.name,
        settings=_settings(request, trial.protocol),
        device=trial.device,
        runtime=trial.runtime,
        artifact=row.subject.used,
        setup=row.setup,
        latency=failed or latency_of(repetitions),
        throughput=failed or throughput_of(repetitions, row.setup),
        memory=memory_of(repetitions, row.subject.used.bytes),
        energy_mj_per_image=Absent("no power sensor was looked for"),
        temperature_c=Absent("no temperature sensor was looked for"),
        verdicts=(),
        repetitions=repetitions,
        environment=_environment(trial),
        measured_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    verdicts = judge(measurement, trial.protocol, nonfinite_outputs=trial.nonfinite_outputs, failure=trial.failure)
    return replace(measurement, verdicts=verdicts)


def _environment(trial: Trial) -> dict[str, str]:
    """What else shapes the result: versions, the variables that the workers started with, the inputs."""
    inputs = (f"{t.name}:{'x'.join(map(str, t.shape))} {t.dtype}" for t in trial.inputs)
    variables = worker_variables(trial.configuration.setup.threads)
    return {**trial.versions, **variables, "inputs": ", ".join(inputs)}
