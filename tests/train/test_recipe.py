"""Hyperparameters out of their range are refused; recipes are data."""

from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_train.recipe import RECIPES, Recipe, family_of, recipe_named


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"epochs": 0}, "epochs is 0; expected 1 or more"),
        ({"batch_size": 1}, "batch size is 1; expected 2 or more"),
        ({"learning_rate": 0.0}, "learning rate is 0.0; expected more than 0"),
        ({"learning_rate": -1.0}, "expected more than 0"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"learning_rate": float("inf")}, "learning rate is inf"),
        ({"weight_decay": -0.1}, "weight decay is -0.1; expected 0 or more"),
        ({"shift_pixels": -1}, "shift pixels is -1"),
        ({"erase": 1.5}, "erase is 1.5; expected 1 or less"),
        ({"schedule": "step"}, "Unknown schedule 'step'; known: cosine, constant"),
        ({"mix": "mixdown"}, "Unknown mix 'mixdown'; known: none, mixup, cutmix, both"),
        ({"frozen": True}, "no augmentation and no average reach them"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_expected(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(VlmError, match=said):
        Recipe(**setting)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("model", ["resnet50", "vit_base_patch16_224", "convnextv2_tiny", "pixels", "resnet9"])
def test_every_recipe_is_one_that_can_be_followed(name: str, model: str) -> None:
    assert recipe_named(name, model).name == name


def test_the_reference_recipe_is_that_of_the_reference_document() -> None:
    recipe = recipe_named("reference", "resnet50", "cifar10")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (100, 128, 1e-3, 0.05)
    assert (recipe.schedule, recipe.adapt, recipe.augments) == ("constant", "stock", False)


def test_what_is_given_wins_over_the_data_and_the_data_over_the_recipe() -> None:
    assert recipe_named("scratch", "resnet50", "cifar10").flip
    assert not recipe_named("scratch", "resnet50", "digits").flip
    assert recipe_named("scratch", "resnet50", "digits", flip=True, epochs=None).flip


@pytest.mark.parametrize(
    ("model", "family"),
    [("deit_small_patch16_224", "transformer"), ("convnextv2_tiny", "convnext"), ("tf_efficientnetv2_s", "cnn")],
)
def test_a_models_family_is_told_from_its_name(model: str, family: str) -> None:
    assert family_of(model) == family


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(VlmError, match="Unknown recipe 'scrach'") as caught:
        recipe_named("scrach", "resnet50")
    assert caught.value.hint == "--recipe scratch"
