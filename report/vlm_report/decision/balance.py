"""The rule that weighs accuracy, latency and size against each other, at stated prices."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vlm_report.decision.candidates import ACCURACY, LATENCY, SIZE, Candidate
from vlm_report.decision.choices import (
    ACCURATE,
    FAST,
    HAIR,
    Change,
    accuracy_missing,
    best_accuracy,
    within_reach,
)
from vlm_report.decision.fronts import Axis

REACH_POINTS = 10.0  # what is further below the most accurate is no balance, however small and fast
# What halving a figure is worth in points of accuracy.
POINTS_PER_HALVING: Mapping[str, float] = {LATENCY: 2.0, SIZE: 1.0}
_LEAST_PRICE = 0.01  # points; to turn at nothing is not to turn


@dataclass(frozen=True)
class Balance:
    """The least sum of points of accuracy lost and of doublings of latency and size, each at its price in points."""

    prices: Mapping[str, float] = field(default_factory=lambda: POINTS_PER_HALVING)
    reach: float = REACH_POINTS
    axes: tuple[Axis, ...] = (ACCURATE, FAST, Axis(SIZE, "size"))

    def cost(self, candidate: Candidate) -> float:
        """In points of accuracy; only differences between two of them mean something."""
        spent = sum(price * math.log2(max(candidate.figures[name].value, HAIR)) for name, price in self.prices.items())
        return spent - candidate.figures[ACCURACY].value

    def pick(self, candidates: Sequence[Candidate]) -> Candidate:
        return min(within_reach(candidates, self.reach), key=lambda c: (self.cost(c), c.rank))

    def ties(self, pick: Candidate, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        mine = self._range(pick)
        within = within_reach(candidates, self.reach)
        return tuple(c for c in within if c is not pick and self._range(c)[0] <= mine[1])

    def behind(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        short = best_accuracy(candidates) - self.reach - other.figures[ACCURACY].value
        if short > HAIR:
            accuracy = f"its accuracy, {other.figures[ACCURACY].value:.2f} %"
            return f"{accuracy}, is {short:.2f} points short of what is within reach of the best"
        return f"{self.cost(other) - self.cost(pick):.2f} points behind the pick: {self._apart(other, pick)}"

    def needs(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        if missing := accuracy_missing(other, candidates, self.reach):
            return missing
        behind = self.cost(other) - self.cost(pick)
        latency = other.figures[LATENCY].value * 2 ** (-behind / self.prices[LATENCY])
        return f"needs {behind:.2f} points more, or a latency under {latency:.3g} ms"

    def changes(self, pick: Candidate, candidates: Sequence[Candidate]) -> list[Change]:
        others = [candidate for candidate in within_reach(candidates, self.reach) if candidate is not pick]
        if not others:
            return []
        next_one = min(others, key=lambda c: (self.cost(c), c.rank))
        behind = self.cost(next_one) - self.cost(pick)
        accuracy = next_one.figures[ACCURACY]
        half = 0.0 if accuracy.bounds is None else accuracy.bounds[1] - accuracy.value
        text = f"an accuracy of {next_one.name} {behind:.2f} points higher"
        found = [Change(text, next_one.name, behind / half if half else behind)]
        return found + [change for name in self.prices for change in self._by_price(name, pick, others)]

    def _by_price(self, name: str, pick: Candidate, others: Sequence[Candidate]) -> list[Change]:
        """The nearest price of a halving, lower and higher, at which another one costs as little."""
        now = self.prices[name]
        found: dict[bool, tuple[float, Candidate]] = {}
        for other in others:
            doublings = math.log2(max(other.figures[name].value, HAIR) / max(pick.figures[name].value, HAIR))
            if abs(doublings) < HAIR:
                continue
            price = now - (self.cost(other) - self.cost(pick)) / doublings
            side = price > now
            if price >= _LEAST_PRICE and (side not in found or abs(price - now) < abs(found[side][0] - now)):
                found[side] = price, other
        title = {LATENCY: "the latency", SIZE: "the size"}.get(name, name)
        return [
            Change(
                f"halving {title} being worth {'over' if side else 'under'} {price:.2f} points in the place of {now:g}",
                other.name,
                abs(price / now - 1),
            )
            for side, (price, other) in found.items()
        ]

    def _range(self, candidate: Candidate) -> tuple[float, float]:
        """The cost at both ends of what the intervals of accuracy and latency leave; without one, any."""
        ends = [candidate.figures[axis.figure].bounds for axis in self.axes]
        if any(end is None for end in ends):
            return -math.inf, math.inf
        least, most = -_of(ends, 0)[1], -_of(ends, 0)[0]
        for axis, end in zip(self.axes[1:], ends[1:], strict=True):
            assert end is not None
            least += self.prices[axis.figure] * math.log2(max(end[0], HAIR))
            most += self.prices[axis.figure] * math.log2(max(end[1], HAIR))
        return least, most

    def _apart(self, other: Candidate, pick: Candidate) -> str:
        points = other.figures[ACCURACY].value - pick.figures[ACCURACY].value
        times = (
            f"{other.figures[name].value / pick.figures[name].value:.2f} times the {title}"
            for name, title in ((LATENCY, "latency"), (SIZE, "size"))
        )
        return ", ".join((f"{points:+.2f} points of accuracy", *times))


def _of(ends: Sequence[tuple[float, float] | None], index: int) -> tuple[float, float]:
    end = ends[index]
    assert end is not None
    return end
