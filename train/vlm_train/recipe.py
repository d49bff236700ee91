"""How a run is trained: its hyperparameters and their limits."""

import math
from dataclasses import asdict, dataclass

from vlm_contract.errors import VlmError

_LEAST = {"epochs": 1, "batch_size": 2, "warmup_epochs": 0, "weight_decay": 0.0, "shift_pixels": 0}


@dataclass(frozen=True)
class Recipe:
    """AdamW under a cosine schedule. Raises VlmError for a value out of its range."""

    epochs: int = 15
    batch_size: int = 32  # the least; an epoch is cut into equal batches. Batch norm needs two images
    learning_rate: float = 2e-3  # at the end of the warm-up
    weight_decay: float = 0.05  # of weights; biases and normalisations are spared
    warmup_epochs: int = 2  # at most half of all
    shift_pixels: int = 2  # an image is moved by up to so many, in both directions

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            _check(name, getattr(self, name), getattr(self, name) >= least, f"{least} or more")
        _check("learning_rate", self.learning_rate, self.learning_rate > 0, "more than 0")

    def hyperparameters(self) -> dict[str, bool | int | float | str]:
        """Every setting, as the card keeps it."""
        return {"optimizer": "AdamW", "schedule": "linear warm-up, cosine", **asdict(self)}


def _check(name: str, value: float, holds: bool, expected: str) -> None:
    if not (holds and math.isfinite(value)):
        raise VlmError(f"{name.replace('_', ' ')} is {value}; expected {expected}.", hint="vlm-train --help")
