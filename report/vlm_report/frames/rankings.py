"""Models of one regime in the order of their validation accuracy, and of their resistance to overfitting."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlm_contract.codec import Absent
from vlm_report.decision.spreads import wilson
from vlm_report.frames.rows import Spread, joined
from vlm_report.frames.seeds import Group, Place, by_regime

By: TypeAlias = Literal["validation accuracy", "overfitting resistance"]
COLUMNS: dict[By, str] = {
    "validation accuracy": "validation_accuracy_percent",
    "overfitting resistance": "overfitting_gap_points",
}
EVIDENCE = ("measured", "reported")  # of a run; each is ranked by itself


@dataclass(frozen=True)
class Ranked:
    """One model at its place. The value is the mean over the seeds, low and high the least and the largest."""

    by: By
    data: str
    fingerprint: str
    samples: int
    rank: int
    series: str
    model: str
    floor: bool
    value: float  # percent, or points between training and validation accuracy
    value_low: float
    value_high: float
    seeds: int
    tied_with: tuple[str, ...]  # series that may be as good: see `_doubt`
    evidence: str
    record: str


def ranked_rows(groups: Iterable[Group]) -> list[Ranked]:
    """Both rankings of each regime: of what was measured, then, by itself, of what documents report."""
    regimes = by_regime(list(groups))
    return [
        row
        for by in COLUMNS
        for place, rivals in regimes.items()
        for evidence in EVIDENCE
        for row in _ranking(by, place, [group for group in rivals if group.evidence == evidence])
    ]


def _ranking(by: By, place: Place, groups: Sequence[Group]) -> list[Ranked]:
    spreads = [(group, group.spread(COLUMNS[by])) for group in groups]
    known = [(group, found) for group, found in spreads if not isinstance(found, Absent)]
    sign = -1 if by == "validation accuracy" else 1
    ranked = sorted(known, key=lambda pair: (sign * pair[1].mean, pair[0].series))
    return [_row(by, place, rank, group, found, ranked) for rank, (group, found) in enumerate(ranked, 1)]


def _row(
    by: By, place: Place, rank: int, group: Group, found: Spread, ranked: Sequence[tuple[Group, Spread]]
) -> Ranked:
    data, fingerprint, samples = place
    return Ranked(
        by=by,
        data=data,
        fingerprint=fingerprint,
        samples=samples,
        rank=rank,
        series=group.series,
        model=group.model,
        floor=group.first.floor,
        value=found.mean,
        value_low=found.low,
        value_high=found.high,
        seeds=len(group.runs),
        tied_with=_tied_with(by, group, ranked),
        evidence=group.evidence,
        record=joined(group.records),
    )


def _tied_with(by: By, group: Group, ranked: Sequence[tuple[Group, Spread]]) -> tuple[str, ...]:
    doubts = [(rival, _doubt(by, rival, found)) for rival, found in ranked]
    low, high = next(ends for rival, ends in doubts if rival is group)
    return tuple(
        rival.series for rival, (least, most) in doubts if rival is not group and low <= most and least <= high
    )


def _doubt(by: By, group: Group, found: Spread) -> tuple[float, float]:
    """Between which figures the true one may be: the range over the seeds; of an accuracy at least what so few images
    leave open (Wilson's 95 % interval of a share).
    """
    images = [run.validation_samples for run in group.runs]
    known = [count for count in images if not isinstance(count, Absent)]
    if by != "validation accuracy" or len(known) < len(images):
        return found.low, found.high
    low, high = wilson(found.mean, min(known))
    return min(low, found.low), max(high, found.high)
