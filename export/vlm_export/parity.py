"""Is the exported model the checkpoint? Both on the same inputs, their outputs side by side."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import Parity

Logits: TypeAlias = npt.NDArray[np.float32]

# The largest difference of a logit, as a share of the root mean square of the checkpoint's logits: rounding errors
# of a network grow with its signal. Both limits are measured: over resnet50, mobilenetv3_large_100 and timm's tiny
# convolutional nets and transformers with perturbed weights the share is 2e-6 to 4e-6 in FP32 and 2e-3 to 4e-3 in FP16.
# They stand at 25 and 5 times that; a random walk of 100 roundings to 11 bits (2^-11 * sqrt(100) = 5e-3) and
# confident logits, whose peak is several times their root mean square, explain the room that FP16 needs.
RELATIVE_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}


@dataclass(frozen=True)
class Trial:
    """Inputs, and the checkpoint's own outputs for them."""

    origin: str
    pixels: npt.NDArray[np.uint8]  # [n, h, w, c]
    reference: Logits  # [n, classes]
    batch: int  # images in one call of the exported model


def parity_of(trial: Trial, outputs: Logits, precision: str) -> Parity:
    """Compare outputs [n, classes] with the reference. Raises CheckFailed where the two cannot be compared."""
    check_comparable(trial, outputs)
    reference, found = trial.reference.astype(np.float64), outputs.astype(np.float64)
    difference = np.abs(found - reference)
    tolerance = RELATIVE_TOLERANCE[precision] * float(np.sqrt(np.mean(reference**2)))
    return Parity(
        origin=trial.origin,
        samples=len(reference),
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        cosine=float(_cosines(reference, found).min()),
        top1_agreement_percent=accuracy_percent(found, reference.argmax(axis=1)),
        tolerance=tolerance,
        passed=bool(difference.max() <= tolerance),
    )


def check_comparable(trial: Trial, outputs: Logits) -> None:
    """Raise CheckFailed unless both sides are finite and of one shape."""
    if outputs.shape != trial.reference.shape:
        raise CheckFailed(f"on {trial.origin} outputs have shape {outputs.shape}, expected {trial.reference.shape}")
    for side, logits in (("the checkpoint", trial.reference), ("the exported model", outputs)):
        broken = int((~np.isfinite(logits)).any(axis=1).sum())
        if broken:
            raise CheckFailed(f"on {trial.origin} {side} gives NaN or infinity for {broken} of {len(logits)} samples")


def reason_of(parity: Parity) -> str:
    """Why a comparison that did not pass refuses the artifact."""
    return (
        f"on {parity.origin} logits differ by up to {parity.max_abs_difference:.2g}, over the tolerance of "
        f"{parity.tolerance:.2g} (top-1 agreement {parity.top1_agreement_percent:.1f} %, {parity.samples} samples)"
    )


def accuracy_percent(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Share of samples whose largest logit is that of the label."""
    return 100 * float(np.mean(logits.argmax(axis=1) == labels))


def _cosines(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """By row; 0 where a row is all zeros."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: npt.NDArray[np.float64] = (a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    return cosines
