"""Is an engine its checkpoint on the device that it is for? What is asked there, and what its outputs say."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vlm_contract.card import Backbone
from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import Accuracy, Parity
from vlm_export.place import Images
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.child import Made

if TYPE_CHECKING:
    from vlm_export.proof import Oracle

LEAST_FOR_ACCURACY = 100  # images, where there are as many: the standard error of fewer can be over 5 points
IMAGES_LIMIT_BYTES = 256 * 2**20  # in FP32, that are held here and sent to a board
NOT_RUN = {
    "tensorrt": Absent("the engine was not run: no GPU that it is for is here"),
    "rtx": Absent("the engine was not run: it is built ahead of time"),
}


@dataclass(frozen=True)
class Judgement:
    """What an engine's outputs on its device say of it."""

    parity: tuple[Parity, ...] | Absent
    accuracy: Accuracy | Absent
    refused: tuple[str, ...]  # why it must not be used


@dataclass(frozen=True)
class Questions:
    """The images that an engine is given on its device, with what the checkpoint answers: of an oracle, a part."""

    oracle: "Oracle"  # one question, on the first of the images; those that judge are all of them
    of: int  # images that there are

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """[n, h, w, c]."""
        seen = self.oracle.seen
        return self.oracle.trials[0].pixels if seen is None else seen.pixels


def questions_of(oracle: "Oracle", backbone: Backbone, order: Order, calls: int) -> Questions:
    """As many of the images that judge as so many calls at the largest batch take, within IMAGES_LIMIT_BYTES.

    Those that the checkpoint answered in FP64 come first, the others are evenly spaced: a folder's own validation part
    may be in the order of its classes.
    """
    first, seen = oracle.trials[0], oracle.seen
    affordable = IMAGES_LIMIT_BYTES // (4 * backbone.channels * backbone.image_size**2)
    most = max(1, min(calls * order.batches[-1], affordable))
    compared = replace(first, pixels=first.pixels[:most], truth=first.truth[:most])
    if seen is None:
        return Questions(replace(oracle, trials=(compared,)), len(first.pixels))
    of = len(seen.pixels)
    if most < of:
        chosen = evenly_after(len(compared.pixels), of, most)
        compared = replace(compared, origin=noted(seen.origin, f"{most} of {of} on the device"))
        seen = replace(
            seen,
            pixels=seen.pixels[chosen],
            labels=seen.labels[chosen],
            logits=seen.logits[chosen],
            rounded=None if seen.rounded is None else seen.rounded[chosen],
        )
    return Questions(replace(oracle, trials=(compared,), seen=seen), of)


def evenly_after(first: int, of: int, most: int) -> npt.NDArray[np.integer]:
    """`most` of the indices below `of`, rising: the first ones all, then such that lie evenly."""
    rest = most - first
    return np.concatenate([np.arange(first), first + np.arange(rest) * (of - first) // max(rest, 1)])


def images_for(questions: Questions | None, backbone: Backbone, order: Order) -> Images:
    """Normalised images [n, c, h, w], repeated up to the engine's least batch; noise where nothing is asked."""
    from vlm_export.drafts import normalised_images

    if questions is not None:
        pixels = questions.pixels
        count = max(order.batches[0], len(pixels))
        return normalised_images(np.resize(pixels, (count, *pixels.shape[1:])), backbone)
    shape = (order.batches[1], backbone.channels, backbone.image_size, backbone.image_size)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def judged_on_device(made: Made, questions: Questions | None, order: Order) -> Judgement:
    """The engine's answers beside the checkpoint's, and why they refuse it."""
    if questions is None or made.outputs is None:
        return Judgement(NOT_RUN[order.flavor], Absent("the engine was not run on the validation set"), ())
    from vlm_export.parity import accuracy_of, check_finite, parity_of, reason_of
    from vlm_export.proof import NO_IMAGES, disagreements

    outputs = made.outputs[: len(questions.pixels)]
    oracle = as_handed_over(questions.oracle, made.digits)
    (trial,), seen = oracle.trials, oracle.seen
    parity: tuple[Parity, ...] | Absent = Absent("the engine gave no outputs that can be compared")
    accuracy: Accuracy | Absent = Absent(NO_IMAGES)
    reasons: list[str] = []
    try:
        compared = parity_of(trial, outputs[: len(trial.pixels)], order.precision)
        parity = (compared,)
        reasons += [] if compared.passed else [reason_of(compared)]
        if seen is not None:
            check_finite("the engine", seen.origin, outputs)
            reasons += disagreements(outputs, oracle, order.precision)
            accuracy = too_few(len(outputs), questions.of) or accuracy_of(outputs, seen.logits, seen.labels)
    except CheckFailed as error:
        return Judgement(parity, Absent("the engine gave no outputs that can be scored"), (*reasons, str(error)))
    return Judgement(parity, accuracy, tuple(reasons))


def as_handed_over(oracle: "Oracle", digits: int | None) -> "Oracle":
    """The same, with what rounding outputs to so many digits of text, if any, adds to its tolerance.

    How large they may be is said by the checkpoint, with a tenth more: an engine's own largest would widen what it is
    held to.
    """
    if digits is None:
        return oracle
    from vlm_export.tensorrt.printed import printing_error

    (trial,), seen = oracle.trials, oracle.seen
    largest = float(np.abs(trial.truth if seen is None else seen.logits).max())
    origin = noted(trial.origin, f"outputs printed to {digits} digits")
    return replace(oracle, trials=(replace(trial, origin=origin, printing=printing_error(1.1 * largest)),))


def noted(origin: str, note: str) -> str:
    """ "images (a note; another)"."""
    return f"{origin[:-1]}; {note})" if origin.endswith(")") else f"{origin} ({note})"


def too_few(count: int, of: int) -> Absent | None:
    """Why so many of all images say nothing of accuracy; None where they do."""
    if count < min(of, LEAST_FOR_ACCURACY):
        return Absent(f"the engine was run on {count} of {of} images that judge, too few for an accuracy")
    return None
