"""The parts of an epoch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm_contract.errors import CheckFailed
from vlm_train.backbones import backbone_from_timm, module_from_backbone
from vlm_train.data import normalised, open_data
from vlm_train.loop import Loop, equal_batches, learning_rate_at, parameter_groups, shifted
from vlm_train.recipe import Recipe


@given(st.integers(2, 500), st.integers(2, 128))
def test_batches_hold_every_image_once_and_no_batch_is_short(images: int, batch_size: int) -> None:
    batches = equal_batches(images, batch_size)
    assert sorted(torch.cat(batches).tolist()) == list(range(images))
    assert min(map(len, batches)) >= min(images, batch_size)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    recipe = Recipe(epochs=10, warmup_epochs=2, learning_rate=0.1)
    rates = [learning_rate_at(step, 5, recipe) for step in range(50)]
    assert rates.index(max(rates)) == 10
    assert max(rates) == pytest.approx(0.1)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_biases_and_normalisations_do_not_decay() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    decayed, spared = parameter_groups(module, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3)]
    assert len(spared["params"]) == 3


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
    pixels = torch.randint(256, (3, 4, 4, 3), dtype=torch.uint8)
    assert torch.equal(shifted(pixels, 0), pixels)


def loop_of(recipe: Recipe, model: str = "test_vit") -> Loop:
    _, splits = open_data("digits", 60, 0)
    backbone = backbone_from_timm(model, splits.classes, 32, (0.2, 0.3, 0.4), (0.3, 0.35, 0.4))
    return Loop(module_from_backbone(backbone), backbone, splits, recipe, seed=0)


def test_training_sees_images_as_export_will() -> None:
    _, splits = open_data("digits", 60, 0)
    pixels = splits.train.pixels[:4]
    inputs = loop_of(Recipe())._inputs(torch.from_numpy(pixels))
    assert torch.equal(inputs, torch.from_numpy(normalised(pixels, (0.2, 0.3, 0.4), (0.3, 0.35, 0.4))))


def test_a_loss_that_is_not_finite_stops_the_epoch_and_says_where() -> None:
    loop = loop_of(Recipe(epochs=1, learning_rate=1e30, warmup_epochs=0, batch_size=10))
    with pytest.raises(CheckFailed, match=r"became (nan|inf) in epoch 1, (step \d of 6|its scoring)") as caught:
        loop.epoch(1, lambda loss, images: None)
    assert caught.value.exit_code == 1
    assert "--lr 3.3e+29 --overwrite" in caught.value.hint


def test_scores_are_those_of_evaluation_mode_without_augmentation() -> None:
    loop = loop_of(Recipe(epochs=1, learning_rate=1e-30, batch_size=10), model="test_resnet")
    loop.epoch(1, lambda loss, images: None)
    assert math.isfinite(loop.test_accuracy_percent())
    assert loop.test_accuracy_percent() == loop.test_accuracy_percent()
    assert not loop._module.training
