"""Where else a run's figures go, by choice: one module with one class `Logger` each. The folder is the registry."""

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from vlm_contract.card import CheckpointCard, Scalar, Scores
from vlm_contract.console import require_extra
from vlm_contract.errors import check_known


class Logger(Protocol):
    """Takes the figures of one run while it is trained; opened by `with`, before the first epoch."""

    def __init__(self, folder: Path, run: str, hyperparameters: Mapping[str, Scalar]) -> None: ...

    def __enter__(self) -> "Logger": ...

    def __exit__(self, *_: object) -> None: ...

    def epoch(self, scores: Scores, learning_rate: float) -> None:
        """One epoch has ended; a resumed run may hand over one that was logged before it was cut off."""

    def finished(self, card: CheckpointCard) -> None:
        """The run has ended well."""


def logger_names() -> tuple[str, ...]:
    """Every logger by the name of its module."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def logger_named(name: str, folder: Path, run: str, hyperparameters: Mapping[str, Scalar]) -> Logger:
    """The logger `name` of the run that lives in `folder`, which is `runs/<run>` of a workspace.

    Raises VlmError for an unknown name, for a missing package and where the logger cannot write.
    """
    check_known("log", name, logger_names())
    kind: type[Logger] = import_module(f"{__name__}.{name}").Logger
    try:
        return kind(folder, run, hyperparameters)
    except ImportError as error:
        raise require_extra(name, error) from None


def figures_of(scores: Scores, learning_rate: float) -> dict[str, float]:
    """The finite figures of an epoch, by their names in a logger."""
    return _finite(
        {
            "accuracy_percent/train": scores.train_accuracy_percent,
            "accuracy_percent/validation": scores.validation_accuracy_percent,
            "loss/train": scores.train_loss,
            "loss/validation": scores.validation_loss,
            "learning_rate": learning_rate,
        }
    )


def closing_figures_of(card: CheckpointCard) -> dict[str, float]:
    """The finite figures of a finished run, by their names in a logger."""
    return _finite(
        {
            "best/epoch": card.best.epoch,
            "best/accuracy_percent/train": card.best.train_accuracy_percent,
            "best/accuracy_percent/validation": card.best.validation_accuracy_percent,
            "best/accuracy_percent/test": card.test_accuracy_percent,
            "wall_s": card.effort.wall_s,
            "images_per_s": card.effort.images_per_s,
        }
    )


def _finite(figures: Mapping[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in figures.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }
