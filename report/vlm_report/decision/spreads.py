"""A figure with its interval, and when two of them may not be told apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from vlm_contract.codec import Absent
from vlm_contract.measurement import Latency
from vlm_profile.statistics import T_95

# A claim of being faster on a shared machine needs a larger difference (protocol vlm-1, comparisons).
CLAIM_PERCENT = 5.0
Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
ONE_RUN = Absent("one run")


@dataclass(frozen=True)
class Spread:
    """A value, its 95 % interval, and how many runs it is of."""

    value: float
    low: float | Absent
    high: float | Absent
    seeds: int = 1
    deviation: float | Absent = ONE_RUN  # between the runs

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends of the interval; None where either is not known."""
        return None if isinstance(self.low, Absent) or isinstance(self.high, Absent) else (self.low, self.high)


def exact(value: float) -> Spread:
    """A figure that nothing blurs, such as a file's size."""
    return Spread(value, value, value)


def overlap(one: Spread, other: Spread) -> bool:
    """Whether the intervals have a common part. What has no interval is told apart from nothing."""
    a, b = one.bounds, other.bounds
    return a is None or b is None or (a[0] <= b[1] and b[0] <= a[1])


def same_latency(one: Spread, other: Spread) -> bool:
    """Whether neither may be called faster: the intervals overlap, or the difference is too small for a claim."""
    fast, slow = sorted((one.value, other.value))
    return overlap(one, other) or slow <= fast * (1 + CLAIM_PERCENT / 100)


def latency_of(rows: Sequence[Latency]) -> Spread:
    """Of rows of the same network: the median, between the least and the greatest end of their intervals."""
    spreads = [Spread(row.latency_ms_p50, row.latency_ms_p50_low, row.latency_ms_p50_high) for row in rows]
    middle = median(spread.value for spread in spreads)
    ends = [spread.bounds for spread in spreads]
    known = [each for each in ends if each is not None]
    if len(known) < len(ends):
        absent = next(s.low if isinstance(s.low, Absent) else s.high for s in spreads if s.bounds is None)
        return Spread(middle, absent, absent, len(rows))
    return Spread(middle, min(low for low, _ in known), max(high for _, high in known), len(rows))


def accuracy_of(percents: Sequence[float], images: int | Absent) -> Spread:
    """Of the runs of one model, each scored on so many images: the mean, and the wider of two intervals.

    The images alone leave Wilson's interval for a share (Wilson 1927); several seeds the t-interval of their mean.
    Of one run the spread between seeds is not known, and not in its interval.
    """
    mean, n = fmean(percents), len(percents)
    deviation = stdev(percents) if n > 1 else ONE_RUN
    if isinstance(images, Absent):
        return Spread(mean, images, images, n, deviation)
    low, high = wilson(mean, images)
    half = 0.0 if isinstance(deviation, Absent) else T_95[min(n - 2, len(T_95) - 1)] * deviation / math.sqrt(n)
    return Spread(mean, max(0.0, min(low, mean - half)), min(100.0, max(high, mean + half)), n, deviation)


def mean_of(values: Sequence[float]) -> Spread:
    """Of the runs of one model, where their spread is all that blurs the figure."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return Spread(mean, ONE_RUN, ONE_RUN, n)
    deviation = stdev(values)
    half = T_95[min(n - 2, len(T_95) - 1)] * deviation / math.sqrt(n)
    return Spread(mean, mean - half, mean + half, n, deviation)


def wilson(percent: float, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `images`, in percent."""
    share, z2 = percent / 100, Z_95**2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = Z_95 / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    return 100 * min(share, middle - half), 100 * max(share, middle + half)


def outwards(value: float, *, upper: bool) -> float:
    """With three digits, away from zero for an upper limit, so that the value keeps it."""
    if not value:
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return float(f"{(math.ceil if upper else math.floor)(value / unit) * unit:.6g}")
