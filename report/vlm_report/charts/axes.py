"""The ranges of axes, chosen from the data so that marks and their labels have air."""

import math
from collections.abc import Sequence
from typing import Any

LOG_FROM = 8.0  # largest over least value, from which an axis is logarithmic


def percent_domain(values: Sequence[float]) -> list[float]:
    """Of an axis of percents: the data's range with some air, within 0 to 100."""
    air = max(0.5, 0.12 * (max(values) - min(values)))
    return [math.floor(10 * max(0.0, min(values) - air)) / 10, math.ceil(10 * min(100.0, max(values) + air)) / 10]


def linear_domain(values: Sequence[float]) -> list[float]:
    """From zero to somewhat over the largest value."""
    return [0.0, float(f"{1.08 * max(values):.3g}") or 1.0]


def log_domain(values: Sequence[float], air: float = 1.25, air_above: float = 1.25) -> list[float]:
    """From the least positive value to the largest, with factors of air on both sides."""
    return [float(f"{min(values) / air:.3g}"), float(f"{max(values) * air_above:.3g}")]


def scale_of(values: Sequence[float]) -> Any:
    """Linear from zero; logarithmic where the values, all positive, span more than LOG_FROM."""
    import altair as alt

    if min(values) > 0 and max(values) > LOG_FROM * min(values):
        return alt.Scale(type="log", domain=log_domain(values), nice=False)
    return alt.Scale(domain=linear_domain(values), nice=False)


def pixel(value: float, scale: Any, length: float) -> float:
    """Where a value stands on an axis of that length, from its low end."""
    low, high = map(float, scale.domain)
    if getattr(scale, "type", None) == "log":
        return length * math.log(value / low) / math.log(high / low)
    return length * (value - low) / (high - low)
