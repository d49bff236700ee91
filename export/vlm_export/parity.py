"""Is the exported model the checkpoint? Both on the same inputs, their outputs side by side."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import Parity

Logits: TypeAlias = npt.NDArray[np.float32]

# FP32: the largest difference of a logit, as a share of the root mean square of the checkpoint's logits. Seen: 1e-6 to
# 4e-6 with perturbed weights (timm's tiny nets, the seven backbones), 2e-5 for a trained mobilenetv3_large_100.
FP32_SHARE = 1e-4
# FP16: no fixed share serves, as what rounding costs depends on the weights: 2e-3 for tiny nets, 3e-2 for a trained
# mobilenetv3_large_100. So the yardstick is the checkpoint itself, computed by torch in FP16; artifacts showed 0.3 to
# 0.8 of its error. The cap, a judgement, is where a network no longer bears FP16, whoever computes it.
FP16_FACTOR = 2
FP16_SHARE_CAP = 0.1


@dataclass(frozen=True)
class Trial:
    """Inputs, and the checkpoint's own outputs for them."""

    origin: str
    pixels: npt.NDArray[np.uint8]  # [n, h, w, c]
    reference: Logits  # [n, classes]
    batch: int  # images in one call of the exported model
    half_error: float  # largest difference of a logit when torch computes the checkpoint in FP16; maybe NaN or infinite


def parity_of(trial: Trial, outputs: Logits, precision: str) -> Parity:
    """Compare outputs [n, classes] with the reference. Raises CheckFailed where the two cannot be compared."""
    check_comparable(trial, outputs)
    reference, found = trial.reference.astype(np.float64), outputs.astype(np.float64)
    difference = np.abs(found - reference)
    tolerance = tolerance_of(trial, precision)
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


def tolerance_of(trial: Trial, precision: str) -> float:
    """The largest difference of a logit that rounding explains. Raises CheckFailed where the network overflows FP16."""
    scale = float(np.sqrt(np.mean(trial.reference.astype(np.float64) ** 2)))
    if precision == "fp32":
        return FP32_SHARE * scale
    if not np.isfinite(trial.half_error):
        raise CheckFailed(f"on {trial.origin} the checkpoint itself overflows in FP16")
    return min(FP16_FACTOR * trial.half_error, FP16_SHARE_CAP * scale)


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
