"""TensorBoard event files in the run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm_contract.card import CheckpointCard, Scalar, Scores
from vlm_train.loggers import closing_figures_of, figures_of

FOLDER = "tensorboard"


class Logger:
    """Writes scalars by epoch and, at the end, the hyperparameters beside the figures of the best epoch."""

    def __init__(self, folder: Path, run: str, hyperparameters: Mapping[str, Scalar]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._open: Any = SummaryWriter
        self._writer: Any = None
        self._folder = folder / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hyperparameters = dict(hyperparameters)

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def epoch(self, scores: Scores, learning_rate: float) -> None:
        # Readers drop what earlier files here hold of this epoch and later ones: it was cut off, or overwritten.
        self._writer = self._writer or self._open(str(self._folder), purge_step=scores.epoch)
        for name, value in figures_of(scores, learning_rate).items():
            self._writer.add_scalar(name, value, scores.epoch)
        self._writer.flush()

    def finished(self, card: CheckpointCard) -> None:
        self._writer = self._writer or self._open(str(self._folder))
        figures = closing_figures_of(card)
        self._writer.add_hparams(self._hyperparameters, figures, run_name=".", global_step=card.best.epoch)
