"""The loops that are timed: warm-up, back to back, several at a time, at a frame rate. The clock is an argument."""

import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from statistics import median
from threading import Barrier, BrokenBarrierError, Event, Thread
from typing import Any

from vlm_contract.measurement import Context
from vlm_profile.kernel import Counters, read_counters
from vlm_profile.protocol import Protocol

Clock = Callable[[], int]  # nanoseconds
Feed = Mapping[str, Any]
Run = Callable[[Feed], Any]


@dataclass
class Samples:
    """What a measured loop leaves."""

    ns: "array[int]" = field(default_factory=lambda: array("q"))  # of each call, or from a frame's coming to its answer
    seconds: float = 0.0  # wall clock of the whole
    context: list[Context] = field(default_factory=list)
    frames: int = 0  # offered
    dropped: int = 0


class Watch:
    """Looks at the kernel's counters every `context_s`, between two calls; says when a loop has enough."""

    def __init__(self, protocol: Protocol, clock: Clock, look: Callable[[], Counters]) -> None:
        self._protocol, self._read = protocol, look
        self._every = round(protocol.context_s * 1e9)
        self._counters = self._look()
        self.context: list[Context] = []
        self.begin = clock()
        self.next_look = self.begin + self._every

    def enough(self, count: int, now: int) -> bool:
        """To be asked once `now` has reached `next_look`; the context then covers the loop up to here."""
        elapsed = (now - self.begin) / 1e9
        earlier, self._counters = self._counters, self._look()
        if earlier and self._counters:
            self.context.append(self._counters.since(earlier, elapsed))
        self.next_look = now + self._every
        usual = elapsed >= self._protocol.measure_s and count >= self._protocol.iterations
        return usual or (elapsed >= self._protocol.measure_s_max and count >= self._protocol.iterations_slow)

    def _look(self) -> Counters | None:
        try:
            return self._read()
        except OSError:
            return None


def warm_up(run: Run, feeds: Iterator[Feed], protocol: Protocol, seconds: float, clock: Clock) -> "array[int]":
    """Run for `seconds` at least, then until the medians of two windows in a row agree; the samples, in nanoseconds.

    The end of the first `seconds` is such a window too.
    """
    last = clock() + round(protocol.warmup_s_max * 1e9)
    samples = for_seconds(run, feeds, protocol.warmup_iterations, seconds, last, clock)
    before = _median_of_last(samples, protocol)
    while clock() < last:
        window = for_seconds(run, feeds, protocol.warmup_window_iterations, protocol.warmup_window_s, last, clock)
        samples.extend(window)
        now = median(window)
        if before is not None and abs(now - before) <= before * protocol.warmup_within_percent / 100:
            break
        before = now
    return samples


def _median_of_last(samples: "array[int]", protocol: Protocol) -> float | None:
    """Over as many samples as make a window; None where they are too few for one."""
    window_ns = 0
    for count, ns in enumerate(reversed(samples), 1):
        window_ns += ns
        if window_ns >= protocol.warmup_window_s * 1e9 and count >= protocol.warmup_window_iterations:
            return median(samples[-count:])
    return None


def for_seconds(
    run: Run, feeds: Iterator[Feed], iterations: int, seconds: float, last: int, clock: Clock
) -> "array[int]":
    """Nanoseconds of at least `iterations` calls over at least `seconds`, and no further than the time `last`."""
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


def back_to_back(
    run: Run,
    feeds: Iterator[Feed],
    protocol: Protocol,
    clock: Clock,
    look: Callable[[], Counters] = read_counters,
    after: Callable[[Feed, Any], None] = lambda feed, outputs: None,
    note: Callable[[], None] | None = None,
) -> Samples:
    """One call after the other.

    The loop ends at a look at the counters: so the context covers all of it, and an iteration costs one comparison.
    `note` is called after each call and `after`, with its feed and outputs, at each look: both outside the clock.
    """
    samples = array("q")
    append = samples.append
    watch = Watch(protocol, clock, look)
    while True:
        feed = next(feeds)
        start = clock()
        outputs = run(feed)
        end = clock()
        append(end - start)
        if note:
            note()
        if end < watch.next_look:
            continue
        after(feed, outputs)
        if watch.enough(len(samples), end):
            return Samples(samples, (end - watch.begin) / 1e9, watch.context)


def side_by_side(
    run: Run,
    feeds: Sequence[Iterator[Feed]],
    protocol: Protocol,
    clock: Clock,
    look: Callable[[], Counters] = read_counters,
    after: Callable[[Feed, Any], None] = lambda feed, outputs: None,
) -> Samples:
    """As many calls at a time as there are iterators of feeds, each in a thread of its own.

    The samples of all are one list, in the order in which the calls ended. `after` is given each thread's last feed and
    outputs.
    """
    streams = [(array("q"), array("q")) for _ in feeds]  # of each call, its nanoseconds and its end
    last: list[tuple[Feed, Any]] = []
    go, stop, failures = Event(), Event(), list[BaseException]()
    warm = Barrier(len(feeds) + 1)

    def stream(kept: "tuple[array[int], array[int]]", own: Iterator[Feed]) -> None:
        samples, ends = kept
        try:
            for feed in islice(own, protocol.warmup_iterations):  # what a runtime makes for each thread is made here
                outputs = run(feed)
            warm.wait()
            go.wait()
            while not stop.is_set():
                feed = next(own)
                start = clock()
                outputs = run(feed)
                end = clock()
                samples.append(end - start)
                ends.append(end)
            last.append((feed, outputs))
        except Exception as error:  # noqa: BLE001 (the exceptions of runtimes share no base; raised again below)
            failures.append(error)
            stop.set()
            warm.abort()

    threads = [Thread(target=stream, args=pair, daemon=True) for pair in zip(streams, feeds, strict=True)]
    for thread in threads:
        thread.start()
    with suppress(BrokenBarrierError):
        warm.wait()
    watch = Watch(protocol, clock, look)
    go.set()
    while not stop.wait(protocol.context_s) and not watch.enough(sum(len(samples) for samples, _ in streams), clock()):
        pass
    stop.set()
    for thread in threads:
        thread.join()
    end = clock()
    if failures:
        raise next((each for each in failures if not isinstance(each, BrokenBarrierError)), failures[0])
    for feed, outputs in last:
        after(feed, outputs)
    ended = sorted((at, ns) for samples, ends in streams for ns, at in zip(samples, ends, strict=True))
    return Samples(array("q", [ns for _, ns in ended]), (end - watch.begin) / 1e9, watch.context)


def one_input(run: Run, feed: Feed, streams: int, protocol: Protocol, clock: Clock) -> "array[int]":
    """Nanoseconds of calls with one input again and again, as many at a time as in the loop that they follow."""
    seconds, most_s = protocol.repeated_s, 4 * protocol.repeated_s
    if streams == 1:
        last = clock() + round(most_s * 1e9)
        return for_seconds(run, repeat(feed), protocol.iterations_slow, seconds, last, clock)
    short = replace(
        protocol, iterations=protocol.iterations_slow, measure_s=seconds, measure_s_max=most_s, context_s=seconds / 4
    )
    return side_by_side(run, [repeat(feed) for _ in range(streams)], short, clock).ns


def at_frame_rate(
    run: Run,
    feeds: Iterator[Feed],
    fps: float,
    protocol: Protocol,
    clock: Clock,
    look: Callable[[], Counters] = read_counters,
    sleep: Callable[[float], None] = time.sleep,
    after: Callable[[Feed, Any], None] = lambda feed, outputs: None,
) -> Samples:
    """A frame comes every 1/fps seconds, as from a camera; a frame that comes while one waits takes its place.

    A sample runs from a frame's coming to its answer: it holds what the frame waited and, where nobody waited for it,
    what the system took to wake us.
    """
    samples = Samples()
    watch = Watch(protocol, clock, look)
    period, frame = round(1e9 / fps), 0  # the number of the frame to run next; it comes at begin + frame × period
    while True:
        comes = watch.begin + frame * period
        if (early := comes - clock()) > 0:
            sleep(early / 1e9)
        feed = next(feeds)
        outputs = run(feed)
        end = clock()
        samples.ns.append(end - comes)
        newest = max(frame + 1, (end - watch.begin) // period)
        samples.dropped += newest - frame - 1
        frame = newest
        if end < watch.next_look:
            continue
        after(feed, outputs)
        if watch.enough(len(samples.ns), end):
            samples.frames, samples.seconds, samples.context = frame, (end - watch.begin) / 1e9, watch.context
            return samples
