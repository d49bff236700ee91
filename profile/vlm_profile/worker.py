"""One fresh process that loads a model and, unless it is a probe, measures it: `python -m vlm_profile.worker FD`.

The specification is JSON on stdin. On the file descriptor FD the worker writes lines of JSON: the phase that begins,
and at the end what it found, or why not. It hands over before teardown: a crash at exit loses nothing.
"""

import gc
import itertools
import json
import resource
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from vlm_contract.codec import Absent, decode, encode
from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Context, Repetition, RuntimeUsed
from vlm_contract.processes import die_with
from vlm_profile.inputs import random_feeds
from vlm_profile.kernel import Counters, read_counters, reset_peak, rss_bytes
from vlm_profile.protocol import Protocol
from vlm_profile.runtimes import Runtime, runtimes

Clock = Callable[[], int]  # nanoseconds
Feed = Mapping[str, Any]


@dataclass(frozen=True)
class Spec:
    """What the worker is to do."""

    runtime: str
    model: str  # path
    threads: int
    memory_limit_bytes: int  # of address space
    parent: int  # process id
    inputs: tuple[TensorSpec, ...]  # every dimension known; empty for a probe
    protocol: Protocol
    seed: int  # of the inputs
    order: int
    attempt: int


@dataclass(frozen=True)
class Findings:
    """What the worker hands over."""

    inputs: tuple[TensorSpec, ...]  # as the model declares them
    runtime: RuntimeUsed
    versions: dict[str, str]
    repetition: Repetition | Absent  # absent from a probe
    nonfinite_outputs: tuple[str, ...]


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
    resource.setrlimit(resource.RLIMIT_AS, (spec.memory_limit_bytes, spec.memory_limit_bytes))
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
    with phases.phase("import"):
        kind.import_library()
    reset_peak()
    baseline = rss_bytes("VmRSS")
    with phases.phase("load"):
        runtime = kind(Path(spec.model), spec.threads)
    with runtime:
        repetition, nonfinite = (
            measured(spec, runtime, phases, clock, baseline)
            if spec.inputs
            else (Absent("only a look at the model"), ())
        )
        send("findings", encode(Findings(runtime.inputs, runtime.used, versions(), repetition, nonfinite)))


def measured(
    spec: Spec, runtime: Runtime, phases: Phases, clock: Clock, baseline: int | Absent
) -> tuple[Repetition, tuple[str, ...]]:
    """One repetition, and the names of the outputs that were not finite."""
    feeds = random_feeds(spec.inputs, spec.protocol.inputs, spec.seed)
    turns = itertools.cycle(feeds)
    gc.disable()  # a collection inside an inference would be counted as its time
    with phases.phase("first"):
        runtime.run(next(turns))
    with phases.phase("warmup"):
        warmup_ns = warm_up(runtime.run, turns, spec.protocol, clock)
    with phases.phase("measure"):
        samples_ns, measure_s, context = sample(runtime.run, turns, spec.protocol, clock)
    peak = rss_bytes("VmHWM")
    repetition = Repetition(
        order=spec.order,
        attempt=spec.attempt,
        phases_s=phases.seconds,
        warmup_ns=tuple(warmup_ns),
        samples_ns=tuple(samples_ns),
        measure_s=measure_s,
        context=context,
        baseline_rss_bytes=baseline,
        peak_rss_bytes=peak,
    )
    return repetition, nonfinite_outputs(runtime, feeds)


def warm_up(run: Callable[[Feed], Any], feeds: Iterator[Feed], protocol: Protocol, clock: Clock) -> "array[int]":
    """Run until the medians of two windows in a row agree; the samples, in nanoseconds."""
    begin = clock()
    last = begin + round(protocol.warmup_s_max * 1e9)
    samples = _window(run, feeds, protocol.warmup_iterations, protocol.warmup_s, last, clock)
    before = None
    while clock() < last:
        window = _window(run, feeds, protocol.warmup_window_iterations, protocol.warmup_window_s, last, clock)
        samples.extend(window)
        now = median(window)
        if before is not None and abs(now - before) <= before * protocol.warmup_within_percent / 100:
            break
        before = now
    return samples


def sample(
    run: Callable[[Feed], Any],
    feeds: Iterator[Feed],
    protocol: Protocol,
    clock: Clock,
    look: Callable[[], Counters] = read_counters,
) -> tuple["array[int]", float, tuple[Context, ...]]:
    """The measured loop: nanoseconds of each inference, wall seconds of the whole, and what the kernel saw.

    The loop ends at a look at the counters: so the context covers all of it, and an iteration costs one comparison.
    """
    samples = array("q")
    append = samples.append
    context: list[Context] = []
    every = round(protocol.context_s * 1e9)
    counters = _look(look)
    begin = clock()
    next_look = begin + every
    while True:
        feed = next(feeds)
        start = clock()
        run(feed)
        end = clock()
        append(end - start)
        if end < next_look:
            continue
        earlier, counters = counters, _look(look)
        if earlier and counters:
            context.append(counters.since(earlier, (end - begin) / 1e9))
        if _enough(len(samples), (end - begin) / 1e9, protocol):
            return samples, (end - begin) / 1e9, tuple(context)
        next_look = end + every


def nonfinite_outputs(runtime: Runtime, feeds: list[dict[str, Any]]) -> tuple[str, ...]:
    """Names of the floating-point outputs that hold a NaN or an infinity for one of the feeds."""
    import numpy

    found = {
        tensor.name
        for feed in feeds
        for tensor, output in zip(runtime.outputs, runtime.run(feed), strict=True)
        if output.dtype.kind == "f" and not numpy.isfinite(output).all()
    }
    return tuple(sorted(found))


def versions() -> dict[str, str]:
    """Of the interpreter and numpy; the runtime names its own."""
    import numpy

    return {"python": ".".join(map(str, sys.version_info[:3])), "numpy": numpy.__version__}


def send(channel: TextIO, kind: str, value: Any) -> None:
    """One message: a line of JSON with one member."""
    channel.write(json.dumps({kind: value}, allow_nan=False) + "\n")
    channel.flush()


def _window(
    run: Callable[[Feed], Any], feeds: Iterator[Feed], iterations: int, seconds: float, last: int, clock: Clock
) -> "array[int]":
    """At least `iterations` and `seconds`, and no further than the time `last`."""
    samples = array("q")
    until = clock() + round(seconds * 1e9)
    while True:
        feed = next(feeds)
        start = clock()
        run(feed)
        end = clock()
        samples.append(end - start)
        if end >= last or (end >= until and len(samples) >= iterations):
            return samples


def _enough(count: int, seconds: float, protocol: Protocol) -> bool:
    usual = seconds >= protocol.measure_s and count >= protocol.iterations
    return usual or (seconds >= protocol.measure_s_max and count >= protocol.iterations_slow)


def _look(look: Callable[[], Counters]) -> Counters | None:
    try:
        return look()
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main())
