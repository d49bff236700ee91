"""Figures are exact on samples whose answer is known."""

import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Latency, Repetition, Setup, Throughput
from vlm_profile.statistics import half_interval, latency_of, memory_of, percentile, throughput_of

Made = Callable[..., Repetition]
SETUP = Setup(batch=8, threads=2, streams=1, scope="all of it")


def of_ms(repetition: Made, *samples_ms: float) -> Repetition:
    return repetition(samples_ns=tuple(round(ms * 1e6) for ms in samples_ms), measure_s=sum(samples_ms) / 1e3)


def test_the_headline_is_the_median_of_the_processes_medians(repetition: Made) -> None:
    latency = latency_of([of_ms(repetition, 1, 2, 99), of_ms(repetition, 3, 4, 5), of_ms(repetition, 4, 6, 8)])
    assert isinstance(latency, Latency)
    assert latency.latency_ms_p50 == 4
    assert (latency.samples, latency.processes) == (9, 3)


def test_the_interval_is_students_t_between_processes(repetition: Made) -> None:
    latency = latency_of([repetition(ms) for ms in (9.0, 10.0, 11.0)])
    assert isinstance(latency, Latency)
    assert latency.latency_ms_p50_high - latency.latency_ms_p50 == pytest.approx(4.303 / 3**0.5)
    assert latency.latency_ms_p50_low == pytest.approx(10 - 4.303 / 3**0.5)


def test_the_interval_of_ten_processes_uses_nine_degrees_of_freedom() -> None:
    values = [float(n) for n in range(10)]
    assert half_interval(values) == pytest.approx(2.262 * statistics.stdev(values) / 10**0.5)


def test_one_process_has_no_interval_and_so_no_figures(repetition: Made) -> None:
    assert isinstance(latency_of([repetition()]), Absent)
    assert isinstance(throughput_of([repetition()], SETUP), Absent)


@pytest.mark.parametrize(("percent", "needed"), [(90, 64), (95, 130), (99, 662)])
def test_a_tail_is_absent_below_its_number_of_samples(repetition: Made, percent: int, needed: int) -> None:
    def tail(samples: int) -> object:
        halves = [repetition(samples_ns=(1_000_000,) * count) for count in (samples // 2, samples - samples // 2)]
        return getattr(latency_of(halves), f"latency_ms_p{percent}")

    assert tail(needed) == 1.0
    assert tail(needed - 1) == Absent(f"p{percent} needs {needed} samples; there are {needed - 1}")


def test_percentiles_are_samples_that_were_seen() -> None:
    assert [percentile(range(1, 101), percent) for percent in (10, 50, 90, 99)] == [10, 50, 90, 99]
    assert percentile([7], 10) == 7


def test_spread_and_outliers_of_known_samples(repetition: Made) -> None:
    latency = latency_of([of_ms(repetition, 1, 2, 3, 4), of_ms(repetition, 5, 6, 7, 100)])
    assert isinstance(latency, Latency)
    assert latency.outliers == 1
    assert latency.latency_ms_mad == 2
    assert latency.latency_ms_mean == 16
    assert latency.latency_ms_std == pytest.approx(statistics.stdev([1, 2, 3, 4, 5, 6, 7, 100]))
    assert (latency.latency_ms_min, latency.latency_ms_max, latency.latency_ms_floor) == (1, 100, 1)


def test_throughput_is_images_over_the_wall_clock_and_not_one_over_latency(repetition: Made) -> None:
    throughput = throughput_of([repetition(10.0, measure_s=2.0)] * 3, SETUP)
    assert isinstance(throughput, Throughput)
    assert throughput.images_per_s == 8 * 100 / 2.0


def test_cpu_time_is_absent_where_the_kernel_does_not_count_it(repetition: Made) -> None:
    known, unknown = (latency_of([repetition(), repetition(**change)]) for change in ({}, {"context": ()}))
    assert isinstance(known, Latency)
    assert isinstance(unknown, Latency)
    assert known.cpu_ms_per_inference == 20.0
    assert isinstance(unknown.cpu_ms_per_inference, Absent)


def test_memory_is_the_largest_peak_and_its_growth(repetition: Made) -> None:
    memory = memory_of([repetition(), repetition(peak_rss_bytes=90_000_000)], 1000)
    assert (memory.peak_rss_bytes, memory.model_rss_bytes) == (90_000_000, 40_000_000)


@pytest.mark.parametrize(
    ("peak", "model_bytes", "believed"), [(0, 100, False), (49, 100, False), (50, 100, True), (-1, 1, False)]
)
def test_a_peak_that_cannot_be_one_is_absent(repetition: Made, peak: int, model_bytes: int, believed: bool) -> None:
    memory = memory_of([replace(repetition(), peak_rss_bytes=peak, baseline_rss_bytes=0)], model_bytes)
    assert (memory.peak_rss_bytes == peak) is believed
    assert isinstance(memory.model_rss_bytes, Absent) is not believed


def test_a_missing_counter_is_absent_with_its_reason(repetition: Made) -> None:
    memory = memory_of([repetition(peak_rss_bytes=Absent("no /proc"))], 100)
    assert memory.peak_rss_bytes == Absent("no process read a memory counter")
