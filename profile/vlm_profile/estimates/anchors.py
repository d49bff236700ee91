"""What models that were measured say of another: how far the roofline is off as a whole, by kind, and nearby.

The logarithm of measured over estimated is the sum of a deviation of the device, one for each kind of kernels in
proportion to the time that they have in a model, one that models share the more the more alike they are, and the row's
own error. All are normal about 0 (a Gaussian process: C. Rasmussen, C. Williams, "Gaussian Processes for Machine
Learning", 2006, equation 2.25), so few anchors move an estimate a part of the way, and more tell the kinds apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlm_profile.estimates.roofline import GROUPS

if TYPE_CHECKING:
    from numpy import ndarray

# Standard deviations of the parts, and how unlike two models may be and share: round figures, at which devices that the
# fit had not seen are met well with one to five anchors; half or twice of any changes the median error by under 1 %.
OF_DEVICE, OF_GROUP, OF_LIKENESS, OF_ROW = 0.25, 0.3, 0.3, 0.15
UNLIKE = 0.15  # distance of the shares of time
ELSEWHERE = 0.25  # that all rows of another device, runtime or precision are off together


@dataclass(frozen=True)
class Anchor:
    """A model whose latency is known."""

    name: str  # the record's file, or the published row
    residual: float  # logarithm of measured over estimated
    shares: tuple[float, ...]  # of GROUPS, in the time that was estimated
    character: tuple[float, ...]  # the same at one batch for all, at the device's full peaks: what makes models alike
    elsewhere: bool = False  # another device, runtime or precision

    @property
    def architecture(self) -> tuple[float, ...]:
        """What is alike of models that differ in their weights and their batch alone."""
        return tuple(round(share, 2) for share in self.character)


@dataclass(frozen=True)
class Correction:
    """Factors on the time of each group. They depend on no batch, so that a larger one still takes no less time."""

    factors: tuple[float, ...]

    def applied(self, seconds: Sequence[float]) -> float:
        return float(sum(factor * each for factor, each in zip(self.factors, seconds, strict=True)))


def shares_of(seconds: Sequence[float]) -> tuple[float, ...]:
    """Of the whole, each."""
    whole = sum(seconds)
    return tuple(float(each / whole) for each in seconds)


def correction_for(character: Sequence[float], anchors: Sequence[Anchor]) -> Correction:
    """What the anchors say of a model of that character; without any, all factors are 1."""
    import numpy as np

    if not anchors:
        return Correction((1.0,) * len(GROUPS))
    shares = np.array([anchor.shares for anchor in anchors])
    characters = np.array([anchor.character for anchor in anchors])
    moved = np.array([anchor.elsewhere for anchor in anchors], dtype=float)
    seen = OF_DEVICE**2 + OF_GROUP**2 * shares @ shares.T + _likeness(characters, characters)
    errors = OF_ROW**2 * np.eye(len(anchors)) + ELSEWHERE**2 * np.outer(moved, moved)
    weights = np.linalg.solve(seen + errors, np.array([anchor.residual for anchor in anchors]))
    common = OF_DEVICE**2 * weights.sum() + (_likeness(np.array([character]), characters) @ weights)[0]
    kinds = OF_GROUP**2 * shares.T @ weights
    return Correction(tuple(float(np.exp(common + kind)) for kind in kinds))


def _likeness(some: "ndarray[Any, Any]", others: "ndarray[Any, Any]") -> "ndarray[Any, Any]":
    import numpy as np

    distances = ((some[:, None] - others[None]) ** 2).sum(-1)
    found: ndarray[Any, Any] = OF_LIKENESS**2 * np.exp(-distances / (2 * UNLIKE**2))
    return found
