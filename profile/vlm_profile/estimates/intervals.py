"""Intervals that hold for a device that nobody has measured: split-conformal on logarithms of measured over estimated.

The half-width of a rung is a quantile of how far its estimates were off on devices that the fit had not seen. Devices
count alike, however many rows they have, as the next device is what an interval is for. Source: V. Vovk, A. Gammerman,
G. Shafer, "Algorithmic Learning in a Random World", 2005; with rows that come in groups: Y. Lee, R. Barber, R. Willett,
"Distribution-free inference with hierarchical data", 2023.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

COVERAGE_PERCENT = 80.0


def half_width(
    residuals: Sequence[float], groups: Sequence[Hashable], coverage_percent: float = COVERAGE_PERCENT
) -> float:
    """The least size of residual that so many percent do not exceed, each group counting as one.

    One more, unseen group counts as infinitely far off: the finite-sample rule of a group that is new. Raises
    ValueError where that leaves no finite answer: for 80 % with less than four groups.
    """
    sizes = Counter(groups)
    ordered = sorted((abs(residual), 1 / sizes[group]) for residual, group in zip(residuals, groups, strict=True))
    whole = len(sizes) + 1
    seen = 0.0
    for size, weight in ordered:
        seen += weight
        if seen >= whole * coverage_percent / 100 - 1e-9:
            return size
    raise ValueError(f"residuals of {len(sizes)} groups are too few for {coverage_percent:g} %")


def interval_of(middle: float, width: float) -> tuple[float, float]:
    """From `middle` over the factor to `middle` times it."""
    factor = math.exp(width)
    return middle / factor, middle * factor
