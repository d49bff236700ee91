"""Sample efficiency: a model's accuracy against the number of samples, over its seeds."""

from collections.abc import Iterable
from dataclasses import dataclass

from vlm_contract.codec import Absent
from vlm_report.frames.rows import joined, part
from vlm_report.frames.run import Run
from vlm_report.frames.seeds import Group, groups_of


@dataclass(frozen=True)
class Sample:
    """One model, with one set of settings, in one regime. Low and high are the least and the largest over the seeds."""

    model: str
    variant: str
    series: str
    family: str | Absent
    floor: bool
    data: str | Absent
    fingerprint: str
    samples: int | Absent
    seeds: int  # runs
    train_accuracy_percent: float | Absent
    train_accuracy_percent_low: float | Absent
    train_accuracy_percent_high: float | Absent
    validation_accuracy_percent: float | Absent
    validation_accuracy_percent_low: float | Absent
    validation_accuracy_percent_high: float | Absent
    validation_accuracy_percent_deviation: float | Absent  # sample standard deviation
    test_accuracy_percent: float | Absent
    test_accuracy_percent_low: float | Absent
    test_accuracy_percent_high: float | Absent
    overfitting_gap_points: float | Absent
    overfitting_gap_points_low: float | Absent
    overfitting_gap_points_high: float | Absent
    wall_s: float | Absent
    wall_s_low: float | Absent
    wall_s_high: float | Absent
    parameters: int | Absent
    macs: int | Absent
    approximate: tuple[str, ...]
    evidence: str | Absent
    to_type: str
    record: str | Absent


SPREAD = (
    "train_accuracy_percent",
    "validation_accuracy_percent",
    "test_accuracy_percent",
    "overfitting_gap_points",
    "wall_s",
)


def sample_rows(runs: Iterable[Run]) -> list[Sample]:
    """By model, then by the number of samples; what is missing there with the command that fills it."""
    runs = list(runs)
    rows = [_row(group) for group in groups_of(runs)]
    rows += [_missing(run) for run in runs if isinstance(run.evidence, Absent) and not run.floor]
    return sorted(rows, key=lambda row: (row.floor, row.series, str(row.data), row.fingerprint, _size(row), row.seeds))


def _row(group: Group) -> Sample:
    first = group.first
    return Sample(
        model=first.model,
        variant=first.variant,
        series=first.series,
        family=first.family,
        floor=first.floor,
        data=first.data,
        fingerprint=first.fingerprint,
        samples=first.samples,
        seeds=len(group.runs),
        **_figures(group),
        parameters=first.parameters,
        macs=first.macs,
        approximate=first.approximate,
        evidence=group.evidence,
        to_type="",
        record=joined(group.records),
    )


def _figures(group: Group) -> dict[str, float | Absent]:
    spreads = {name: group.spread(name) for name in SPREAD}
    figures = {
        f"{name}{suffix}": part(found, of)
        for name, found in spreads.items()
        for suffix, of in (("", "mean"), ("_low", "low"), ("_high", "high"))
    }
    deviation = part(spreads["validation_accuracy_percent"], "deviation")
    return {**figures, "validation_accuracy_percent_deviation": deviation}


def _missing(run: Run) -> Sample:
    assert isinstance(run.evidence, Absent)
    names = [f"{name}{suffix}" for name in SPREAD for suffix in ("", "_low", "_high")]
    return Sample(
        model=run.model,
        variant="",
        series=run.series,
        family=run.family,
        floor=run.floor,
        data=run.data,
        fingerprint=run.fingerprint,
        samples=run.samples,
        seeds=0,
        **dict.fromkeys([*names, "validation_accuracy_percent_deviation"], run.evidence),
        parameters=run.parameters,
        macs=run.macs,
        approximate=(),
        evidence=run.evidence,
        to_type=run.to_type,
        record=run.record,
    )


def _size(row: Sample) -> int:
    return row.samples if isinstance(row.samples, int) else 0
