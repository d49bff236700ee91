"""Is an artifact its checkpoint? The questions, what the checkpoint answers, and what an artifact makes of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vlm_contract.card import Backbone
from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import Accuracy, Parity
from vlm_export.checkpoint import Checkpoint
from vlm_export.graph import Model
from vlm_export.parity import (
    Labels,
    Logits,
    Trial,
    accuracy_of,
    check_finite,
    mcnemar,
    parity_of,
    reason_of,
    tolerance_of,
    unexplained,
)
from vlm_export.session import OnnxSession, outputs_of, runtime_session
from vlm_export.yardstick import logits_of, rounded_logits, truth

if TYPE_CHECKING:
    import torch

Pixels = npt.NDArray[np.uint8]  # [n, h, w, c]

BATCH = 32  # of the comparisons and of the accuracy; not the traced one, so the dimension is shown to be dynamic
SINGLE_IMAGES = 8  # compared at batch 1
IMAGES = 32  # at most, in FP64
LEAST_IMAGES = 8
MACS = 8e9  # of the FP64 answers, so that they take seconds
SEED = 0
ENLARGED = (1, 2, 3)  # times the model's size, where the file prepares images itself
PROBABILITY_ROUNDING = 1e-5  # between two graphs that compute the same in FP32
SIGNIFICANT = 0.01  # p-value of McNemar's test below which a difference is no chance
NOISE = "random input"
NO_IMAGES = "the checkpoint names no data set: --data says which images it is for"


@dataclass(frozen=True)
class Seen:
    """The whole set of images that judges, and the checkpoint's FP32 logits for it."""

    origin: (
        str  # "validation images", or "test images" of weights from elsewhere, which may have been trained on the rest
    )
    pixels: Pixels
    labels: Labels  # [n]
    logits: Logits  # [n, classes]
    rounded: Logits | None  # the same, as rounding to INT8 alone makes them; None where INT8 is not judged


@dataclass(frozen=True)
class Oracle:
    """What the checkpoint itself answers."""

    trials: tuple[Trial, ...]  # those on real images first
    seen: Seen | None  # where the checkpoint's data are known

    def drop_points(self, model: Model) -> float:
        """Percentage points of accuracy that a graph loses on the whole validation set."""
        assert self.seen is not None
        outputs = OnnxSession(model.SerializeToString()).logits(self.seen.pixels, BATCH)
        broken = ~np.isfinite(outputs).all(axis=1)
        outputs[broken] = -self.seen.logits[broken]  # whose largest is never the checkpoint's class
        return accuracy_of(outputs, self.seen.logits, self.seen.labels).drop_points

    @property
    def scanned(self) -> tuple[Pixels, str]:
        """Images for a look at activations, and which they are."""
        return self.trials[0].pixels, self.trials[0].origin


@dataclass(frozen=True)
class Findings:
    """What the checks say of one artifact."""

    parity: tuple[Parity, ...]
    accuracy: Accuracy | Absent
    refused: tuple[str, ...]


def oracle_of(module: "torch.nn.Module", checkpoint: Checkpoint, precisions: Sequence[str]) -> Oracle:
    """The checkpoint's answers for the images that judge it, and for seeded noise, where rounding shows most."""
    backbone = checkpoint.backbone
    count = images_in_fp64(backbone)
    shape = (max(count // 2, LEAST_IMAGES), backbone.image_size, backbone.image_size, backbone.channels)
    noise = np.random.RandomState(SEED).randint(0, 256, shape).astype(np.uint8)
    trials = [trial_of(module, backbone, NOISE, noise, precisions)]
    seen = seen_by(module, checkpoint, precisions)
    if seen is not None:
        first = trial_of(module, backbone, seen.origin, seen.pixels[:count], precisions)
        trials[:0] = [first, one_by_one(first)]
    return Oracle(tuple(trials), seen)


def images_in_fp64(backbone: Backbone) -> int:
    """As many as fit into the budget of multiply-accumulates, within limits."""
    if isinstance(backbone.macs, Absent):
        return LEAST_IMAGES
    return int(min(max(MACS // backbone.macs, LEAST_IMAGES), IMAGES))


def trial_of(
    module: "torch.nn.Module", backbone: Backbone, origin: str, pixels: Pixels, precisions: Sequence[str]
) -> Trial:
    """One question with the answer in FP64, and how far rounding to each precision takes torch from it."""
    answer = truth(module, backbone, pixels)
    yardsticks = {
        precision: float(np.abs(rounded_logits(module, backbone, pixels, precision) - answer).max())
        for precision in dict.fromkeys(precisions)
    }
    return Trial(origin, pixels, answer, BATCH, yardsticks)


def one_by_one(trial: Trial) -> Trial:
    """Its first images again, at batch 1."""
    pixels, answer = trial.pixels[:SINGLE_IMAGES], trial.truth[:SINGLE_IMAGES]
    return replace(trial, origin=f"{trial.origin}, one by one", pixels=pixels, truth=answer, batch=1)


def seen_by(module: "torch.nn.Module", checkpoint: Checkpoint, precisions: Sequence[str]) -> Seen | None:
    """The images that judge the checkpoint, if it names any data."""
    if checkpoint.data is None:
        return None
    judging = checkpoint.splits.validation
    origin = "validation images" if checkpoint.is_run else "test images"
    logits = logits_of(module, checkpoint.backbone, judging.pixels)
    int8 = "int8" in precisions
    rounded = rounded_logits(module, checkpoint.backbone, judging.pixels, "int8") if int8 else None
    return Seen(origin, judging.pixels, judging.labels, logits, rounded)


def prove(model: str | bytes, precision: str, oracle: Oracle) -> Findings:
    """Run a graph, by its path or its bytes, on every question and on all images that judge.

    INT8 is not asked about noise: its ranges are those of real images, and noise leaves them.
    """
    parity: list[Parity] = []
    accuracy: Accuracy | Absent = Absent(NO_IMAGES)
    try:
        session = OnnxSession(model)
        asked = [trial for trial in oracle.trials if (precision, trial.origin) != ("int8", NOISE)]
        parity += [parity_of(trial, session.logits(trial.pixels, trial.batch), precision) for trial in asked]
        reasons = [reason_of(compared) for compared in parity if not compared.passed]
        if oracle.seen is not None:
            outputs = session.logits(oracle.seen.pixels, BATCH)
            check_finite("the exported model", oracle.seen.origin, outputs)
            accuracy = accuracy_of(outputs, oracle.seen.logits, oracle.seen.labels)
            reasons += disagreements(outputs, oracle, precision)
    except CheckFailed as error:
        return Findings(tuple(parity), Absent("the exported model gave no outputs that can be scored"), (str(error),))
    return Findings(tuple(parity), accuracy, tuple(reasons))


def disagreements(outputs: Logits, oracle: Oracle, precision: str) -> Iterator[str]:
    """A sentence if the artifact gives real images other classes than rounding explains.

    Few bits turn many a close decision: for INT8 the question is whether it turns more of them than rounding alone.
    """
    seen = oracle.seen
    assert seen is not None
    if precision == "int8" and seen.rounded is not None:
        yield from turned_by_more_than_rounding(outputs, seen.rounded, seen.logits)
        return
    strays = unexplained(seen.logits, outputs, tolerance_of(oracle.trials[0], precision))
    if strays:
        yield (
            f"{strays} of {len(outputs)} {seen.origin} get another class than from the checkpoint, "
            "and rounding does not explain it"
        )


def turned_by_more_than_rounding(outputs: Logits, rounded: Logits, reference: Logits) -> Iterator[str]:
    """A sentence if outputs [n, classes] name the reference's class significantly less often than its rounding does."""
    of_artifact, of_rounding = (logits.argmax(axis=1) != reference.argmax(axis=1) for logits in (outputs, rounded))
    lost, gained = int((of_artifact & ~of_rounding).sum()), int((of_rounding & ~of_artifact).sum())
    if lost > gained and (p := mcnemar(lost, gained)) < SIGNIFICANT:
        yield (
            f"{of_artifact.sum()} of {len(outputs)} images get another class than from the checkpoint, where rounding "
            f"to INT8 alone turns {of_rounding.sum()} (p {p:.2g}): its ranges or its layers are wrong"
        )


def embedding_proven(proven: Findings, inner: bytes, file: Path, backbone: Backbone, oracle: Oracle) -> Findings:
    """Add to what was found of the inner graph how far the file, which prepares images itself, is from it.

    The same images, of the model's size and larger, are prepared by Pillow for the one and inside the other. Pillow
    works in whole grey levels: what one level up or down at every value does to the probabilities is the yardstick.
    """
    try:
        outside, inside = OnnxSession(inner), runtime_session(str(file))
        parity = tuple(_prepared_both_ways(outside, inside, backbone, oracle, times) for times in ENLARGED)
    except CheckFailed as error:
        return replace(proven, refused=(*proven.refused, str(error)))
    refused = tuple(reason_of(each) for each in parity if not each.passed)
    return replace(proven, parity=proven.parity + parity, refused=proven.refused + refused)


def _prepared_both_ways(outside: OnnxSession, inside: Any, backbone: Backbone, oracle: Oracle, times: int) -> Parity:
    from vlm_export.preprocessing import PIXELS, PROBABILITIES, preprocessed, probabilities_and_labels

    seen, count = oracle.scanned[0], outside.fixed_batch or SINGLE_IMAGES
    pixels = np.resize(seen, (count, *seen.shape[1:])).repeat(times, axis=1).repeat(times, axis=2)
    images = preprocessed(pixels, backbone)
    signs = np.random.RandomState(SEED).choice([-1.0, 1.0], images.shape)
    level = signs / 255 / np.asarray(backbone.std).reshape(1, -1, 1, 1)
    expected, moved = (
        probabilities_and_labels(outside.logits_of(prepared))[0].astype(np.float64)
        for prepared in (images, (images + level).astype(np.float32))
    )
    yardstick = PROBABILITY_ROUNDING if times == 1 else float(np.abs(moved - expected).max())
    origin = f"images {times} times the model's size, prepared inside"
    trial = Trial(origin, pixels, expected, BATCH, {"embedded": yardstick}, "probabilities")
    return parity_of(trial, outputs_of(inside, [PROBABILITIES], {PIXELS: pixels})[0], "embedded")
