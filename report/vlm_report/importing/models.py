"""The networks that a document may mean by a name, and what is known of their size."""

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vlm_contract.codec import decode

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("models.toml")
MOST_CLASSES = 1000  # of ImageNet, whose classifier some leave in place
WITHIN = 0.01  # counters differ in what they call a parameter


@dataclass(frozen=True)
class KnownModel:
    """A model of timm; sizes of images, in pixels, are the keys."""

    timm: str
    names: tuple[str, ...]  # that documents give it
    width: int  # features that the classifier reads
    parameters: dict[str, int]  # without the classifier
    macs: dict[str, int]  # with one of 10 classes

    @property
    def parameters_range(self) -> tuple[int, int]:
        """From no classifier to one of 1000 classes, whatever the size of the image."""
        return min(self.parameters.values()), max(self.parameters.values()) + MOST_CLASSES * (self.width + 1)

    def has(self, parameters: float, rounding: float = 0.0) -> bool:
        """Whether it may have so many, up to what the document's rounding hides."""
        low, high = self.parameters_range
        return low * (1 - WITHIN) - rounding <= parameters <= high * (1 + WITHIN) + rounding


def models_called(name: str) -> tuple[KnownModel, ...]:
    """Those that a name may mean: MobileNetV3 is the large one or the small one."""
    word = _word(name)
    return tuple(model for model in known_models() if word in {_word(known) for known in (model.timm, *model.names)})


@lru_cache
def known_models() -> tuple[KnownModel, ...]:
    rows = tomllib.loads(FILE.read_text())["models"]
    return tuple(decode(KnownModel, row, f"models[{index}]") for index, row in enumerate(rows))


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
