"""Runs that differ in the seed alone, as one mark with a range."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean
from typing import Any

from vlm_report.charts.sources import Row, grouped, has


@dataclass(frozen=True)
class Seeds:
    """Accuracies in percent over the seeds of one series on as many samples."""

    series: str
    samples: int
    evidence: str
    train: float  # mean
    validation: float  # mean
    low: float  # least validation accuracy
    high: float
    count: int
    parameters: Any  # int or Absent

    @property
    def written(self) -> str:
        """The validation accuracy as tables write it."""
        return f"{self.validation:.2f} %" + (
            f" ({self.low:.2f}–{self.high:.2f}, {self.count} seeds)" * (self.count > 1)
        )


def over_seeds(runs: Iterable[Row]) -> list[Seeds]:
    """A mark for each series, number of samples and evidence."""
    able = [run for run in runs if has(run, "samples", "train_accuracy_percent", "validation_accuracy_percent")]
    groups = grouped(able, lambda run: (run["series"], run["samples"], run["evidence"]))
    return sorted(map(_seeds, groups.values()), key=lambda seeds: (seeds.series, seeds.samples))


def _seeds(runs: list[Row]) -> Seeds:
    validation = [run["validation_accuracy_percent"] for run in runs]
    return Seeds(
        series=runs[0]["series"],
        samples=runs[0]["samples"],
        evidence=runs[0]["evidence"],
        train=mean(run["train_accuracy_percent"] for run in runs),
        validation=mean(validation),
        low=min(validation),
        high=max(validation),
        count=len(runs),
        parameters=runs[0]["parameters"],
    )
