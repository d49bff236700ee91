"""The loops of the worker, exact and instant under a clock that only a run moves forward."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from vlm_profile.kernel import Counters
from vlm_profile.protocol import FULL, Protocol
from vlm_profile.worker import sample, warm_up

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

    def counters(self) -> Counters:
        """Two threads at work, one of them waiting a tenth of the time."""
        seconds = self.now / 1e9
        return Counters(seconds / 10, 2 * seconds, self.now // MS, 3 * seconds, 0.0)


def feeds() -> Iterator[dict[str, Any]]:
    return itertools.cycle([{"x": 0}, {"x": 1}, {"x": 2}])


def test_every_sample_is_the_time_of_one_run() -> None:
    clock = FakeClock(10, 20, 30, 40)
    samples, seconds, _ = sample(clock.run, feeds(), FULL, clock, clock.counters)
    assert list(samples[:5]) == [10 * MS, 20 * MS, 30 * MS, 40 * MS, 40 * MS]
    assert seconds == sum(samples) / 1e9


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
    samples, _, _ = sample(clock.run, feeds(), FULL, clock, clock.counters)
    assert len(samples) == count


def test_inputs_take_turns() -> None:
    clock = FakeClock(100)
    sample(clock.run, feeds(), FULL, clock, clock.counters)
    assert clock.fed[:4] == [{"x": 0}, {"x": 1}, {"x": 2}, {"x": 0}]


def test_the_context_covers_the_whole_loop_in_windows_of_200_ms() -> None:
    clock = FakeClock(10)
    _, seconds, context = sample(clock.run, feeds(), FULL, clock, clock.counters)
    assert [round(window.at_s, 3) for window in context] == [round(0.2 * n, 3) for n in range(1, 11)]
    assert sum(window.run_queue_wait_s for window in context) == pytest.approx(seconds / 10)
    assert sum(window.cpu_s for window in context) == pytest.approx(2 * seconds)
    assert sum(window.involuntary_switches for window in context) == 2000


def test_without_counters_there_are_samples_and_no_context() -> None:
    def uncounted() -> Counters:
        raise FileNotFoundError

    clock = FakeClock(10)
    samples, _, context = sample(clock.run, feeds(), FULL, clock, uncounted)
    assert len(samples) == 200
    assert context == ()


def test_warm_up_ends_where_two_windows_agree() -> None:
    clock = FakeClock(10)
    warm_up(clock.run, feeds(), FULL, clock)
    assert clock.now == (500 + 250 + 250) * MS


def test_warm_up_goes_on_while_it_gets_faster() -> None:
    clock = FakeClock(*[10.0] * 50, *[8.0] * 32, *[6.0] * 42, 5.0)
    warm_up(clock.run, feeds(), FULL, clock)
    assert clock.now > 1500 * MS


@pytest.mark.parametrize(("ms", "seconds"), [(4000, 12), (20_000, 20)])
def test_warm_up_is_cut_off_at_its_cap(ms: int, seconds: int) -> None:
    clock = FakeClock(ms)
    warm_up(clock.run, feeds(), FULL, clock)
    assert clock.now == seconds * 1000 * MS


def test_warm_up_that_never_settles_is_cut_off_at_its_cap() -> None:
    clock = FakeClock(*itertools.islice(itertools.cycle([*[10.0] * 25, *[20.0] * 13]), 2000))
    warm_up(clock.run, feeds(), FULL, clock)
    assert 10_000 * MS <= clock.now <= 10_020 * MS


def test_a_time_limit_shortens_every_loop() -> None:
    clock = FakeClock(10)
    limited: Protocol = FULL.within(2.0)
    warm_up(clock.run, feeds(), limited, clock)
    sample(clock.run, feeds(), limited, clock, clock.counters)
    assert clock.now <= 1000 * MS
    assert limited.seconds_max == 2.0
    assert replace(limited, name=FULL.name) != FULL
