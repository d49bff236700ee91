"""One fresh process that loads a model and, unless it is a probe, measures it: `python -m vlm_profile.worker FD`.

The specification is JSON on stdin. On the file descriptor FD the worker writes lines of JSON: the phase that begins,
and at the end what it found, or why not. It hands over before teardown: a crash at exit loses nothing.
"""

import gc
import itertools
import json
import os
import resource
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from vlm_contract.codec import Absent, decode, encode, known
from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Canary, Repetition, RuntimeUsed, Setup
from vlm_contract.processes import die_with
from vlm_profile.canary import canary
from vlm_profile.fidelity import Witness
from vlm_profile.inputs import random_feeds, resolved
from vlm_profile.kernel import reset_peak, rss_bytes, thread_cpu_s
from vlm_profile.loops import Clock, Feed, Samples, at_frame_rate, back_to_back, one_input, side_by_side, warm_up
from vlm_profile.protocol import Protocol
from vlm_profile.runtimes import Runtime, runtimes
from vlm_profile.runtimes._device_memory import DEVICE_PEAK

REPEATED_BYTES_MAX = 2**20
BUSY_SHARE = 0.05  # of the measured loop, from which on a thread counts as one that ran


@dataclass(frozen=True)
class Spec:
    """What the worker is to do."""

    runtime: str
    model: str  # path
    setup: Setup
    memory_limit_bytes: int  # of address space
    parent: int  # process id
    inputs: tuple[TensorSpec, ...]  # every dimension known
    protocol: Protocol
    seed: int  # of the inputs
    order: int
    attempt: int
    look: bool = False  # only open the model and run it once, with inputs as the model declares them
    input_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # for a look, as the user gave them


@dataclass(frozen=True)
class Findings:
    """What the worker hands over."""

    inputs: tuple[TensorSpec, ...]  # as the model declares them
    runtime: RuntimeUsed
    versions: dict[str, str]
    repetition: Repetition | Absent  # absent from a probe


class Phases:
    """Announces each phase to the parent and times it."""

    def __init__(self, send: Callable[[str, Any], None], clock: Clock) -> None:
        self._send, self._clock = send, clock
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._send("phase", name)
        begin = self._clock()
        yield
        self.seconds[name] = (self._clock() - begin) / 1e9


def main() -> int:
    spec: Spec = decode(Spec, json.load(sys.stdin))
    die_with(spec.parent)
    with open(int(sys.argv[1]), "w") as channel:
        try:
            work(spec, lambda kind, value: send(channel, kind, value))
        except VlmError as error:
            send(channel, "error", str(error))
        except Exception as error:  # noqa: BLE001 (the exceptions of runtimes share no base)
            send(channel, "error", f"{type(error).__name__}: {error}")
    return 0


def work(spec: Spec, send: Callable[[str, Any], None], clock: Clock = time.perf_counter_ns) -> None:
    """Import, load, first inference, warm-up, measure; hand over what was found before the runtime is torn down."""
    phases = Phases(send, clock)
    kind = runtimes()[spec.runtime]
    confine(spec, kind)
    with phases.phase("import"):
        kind.import_library()
    feeds = [] if spec.look else random_feeds(spec.inputs, spec.protocol.inputs, spec.seed)
    before = canary()  # its memory is gone, and the inputs' counted, before the peak begins anew
    baseline = rss_bytes("VmRSS") if reset_peak() else Absent("the kernel does not let the peak begin anew")
    with phases.phase("load"):
        runtime = kind(Path(spec.model), known(spec.setup.threads), spec.setup.options)
    with runtime:
        found = (
            looked_at(spec, runtime, phases)
            if spec.look
            else measured(spec, runtime, feeds, phases, clock, baseline, before)
        )
        send("findings", encode(Findings(runtime.inputs, runtime.used, versions(), found)))


def looked_at(spec: Spec, runtime: Runtime, phases: Phases) -> Absent:
    """Run the model once, so that one that cannot run, or never ends, is refused before anything is measured."""
    try:
        inputs = resolved(runtime.inputs, known(spec.setup.batch), spec.input_shapes)
    except VlmError as error:
        return Absent(str(error))  # the parent finds the same, and knows what to type
    with phases.phase("first"):
        runtime.run(*random_feeds(inputs, 1, spec.seed))
    return Absent("only a look at the model")


def confine(spec: Spec, kind: type[Runtime]) -> None:
    """Bound the memory, and stay on the CPUs asked for. CUDA maps far more addresses than it uses: no bound there."""
    if kind.device == "cpu":
        resource.setrlimit(resource.RLIMIT_AS, (spec.memory_limit_bytes, spec.memory_limit_bytes))
    if cpus := spec.setup.options.get("cpus"):
        os.sched_setaffinity(0, map(int, str(cpus).split(",")))


def measured(
    spec: Spec,
    runtime: Runtime,
    feeds: Sequence[dict[str, Any]],
    phases: Phases,
    clock: Clock,
    baseline: int | Absent,
    before: tuple[float, float],
) -> Repetition:
    """One repetition."""
    protocol, device_ns = spec.protocol, array("q")
    turns = itertools.cycle(feeds)
    gc.disable()  # a collection inside an inference would be counted as its time
    with phases.phase("first"):
        runtime.run(next(turns))
    with phases.phase("warmup"):
        seconds = protocol.warmup_s_gpu if runtime.device == "cuda" else protocol.warmup_s
        warmup_ns = warm_up(runtime.run, turns, protocol, seconds, clock)
        witness = Witness(runtime, feeds)
    with phases.phase("measure"):
        threads_before, began_s = thread_cpu_s(), time.time()
        samples = timed(spec, runtime, feeds, witness, device_ns, clock)
        threads_seen = threads_that_ran(threads_before, samples.seconds)
        cpus = tuple(sorted(os.sched_getaffinity(0)))
    peak, after = rss_bytes("VmHWM"), canary()
    repeated_ns = repeated(runtime, feeds[0], known(spec.setup.streams), protocol, clock)
    memory = dict(runtime.memory())
    return Repetition(
        order=spec.order,
        attempt=spec.attempt,
        phases_s=phases.seconds,
        warmup_ns=tuple(warmup_ns),
        samples_ns=tuple(samples.ns),
        device_ns=tuple(device_ns),
        repeated_ns=tuple(repeated_ns),
        measure_s=samples.seconds,
        began_s=began_s,
        frames=samples.frames,
        dropped=samples.dropped,
        context=tuple(samples.context),
        readings=(),
        canary=Canary(before[0], after[0], before[1], after[1]),
        baseline_rss_bytes=baseline,
        peak_rss_bytes=peak,
        device_peak_bytes=memory.pop(DEVICE_PEAK, Absent(f"{runtime.name} counts no memory of a device")),
        by_source=memory,
        unlike=witness.unlike(protocol.outputs_within_percent),
        nonfinite=witness.nonfinite(),
        fallback=runtime.fallback(),
        threads_seen=threads_seen,
        cpus=cpus,
    )


def timed(
    spec: Spec,
    runtime: Runtime,
    feeds: Sequence[Feed],
    witness: Witness,
    device_ns: "array[int]",
    clock: Clock,
) -> Samples:
    """The measured loop that the setup asks for."""
    setup, protocol, turns = spec.setup, spec.protocol, itertools.cycle(feeds)
    if isinstance(setup.fps, float):
        return at_frame_rate(runtime.run, turns, setup.fps, protocol, clock, after=witness.see)
    if (streams := known(setup.streams)) > 1:
        each = [itertools.cycle(feeds) for _ in range(streams)]
        return side_by_side(runtime.run, each, protocol, clock, after=witness.see)
    note = None if runtime.device_ns() is None else lambda: device_ns.append(runtime.device_ns() or 0)
    return back_to_back(runtime.run, turns, protocol, clock, after=witness.see, note=note)


def repeated(runtime: Runtime, feed: Feed, streams: int, protocol: Protocol, clock: Clock) -> "array[int]":
    """Calls with one input: a model that keeps its answers gives these faster than others.

    None with a large input: it would stay in a cache of the CPU, where several do not, and be faster for that.
    """
    if sum(each.nbytes for each in feed.values()) > REPEATED_BYTES_MAX:
        return array("q")
    return one_input(runtime.run, feed, streams, protocol, clock)


def threads_that_ran(before: Mapping[int, float], seconds: float) -> int | Absent:
    """Threads of this process that had a CPU for a share of the last `seconds`."""
    now = thread_cpu_s()
    if not now:
        return Absent("the kernel does not say what threads ran")
    return sum(1 for thread, cpu_s in now.items() if cpu_s - before.get(thread, 0.0) > BUSY_SHARE * seconds)


def versions() -> dict[str, str]:
    """Of the interpreter and numpy; the runtime names its own."""
    import numpy

    return {"python": ".".join(map(str, sys.version_info[:3])), "numpy": numpy.__version__}


def send(channel: TextIO, kind: str, value: Any) -> None:
    """One message: a line of JSON with one member."""
    channel.write(json.dumps({kind: value}, allow_nan=False) + "\n")
    channel.flush()


if __name__ == "__main__":
    sys.exit(main())
