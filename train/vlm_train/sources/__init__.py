"""The sources of images: one module with one function `opened` each. The folder is the registry."""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import VlmError

Pixels: TypeAlias = npt.NDArray[np.uint8]
Whole: TypeAlias = npt.NDArray[np.int64]
Show: TypeAlias = Callable[[str], None]

IMAGE_SIZE = 32  # pixels, square, of the images of every source that is no folder


@dataclass(frozen=True)
class Images:
    """Labelled images: in memory, or mapped from a file, whose pages come from disk when they are needed."""

    store: Pixels  # [m, h, w, c]
    labels: Whole  # [n], indices of classes
    rows: Whole | None = None  # [n], where each image stands in the store; in order where None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def resident(self) -> bool:
        """Whether they are in memory."""
        return not isinstance(self.store, np.memmap)

    @property
    def pixels(self) -> Pixels:
        """All of them, in memory and contiguous: [n, h, w, c]. Read from disk where they are not resident."""
        if self.resident and self.rows is None:
            return np.ascontiguousarray(self.store)
        return self.batch(np.arange(len(self)))

    @property
    def image_size(self) -> int:
        """Pixels, square."""
        return int(self.store.shape[1])

    def batch(self, indices: Whole) -> Pixels:
        """Copies of some, in the order of `indices`."""
        return np.ascontiguousarray(self.store[indices if self.rows is None else self.rows[indices]])

    def take(self, indices: Whole) -> "Images":
        """Some of them; nothing is copied from disk."""
        if self.resident:
            return Images(self.batch(indices), self.labels[indices])
        return Images(self.store, self.labels[indices], indices if self.rows is None else self.rows[indices])

    def loaded(self) -> "Images":
        """The same, in memory."""
        return Images(self.pixels, self.labels)


@dataclass(frozen=True)
class Opened:
    """What a source holds."""

    name: str  # in tables and in the names of runs
    source: str  # what opens it again
    classes: tuple[str, ...]
    fingerprint: str  # sha256 that stands for all images and labels
    train: Images
    validation: Images | None = None  # where the source has such a part of its own
    test: Images | None = None  # where the source has such a part of its own
    damaged: int = 0  # files that hold no readable image, and were left out
    notes: tuple[str, ...] = ()  # what its user should know, one sentence each


def opened(source: str, image_size: int | None, show: Show) -> Opened:
    """The images behind `name` or `name:argument`. Raises VlmError for a source that is unknown, absent or damaged."""
    name, _, argument = source.partition(":")
    if name not in names():
        nearest = (difflib.get_close_matches(name, names(), n=1) or names())[0]
        raise VlmError(
            f"Unknown data {name!r}; known: {', '.join(map(usage, names()))}.", hint=f"--data {usage(nearest)}"
        )
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    found: Opened = module.opened(argument, image_size, show)
    return found


def names() -> list[str]:
    """Every source, sorted."""
    return sorted(path.stem.replace("_", "-") for path in Path(__file__).parent.glob("[!_]*.py"))


def usage(name: str) -> str:
    """What to type for a source."""
    return "imagefolder:PATH" if name == "imagefolder" else name


def check_plain(name: str, argument: str, image_size: int | None) -> None:
    """Raise VlmError where a source of one fixed form is asked for another."""
    if argument:
        raise VlmError(f"{name} takes nothing after its name; found {argument!r}.", hint=f"--data {name}")
    if image_size not in (None, IMAGE_SIZE):
        raise VlmError(
            f"The images of {name} have {IMAGE_SIZE} pixels; a size is chosen for a folder of images only.",
            hint=f"--adapt upsample:{image_size}",
        )


def data_folder() -> Path:
    """Where downloads and decoded images are kept: `$VLM_DATA`, or `~/.cache/vlm-edge`."""
    return Path(os.environ.get("VLM_DATA") or "~/.cache/vlm-edge").expanduser()
