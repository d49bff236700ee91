"""Comparisons by hand: figures that can be worked out on paper."""

import numpy as np
import pytest

from vlm_contract.errors import CheckFailed
from vlm_export.parity import Trial, accuracy_percent, parity_of, reason_of, tolerance_of

REFERENCE = np.array([[3.0, 4.0], [4.0, 3.0]], np.float32)  # root mean square: sqrt(12.5)
PIXELS = np.zeros((2, 1, 1, 1), np.uint8)
TRIAL = Trial("paper", PIXELS, REFERENCE, 1, half_error=0.01)


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


def test_the_tolerance_of_fp32_grows_with_the_logits() -> None:
    assert tolerance_of(TRIAL, "fp32") == pytest.approx(1e-4 * 12.5**0.5)
    large = Trial("paper", PIXELS, 1000 * REFERENCE, 1, half_error=0.01)
    assert tolerance_of(large, "fp32") == pytest.approx(1000 * tolerance_of(TRIAL, "fp32"))


def test_the_tolerance_of_fp16_is_twice_what_half_precision_costs_torch() -> None:
    assert tolerance_of(TRIAL, "fp16") == pytest.approx(0.02)


def test_a_network_that_does_not_bear_fp16_is_given_no_more_room_than_the_cap() -> None:
    fragile = Trial("paper", PIXELS, REFERENCE, 1, half_error=3.0)
    assert tolerance_of(fragile, "fp16") == pytest.approx(0.1 * 12.5**0.5)


@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_a_network_that_overflows_in_fp16_is_refused_in_fp16_only(error: float) -> None:
    trial = Trial("paper", PIXELS, REFERENCE, 1, half_error=error)
    assert parity_of(trial, REFERENCE, "fp32").passed
    with pytest.raises(CheckFailed, match="overflows in FP16"):
        parity_of(trial, REFERENCE, "fp16")


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_on_either_side(broken: float) -> None:
    wrong = REFERENCE.copy()
    wrong[0, 0] = broken
    with pytest.raises(CheckFailed, match="the exported model gives NaN or infinity for 1 of 2"):
        parity_of(TRIAL, wrong, "fp32")
    with pytest.raises(CheckFailed, match="the checkpoint gives NaN or infinity for 1 of 2"):
        parity_of(Trial("paper", PIXELS, wrong, 1, half_error=0.01), REFERENCE, "fp32")


def test_another_shape_is_refused() -> None:
    with pytest.raises(CheckFailed, match=r"shape \(2, 1\), expected \(2, 2\)"):
        parity_of(TRIAL, REFERENCE[:, :1], "fp32")


def test_a_row_of_zeros_has_no_direction() -> None:
    assert parity_of(TRIAL, np.zeros_like(REFERENCE), "fp32").cosine == 0


def test_accuracy_counts_the_largest_logit() -> None:
    assert accuracy_percent(REFERENCE, np.array([1, 1])) == 50
