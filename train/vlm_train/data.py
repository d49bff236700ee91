"""Where images come from: open a data set, split it, take a subset, tell it apart from any other."""

import difflib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.card import Data
from vlm_contract.errors import VlmError

Pixels: TypeAlias = npt.NDArray[np.uint8]
Whole: TypeAlias = npt.NDArray[np.int64]

HELD_OUT = 0.2  # share of the images that is the test part; then share of the rest that chooses the epoch
TEST_SEED = 0  # the test part is the same for every seed


@dataclass(frozen=True)
class Images:
    """Labelled images in memory."""

    pixels: Pixels  # [n, h, w, c]
    labels: Whole  # [n], indices of classes

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Whole) -> "Images":
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class Splits:
    """The three disjoint parts of one run's data."""

    train: Images
    validation: Images  # chooses the epoch
    test: Images  # scored once, at the end
    classes: tuple[str, ...]


def open_data(name: str, samples: int | None, seed: int) -> tuple[Data, Splits]:
    """The data of a run: its description for the card, and its images.

    `samples` training images are taken, all where it is None; for one seed a smaller subset lies inside a larger one.
    Raises VlmError for an unknown name, and for fewer samples than classes or more than there are.
    """
    images, classes = _loader(name)()
    test, rest = _held_out(images.labels, np.arange(len(images)), TEST_SEED)
    validation, train = _held_out(images.labels, rest, seed)
    train = train[stratified_order(images.labels[train], seed)]
    subset = train[: _checked_samples(samples, len(train), len(classes), name)]
    data = Data(
        name=name,
        fingerprint=_sha256(images.pixels, images.labels),
        subset_fingerprint=_sha256(subset),
        samples=len(subset),
        validation_samples=len(validation),
        test_samples=len(test),
        seed=seed,
    )
    return data, Splits(images.take(subset), images.take(validation), images.take(test), classes)


def splits_of(data: Data) -> Splits:
    """The very splits that a card describes. Raises VlmError where the images found today are others."""
    found, splits = open_data(data.name, data.samples, data.seed)
    if found != data:
        raise VlmError(
            f"The images of {data.name} are not those that the run saw: its card says {data.fingerprint[:12]} "
            f"(subset {data.subset_fingerprint[:12]}), found {found.fingerprint[:12]} "
            f"(subset {found.subset_fingerprint[:12]}).",
            hint=f"vlm-train --data {data.name} --overwrite",
        )
    return splits


def normalised(pixels: Pixels, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float32]:
    """uint8 [n, h, w, c] as the float32 [n, c, h, w] that a model takes; mean and std are of pixels scaled to 0..1."""
    scaled = pixels.astype(np.float32) / np.float32(255)
    whitened = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(whitened.transpose(0, 3, 1, 2))


def mean_and_std(pixels: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel of uint8 [n, h, w, c] scaled to 0..1, to four digits."""
    scaled = pixels.reshape(-1, pixels.shape[3]) / 255
    return tuple(scaled.mean(axis=0).round(4).tolist()), tuple(scaled.std(axis=0).round(4).tolist())


def stratified_order(labels: Whole, seed: int) -> Whole:
    """A seeded order of `labels` every prefix of which holds the classes in the proportions of the whole.

    The k-th image of a class of n stands at k/n. So subsets are nested, and as many images as classes show every class.
    """
    # The stream of RandomState is frozen (NEP 19); that of default_rng may change between versions of numpy.
    shuffled = np.random.RandomState(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = np.arange(len(members)) / len(members)
    return np.asarray(shuffled[np.argsort(place[shuffled], kind="stable")], np.int64)


def _held_out(labels: Whole, indices: Whole, seed: int) -> tuple[Whole, Whole]:
    """`indices` as a stratified held-out part and the rest."""
    ordered = indices[stratified_order(labels[indices], seed)]
    size = math.ceil(HELD_OUT * len(indices))
    return ordered[:size], ordered[size:]


def _checked_samples(samples: int | None, available: int, classes: int, name: str) -> int:
    if samples is None:
        return available
    if not classes <= samples <= available:
        raise VlmError(
            f"{samples} training samples were asked of {name}, which has {available} in {classes} classes.",
            hint=f"--samples N with N from {classes} to {available}",
        )
    return samples


def _sha256(*arrays: npt.NDArray[np.generic]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _digits() -> tuple[Images, tuple[str, ...]]:
    """UCI's handwritten digits (digits.LICENCE.md): 8x8 grey values 0..16, brought to 32x32x3 bytes."""
    with files("vlm_train").joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        grey = np.rint(arrays["images"] * (255 / 16)).astype(np.uint8)
        labels = arrays["labels"].astype(np.int64)
    enlarged = grey.repeat(4, axis=1).repeat(4, axis=2)
    return Images(enlarged[..., None].repeat(3, axis=3), labels), tuple("0123456789")


DATA: dict[str, Callable[[], tuple[Images, tuple[str, ...]]]] = {"digits": _digits}


def _loader(name: str) -> Callable[[], tuple[Images, tuple[str, ...]]]:
    if name not in DATA:
        nearest = difflib.get_close_matches(name, DATA, n=1) or sorted(DATA)
        raise VlmError(f"Unknown data {name!r}; known: {', '.join(sorted(DATA))}.", hint=f"--data {nearest[0]}")
    return DATA[name]
