"""Augmentation in batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vlm_train.augmentation import GROUP, Augmentation, changed, erased, flipped, mixed, shifted

EVERY = {
    "shift": Augmentation(10, shift_pixels=3),
    "flip": Augmentation(10, flip=True),
    "trivial": Augmentation(10, policy="trivial"),
    "rand": Augmentation(10, policy="rand"),
    "erase": Augmentation(10, erase=0.5),
    "mixup": Augmentation(10, mix="mixup", mix_alpha=0.5),
    "cutmix": Augmentation(10, mix="cutmix"),
    "all": Augmentation(10, shift_pixels=2, flip=True, policy="trivial", erase=0.25, mix="both"),
}


def batch(n: int = 64, height: int = 12, width: int = 12, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (n, height, width, channels), dtype=torch.uint8, generator=generator)
    return pixels, torch.randint(10, (n,), generator=generator)


def test_nothing_happens_and_nothing_is_drawn_when_all_is_off() -> None:
    pixels, labels = batch()
    state = torch.get_rng_state()
    seen, targets = Augmentation(10)(pixels, labels)
    assert seen is pixels
    assert targets is labels
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_decides_what_happens_and_the_next_draw_differs(name: str) -> None:
    pixels, labels = batch()
    torch.manual_seed(5)
    first, again = EVERY[name](pixels, labels), EVERY[name](pixels, labels)
    torch.manual_seed(5)
    repeated = EVERY[name](pixels, labels)
    assert torch.equal(first[0], repeated[0])
    assert torch.equal(first[1], repeated[1])
    assert not torch.equal(first[0], again[0])


@pytest.mark.parametrize("name", EVERY)
def test_the_batch_that_was_given_stays_as_it_was(name: str) -> None:
    pixels, labels = batch()
    before = pixels.clone(), labels.clone()
    for seed in range(3):
        torch.manual_seed(seed)
        EVERY[name](pixels, labels)
    assert torch.equal(pixels, before[0])
    assert torch.equal(labels, before[1])


@pytest.mark.parametrize("name", EVERY)
def test_images_keep_their_shape_their_range_and_a_contiguous_layout(name: str) -> None:
    pixels, labels = batch(n=21, height=9, width=14)
    seen, targets = EVERY[name](pixels, labels)
    assert seen.shape == pixels.shape
    assert seen.is_contiguous()
    assert seen.dtype in (torch.uint8, torch.float32)
    assert 0 <= seen.min() <= seen.max() <= 255
    assert len(targets) == len(labels)


def test_a_flip_mirrors_about_half_of_the_images_and_leaves_the_others() -> None:
    pixels, _ = batch(n=400, height=3, width=5)
    seen = flipped(pixels)
    mirrored = (seen == pixels.flip(2)).flatten(1).all(1)
    kept = (seen == pixels).flatten(1).all(1)
    assert torch.equal(mirrored, ~kept)
    assert 150 < mirrored.sum() < 250


def test_the_same_flip_twice_gives_the_image_back() -> None:
    pixels, _ = batch()
    torch.manual_seed(0)
    once = flipped(pixels)
    torch.manual_seed(0)
    assert torch.equal(flipped(once), pixels)


def test_a_shift_moves_whole_images_and_lets_black_in() -> None:
    torch.manual_seed(0)
    pixels = torch.zeros(200, 5, 5, 1, dtype=torch.uint8)
    pixels[:, 2, 2] = 9
    moved = shifted(pixels, 2)
    places = {tuple(place) for place in moved[..., 0].nonzero()[:, 1:].tolist()}
    assert moved.shape == pixels.shape
    assert moved.sum() == pixels.sum()
    assert places == {(row, column) for row in range(5) for column in range(5)}


def test_no_shift_leaves_images_as_they_are() -> None:
    pixels, _ = batch()
    assert torch.equal(shifted(pixels, 0), pixels)


@pytest.mark.parametrize("policy", ["trivial", "rand"])
def test_a_policy_treats_the_images_of_a_group_alike_and_groups_differently(policy: str) -> None:
    image = batch(n=1)[0]
    torch.manual_seed(0)
    seen = changed(image.expand(20 * GROUP, -1, -1, -1), policy).view(20, GROUP, *image.shape[1:])
    assert (seen == seen[:, :1]).all()
    assert len({group.numpy().tobytes() for group in seen[:, 0]}) > 10


def test_a_policy_takes_grey_images() -> None:
    pixels, _ = batch(channels=1)
    assert changed(pixels, "trivial").shape == pixels.shape


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 1000))
def test_what_is_erased_is_one_box_inside_the_image(height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    black = erased(torch.full((6, height, width, 3), 7, dtype=torch.uint8), 1.0) == 0
    assert torch.equal(black.all(3), black.any(3))
    for image in black[..., 0]:
        rows, columns = image.any(1), image.any(0)
        assert image.sum() == rows.sum() * columns.sum() > 0
        assert all(line.diff().sum() <= 2 for line in (rows, columns))


def test_boxes_cover_2_to_33_percent_in_all_shapes_and_places() -> None:
    torch.manual_seed(0)
    black = erased(torch.ones(2000, 32, 32, 1, dtype=torch.uint8), 1.0)[..., 0] == 0
    share = black.float().mean((1, 2))
    heights, widths = black.any(2).sum(1), black.any(1).sum(1)
    assert 0.015 < share.min() < 0.025
    assert 0.30 < share.max() < 0.35
    assert share.mean() == pytest.approx(0.175, abs=0.01)
    assert (heights > 2 * widths).any() and (widths > 2 * heights).any()
    assert black.any(0).all()


def test_the_erased_share_of_images_is_the_probability() -> None:
    torch.manual_seed(0)
    pixels = torch.ones(1000, 8, 8, 1, dtype=torch.uint8)
    touched = (erased(pixels, 0.3) == 0).flatten(1).any(1).float().mean()
    assert touched == pytest.approx(0.3, abs=0.05)
    assert torch.equal(erased(pixels, 0.0), pixels)


@pytest.mark.parametrize("mix", ["mixup", "cutmix", "both"])
def test_mixed_labels_sum_to_one_and_name_no_more_than_two_classes(mix: str) -> None:
    pixels, labels = batch()
    for seed in range(5):
        torch.manual_seed(seed)
        _, targets = mixed(pixels, labels, mix, 1.0, 10)
        assert targets.shape == (64, 10)
        assert targets.sum(1) == pytest.approx(1)
        assert ((targets > 0).sum(1) <= 2).all()


def test_mixup_weighs_pixels_as_it_weighs_labels() -> None:
    pixels = torch.tensor([0, 200], dtype=torch.uint8)[:, None, None, None].expand(2, 4, 4, 3)
    seen, targets = mixed(pixels, torch.tensor([0, 1]), "mixup", 1.0, 2)
    assert seen[:, 0, 0, 0] / 200 == pytest.approx(targets[:, 1])


def test_cutmix_takes_as_much_of_the_pixels_as_of_the_label() -> None:
    pixels = torch.tensor([0, 200], dtype=torch.uint8)[:, None, None, None].expand(2, 16, 16, 3)
    seen, targets = mixed(pixels, torch.tensor([0, 1]), "cutmix", 1.0, 2)
    assert seen.dtype == torch.uint8
    assert set(seen.flatten().tolist()) <= {0, 200}
    assert (seen == 200).float().mean((1, 2, 3)) == pytest.approx(targets[:, 1])


def test_both_draws_each_of_the_two() -> None:
    pixels, labels = batch(n=4)
    torch.manual_seed(0)
    kinds = {mixed(pixels, labels, "both", 1.0, 10)[0].dtype for _ in range(20)}
    assert kinds == {torch.uint8, torch.float32}
