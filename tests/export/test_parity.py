"""Comparisons by hand: figures that can be worked out on paper."""

import numpy as np
import pytest

from vlm_contract.errors import CheckFailed
from vlm_export.parity import RELATIVE_TOLERANCE, Trial, accuracy_percent, parity_of, reason_of

REFERENCE = np.array([[3.0, 4.0], [4.0, 3.0]], np.float32)  # root mean square: sqrt(12.5)
TRIAL = Trial("paper", np.zeros((2, 1, 1, 1), np.uint8), REFERENCE, 1)


def test_equal_outputs_differ_by_nothing() -> None:
    parity = parity_of(TRIAL, REFERENCE.copy(), "fp32")
    assert parity.passed
    assert (parity.max_abs_difference, parity.mean_abs_difference) == (0, 0)
    assert (parity.cosine, parity.top1_agreement_percent) == (pytest.approx(1), 100)


def test_differences_are_those_of_single_logits() -> None:
    parity = parity_of(TRIAL, np.array([[4.0, 3.0], [4.0, 3.0]], np.float32), "fp32")
    assert (parity.max_abs_difference, parity.mean_abs_difference) == (1, 0.5)
    assert parity.top1_agreement_percent == 50
    assert parity.cosine == pytest.approx(24 / 25)
    assert not parity.passed
    assert "up to 1," in reason_of(parity)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_tolerance_grows_with_the_logits(precision: str) -> None:
    def tolerance(scale: np.float32) -> float:
        trial = Trial("paper", TRIAL.pixels, REFERENCE * scale, 1)
        return parity_of(trial, trial.reference, precision).tolerance

    assert tolerance(np.float32(1)) == pytest.approx(RELATIVE_TOLERANCE[precision] * 12.5**0.5)
    assert tolerance(np.float32(1000)) == pytest.approx(1000 * tolerance(np.float32(1)))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_on_either_side(broken: float) -> None:
    wrong = REFERENCE.copy()
    wrong[0, 0] = broken
    with pytest.raises(CheckFailed, match="the exported model gives NaN or infinity for 1 of 2"):
        parity_of(TRIAL, wrong, "fp32")
    with pytest.raises(CheckFailed, match="the checkpoint gives NaN or infinity for 1 of 2"):
        parity_of(Trial("paper", TRIAL.pixels, wrong, 1), REFERENCE, "fp32")


def test_another_shape_is_refused() -> None:
    with pytest.raises(CheckFailed, match=r"shape \(2, 1\), expected \(2, 2\)"):
        parity_of(TRIAL, REFERENCE[:, :1], "fp32")


def test_a_row_of_zeros_has_no_direction() -> None:
    assert parity_of(TRIAL, np.zeros_like(REFERENCE), "fp32").cosine == 0


def test_accuracy_counts_the_largest_logit() -> None:
    assert accuracy_percent(REFERENCE, np.array([1, 1])) == 50
