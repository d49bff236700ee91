"""One process of trtexec, whole and bounded; what it wrote, parsed and judged."""

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, known
from vlm_contract.console import printable
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Reading, Repetition, RuntimeUsed, Setup
from vlm_export.tensorrt import printed
from vlm_export.tensorrt.trtexec import QUESTION_LIMIT_S, Tool, last_errors
from vlm_profile.inputs import random_feeds
from vlm_profile.process import TIMEOUT_S, WorkerFailed
from vlm_profile.protocol import Protocol
from vlm_profile.runtimes._base import CPUS, CUDA_GRAPH
from vlm_profile.trtexec import outputs, times
from vlm_profile.trtexec.flags import Files, Loop, measure_command, misunderstood
from vlm_profile.trtexec.log import enqueue_ms_in, fallback_in, load_s_in, memory_in
from vlm_profile.trtexec.rules import ENQUEUE_PERCENT
from vlm_profile.worker import Findings, Spec
from vlm_targets.reach import Machine

Sampling = Callable[[], AbstractContextManager[Sequence[Reading]]]  # filled when it closes
NAME = "trtexec"
TIMED_OUT, KILLED = 124, 128 + 9  # exit codes: of `timeout`, and after SIGKILL
KILL_AFTER_S = 5.0  # between the request to end and the kill
GRACE_S = 30.0  # for `timeout` to end it, before the machine does
LOOK = Loop(warmup_s=0.0, seconds=0.0, iterations=3, streams=1, cuda_graph=False)


@dataclass(frozen=True)
class Run:
    """What one process left behind."""

    log: str
    times: times.Times
    nonfinite: tuple[str, ...]
    ended_s: float  # when it wrote its times, by the machine's clock, since the epoch


def repetition_of(
    machine: Machine,
    tool: Tool,
    engine: str,
    spec: Spec,
    sampling: Sampling | None = None,
    *,
    call_s: float = 0.0,
    timeout_s: Mapping[str, float] = TIMEOUT_S,
) -> Findings:
    """Measure an engine of the machine once, with `spec.inputs`; `call_s` is about what a call takes, 0 if not known.

    Latency is trtexec's own: copying in, computing and copying out, of one call after the other, by the GPU's events.
    Raises WorkerFailed with the cause where the process finds nothing, and VlmError where the connection is lost.
    """
    check_setup(spec.setup)
    loop = loop_of(spec.setup, spec.protocol, call_s)
    with (sampling or _unsampled)() as readings:
        run = run_once(machine, tool, engine, spec, loop, timeout_s)
    used = runtime_used(tool, loop, run)
    return Findings(spec.inputs, used, {}, _repetition(spec, loop, run, tuple(readings)))


def run_once(
    machine: Machine, tool: Tool, engine: str, spec: Spec, loop: Loop, timeout_s: Mapping[str, float] = TIMEOUT_S
) -> Run:
    """One process. Raises WorkerFailed."""
    folder = machine.folder
    files = Files(engine, _inputs_on(machine, spec), f"{folder}/times.json", f"{folder}/outputs.json")
    words = measure_command(tool.path, tool.version, files, spec.inputs, loop)
    limit_s = sum(timeout_s[phase] for phase in ("load", "first", "warmup", "measure")) + spec.protocol.soak_s
    machine.run(["rm", "-f", files.times, files.outputs], QUESTION_LIMIT_S)
    begin, bounded = monotonic(), ["timeout", "--foreground", "-k", f"{KILL_AFTER_S:g}", f"{limit_s:g}"]
    done = machine.run([*bounded, *words], limit_s + GRACE_S)
    if done.code == TIMED_OUT or (done.code == KILLED and monotonic() - begin >= limit_s):
        raise WorkerFailed(f"trtexec did not end within {limit_s:g} s")
    if done.code == KILLED:
        raise WorkerFailed("trtexec was killed (SIGKILL), as the system does where memory runs out")
    if done.code != 0:
        raise WorkerFailed(f"trtexec ended with exit code {done.code}: {printable(last_errors(done))}")
    if otherwise := misunderstood(done.out, loop):
        raise WorkerFailed(f"trtexec {tool.version} understood its flags otherwise: {printable(otherwise)}")
    return _written(machine, files, loop, done.out + done.err)  # warnings go to stderr


def check_setup(setup: Setup) -> None:
    """Raise VlmError where trtexec cannot measure so."""
    if isinstance(setup.fps, float):
        raise VlmError(
            "trtexec runs one call after the other; it takes no frame rate.",
            hint="the same without --fps; on the machine itself, --runtime tensorrt takes one",
        )
    if CPUS in setup.options:
        raise VlmError("trtexec is not held to some of the CPUs.", hint="--threads with a number")


def loop_of(setup: Setup, protocol: Protocol, call_s: float) -> Loop:
    """As long as the protocol asks: fewer calls where so many would take longer than it allows.

    The warm-up is a fixed time: trtexec does not wait until windows agree. Where that is too short, `drift` sees it.
    """
    fitting = int(protocol.measure_s_max / call_s) if call_s else protocol.iterations
    return Loop(
        warmup_s=protocol.warmup_s_gpu,
        seconds=protocol.measure_s,
        iterations=max(protocol.iterations_slow, min(protocol.iterations, fitting)),
        streams=known(setup.streams),
        cuda_graph=bool(setup.options.get(CUDA_GRAPH, False)),
    )


def runtime_used(tool: Tool, loop: Loop, run: Run | None = None) -> RuntimeUsed:
    """What ran the model, by which flags."""
    words = measure_command(NAME, tool.version, Files("", (), "", ""), (), loop)
    kept = [word for word in words[1:] if not word.endswith("=")]
    options: dict[str, Scalar] = {CUDA_GRAPH: loop.cuda_graph, "flags": " ".join(kept)}
    enqueue_ms = enqueue_ms_in(run.log) if run else Absent("nothing ran")
    if run and isinstance(enqueue_ms, float):
        options[ENQUEUE_PERCENT] = round(100 * enqueue_ms * 1e6 / median(run.times.compute_ns), 1)
    return RuntimeUsed(NAME, tool.version, tool.identity.runtime, options)


def _repetition(spec: Spec, loop: Loop, run: Run, readings: tuple[Reading, ...]) -> Repetition:
    """What trtexec does not tell is absent, or empty where there is no word for absent."""
    load_s = load_s_in(run.log)
    untold = "trtexec is a process of its own, and tells no peak"
    return Repetition(
        order=spec.order,
        attempt=spec.attempt,
        phases_s={
            **({"load": load_s} if isinstance(load_s, float) else {}),
            "warmup": loop.warmup_s,
            "measure": run.times.wall_s,
        },
        warmup_ns=run.times.warmup_ns,
        samples_ns=run.times.latency_ns,
        device_ns=run.times.compute_ns,
        repeated_ns=(),
        measure_s=run.times.wall_s,
        began_s=run.ended_s - run.times.wall_s,
        frames=0,
        dropped=0,
        context=(),
        readings=readings,
        canary=Absent("trtexec runs alone: nothing else is timed beside it"),
        baseline_rss_bytes=Absent(untold),
        peak_rss_bytes=Absent(untold),
        device_peak_bytes=Absent(untold),
        by_source=memory_in(run.log),
        unlike=(),
        nonfinite=run.nonfinite,
        fallback=fallback_in(run.log),
        threads_seen=Absent("trtexec tells nothing of its threads"),
        cpus=(),
    )


def _written(machine: Machine, files: Files, loop: Loop, log: str) -> Run:
    """What the process wrote, fetched and read. Raises WorkerFailed where it is not what a run writes."""
    with tempfile.TemporaryDirectory(prefix="vlm-trtexec-") as folder:
        here = Path(folder)
        ended_s = _written_at(machine, files.times, times.LIMIT_BYTES)
        _written_at(machine, files.outputs, printed.LIMIT_BYTES)
        machine.pull(files.times, here / "times", times.LIMIT_BYTES)
        machine.pull(files.outputs, here / "outputs", printed.LIMIT_BYTES)
        try:
            read = times.times_in(here / "times", loop.warmup_s * 1e3, loop.streams)
            return Run(log, read, outputs.nonfinite_in(here / "outputs"), ended_s)
        except VlmError as error:
            raise WorkerFailed(str(error)) from None


def _written_at(machine: Machine, path: str, limit_bytes: int) -> float:
    """When a file of the machine was last written, since the epoch. Raises WorkerFailed where it is not to be read."""
    name = path.rpartition("/")[2]
    done = machine.run(["stat", "-c", "%s %.Y", path], QUESTION_LIMIT_S)
    said = re.fullmatch(r"(\d{1,18}) (\d{1,12}\.\d{1,9})\n", done.out)
    if done.code != 0 or not said:
        raise WorkerFailed(f"trtexec wrote no {name}: {printable((done.err or done.out).strip()[:200])}")
    if int(said[1]) > limit_bytes:
        raise WorkerFailed(f"trtexec wrote {said[1]} bytes of {name}, over the limit of {limit_bytes}")
    return float(said[2])


def _inputs_on(machine: Machine, spec: Spec) -> tuple[str, ...]:
    """Paths there of the raw numbers of each input, sent once. trtexec runs on one input again and again."""
    key = hashlib.sha256(repr((spec.inputs, spec.seed)).encode()).hexdigest()[:16]
    paths = tuple(f"{machine.folder}/input-{key}-{number}" for number in range(len(spec.inputs)))
    if all(machine.run(["test", "-f", path], QUESTION_LIMIT_S).code == 0 for path in paths):
        return paths
    (feed,) = random_feeds(spec.inputs, 1, spec.seed)
    with tempfile.TemporaryDirectory(prefix="vlm-trtexec-") as folder:
        for tensor, path in zip(spec.inputs, paths, strict=True):
            (Path(folder) / "input").write_bytes(feed[tensor.name].tobytes())
            machine.push(Path(folder) / "input", path)
    return paths


def _unsampled() -> AbstractContextManager[Sequence[Reading]]:
    return nullcontext(())
