"""Splits that can be trusted: disjoint, stratified, nested, seeded."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_contract.errors import VlmError
from vlm_train import data as data_module
from vlm_train.data import Images, mean_and_std, normalised, open_data, splits_of, stratified_order

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


@settings(max_examples=5, deadline=None)
@given(SEEDS, st.integers(100, 1437))
def test_validation_comes_out_of_the_samples_one_in_ten_of_each_class(seed: int, samples: int) -> None:
    data, splits = open_data("digits", samples, seed)
    train, validation = (np.bincount(part.labels, minlength=10) for part in (splits.train, splits.validation))
    assert (validation == (train + validation) // 10).all()
    assert (data.samples, data.train_samples, data.validation_samples) == (samples, train.sum(), validation.sum())
    assert train.sum() + validation.sum() == samples


def test_as_few_as_ten_images_a_class_leave_one_of_each_to_validate() -> None:
    _, splits = open_data("digits", 100, 0)
    assert sorted(splits.validation.labels) == list(range(10))


def test_the_test_part_is_the_same_for_every_seed_and_the_others_are_not() -> None:
    first, second = (open_data("digits", None, seed)[1] for seed in (0, 1))
    assert np.array_equal(first.test.pixels, second.test.pixels)
    assert image_keys(first.validation.pixels) != image_keys(second.validation.pixels)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_each_part_of_a_smaller_subset_lies_inside_that_of_a_larger_one(part: str) -> None:
    opened = [open_data("digits", samples, 3)[1] for samples in (100, 250, 500, None)]
    subsets = [image_keys(getattr(splits, part).pixels) for splits in opened]
    assert all(smaller < larger for smaller, larger in pairwise(subsets))


def test_digits_are_32_pixel_images_of_bytes_with_their_full_range() -> None:
    data, splits = open_data("digits", None, 0)
    assert splits.train.pixels.shape == (1298, 32, 32, 3)
    assert splits.train.pixels.dtype == np.uint8
    assert (splits.train.pixels.min(), splits.train.pixels.max()) == (0, 255)
    assert (data.samples, data.train_samples, data.validation_samples, data.test_samples) == (1437, 1298, 139, 360)
    assert data.test_origin == "20 % of digits, the same for every seed"
    assert splits.classes == tuple("0123456789")


def test_fingerprints_are_those_of_the_data_shipped() -> None:
    data, _ = open_data("digits", None, 0)
    assert data.fingerprint == "4fe2a6572df337601db76d1ed5c3d3d296d22a99ca2473972220167c59d8b7fa"
    assert data.subset_fingerprint == "3643825d53aa59cbe44eb102c363a5e59298b487f362ef690f2d35c19b23cfed"


def test_a_subset_has_a_fingerprint_of_its_own_and_the_data_does_not() -> None:
    all_of_it, some, others = (open_data("digits", *of)[0] for of in ((None, 0), (100, 0), (100, 1)))
    assert all_of_it.fingerprint == some.fingerprint == others.fingerprint
    assert len({all_of_it.subset_fingerprint, some.subset_fingerprint, others.subset_fingerprint}) == 3


def test_splits_of_a_card_are_the_very_splits_of_the_run() -> None:
    data, splits = open_data("digits", 150, 4)
    again = splits_of(data)
    assert np.array_equal(again.train.pixels, splits.train.pixels)
    assert np.array_equal(again.validation.labels, splits.validation.labels)


@pytest.mark.parametrize("field", ["fingerprint", "subset_fingerprint"])
def test_splits_of_a_card_with_other_images_are_refused(field: str) -> None:
    data, _ = open_data("digits", 150, 4)
    with pytest.raises(VlmError, match="not those that the run saw"):
        splits_of(replace(data, **{field: "0" * 64}))


@pytest.mark.parametrize("samples", [-1, 0, 99, 1438])
def test_an_impossible_number_of_samples_names_what_is_possible(samples: int) -> None:
    with pytest.raises(VlmError, match="1437 in 10 classes") as caught:
        open_data("digits", samples, 0)
    assert "from 100 to 1437" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("digit", "--data digits"),
        ("fashion_mnist", "--data fashion-mnist"),
        ("cifar-10", "--data cifar10"),
        ("imagefolders:/x", "--data imagefolder:PATH"),
        ("_cifar", "--data cifar10"),
        ("download", "--data cifar10"),
        ("", "--data cifar10"),
    ],
)
def test_unknown_data_names_the_nearest_and_all(asked: str, hint: str) -> None:
    with pytest.raises(VlmError, match="known: cifar10, cifar100, digits, fashion-mnist, imagefolder:PATH") as caught:
        open_data(asked, None, 0)
    assert caught.value.hint == hint


def test_a_source_of_one_form_takes_no_argument_and_no_other_size() -> None:
    with pytest.raises(VlmError, match="takes nothing after its name"):
        open_data("digits:here", None, 0)
    with pytest.raises(VlmError, match="have 32 pixels") as caught:
        open_data("digits", None, 0, image_size=96)
    assert caught.value.hint == "--adapt upsample:96"
    assert open_data("digits", None, 0, image_size=32)[0].samples == 1437


def random_images(shape: tuple[int, ...]) -> Images:
    pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    pixels[..., 1] //= 2
    return Images(pixels, np.zeros(len(pixels), np.int64))


def test_normalised_pixels_have_mean_0_and_deviation_1_by_channel() -> None:
    images = random_images((50, 4, 5, 3))
    inputs = normalised(images.pixels, *mean_and_std(images))
    assert (inputs.shape, inputs.dtype) == ((50, 3, 4, 5), np.float32)
    assert np.abs(inputs.mean(axis=(0, 2, 3))).max() < 1e-3
    assert np.abs(inputs.std(axis=(0, 2, 3)) - 1).max() < 1e-3


def test_mean_and_deviation_are_those_of_numpy() -> None:
    images = random_images((300, 4, 4, 3))
    mean, std = mean_and_std(images)
    assert np.allclose(mean, (images.pixels / 255).mean(axis=(0, 1, 2)), atol=6e-5)
    assert np.allclose(std, (images.pixels / 255).std(axis=(0, 1, 2)), atol=6e-5)


def test_of_many_images_mean_and_deviation_are_of_evenly_spaced_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images((300, 4, 4, 3))
    few = mean_and_std(images.take(np.arange(0, 300, 3)))
    monkeypatch.setattr(data_module, "STATISTICS_BYTES", 100 * 48)
    assert mean_and_std(images) == few


def test_some_of_some_images_are_those_that_were_meant() -> None:
    images = random_images((20, 2, 2, 3))
    some = images.take(np.array([3, 1, 4, 15])).take(np.array([2, 0]))
    assert np.array_equal(some.pixels, images.pixels[[4, 3]])
    assert np.array_equal(some.batch(np.array([1])), images.pixels[[3]])
