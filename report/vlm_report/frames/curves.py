"""The epochs of runs, for their curves."""

from collections.abc import Iterable
from dataclasses import dataclass

from vlm_contract.card import Scores
from vlm_contract.codec import Absent
from vlm_report.frames.run import Run
from vlm_report.records import Records


@dataclass(frozen=True)
class Epoch:
    """One epoch of one run, for its curves."""

    run: str
    series: str
    data: str
    samples: int
    seed: int
    epoch: int
    kept: bool
    train_accuracy_percent: float
    validation_accuracy_percent: float
    train_loss: float
    validation_loss: float
    evidence: str
    record: str


def epochs_of(records: Records, runs: Iterable[Run]) -> list[Epoch]:
    """Every epoch of every run whose history is there."""
    paths = {records.within(path): path for path in records.cards}
    return [
        _epoch(run, scores)
        for run in runs
        if isinstance(run.record, str) and run.record in paths
        for scores in _scores(records.history(paths[run.record]))
    ]


def _scores(history: tuple[Scores, ...] | Absent) -> tuple[Scores, ...]:
    return () if isinstance(history, Absent) else history


def _epoch(run: Run, scores: Scores) -> Epoch:
    return Epoch(
        run=str(run.run),
        series=run.series,
        data=str(run.data),
        samples=run.samples,  # type: ignore[arg-type]
        seed=run.seed,  # type: ignore[arg-type]
        epoch=scores.epoch,
        kept=scores.epoch == run.epoch,
        train_accuracy_percent=scores.train_accuracy_percent,
        validation_accuracy_percent=scores.validation_accuracy_percent,
        train_loss=scores.train_loss,
        validation_loss=scores.validation_loss,
        evidence="measured",
        record=str(run.record),
    )
