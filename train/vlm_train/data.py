"""Where images come from: open a data set, split it, take a subset, tell it apart from any other."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlm_contract.card import Data
from vlm_contract.errors import VlmError
from vlm_train.sources import Images, Opened, Pixels, Show, Whole, opened

__all__ = [
    "Images",
    "Splits",
    "identity_of",
    "mean_and_std",
    "normalised",
    "open_data",
    "splits_of",
    "stratified_order",
]

HELD_OUT_PERCENT = 20  # of the images, as the test part of a source that has none of its own
TEST_SEED = 0  # that test part is the same for every seed
FOLD = 10  # one in so many samples of a class chooses the epoch; the others are trained on
STATISTICS_BYTES = 256 << 20  # of pixels, looked at for mean and deviation: all of CIFAR, 1,783 images of 224 pixels
COUNTED_AT_ONCE = 64  # images; few stay in the processor's cache, which is three times faster
MEMORY_SHARE = 0.5  # of the free memory that images may take; larger ones stay on disk


@dataclass(frozen=True)
class Splits:
    """The three disjoint parts of one run's data."""

    train: Images
    validation: Images  # chooses the epoch
    test: Images  # scored once, at the end
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what the user should know of the source, one sentence each


def open_data(
    source: str, samples: int | None, seed: int, image_size: int | None = None, show: Show = lambda text: None
) -> tuple[Data, Splits]:
    """The data of a run: its description for the card, and its images.

    `samples` labelled images are used, all where it is None; for one seed a smaller subset lies inside a larger one.
    One in ten of each class's samples chooses the epoch, and the others are trained on: these parts are nested too. A
    folder with a validation part of its own chooses by all of that part, and trains on all samples.
    `image_size` in pixels is for folders of images; where None, the folder's images decide. `show` is told the progress
    of a download or a decoding.
    Raises VlmError for an unknown source, and for fewer samples than ten a class (one, where the validation part is
    the folder's own) or more than there are.
    """
    found = opened(source, image_size, show)
    rest, test = _parts(found)
    least = len(found.classes) * (FOLD if found.validation is None else 1)
    order = rest[stratified_order(found.train.labels[rest], seed)]
    subset = order[: _checked_samples(samples, len(rest), least, found)]
    chosen = _every_tenth(found.train.labels[subset]) & (found.validation is None)
    train = found.train.take(subset[~chosen])
    validation = found.validation or found.train.take(subset[chosen])
    data = Data(
        name=found.name,
        source=found.source,
        fingerprint=found.fingerprint,
        subset_fingerprint=_sha256(subset),
        samples=len(subset),
        train_samples=len(train),
        validation_samples=len(validation),
        test_samples=len(test),
        validation_origin=_validation_origin(found),
        test_origin=_test_origin(found),
        damaged=found.damaged,
        seed=seed,
    )
    train, validation, test = _in_memory_if_they_fit([train, validation, test])
    return data, Splits(train, validation, test, found.classes, found.notes)


def splits_of(data: Data) -> Splits:
    """The very splits that a card describes. Raises VlmError where the images found today are others."""
    found, splits = open_data(data.source, data.samples, data.seed)
    if identity_of(found) != identity_of(data):
        raise VlmError(
            f"The images of {data.name} are not those that the run saw: its card says {data.fingerprint[:12]} "
            f"(subset {data.subset_fingerprint[:12]}), found {found.fingerprint[:12]} "
            f"(subset {found.subset_fingerprint[:12]}).",
            hint=f"vlm-train --data {data.source} --overwrite",
        )
    return splits


def identity_of(data: Data) -> dict[str, str | int]:
    """What must be equal for two runs to see the same images in the same parts, wherever those lie."""
    names = ("name", "fingerprint", "subset_fingerprint", "samples", "seed")
    return {name: getattr(data, name) for name in names}


def normalised(pixels: Pixels, mean: Sequence[float], std: Sequence[float]) -> npt.NDArray[np.float32]:
    """uint8 [n, h, w, c] as the float32 [n, c, h, w] that a model takes; mean and std are of pixels scaled to 0..1."""
    scaled = pixels.astype(np.float32) / np.float32(255)
    whitened = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(whitened.transpose(0, 3, 1, 2))


def mean_and_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel of pixels scaled to 0..1, to four digits.

    Of many images, as many as make STATISTICS_BYTES, evenly spaced, wherever they lie.
    """
    most = max(1, STATISTICS_BYTES // images.store[0].nbytes)
    counts = _value_counts(images, np.arange(0, len(images), math.ceil(len(images) / most)))
    shares, values = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    means = shares @ values
    deviations = np.sqrt((shares * (values - means[:, None]) ** 2).sum(axis=1))
    return tuple(means.round(4).tolist()), tuple(deviations.round(4).tolist())


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


def _parts(found: Opened) -> tuple[Whole, Images]:
    """The images of the training part that samples may be taken of, and the test part."""
    if found.test is not None:
        return np.arange(len(found.train)), found.test
    order = stratified_order(found.train.labels, TEST_SEED)
    size = math.ceil(HELD_OUT_PERCENT / 100 * len(order))
    return order[size:], found.train.take(order[:size])


def _validation_origin(found: Opened) -> str:
    if found.validation is not None:
        return f"the {len(found.validation)} validation images of {found.name}"
    return f"one in {FOLD} of each class's samples"


def _test_origin(found: Opened) -> str:
    if found.test is not None:
        return f"the {len(found.test)} test images of {found.name}"
    return f"{HELD_OUT_PERCENT} % of {found.name}, the same for every seed"


def _every_tenth(labels: Whole) -> npt.NDArray[np.bool_]:
    """Which of `labels` stands at a tenth place among those of its class: the same for every prefix."""
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[FOLD - 1 :: FOLD]] = True
    return chosen


def _checked_samples(samples: int | None, available: int, least: int, found: Opened) -> int:
    classes = len(found.classes)
    if available < least:
        raise VlmError(
            f"{found.name} has {available} images in {classes} classes to train and validate on; "
            f"expected {least} or more.",
            hint=f"more images in {found.source}",
        )
    if samples is not None and not least <= samples <= available:
        raise VlmError(
            f"{samples} samples were asked of {found.name}, which has {available} in {classes} classes.",
            hint=f"--samples N with N from {least} to {available}",
        )
    return available if samples is None else samples


def _in_memory_if_they_fit(parts: list[Images]) -> list[Images]:
    wanted = sum(len(part) * part.store[0].nbytes for part in parts if not part.resident)
    return [part.loaded() for part in parts] if wanted <= MEMORY_SHARE * free_memory_bytes() else parts


def free_memory_bytes() -> int:
    """What the system can give without swapping."""
    with open("/proc/meminfo") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))


def _value_counts(images: Images, indices: Whole) -> Whole:
    """How often each byte occurs in each channel of some images: [c, 256]."""
    counts = np.zeros((images.store.shape[3], 256), np.int64)
    for first in range(0, len(indices), COUNTED_AT_ONCE):
        pixels = images.batch(indices[first : first + COUNTED_AT_ONCE])
        for channel, count in enumerate(counts):
            count += np.bincount(pixels[..., channel].ravel(), minlength=256)
    return counts


def _sha256(*arrays: npt.NDArray[np.generic]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
