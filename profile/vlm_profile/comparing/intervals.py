"""A figure of a measurement with its 95 % interval between fresh processes, for all that raw samples can tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from vlm_contract.codec import Absent
from vlm_contract.conditions import OF_MEASUREMENT, Figure, figure_at
from vlm_contract.measurement import Measurement, Repetition
from vlm_profile.statistics import counts_the_loop_alone, half_interval, percentile

OfProcess = Callable[[Repetition], float | None]  # in the figure's unit; None where the process does not tell


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_percent(self) -> float:
        """Half the interval's width, in percent of the value."""
        return 50 * (self.high - self.low) / abs(self.value) if self.value else 0.0


def told_apart(value: float, *limits: float) -> str:
    """`value` with one decimal, or as many as show on which side of each limit it stands: 2.04 beside 2 is not 2.0."""
    for digits in (1, 2, 3):
        text = f"{value:.{digits}f}"
        if all((float(text) > limit, float(text) < limit) == (value > limit, value < limit) for limit in limits):
            break
    return text


def _tail(percent: int) -> OfProcess:
    return lambda repetition: percentile(sorted(repetition.samples_ns), percent) / 1e6


def _phase(name: str, scale: float = 1.0) -> OfProcess:
    return lambda repetition: repetition.phases_s[name] * scale if name in repetition.phases_s else None


def _cpu_ms(repetition: Repetition) -> float | None:
    used = sum(window.cpu_s for window in repetition.context)
    told = repetition.context and counts_the_loop_alone(repetition)
    return 1e3 * used / len(repetition.samples_ns) if told else None


def _growth(repetition: Repetition) -> float | None:
    peak, baseline = repetition.peak_rss_bytes, repetition.baseline_rss_bytes
    return None if isinstance(peak, Absent) or isinstance(baseline, Absent) else peak - baseline


# What one process says; the spread between processes is the real one, of tails as of medians.
_OF_PROCESS: Mapping[str, OfProcess] = {
    "latency_ms_p90": _tail(90),
    "latency_ms_p95": _tail(95),
    "latency_ms_p99": _tail(99),
    "first_inference_ms": _phase("first", 1e3),
    "cpu_ms_per_inference": _cpu_ms,
    "device_ms_p50": lambda r: median(r.device_ns) / 1e6 if r.device_ns else None,
    "peak_rss_bytes": lambda r: _present(r.peak_rss_bytes),
    "model_rss_bytes": _growth,
    "device_peak_bytes": lambda r: _present(r.device_peak_bytes),
    "import_s": _phase("import"),
    "load_s": _phase("load"),
}
_OF_RECORD = ("latency_ms_p50", "images_per_s")  # whose interval the record holds
_EXACT = ("model_bytes",)
LARGER_IS_BETTER = ("images_per_s",)
COMPARABLE: Mapping[str, Figure] = {name: OF_MEASUREMENT[name] for name in (*_OF_RECORD, *_OF_PROCESS, *_EXACT)}


def estimate_of(measurement: Measurement, name: str) -> Estimate | Absent:
    """A figure of COMPARABLE; absent with the reason where it, or the interval, is not there."""
    path = COMPARABLE[name].path
    value = figure_at(measurement, path)
    if isinstance(value, Absent):
        return value
    if name in _EXACT:
        return Estimate(value, value, value)
    if name in _OF_RECORD:
        low, high = (figure_at(measurement, f"{path}_{end}") for end in ("low", "high"))
        if isinstance(low, Absent):
            return low
        return high if isinstance(high, Absent) else Estimate(value, low, high)
    found = [_OF_PROCESS[name](repetition) for repetition in measurement.repetitions]
    values = [each for each in found if each is not None]
    if len(values) < 2:
        return Absent(f"an interval between processes needs 2 of them; {len(values)} told {name}")
    half = max(half_interval(values), _least_share(measurement, name) * value)
    return Estimate(value, value - half, value + half)


def _least_share(measurement: Measurement, name: str) -> float:
    """Of a time that was taken while neighbours used the machine: as much as the headline's interval was widened by."""
    neighbours = any(verdict.code == "neighbours" for verdict in measurement.verdicts)
    widened = estimate_of(measurement, "latency_ms_p50") if neighbours and not name.endswith("_bytes") else None
    return widened.half_percent / 100 if isinstance(widened, Estimate) else 0.0


def _present(value: int | Absent) -> int | None:
    return None if isinstance(value, Absent) else value
