"""Figures are exact on samples whose answer is known."""

import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import ColdStart, Latency, Pacing, Reading, Repetition, Setup, Sustained, Throughput
from vlm_profile.protocol import FULL
from vlm_profile.statistics import (
    cold_start_of,
    drift_percents,
    half_interval,
    latency_of,
    memory_of,
    pacing_of,
    percentile,
    sustained_of,
    throughput_of,
)

Made = Callable[..., Repetition]
SETUP = Setup(8, 2, 1, "all of it", Absent("one call after the other"), {})


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
    assert memory.peak_rss_bytes == Absent("no /proc")
    assert memory_of([], 100).peak_rss_bytes == Absent("no process read a memory counter")


def test_memory_by_source_is_the_largest_of_each_and_a_device_without_a_counter_is_absent(repetition: Made) -> None:
    memory = memory_of(
        [
            repetition(by_source={"engine weights": 10, "inputs and outputs": 3}, device_peak_bytes=100),
            repetition(by_source={"engine weights": 11}, device_peak_bytes=90),
        ],
        1000,
    )
    assert memory.by_source == {"engine weights": 11, "inputs and outputs": 3}
    assert memory.device_peak_bytes == 100
    assert memory_of([repetition()], 1000).device_peak_bytes == Absent("it ran on the CPU")


def test_the_devices_own_time_is_a_median_of_medians_and_absent_without_events(repetition: Made) -> None:
    timed = latency_of([repetition(device_ns=(1_000_000, 2_000_000, 9_000_000)), repetition(device_ns=(4_000_000,))])
    untimed = latency_of([repetition(), repetition(device_ns=(4_000_000,))])
    assert isinstance(timed, Latency)
    assert isinstance(untimed, Latency)
    assert timed.device_ms_p50 == 3.0
    assert isinstance(untimed.device_ms_p50, Absent)


def test_a_cold_start_is_the_median_of_each_phase(repetition: Made) -> None:
    phases = [{"import": i, "load": 2 * i, "first": 3 * i} for i in (1.0, 2.0, 9.0)]
    assert cold_start_of([repetition(phases_s=each) for each in phases]) == ColdStart(2.0, 4.0, 6.0)
    assert isinstance(cold_start_of([]), Absent)


def test_frames_are_late_when_the_next_has_come(repetition: Made) -> None:
    paced = replace(SETUP, fps=25.0)
    processes = [of_ms(repetition, 40, 40.001, 10), of_ms(repetition, 80, 10, 10)]
    found = pacing_of([replace(r, frames=5, dropped=2) for r in processes], paced)
    assert found == Pacing(frames=10, dropped=4, late=2, deadline_ms=40.0)
    assert isinstance(pacing_of(processes, SETUP), Absent)
    assert isinstance(throughput_of(processes, paced), Absent)


def test_drift_is_the_slope_over_the_whole_loop_and_the_last_quarter_beside_the_first() -> None:
    rising = [1000 + n for n in range(1600)]
    slope, quarter = drift_percents(rising)
    assert slope == pytest.approx(100 * 1500 / 1800, rel=0.01)
    assert quarter == pytest.approx(100 * 1200 / 1200, rel=0.01)
    assert drift_percents([1, 2, 3]) == (0.0, 0.0)


def soaked(repetition: Made, *latencies_ms: float) -> Repetition:
    """Ten seconds at each latency."""
    samples = tuple(round(ms * 1e6) for ms in latencies_ms for _ in range(round(10_000 / ms)))
    return repetition(samples_ns=samples, measure_s=10.0 * len(latencies_ms))


def test_a_sustained_run_settles_where_no_later_window_leaves_it(repetition: Made) -> None:
    found = sustained_of([soaked(repetition, 10, 10, 12.5, 12.5, 12.5, 12.5)], FULL.soaked(600))
    assert isinstance(found, Sustained)
    assert [window.latency_ms_p50 for window in found.windows] == [10, 10, 12.5, 12.5, 12.5, 12.5]
    assert (found.settled_ms, found.settled_after_s) == (12.5, 20.0)


def test_a_sustained_run_that_never_settles_says_so(repetition: Made) -> None:
    found = sustained_of([soaked(repetition, *[10, 12.5] * 8)], FULL.soaked(600))
    assert isinstance(found, Sustained)
    assert isinstance(found.settled_ms, Absent)
    assert isinstance(sustained_of([soaked(repetition, 10)], FULL), Absent)


def test_a_window_holds_the_clock_and_the_hottest_sensor_of_its_time(repetition: Made) -> None:
    process = soaked(repetition, 10, 10)
    context = tuple(replace(process.context[0], at_s=at, cpu_mhz=mhz) for at, mhz in ((5.0, 2000.0), (15.0, 1500.0)))
    readings = (
        Reading(process.began_s + 5, {"temperature_c cpu": 50.0, "temperature_c gpu": 55.0, "power_w cpu": 99.0}),
        Reading(process.began_s + 15, {"temperature_c cpu": 70.0}),
    )
    found = sustained_of([replace(process, context=context, readings=readings)], FULL.soaked(600))
    assert isinstance(found, Sustained)
    assert [(w.cpu_mhz, w.temperature_c) for w in found.windows] == [(2000.0, 55.0), (1500.0, 70.0)]


def test_counters_of_a_whole_process_say_nothing_of_one_inference(repetition: Callable[..., Repetition]) -> None:
    told, untold = repetition(), repetition(phases_s={"load": 1.0, "measure": 1.0})
    (latency, whole) = (latency_of([each] * 2) for each in (told, untold))
    assert isinstance(latency, Latency) and isinstance(whole, Latency)
    assert latency.cpu_ms_per_inference == pytest.approx(20.0)
    assert whole.cpu_ms_per_inference == Absent("the counters are of a whole process, and not of the measured loop")
