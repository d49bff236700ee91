"""Figures from raw samples. Every rank is a nearest rank: a figure is a sample that was seen."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

from vlm_contract.codec import Absent
from vlm_contract.measurement import Latency, Memory, Repetition, Setup, Throughput

# Two-sided 95 % quantiles of Student's t for 1 to 9 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
# The samples that a percentile needs, as MLPerf's LoadGen asks for them.
SAMPLES_FOR = {90: 64, 95: 130, 99: 662}


def half_interval(values: Sequence[float]) -> float:
    """Half the 95 % t-interval of the mean of 2 to 10 values."""
    return T_95[len(values) - 2] * stdev(values) / math.sqrt(len(values))


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The nearest-rank percentile of sorted samples."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def process_medians_ms(repetitions: Sequence[Repetition]) -> list[float]:
    """The median of each process."""
    return [median(repetition.samples_ns) / 1e6 for repetition in repetitions]


def latency_of(repetitions: Sequence[Repetition]) -> Latency | Absent:
    """Latency over fresh processes; absent below two of them, where there is no interval."""
    if len(repetitions) < 2:
        return Absent(f"an interval between processes needs 2 of them; {len(repetitions)} ended well")
    medians = process_medians_ms(repetitions)
    half = half_interval(medians)
    ordered = sorted(sample for repetition in repetitions for sample in repetition.samples_ns)
    mean, middle = fmean(ordered), median(ordered)
    return Latency(
        latency_ms_p50=median(medians),
        latency_ms_p50_low=median(medians) - half,
        latency_ms_p50_high=median(medians) + half,
        latency_ms_floor=min(percentile(sorted(repetition.samples_ns), 10) for repetition in repetitions) / 1e6,
        latency_ms_p90=_tail(ordered, 90),
        latency_ms_p95=_tail(ordered, 95),
        latency_ms_p99=_tail(ordered, 99),
        latency_ms_mean=mean / 1e6,
        latency_ms_std=math.sqrt(math.fsum((s - mean) ** 2 for s in ordered) / max(1, len(ordered) - 1)) / 1e6,
        latency_ms_mad=median(abs(sample - middle) for sample in ordered) / 1e6,
        latency_ms_min=ordered[0] / 1e6,
        latency_ms_max=ordered[-1] / 1e6,
        outliers=_outliers(ordered),
        samples=len(ordered),
        processes=len(repetitions),
        first_inference_ms=median(repetition.phases_s["first"] for repetition in repetitions) * 1e3,
        cpu_ms_per_inference=_cpu_ms(repetitions, len(ordered)),
    )


def throughput_of(repetitions: Sequence[Repetition], setup: Setup) -> Throughput | Absent:
    """Images over the wall clock of each process's measured loop; the median process, and the interval."""
    if len(repetitions) < 2:
        return Absent(f"an interval between processes needs 2 of them; {len(repetitions)} ended well")
    rates = [setup.batch * len(r.samples_ns) / r.measure_s for r in repetitions]
    half = half_interval(rates)
    return Throughput(
        images_per_s=median(rates),
        images_per_s_low=median(rates) - half,
        images_per_s_high=median(rates) + half,
        batch=setup.batch,
        streams=setup.streams,
        threads=setup.threads,
        obtained="images over the wall clock of a serial loop without pauses",
    )


def memory_of(repetitions: Sequence[Repetition], model_bytes: int) -> Memory:
    """The largest peak over the processes, and its growth over the imported runtime.

    A peak that cannot be one (not positive, or under half of the model's file) is absent.
    """
    peaks = [r.peak_rss_bytes for r in repetitions if isinstance(r.peak_rss_bytes, int)]
    growths = [
        r.peak_rss_bytes - r.baseline_rss_bytes
        for r in repetitions
        if isinstance(r.peak_rss_bytes, int) and isinstance(r.baseline_rss_bytes, int)
    ]
    peak = _peak(max(peaks, default=None), model_bytes)
    return Memory(
        peak_rss_bytes=peak,
        model_rss_bytes=peak if isinstance(peak, Absent) or not growths else max(growths),
        device_peak_bytes=Absent("the model ran on the CPU"),
    )


def _peak(peak: int | None, model_bytes: int) -> int | Absent:
    if peak is None:
        return Absent("no process read a memory counter")
    if peak <= 0 or peak < model_bytes / 2:
        return Absent(f"the counter said {peak} bytes, which the model's file of {model_bytes} bytes contradicts")
    return peak


def _tail(ordered: Sequence[int], percent: int) -> float | Absent:
    needed = SAMPLES_FOR[percent]
    if len(ordered) < needed:
        return Absent(f"p{percent} needs {needed} samples; there are {len(ordered)}")
    return percentile(ordered, percent) / 1e6


def _outliers(ordered: Sequence[int]) -> int:
    """Samples over 1.5 interquartile ranges outside the quartiles (Tukey's fences)."""
    low, high = percentile(ordered, 25), percentile(ordered, 75)
    reach = 1.5 * (high - low)
    return sum(1 for sample in ordered if sample < low - reach or sample > high + reach)


def _cpu_ms(repetitions: Sequence[Repetition], samples: int) -> float | Absent:
    if not all(repetition.context for repetition in repetitions):
        return Absent("the kernel's counters could not be read")
    return sum(window.cpu_s for repetition in repetitions for window in repetition.context) * 1e3 / samples
