"""Figures from raw samples. Every rank is a nearest rank: a figure is a sample that was seen."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from statistics import fmean, median, stdev

from vlm_contract.codec import Absent, known
from vlm_contract.measurement import (
    ColdStart,
    Latency,
    Memory,
    Pacing,
    Repetition,
    Setup,
    Sustained,
    Throughput,
    Window,
)
from vlm_profile.protocol import Protocol

# Two-sided 95 % quantiles of Student's t for 1 to 9 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
SHARED = (
    "one memory, which CPU and GPU share, so that no two peaks add up: device_peak_bytes is what of it could be given "
    "less meanwhile, peak_rss_bytes "
)
STRETCHES = 16  # of a loop, whose medians show drift
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
        first_inference_ms=_phase_s("first", repetitions, 1e3),
        cpu_ms_per_inference=_cpu_ms(repetitions, len(ordered)),
        device_ms_p50=_device_ms(repetitions),
    )


def throughput_of(repetitions: Sequence[Repetition], setup: Setup) -> Throughput | Absent:
    """Images over the wall clock of each process's measured loop; the median process, and the interval."""
    if len(repetitions) < 2:
        return Absent(f"an interval between processes needs 2 of them; {len(repetitions)} ended well")
    if not isinstance(setup.fps, Absent):
        return Absent(f"frames came at {setup.fps:g} a second: what more could be done was not tried")
    rates = [known(setup.batch) * len(r.samples_ns) / r.measure_s for r in repetitions]
    half = half_interval(rates)
    return Throughput(
        images_per_s=median(rates),
        images_per_s_low=median(rates) - half,
        images_per_s_high=median(rates) + half,
        batch=setup.batch,
        streams=setup.streams,
        threads=setup.threads,
        obtained=f"images over the wall clock of {_loops(known(setup.streams))} without pauses",
    )


def memory_of(repetitions: Sequence[Repetition], model_bytes: int, *, shared: bool = False) -> Memory:
    """The largest peak over the processes, and its growth over the imported runtime.

    A peak that cannot be one (not positive, or under half of the model's file) is absent. `shared`: whether a GPU uses
    the CPU's memory.
    """
    peaks = [r.peak_rss_bytes for r in repetitions if isinstance(r.peak_rss_bytes, int)]
    growths = [
        r.peak_rss_bytes - r.baseline_rss_bytes
        for r in repetitions
        if isinstance(r.peak_rss_bytes, int) and isinstance(r.baseline_rss_bytes, int)
    ]
    peak = _peak(max(peaks, default=None), repetitions, model_bytes)
    return Memory(
        peak_rss_bytes=peak,
        model_rss_bytes=_growth(peak, growths),
        device_peak_bytes=_largest([r.device_peak_bytes for r in repetitions], "no process read the device's memory"),
        by_source={
            source: max(r.by_source.get(source, 0) for r in repetitions)
            for source in sorted({source for r in repetitions for source in r.by_source})
        },
        covers=f"{SHARED if shared else ''}the process's resident memory; model_rss_bytes is its growth over the "
        "imported runtime",
    )


def cold_start_of(repetitions: Sequence[Repetition]) -> ColdStart | Absent:
    """From a fresh process to the first answer: medians."""
    if not repetitions:
        return Absent("no process ended well")
    phases = [_phase_s(phase, repetitions) for phase in ("import", "load", "first")]
    seconds = [phase for phase in phases if not isinstance(phase, Absent)]
    return ColdStart(*seconds) if len(seconds) == len(phases) else next(p for p in phases if isinstance(p, Absent))


def pacing_of(repetitions: Sequence[Repetition], setup: Setup) -> Pacing | Absent:
    """What became of the frames of all processes."""
    if isinstance(setup.fps, Absent):
        return Absent("no frame rate was asked for")
    period_ns = 1e9 / setup.fps
    return Pacing(
        frames=sum(r.frames for r in repetitions),
        dropped=sum(r.dropped for r in repetitions),
        late=sum(1 for r in repetitions for ns in r.samples_ns if ns > period_ns),
        deadline_ms=period_ns / 1e6,
    )


def sustained_of(repetitions: Sequence[Repetition], protocol: Protocol) -> Sustained | Absent:
    """The first process's loop in stretches, and from where on none of them leaves the settled latency."""
    if not protocol.soak_s or not repetitions:
        return Absent("no sustained run was asked for")
    windows, within_percent = tuple(_windows(repetitions[0], protocol.soak_window_s)), protocol.settled_percent
    least = max(2, len(windows) // 4)  # that must agree: two in a row do so on any slope that is small enough
    for first in range(len(windows) - least + 1):
        settled = median(window.latency_ms_p50 for window in windows[first:])
        if all(abs(w.latency_ms_p50 - settled) <= settled * within_percent / 100 for w in windows[first:]):
            return Sustained(windows, settled, windows[first - 1].at_s if first else 0.0)
    unsettled = Absent(f"the last {least} of {len(windows)} windows are not within {within_percent:g} % of each other")
    return Sustained(windows, unsettled, unsettled)


def counts_the_loop_alone(repetition: Repetition) -> bool:
    """Whether the kernel's counters do: of a program that tells no first inference apart they count all it does."""
    return "first" in repetition.phases_s


def drift_percents(samples_ns: Sequence[int]) -> tuple[float, float]:
    """By how much of the median latency moves over a loop, and its last quarter is off the first.

    The slope is Theil and Sen's, the median over pairs of medians of up to 16 stretches (Sen 1968, JASA 63:1379): a few
    stalls do not tilt it. 0 below 16 samples.
    """
    stretches = min(STRETCHES, len(samples_ns) // 4)
    if stretches < 4:
        return 0.0, 0.0
    ends = [len(samples_ns) * i // stretches for i in range(stretches + 1)]
    medians = [median(samples_ns[a:b]) for a, b in pairwise(ends)]
    slope = median((medians[j] - medians[i]) / (j - i) for i, j in combinations(range(stretches), 2))
    quarter, middle = len(samples_ns) // 4, median(samples_ns)
    first, last = median(samples_ns[:quarter]), median(samples_ns[-quarter:])
    return 100 * slope * (stretches - 1) / middle, 100 * (last - first) / first


def _windows(repetition: Repetition, window_s: float) -> Iterator[Window]:
    """The samples of each stretch, by their running sum; what the loop took beside its calls is spread evenly."""
    stretched = 1e9 * repetition.measure_s / sum(repetition.samples_ns)
    end_s, elapsed_ns, window = window_s, 0.0, list[int]()
    for ns in repetition.samples_ns:
        window.append(ns)
        elapsed_ns += ns * stretched
        if elapsed_ns >= end_s * 1e9:
            yield _window(repetition, end_s - window_s, end_s, window)
            end_s, window = elapsed_ns / 1e9 + window_s, []


def _window(repetition: Repetition, from_s: float, to_s: float, samples: Sequence[int]) -> Window:
    clocks = [c.cpu_mhz for c in repetition.context if from_s < c.at_s <= to_s and isinstance(c.cpu_mhz, float)]
    degrees = [
        value
        for reading in repetition.readings
        if from_s < reading.at_s - repetition.began_s <= to_s
        for sensor, value in reading.values.items()
        if sensor.startswith("temperature_c ")
    ]
    return Window(
        at_s=to_s,
        latency_ms_p50=median(samples) / 1e6,
        cpu_mhz=fmean(clocks) if clocks else Absent("no clock was read"),
        temperature_c=max(degrees) if degrees else Absent("no temperature was read"),
    )


def _device_ms(repetitions: Sequence[Repetition]) -> float | Absent:
    if not all(r.device_ns for r in repetitions):
        return Absent("the runtime has no events of a device")
    return median(median(r.device_ns) for r in repetitions) / 1e6


def _loops(streams: int) -> str:
    return "a serial loop" if streams == 1 else f"{streams} serial loops side by side"


def _largest(values: Sequence[int | Absent], otherwise: str) -> int | Absent:
    known = [value for value in values if isinstance(value, int)]
    if known and max(known) > 0:
        return max(known)
    if known:
        return Absent(f"the counter said {max(known)} bytes, which no model takes")
    return next((value for value in values if isinstance(value, Absent)), Absent(otherwise))


def _growth(peak: int | Absent, growths: Sequence[int]) -> int | Absent:
    if isinstance(peak, Absent):
        return peak
    return max(growths) if growths else Absent("no process knew its memory before the model was loaded")


def _phase_s(phase: str, repetitions: Sequence[Repetition], scale: float = 1.0) -> float | Absent:
    """The median of a phase's seconds, times a scale."""
    seconds = [repetition.phases_s[phase] for repetition in repetitions if phase in repetition.phases_s]
    return median(seconds) * scale if seconds else Absent(f"the phase {phase!r} is not told apart by this runtime")


def _peak(peak: int | None, repetitions: Sequence[Repetition], model_bytes: int) -> int | Absent:
    if peak is None:
        reasons = [r.peak_rss_bytes.reason for r in repetitions if isinstance(r.peak_rss_bytes, Absent)]
        return Absent(next(iter(reasons), "no process read a memory counter"))
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
    if not all(map(counts_the_loop_alone, repetitions)):
        return Absent("the counters are of a whole process, and not of the measured loop")
    return sum(window.cpu_s for repetition in repetitions for window in repetition.context) * 1e3 / samples
