"""Comparisons by hand: figures that can be worked out on paper."""

from dataclasses import replace

import numpy as np
import pytest

from vlm_contract.errors import CheckFailed
from vlm_export.parity import Trial, accuracy_of, mcnemar, parity_of, reason_of, tolerance_of, unexplained

TRUTH = np.array([[3.0, 4.0], [4.0, 3.0]])  # root mean square: sqrt(12.5)
PIXELS = np.zeros((2, 1, 1, 1), np.uint8)
YARDSTICKS = {"fp32": 1e-5, "fp16": 0.01, "int8": 0.2}
TRIAL = Trial("paper", PIXELS, TRUTH, 1, YARDSTICKS)
PRECISIONS = tuple(YARDSTICKS)


def test_equal_outputs_differ_by_nothing() -> None:
    parity = parity_of(TRIAL, TRUTH.astype(np.float32), "fp32")
    assert parity.passed
    assert (parity.max_abs_difference, parity.mean_abs_difference) == (0, 0)
    assert (parity.cosine, parity.top1_agreement_percent) == (pytest.approx(1), 100)


def test_differences_are_those_of_single_logits() -> None:
    parity = parity_of(TRIAL, np.array([[4.0, 3.0], [4.0, 3.0]]), "fp32")
    assert (parity.max_abs_difference, parity.mean_abs_difference) == (1, 0.5)
    assert parity.top1_agreement_percent == 50
    assert parity.cosine == pytest.approx(24 / 25)
    assert not parity.passed
    assert "up to 1, over the tolerance of 0.0001: rounding alone makes 1e-05" in reason_of(parity)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 0.03), ("int8", 1.6)])
def test_the_tolerance_is_a_multiple_of_what_rounding_costs_the_checkpoint(precision: str, tolerance: float) -> None:
    assert tolerance_of(TRIAL, precision) == pytest.approx(tolerance)


@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-3), ("fp16", 0.1), ("int8", 1.0)])
def test_a_network_that_does_not_bear_a_precision_is_given_no_more_room_than_the_cap(
    precision: str, share: float
) -> None:
    fragile = replace(TRIAL, yardsticks={precision: 30.0})
    assert tolerance_of(fragile, precision) == pytest.approx(share * 12.5**0.5)


def test_a_network_without_rounding_errors_is_given_the_last_places_of_fp32() -> None:
    exact = replace(TRIAL, yardsticks={"fp32": 0.0})
    assert tolerance_of(exact, "fp32") == pytest.approx(2**-22 * 12.5**0.5)
    assert parity_of(exact, TRUTH.astype(np.float32), "fp32").passed


@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_a_network_that_overflows_in_fp16_is_refused_in_fp16_only(error: float) -> None:
    trial = replace(TRIAL, yardsticks={**YARDSTICKS, "fp16": error})
    assert parity_of(trial, TRUTH, "fp32").passed
    with pytest.raises(CheckFailed, match="overflows in FP16"):
        parity_of(trial, TRUTH, "fp16")


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_on_either_side(broken: float) -> None:
    wrong = TRUTH.copy()
    wrong[0, 0] = broken
    with pytest.raises(CheckFailed, match="the exported model gives NaN or infinity for 1 of 2"):
        parity_of(TRIAL, wrong, "fp32")
    with pytest.raises(CheckFailed, match="the checkpoint gives NaN or infinity for 1 of 2"):
        parity_of(replace(TRIAL, truth=wrong), TRUTH, "fp32")


def test_another_shape_is_refused() -> None:
    with pytest.raises(CheckFailed, match=r"shape \(2, 1\), expected \(2, 2\)"):
        parity_of(TRIAL, TRUTH[:, :1], "fp32")


def test_a_row_of_zeros_has_no_direction() -> None:
    assert parity_of(TRIAL, np.zeros_like(TRUTH), "fp32").cosine == 0


def test_another_class_is_explained_where_two_errors_within_the_tolerance_can_make_it() -> None:
    swapped = TRUTH[:, ::-1]
    assert unexplained(TRUTH, swapped, tolerance=0.51) == 0
    assert unexplained(TRUTH, swapped, tolerance=0.49) == 2
    assert unexplained(TRUTH, TRUTH, tolerance=0.0) == 0


def test_accuracy_counts_the_images_lost_and_gained() -> None:
    reference = np.eye(4)  # says 0, 1, 2, 3
    outputs = np.eye(4)[[0, 1, 3, 2]]
    accuracy = accuracy_of(outputs, reference, np.array([0, 1, 2, 2]))
    assert (accuracy.artifact_percent, accuracy.checkpoint_percent, accuracy.agreement_percent) == (75, 75, 50)
    assert (accuracy.lost, accuracy.gained, accuracy.drop_points) == (1, 1, 0)
    assert accuracy.p_value == 1


@pytest.mark.parametrize(
    ("lost", "gained", "p_value"),
    [
        (0, 0, 1.0),
        (3, 0, 0.25),  # 2 × (1/2)³: three images are no proof of a loss
        (0, 3, 0.25),
        (6, 0, 2 / 64),
        (5, 1, 14 / 64),  # 2 × (1 + 6) / 2⁶
        (100, 100, 1.0),
    ],
)
def test_mcnemars_test_is_exact(lost: int, gained: int, p_value: float) -> None:
    assert mcnemar(lost, gained) == pytest.approx(p_value)
