"""How a run is trained: its hyperparameters, their limits, and the recipes by name (`recipes.toml`)."""

import math
import sys
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from vlm_contract.card import Scalar
from vlm_contract.errors import VlmError, check_known

DEFAULT = "scratch"
RECIPES = (DEFAULT, "reference", "finetune", "probe")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")  # of the steps
PRETRAINED = ("finetune", "probe")  # those that start from weights
CHOICES = {
    "schedule": ("cosine", "constant"),
    "policy": ("none", "trivial", "rand"),
    "mix": ("none", "mixup", "cutmix", "both"),
}
# Least and greatest value. Batch norm needs two images.
LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (2, 65_536),
    "learning_rate": (1e-12, 1e30),
    "weight_decay": (0, 1e6),
    "warmup_epochs": (0, 100_000),
    "shift_pixels": (0, 256),
    "erase": (0, 1),
    "mix_alpha": (1e-6, 1e6),
    "label_smoothing": (0, 0.99),
    "clip_norm": (0, 1e12),
    "ema": (0, 0.999999),
    "patience": (0, 100_000),
}


@dataclass(frozen=True)
class Recipe:
    """AdamW, its schedule, and what is done to the images. Raises VlmError for a value out of its range."""

    name: str = "own"  # of `recipe_named`, or its maker's own settings
    adapt: str = "stock"  # how the network meets small images
    frozen: bool = False  # only the classifier learns, on features that are computed once
    epochs: int = 15
    batch_size: int = 32  # the least; an epoch is cut into equal batches
    learning_rate: float = 2e-3  # the highest
    schedule: str = "cosine"  # down to zero, or constant; both after a linear warm-up
    warmup_epochs: int = 2  # at most half of all
    weight_decay: float = 0.05  # of weights; biases, normalisations and GRN are spared
    shift_pixels: int = 2  # an image is moved by up to so many, in both directions
    flip: bool = False  # left and right, one image in two
    policy: str = "none"  # TrivialAugment or RandAugment
    erase: float = 0.0  # share of the images of which a box is erased
    mix: str = "none"  # mixup, cutmix, or one of the two for each batch
    mix_alpha: float = 1.0
    label_smoothing: float = 0.0
    clip_norm: float = 0.0  # of all gradients together; 0: none
    ema: float = 0.0  # decay of the averaged weights, which are then those scored and kept; 0: none
    patience: int = 0  # epochs without a better one that end the run; 0: none do

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                expected = "more than 0" if 0 < least < 1 else f"{least:g} or more"
                raise _wrong(name, value, expected if not value > most else f"{most:g} or less")
        for name, choices in CHOICES.items():
            check_known(name, getattr(self, name), choices)

        if self.frozen and (self.augments or self.ema):
            raise VlmError(
                "A probe learns on features that are computed once: no augmentation and no average reach them.",
                hint="--recipe finetune",
            )

    @property
    def augments(self) -> bool:
        """Whether an image differs from epoch to epoch."""
        return bool(self.shift_pixels or self.flip or self.erase) or (self.policy, self.mix) != ("none", "none")

    def hyperparameters(self) -> dict[str, Scalar]:
        """Every setting, as the card keeps it; name and adaptation have fields of their own there."""
        settings = {name: value for name, value in asdict(self).items() if name not in ("name", "adapt")}
        return {"optimizer": "AdamW", **settings}


def recipe_named(name: str, model: str, data: str = "", **given: Scalar | None) -> Recipe:
    """The recipe `name` for a timm model: its own settings, what the model's family changes, the data, what is given.

    Raises VlmError for an unknown recipe.
    """
    check_known("recipe", name, RECIPES)
    table = _recipes()
    own = table.get(name, {})
    settings = {key: value for key, value in own.items() if not isinstance(value, dict)}
    settings |= own.get(family_of(model), {}) | table["data"].get(data, {})
    settings |= {key: value for key, value in given.items() if value is not None}
    return Recipe(name=name, **settings)


def family_of(model: str) -> str:
    """The family whose defaults suit a timm model; `cnn` where no other is known."""
    families: dict[str, list[str]] = _recipes()["families"]
    return next((family for family, starts in families.items() if model.startswith(tuple(starts))), "cnn")


def _recipes() -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(files("vlm_train").joinpath("recipes.toml").read_text())


def _wrong(name: str, value: Scalar, expected: str) -> VlmError:
    return VlmError(f"{name.replace('_', ' ')} is {value}; expected {expected}.", hint="vlm-train --help")
