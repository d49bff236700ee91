"""The rules by which one of several candidates is picked. Each says why another is not, and what would turn it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vlm_contract.codec import Absent
from vlm_report.decision.candidates import ACCURACY, ENERGY, GAP, LATENCY, MEMORY, Candidate
from vlm_report.decision.fronts import Axis, pareto_front
from vlm_report.decision.spreads import CLAIM_PERCENT, overlap, same_latency

ACCURACY_REACH_POINTS = 1.0  # how much accuracy speed, or a smaller gap, may cost
HAIR = 1e-9  # what rounding makes of equal figures


@dataclass(frozen=True)
class Change:
    """Something that would make another candidate the pick."""

    text: str
    to: str  # the name of the candidate that would be picked
    share: float  # how far it is away, as a share of what would change: 0 is nothing at all


class Choice(Protocol):
    """Takes candidates that have every figure of `axes`, and of which at least one is."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What is compared."""

    @property
    def reach(self) -> float:
        """Points of accuracy below the best that may be picked."""

    def pick(self, candidates: Sequence[Candidate]) -> Candidate:
        """One of the Pareto front."""

    def ties(self, pick: Candidate, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Those that the intervals do not tell from the pick."""

    def behind(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        """Why another one is not the pick, in figures."""

    def needs(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        """What figures another one would have to have to be the pick; empty where nothing else is to be said."""

    def changes(self, pick: Candidate, candidates: Sequence[Candidate]) -> list[Change]:
        """What of the rule or of the figures would turn the choice."""


ACCURATE = Axis(ACCURACY, "accuracy", more=True)
FAST = Axis(LATENCY, "latency")


@dataclass(frozen=True)
class Fastest:
    """The fastest within reach of the best accuracy; of those as fast, the one that takes least of `then`."""

    reach: float = ACCURACY_REACH_POINTS
    then: tuple[str, ...] = ()  # figures, where all of those as fast have them
    axes: tuple[Axis, ...] = (FAST, ACCURATE)

    def pick(self, candidates: Sequence[Candidate]) -> Candidate:
        within = within_reach(pareto_front(candidates, self.axes), self.reach)
        fastest = min(within, key=lambda candidate: candidate.rank)
        left = [each for each in within if same_latency(each.figures[LATENCY], fastest.figures[LATENCY])]
        for name in self.then:
            left = _least(left, name)
        return min(left, key=lambda candidate: candidate.rank)

    def ties(self, pick: Candidate, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        within = within_reach(candidates, self.reach)
        return tuple(c for c in within if c is not pick and same_latency(pick.figures[LATENCY], c.figures[LATENCY]))

    def behind(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        short = best_accuracy(candidates) - self.reach - other.figures[ACCURACY].value
        if short > HAIR:
            accuracy = f"its accuracy, {other.figures[ACCURACY].value:.2f} %"
            return f"{accuracy}, is {short:.2f} points short of what is within reach of the best"
        if same_latency(pick.figures[LATENCY], other.figures[LATENCY]):
            return "a tie in latency: neither can be called faster"
        return f"{other.figures[LATENCY].value / pick.figures[LATENCY].value:.2f} times the pick's latency"

    def needs(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        missing = accuracy_missing(other, candidates, self.reach)
        return missing or f"needs a latency under {pick.figures[LATENCY].value:.3g} ms"

    def changes(self, pick: Candidate, candidates: Sequence[Candidate]) -> list[Change]:
        within = within_reach(candidates, self.reach)
        return [
            *self._by_reach(pick, candidates),
            *self._by_accuracy(pick, candidates),
            *self._by_latency(pick, [candidate for candidate in within if candidate is not pick]),
        ]

    def _by_reach(self, pick: Candidate, candidates: Sequence[Candidate]) -> list[Change]:
        """A wider reach that lets in a faster one, and a narrower one that leaves out the pick."""
        found, best = [], best_accuracy(candidates)
        faster = [c for c in candidates if c.rank < pick.rank and best - c.figures[ACCURACY].value > self.reach]
        if faster:
            needed = min(best - c.figures[ACCURACY].value for c in faster)
            to = Fastest(needed + HAIR, self.then).pick(candidates)
            text = f"a reach of {needed:.2f} points of accuracy in the place of {self.reach:g}"
            found.append(Change(text, to.name, needed / self.reach - 1))
        given = best - pick.figures[ACCURACY].value
        if given > HAIR:
            to = Fastest(given - HAIR, self.then).pick(candidates)
            text = f"a reach under {given:.2f} points in the place of {self.reach:g}"
            found.append(Change(text, to.name, 1 - given / self.reach))
        return found

    def _by_accuracy(self, pick: Candidate, candidates: Sequence[Candidate]) -> list[Change]:
        """The pick's own accuracy, where its interval reaches beyond what the rule allows. What blurs it blurs that of
        the other precisions of its model as much.
        """
        accuracy, others = pick.figures[ACCURACY], [c for c in candidates if c.model != pick.model]
        if not others or accuracy.bounds is None:
            return []
        margin = accuracy.value - (best_accuracy(others) - self.reach)
        half = accuracy.value - accuracy.bounds[0]
        if half <= margin:
            return []
        text = f"an accuracy of the pick {max(margin, 0):.2f} points lower, which its interval allows"
        return [Change(text, self.pick(others).name, max(margin, 0) / half)]

    def _by_latency(self, pick: Candidate, rivals: Sequence[Candidate]) -> list[Change]:
        if not rivals:
            return []
        rival = min(rivals, key=lambda candidate: candidate.rank)
        mine, its = pick.figures[LATENCY], rival.figures[LATENCY]
        if same_latency(mine, its):
            again = " again" if pick.evidence == "measured" else ""
            return [Change(f"measuring both{again}, as their latency is not told apart", rival.name, 0.0)]
        share = 1 - mine.value / its.value
        return [Change(f"a latency of {rival.name} that is {100 * share:.0f} % lower", rival.name, share)]


@dataclass(frozen=True)
class MostAccurate:
    """The most accurate; of those that its interval does not tell apart one whose gap is smaller by over the reach."""

    reach: float = ACCURACY_REACH_POINTS
    axes: tuple[Axis, ...] = (ACCURATE, Axis(GAP, "overfitting gap"))

    def pick(self, candidates: Sequence[Candidate]) -> Candidate:
        front = pareto_front(candidates, self.axes)
        best = max(front, key=lambda c: c.figures[ACCURACY].value)
        alike = [c for c in within_reach(front, self.reach) if overlap(best.figures[ACCURACY], c.figures[ACCURACY])]
        least = min(max(0.0, c.figures[GAP].value) for c in alike)  # below 0 nothing is overfitted
        return max(
            (c for c in alike if c.figures[GAP].value <= least + self.reach), key=lambda c: c.figures[ACCURACY].value
        )

    def ties(self, pick: Candidate, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        return tuple(c for c in candidates if c is not pick and overlap(pick.figures[ACCURACY], c.figures[ACCURACY]))

    def behind(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        points = pick.figures[ACCURACY].value - other.figures[ACCURACY].value
        gaps = other.figures[GAP].value - pick.figures[GAP].value
        gap = f"its overfitting gap is {abs(gaps):.2f} points {'wider' if gaps > 0 else 'narrower'}"
        if abs(points) < 0.005:
            return f"as accurate, and {gap}"
        if points < 0:
            return f"{-points:.2f} points more accurate, which the intervals do not tell apart, and {gap}"
        sure = "" if not overlap(pick.figures[ACCURACY], other.figures[ACCURACY]) else ", which the intervals allow for"
        return f"{points:.2f} points less accurate{sure}; {gap}"

    def needs(self, other: Candidate, pick: Candidate, candidates: Sequence[Candidate]) -> str:
        points = pick.figures[ACCURACY].value - other.figures[ACCURACY].value
        return f"needs {points:.2f} points more" if points > 0.005 else ""

    def changes(self, pick: Candidate, candidates: Sequence[Candidate]) -> list[Change]:
        others = [candidate for candidate in candidates if candidate is not pick]
        if not others:
            return []
        rival = self.pick(others)
        mine, its = pick.figures[ACCURACY], rival.figures[ACCURACY]
        needed = max(0.0, mine.value - its.value)
        half = 0.0 if its.bounds is None else its.bounds[1] - its.value
        allowed = ", which its interval allows" if needed <= half else ""
        text = f"an accuracy of {rival.model.label} {needed:.2f} points higher{allowed}"
        return [Change(text, rival.name, needed / half if half else needed)]


def accuracy_missing(other: Candidate, candidates: Sequence[Candidate], reach: float) -> str:
    """What one lacks of the accuracy that is within reach of the best; empty where it lacks nothing."""
    short = best_accuracy(candidates) - reach - other.figures[ACCURACY].value
    if short <= HAIR:
        return ""
    images = other.images
    of_them = "" if isinstance(images, Absent) else f", {math.ceil(short / 100 * images - HAIR)} of its {images} images"
    return f"needs {short:.2f} points more{of_them}"


def best_accuracy(candidates: Sequence[Candidate]) -> float:
    return max(candidate.figures[ACCURACY].value for candidate in candidates)


def within_reach(candidates: Sequence[Candidate], reach: float) -> list[Candidate]:
    """Those within so many points of the most accurate."""
    best = best_accuracy(candidates)
    return [candidate for candidate in candidates if candidate.figures[ACCURACY].value >= best - reach]


def _least(candidates: list[Candidate], name: str) -> list[Candidate]:
    """Those that take the least of a figure, or so little more that it is no claim; all where one does not tell."""
    if not all(name in candidate.figures for candidate in candidates):
        return candidates
    most = min(candidate.figures[name].value for candidate in candidates) * (1 + CLAIM_PERCENT / 100)
    return [candidate for candidate in candidates if candidate.figures[name].value <= most]


EDGE = Fastest(then=(ENERGY, MEMORY))
