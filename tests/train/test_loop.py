"""The parts of an epoch."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from vlm_contract.errors import CheckFailed, VlmError
from vlm_train.backbones import backbone_from_timm, module_from_backbone
from vlm_train.data import Splits, normalised, open_data
from vlm_train.distributed import Group
from vlm_train.loop import Loop, classifier_of, equal_batches, learning_rate_at, parameter_groups
from vlm_train.precision import Precision
from vlm_train.recipe import Recipe, recipe_named


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


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("test_resnet", ("bn", "bias")),
        ("convnextv2_atto", ("norm", "grn", "bias")),
        ("test_vit", ("norm", "pos_embed")),
    ],
)
def test_biases_normalisations_grn_and_position_embeddings_do_not_decay(model: str, parts: tuple[str, ...]) -> None:
    module = timm.create_model(model)
    groups = parameter_groups(module, 0.1)
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    named = dict(module.named_parameters())
    assert decays.keys() == {id(p) for p in named.values()}
    for part in parts:
        assert {decays[id(p)] for name, p in named.items() if part in name} == {0.0}
    assert {
        decays[id(p)] for name, p in named.items() if p.ndim == 4 and name.endswith("weight") and "grn" not in name
    } == {0.1}


def test_a_constant_rate_stays_where_the_warm_up_ends() -> None:
    recipe = Recipe(epochs=10, warmup_epochs=1, learning_rate=0.1, schedule="constant")
    assert {learning_rate_at(step, 5, recipe) for step in range(5, 50)} == {0.1}


FP32 = Precision(None, scale=False, channels_last=True, reason="FP32")


def loop_of(recipe: Recipe, model: str = "test_vit", splits: Splits | None = None) -> Loop:
    """A network at its start, with 180 training and 20 validation images."""
    torch.manual_seed(0)
    splits = splits or open_data("digits", 200, 0)[1]
    backbone = backbone_from_timm(model, splits.classes, 32, (0.2, 0.3, 0.4), (0.3, 0.35, 0.4))
    group = Group(torch.device("cpu"))
    return Loop(module_from_backbone(backbone), backbone, splits, recipe, 0, FP32, group)


def silent(loss: float, images: int) -> None:
    """Nobody is told."""


def test_training_sees_images_as_export_will() -> None:
    _, splits = open_data("digits", 200, 0)
    pixels = splits.train.batch(np.arange(4))
    inputs = loop_of(Recipe())._inputs(torch.from_numpy(pixels))
    assert torch.equal(inputs, torch.from_numpy(normalised(pixels, (0.2, 0.3, 0.4), (0.3, 0.35, 0.4))))


def test_a_loss_that_is_not_finite_stops_the_epoch_and_says_where() -> None:
    loop = loop_of(Recipe(epochs=1, learning_rate=1e30, warmup_epochs=0, batch_size=10))
    with pytest.raises(CheckFailed, match=r"became nan in epoch 1, step \d of 18: .*The run diverged") as caught:
        loop.epoch(1, silent)
    assert caught.value.exit_code == 1
    assert "--lr" in caught.value.hint


def test_scores_are_those_of_evaluation_mode_without_augmentation() -> None:
    loop = loop_of(Recipe(epochs=1, learning_rate=1e-12, batch_size=10, shift_pixels=4), model="test_resnet")
    scores = loop.epoch(1, silent)
    assert math.isfinite(loop.test_accuracy_percent())
    assert loop.scores(1, 20) == loop.scores(1, 20) == scores
    assert not loop._module.training


def test_a_history_scores_as_many_training_images_as_validation_ones_and_a_card_all() -> None:
    loop = loop_of(Recipe())
    assert loop.epoch(1, silent).train_scored == 20
    assert loop.scores(1, 10_000).train_scored == 180


def test_images_on_disk_train_to_the_bits_of_images_in_memory(tmp_path: Path) -> None:
    _, splits = open_data("digits", 200, 0)
    on_disk = np.lib.format.open_memmap(tmp_path / "pixels.npy", "w+", np.uint8, splits.train.pixels.shape)
    on_disk[:] = splits.train.pixels
    streamed = replace(splits, train=replace(splits.train, store=on_disk))
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setattr("vlm_train.loop.fits", lambda images, device: images is not streamed.train)
        loops = [loop_of(Recipe(), splits=each) for each in (splits, streamed)]
    assert [loop._train._resident is None for loop in loops] == [False, True]
    assert loops[0].epoch(1, silent) == loops[1].epoch(1, silent)
    assert loops[0].weights() == loops[1].weights()


def test_averaged_weights_are_those_scored_and_kept() -> None:
    recipe = Recipe(epochs=2, learning_rate=0.01, ema=0.9, warmup_epochs=0)
    averaging, plain = loop_of(recipe), loop_of(replace(recipe, ema=0.0))
    averaging.epoch(1, silent), plain.epoch(1, silent)
    assert torch.equal(averaging._module.head.weight, plain._module.head.weight)
    assert load(averaging.weights())["head.weight"].norm() < load(plain.weights())["head.weight"].norm()


def test_a_probe_changes_the_classifier_and_nothing_else() -> None:
    loop = loop_of(recipe_named("probe", "test_resnet", adapt="stock", epochs=3), model="test_resnet")
    before = load(loop.weights())
    for epoch in (1, 2, 3):
        scores = loop.epoch(epoch, silent)
    after = load(loop.weights())
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"fc.weight", "fc.bias"}
    assert scores.train_loss < math.log(10)
    assert math.isfinite(loop.test_accuracy_percent())


def test_a_probe_of_a_network_without_one_linear_classifier_is_refused() -> None:
    with pytest.raises(VlmError, match="needs one linear classifier; this network ends in Identity"):
        classifier_of(timm.create_model("test_resnet", num_classes=0))


def test_gradients_are_clipped_to_the_norm_asked_for() -> None:
    recipe = Recipe(epochs=1, batch_size=100, learning_rate=1e-12, clip_norm=1e-3)
    loop = loop_of(recipe)
    loop.epoch(1, silent)
    norm = torch.stack([p.grad.norm() for p in loop._module.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=0.01)
