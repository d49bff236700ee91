"""Candidates that no other beats in everything that a question compares."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import le

from vlm_report.decision.candidates import Candidate


@dataclass(frozen=True)
class Axis:
    """One figure that is compared."""

    figure: str  # of a candidate's figures
    title: str  # in words
    more: bool = False  # whether more is better

    def worth(self, candidate: Candidate) -> float:
        """The figure, so that less is better."""
        value = candidate.figures[self.figure].value
        return -value if self.more else value


def lacking(candidate: Candidate, axes: Iterable[Axis]) -> str:
    """Which compared figure a candidate lacks; empty where it has all."""
    missing = next((axis for axis in axes if axis.figure not in candidate.figures), None)
    return f"its {missing.title} is not known" if missing else ""


def dominates(one: Candidate, other: Candidate, axes: tuple[Axis, ...]) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better."""
    pairs = [(axis.worth(one), axis.worth(other)) for axis in axes]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def pareto_front(candidates: Iterable[Candidate], axes: tuple[Axis, ...]) -> tuple[Candidate, ...]:
    """Those that no other dominates, best in the first axis first; of equals, the first by rank."""
    placed = sorted(((tuple(axis.worth(c) for axis in axes), c) for c in candidates), key=lambda p: (p[0], p[1].rank))
    front: list[tuple[tuple[float, ...], Candidate]] = []
    for place, candidate in placed:  # none is beaten by a later one
        if not any(all(map(le, kept, place)) for kept, _ in front):
            front.append((place, candidate))
    return tuple(candidate for _, candidate in front)
