"""Splits that can be trusted: disjoint, stratified, nested, seeded."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_contract.errors import VlmError
from vlm_train.data import mean_and_std, normalised, open_data, splits_of, stratified_order

SEEDS = st.integers(0, 2**32 - 1)
LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(lambda labels: np.array(labels, np.int64))


@given(LABELS, SEEDS)
def test_an_order_holds_every_image_once(labels: np.ndarray, seed: int) -> None:
    assert sorted(stratified_order(labels, seed)) == list(range(len(labels)))


@given(LABELS, SEEDS)
def test_every_prefix_of_an_order_holds_the_classes_in_proportion(labels: np.ndarray, seed: int) -> None:
    ordered = labels[stratified_order(labels, seed)]
    classes, totals = np.unique(labels, return_counts=True)
    assert len(np.unique(ordered[: len(classes)])) == len(classes)
    for size in range(1, len(labels) + 1):
        counts = np.array([(ordered[:size] == label).sum() for label in classes])
        shares = totals / len(labels)
        assert (np.abs(counts - size * shares) <= np.maximum(1, len(classes) * shares) + 1e-9).all()


def test_an_order_is_the_same_on_every_machine() -> None:
    assert stratified_order(np.array([0, 1, 0, 1, 2, 0], np.int64), 7).tolist() == [3, 5, 4, 0, 1, 2]


def image_keys(pixels: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in pixels}


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_the_parts_of_digits_are_disjoint_and_complete(seed: int) -> None:
    _, splits = open_data("digits", None, seed)
    parts = [image_keys(part.pixels) for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_the_parts_of_digits_are_stratified(seed: int) -> None:
    _, splits = open_data("digits", None, seed)
    for part in (splits.train, splits.validation, splits.test):
        assert np.ptp(np.bincount(part.labels, minlength=10)) <= 8


def test_the_test_part_is_the_same_for_every_seed_and_the_others_are_not() -> None:
    first, second = (open_data("digits", None, seed)[1] for seed in (0, 1))
    assert np.array_equal(first.test.pixels, second.test.pixels)
    assert image_keys(first.validation.pixels) != image_keys(second.validation.pixels)


def test_a_smaller_subset_lies_inside_a_larger_one() -> None:
    subsets = [image_keys(open_data("digits", samples, 3)[1].train.pixels) for samples in (10, 100, 500, None)]
    assert all(smaller < larger for smaller, larger in pairwise(subsets))


def test_digits_are_32_pixel_images_of_bytes_with_their_full_range() -> None:
    data, splits = open_data("digits", None, 0)
    assert splits.train.pixels.shape == (1149, 32, 32, 3)
    assert splits.train.pixels.dtype == np.uint8
    assert (splits.train.pixels.min(), splits.train.pixels.max()) == (0, 255)
    assert (data.samples, data.validation_samples, data.test_samples) == (1149, 288, 360)
    assert splits.classes == tuple("0123456789")


def test_fingerprints_are_those_of_the_data_shipped() -> None:
    data, _ = open_data("digits", None, 0)
    assert data.fingerprint == "ab555aa93f1f0ff1fb06d41379dac5752caf58945c6cb4fcc1021e9526e67441"
    assert data.subset_fingerprint == "17f15472bbe234bd3c267ea5b86c39c776917413f48187b1337d37c6ebfd6d43"


def test_a_subset_has_a_fingerprint_of_its_own_and_the_data_does_not() -> None:
    all_of_it, some, others = (open_data("digits", *of)[0] for of in ((None, 0), (100, 0), (100, 1)))
    assert all_of_it.fingerprint == some.fingerprint == others.fingerprint
    assert len({all_of_it.subset_fingerprint, some.subset_fingerprint, others.subset_fingerprint}) == 3


def test_splits_of_a_card_are_the_very_splits_of_the_run() -> None:
    data, splits = open_data("digits", 50, 4)
    again = splits_of(data)
    assert np.array_equal(again.train.pixels, splits.train.pixels)
    assert np.array_equal(again.validation.labels, splits.validation.labels)


@pytest.mark.parametrize("field", ["fingerprint", "subset_fingerprint"])
def test_splits_of_a_card_with_other_images_are_refused(field: str) -> None:
    data, _ = open_data("digits", 50, 4)
    with pytest.raises(VlmError, match="not those that the run saw"):
        splits_of(replace(data, **{field: "0" * 64}))


@pytest.mark.parametrize("samples", [-1, 0, 9, 1150])
def test_an_impossible_number_of_samples_names_what_is_possible(samples: int) -> None:
    with pytest.raises(VlmError, match="1149 in 10 classes") as caught:
        open_data("digits", samples, 0)
    assert "from 10 to 1149" in caught.value.hint


def test_unknown_data_names_the_nearest() -> None:
    with pytest.raises(VlmError, match="Unknown data 'digit'") as caught:
        open_data("digit", None, 0)
    assert caught.value.hint == "--data digits"


def test_normalised_pixels_have_mean_0_and_deviation_1_by_channel() -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (50, 4, 5, 3)).astype(np.uint8)
    pixels[..., 1] //= 2
    inputs = normalised(pixels, *mean_and_std(pixels))
    assert (inputs.shape, inputs.dtype) == ((50, 3, 4, 5), np.float32)
    assert np.abs(inputs.mean(axis=(0, 2, 3))).max() < 1e-3
    assert np.abs(inputs.std(axis=(0, 2, 3)) - 1).max() < 1e-3
