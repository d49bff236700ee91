"""Is the exported model the checkpoint? Both on the same inputs, their outputs side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import Accuracy, Parity

Logits: TypeAlias = npt.NDArray[np.floating]
Labels: TypeAlias = npt.NDArray[np.integer]

# The largest difference of a logit from the FP64 truth may be so many times that of the checkpoint's own rounding in
# the same precision. Runtimes fold, fuse and sum in another order, so their error is another draw of the same size.
# INT8 has fixed ranges where the yardstick has each tensor's own: six trained backbones, 15 times 32 images each, made
# 0.4 to 5.1 times the yardstick (Swin the most; of CNNs none over 2.3).
FACTORS = {"fp32": 10.0, "fp16": 3.0, "int8": 8.0, "embedded": 1.0}
# And no larger than this share of the root mean square of the logits: a judgement, of where a network no longer bears
# the precision, whoever computes it.
CAPS = {"fp32": 1e-3, "fp16": 0.1, "int8": 1.0, "embedded": 1.0}
LEAST = 2.0**-22  # share of the same that is allowed always: four units in the last place of FP32


@dataclass(frozen=True)
class Trial:
    """Inputs, what the checkpoint answers in FP64, and what rounding alone makes of that."""

    origin: str
    pixels: npt.NDArray[np.uint8]  # [n, h, w, c]
    truth: npt.NDArray[np.float64]  # [n, classes]
    batch: int  # images in one call of the exported model
    yardsticks: Mapping[str, float]  # by precision, the largest difference of a logit; may be NaN or infinite
    compared: Literal["logits", "probabilities"] = "logits"
    printing: float = 0.0  # how far the exported model's outputs may be off because they came as text


def parity_of(trial: Trial, outputs: Logits, precision: str) -> Parity:
    """Compare outputs [n, classes] with the truth. Raises CheckFailed where the two cannot be compared."""
    check_comparable(trial, outputs)
    found = outputs.astype(np.float64)
    difference = np.abs(found - trial.truth)
    tolerance = tolerance_of(trial, precision)
    return Parity(
        origin=trial.origin,
        compared=trial.compared,
        samples=len(found),
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        cosine=float(_cosines(trial.truth, found).min()),
        top1_agreement_percent=accuracy_percent(found, trial.truth.argmax(axis=1)),
        yardstick=trial.yardsticks[precision],
        tolerance=tolerance,
        passed=bool(difference.max() <= tolerance),
    )


def tolerance_of(trial: Trial, precision: str) -> float:
    """The largest difference of a logit that rounding, and printing, explain.

    Raises CheckFailed where rounding breaks the checkpoint.
    """
    scale = float(np.sqrt(np.mean(trial.truth**2)))
    yardstick = trial.yardsticks[precision]
    if not np.isfinite(yardstick):
        raise CheckFailed(f"on {trial.origin} the checkpoint itself overflows in {precision.upper()}")
    return max(LEAST * scale, min(FACTORS[precision] * yardstick, CAPS[precision] * scale)) + trial.printing


def check_comparable(trial: Trial, outputs: Logits) -> None:
    """Raise CheckFailed unless both sides are finite and of one shape."""
    if outputs.shape != trial.truth.shape:
        raise CheckFailed(f"on {trial.origin} outputs have shape {outputs.shape}, expected {trial.truth.shape}")
    check_finite("the checkpoint", trial.origin, trial.truth)
    check_finite("the exported model", trial.origin, outputs)


def check_finite(side: str, origin: str, logits: Logits) -> None:
    """Raise CheckFailed where a sample [n, classes] has what is no number."""
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise CheckFailed(f"on {origin} {side} gives NaN or infinity for {broken} of {len(logits)} samples")


def reason_of(parity: Parity) -> str:
    """Why a comparison that did not pass refuses the artifact."""
    whose = "FP64" if parity.compared == "logits" else "those of images prepared outside"
    return (
        f"on {parity.origin} {parity.compared} differ from {whose} by up to {parity.max_abs_difference:.2g}, over the "
        f"tolerance of {parity.tolerance:.2g}: rounding alone makes {parity.yardstick:.2g} "
        f"(top-1 agreement {parity.top1_agreement_percent:.1f} %, {parity.samples} samples)"
    )


def unexplained(reference: Logits, outputs: Logits, tolerance: float) -> int:
    """Samples to which the two give other classes though no error within the tolerance can turn the one into the other.

    That takes the two logits to be closer in the reference [n, classes] than twice the tolerance.
    """
    rows = np.arange(len(reference))
    lead = reference.max(axis=1) - reference[rows, outputs.argmax(axis=1)]
    return int((lead > 2 * tolerance).sum())


def accuracy_of(outputs: Logits, reference: Logits, labels: Labels) -> Accuracy:
    """Top-1 accuracy of outputs [n, classes], beside that of the checkpoint's own logits for the same images."""
    right, was_right = (logits.argmax(axis=1) == labels for logits in (outputs, reference))
    lost, gained = int((was_right & ~right).sum()), int((right & ~was_right).sum())
    return Accuracy(
        samples=len(labels),
        artifact_percent=accuracy_percent(outputs, labels),
        checkpoint_percent=accuracy_percent(reference, labels),
        agreement_percent=accuracy_percent(outputs, reference.argmax(axis=1)),
        lost=lost,
        gained=gained,
        p_value=mcnemar(lost, gained),
    )


def accuracy_percent(logits: Logits, labels: Labels) -> float:
    """Share of samples whose largest logit is that of the label."""
    return 100 * float(np.mean(logits.argmax(axis=1) == labels))


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided p-value of McNemar's exact test (the sign test of the changed samples): 1 where nothing changed."""
    changed = lost + gained
    tail = sum(comb(changed, k) for k in range(min(lost, gained) + 1))
    return float(min(1, 2 * tail / 2**changed))


def _cosines(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """By row; 0 where a row is all zeros."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: npt.NDArray[np.float64] = (a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return cosines
