"""The timed loops, exact and instant under a clock that only a run, or a sleep, moves forward."""

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from vlm_profile.kernel import Counters
from vlm_profile.loops import at_frame_rate, back_to_back, one_input, side_by_side, warm_up
from vlm_profile.protocol import FULL, Protocol

MS = 1_000_000


class FakeClock:
    """A clock that stands still until a model runs; also that model, whose runs take the given milliseconds."""

    def __init__(self, *durations_ms: float) -> None:
        self.now = 0
        self.durations = itertools.chain(durations_ms, itertools.repeat(durations_ms[-1]))
        self.fed: list[Any] = []

    def __call__(self) -> int:
        return self.now

    def run(self, feed: Mapping[str, Any]) -> None:
        self.fed.append(feed)
        self.now += round(next(self.durations) * MS)

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)

    def counters(self) -> Counters:
        """Two threads at work, one of them waiting a tenth of the time."""
        seconds = self.now / 1e9
        return Counters(seconds / 10, 2 * seconds, self.now // MS, 3 * seconds, 0.0, 2 * seconds, 2000.0)


def feeds() -> Iterator[dict[str, Any]]:
    return itertools.cycle([{"x": 0}, {"x": 1}, {"x": 2}])


def test_every_sample_is_the_time_of_one_run() -> None:
    clock = FakeClock(10, 20, 30, 40)
    timed = back_to_back(clock.run, feeds(), FULL, clock, clock.counters)
    assert list(timed.ns[:5]) == [10 * MS, 20 * MS, 30 * MS, 40 * MS, 40 * MS]
    assert timed.seconds == sum(timed.ns) / 1e9


@pytest.mark.parametrize(
    ("ms", "count"),
    [
        (1, 2000),  # 2 s
        (100, 50),  # 50 iterations
        (1000, 15),  # 15 s end it
        (6000, 5),  # 5 iterations, however slow
    ],
)
def test_a_process_stops_at_the_time_and_the_iterations_of_the_protocol(ms: int, count: int) -> None:
    clock = FakeClock(ms)
    timed = back_to_back(clock.run, feeds(), FULL, clock, clock.counters)
    assert len(timed.ns) == count


def test_inputs_take_turns() -> None:
    clock = FakeClock(100)
    back_to_back(clock.run, feeds(), FULL, clock, clock.counters)
    assert clock.fed[:4] == [{"x": 0}, {"x": 1}, {"x": 2}, {"x": 0}]


def test_the_context_covers_the_whole_loop_in_windows_of_200_ms() -> None:
    clock = FakeClock(10)
    timed = back_to_back(clock.run, feeds(), FULL, clock, clock.counters)
    assert [round(window.at_s, 3) for window in timed.context] == [round(0.2 * n, 3) for n in range(1, 11)]
    assert sum(window.run_queue_wait_s for window in timed.context) == pytest.approx(timed.seconds / 10)
    assert sum(window.cpu_s for window in timed.context) == pytest.approx(2 * timed.seconds)
    assert sum(window.involuntary_switches for window in timed.context) == 2000


def test_without_counters_there_are_samples_and_no_context() -> None:
    def uncounted() -> Counters:
        raise FileNotFoundError

    clock = FakeClock(10)
    timed = back_to_back(clock.run, feeds(), FULL, clock, uncounted)
    assert len(timed.ns) == 200
    assert timed.context == []


def test_warm_up_ends_where_two_windows_agree() -> None:
    clock = FakeClock(10)
    warm_up(clock.run, feeds(), FULL, FULL.warmup_s, clock)
    assert clock.now == (500 + 250) * MS  # the end of the first half second is the window before


@pytest.mark.parametrize(("last_ms", "windows"), [(10.1, 1), (10.3, 2)])
def test_the_end_of_the_first_half_second_is_a_window_like_those_after_it(last_ms: float, windows: int) -> None:
    clock = FakeClock(*[40.0] * 6, *[10.0] * 26, last_ms)  # 240 ms of its start, then 260 ms
    samples = warm_up(clock.run, feeds(), FULL, FULL.warmup_s, clock)
    assert len(samples) == 32 + windows * 25


def test_where_the_first_half_second_holds_no_window_two_more_must_agree() -> None:
    clock = FakeClock(100)
    warm_up(clock.run, feeds(), FULL, FULL.warmup_s, clock)
    assert clock.now == (500 + 1000 + 1000) * MS


def test_warm_up_goes_on_while_it_gets_faster() -> None:
    clock = FakeClock(*[10.0] * 50, *[8.0] * 32, *[6.0] * 42, 5.0)
    warm_up(clock.run, feeds(), FULL, FULL.warmup_s, clock)
    assert clock.now > 1500 * MS


@pytest.mark.parametrize(("ms", "seconds"), [(4000, 12), (20_000, 20)])
def test_warm_up_is_cut_off_at_its_cap(ms: int, seconds: int) -> None:
    clock = FakeClock(ms)
    warm_up(clock.run, feeds(), FULL, FULL.warmup_s, clock)
    assert clock.now == seconds * 1000 * MS


def test_warm_up_that_never_settles_is_cut_off_at_its_cap() -> None:
    clock = FakeClock(*itertools.islice(itertools.cycle([*[10.0] * 25, *[20.0] * 13]), 2000))
    warm_up(clock.run, feeds(), FULL, FULL.warmup_s, clock)
    assert 10_000 * MS <= clock.now <= 10_020 * MS


def test_a_time_limit_shortens_every_loop() -> None:
    clock = FakeClock(10)
    limited: Protocol = FULL.within(2.0)
    warm_up(clock.run, feeds(), limited, limited.warmup_s, clock)
    back_to_back(clock.run, feeds(), limited, clock, clock.counters)
    assert clock.now <= 1000 * MS
    assert limited.seconds_max == 2.0
    assert replace(limited, name=FULL.name) != FULL


def test_at_each_look_the_last_answer_is_shown_outside_the_clock() -> None:
    clock = FakeClock(100)
    shown: list[tuple[Any, Any]] = []

    def seen(feed: Any, outputs: Any) -> None:
        shown.append((feed, outputs))
        clock.now += 7 * MS

    timed = back_to_back(clock.run, feeds(), FULL, clock, clock.counters, after=seen)
    assert set(timed.ns) == {100 * MS}
    assert shown[0] == ({"x": 1}, None)
    assert len(shown) == len(timed.context) > 20


def test_a_note_is_taken_after_every_call_outside_the_clock() -> None:
    clock = FakeClock(100)
    notes: list[int] = []

    def note() -> None:
        notes.append(clock.now)
        clock.now += MS

    timed = back_to_back(clock.run, feeds(), FULL, clock, clock.counters, note=note)
    assert set(timed.ns) == {100 * MS}
    assert len(notes) == len(timed.ns)


def test_a_fast_model_answers_every_frame_and_none_is_late() -> None:
    clock = FakeClock(10)
    timed = at_frame_rate(clock.run, feeds(), 25, FULL, clock, clock.counters, clock.sleep)
    assert set(timed.ns) == {10 * MS}
    assert (timed.frames, timed.dropped) == (len(timed.ns), 0)
    assert timed.seconds == pytest.approx(len(timed.ns) / 25, abs=0.04)


def test_a_slow_model_drops_frames_and_its_latency_holds_what_a_frame_waited() -> None:
    clock = FakeClock(70)
    timed = at_frame_rate(clock.run, feeds(), 25, FULL, clock, clock.counters, clock.sleep)
    # Frames come at 0, 40, 80 ...: the first ends at 70; that of 40 has waited 30 and ends at 140, when that of 120 is
    # the newest: that of 80 is dropped.
    assert [ns // MS for ns in timed.ns[:3]] == [70, 100, 90]
    assert timed.frames == len(timed.ns) + timed.dropped
    assert timed.dropped == pytest.approx(timed.frames * (1 - 40 / 70), rel=0.1)


def test_one_stall_drops_the_frames_that_came_meanwhile() -> None:
    clock = FakeClock(10, 10, 170, 10)
    timed = at_frame_rate(clock.run, feeds(), 25, FULL, clock, clock.counters, clock.sleep)
    # The third frame comes at 80 and is answered at 250, when those of 120, 160, 200 and 240 have come: the last waits.
    assert [ns // MS for ns in timed.ns[:5]] == [10, 10, 170, 20, 10]
    assert timed.dropped == 3


def test_streams_run_side_by_side_and_count_together() -> None:
    protocol = replace(FULL, measure_s=0.2, measure_s_max=0.4, iterations=10, context_s=0.05)
    meeting = threading.Barrier(2, timeout=5)  # holds each call until the other stream is in one too

    def run(feed: Mapping[str, Any]) -> None:
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.5)
        time.sleep(0.001)

    timed = side_by_side(run, [feeds(), feeds()], protocol, time.perf_counter_ns)
    assert len(timed.ns) >= 20
    assert timed.seconds >= 0.2
    assert min(timed.ns) >= MS


def test_the_samples_of_all_streams_stand_in_the_order_in_which_they_ended() -> None:
    protocol = replace(FULL, measure_s=0.4, measure_s_max=0.8, iterations=10, context_s=0.05)
    begin = time.perf_counter()

    def run(feed: Mapping[str, Any]) -> None:
        time.sleep(0.002 if time.perf_counter() - begin < 0.2 else 0.02)  # both streams slow down at one time

    timed = side_by_side(run, [feeds(), feeds()], protocol, time.perf_counter_ns)
    slow = [ns > 15 * MS for ns in timed.ns]
    assert slow.index(True) > len(slow) / 2
    assert all(slow[slow.index(True) + 2 :])  # a list of one stream after the other would be fast again


@pytest.mark.parametrize("streams", [1, 2])
def test_one_input_again_and_again_runs_as_many_at_a_time_as_the_loop_before(streams: int) -> None:
    protocol = replace(FULL, repeated_s=0.1)
    at_work: set[int] = set()

    def run(feed: Mapping[str, Any]) -> None:
        at_work.add(threading.get_ident())
        time.sleep(0.002)

    assert len(one_input(run, {"x": 1}, streams, protocol, time.perf_counter_ns)) >= 5 * streams
    assert len(at_work) == streams


def test_what_a_stream_makes_first_is_made_before_the_clock_starts() -> None:
    protocol = replace(FULL, measure_s=0.2, measure_s_max=0.4, iterations=10, context_s=0.05)
    made = threading.local()

    def run(feed: Mapping[str, Any]) -> None:
        if not hasattr(made, "buffers"):
            made.buffers = time.sleep(0.3)
        time.sleep(0.002)

    timed = side_by_side(run, [feeds(), feeds()], protocol, time.perf_counter_ns)
    assert max(timed.ns) < 300 * MS
    assert sum(timed.ns) / 1e9 > 1.5 * 0.2  # both were at work all the while


def test_the_last_answer_of_each_stream_is_shown() -> None:
    protocol = replace(FULL, measure_s=0.1, measure_s_max=0.2, iterations=4, context_s=0.05)
    shown: list[tuple[Any, Any]] = []

    def run(feed: Mapping[str, Any]) -> Any:
        time.sleep(0.001)
        return feed["x"] * 2

    side_by_side(run, [feeds(), feeds()], protocol, time.perf_counter_ns, after=lambda f, o: shown.append((f, o)))
    assert len(shown) == 2
    assert all(outputs == 2 * feed["x"] for feed, outputs in shown)


def test_the_last_answer_before_each_look_is_shown_at_a_frame_rate_too() -> None:
    clock = FakeClock(10)
    shown: list[Any] = []
    timed = at_frame_rate(
        clock.run, feeds(), 25, FULL, clock, clock.counters, clock.sleep, after=lambda f, o: shown.append(f)
    )
    assert len(shown) == len(timed.context) > 5


def test_what_goes_wrong_in_a_stream_is_raised() -> None:
    def run(feed: Mapping[str, Any]) -> None:
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        side_by_side(run, [feeds(), feeds()], FULL, time.perf_counter_ns)
