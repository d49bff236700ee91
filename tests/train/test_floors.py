"""The two models that every table carries beside the backbones."""

import math

import pytest
import torch

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_contract.floors import FLOORS
from vlm_train import floors
from vlm_train.backbones import backbone_from_timm, module_from_backbone

CLASSES = tuple("0123456789")


def described(model: str, image_size: int = 32, channels: int = 3) -> Backbone:
    return backbone_from_timm(model, CLASSES, image_size, (0.5,) * channels, (0.5,) * channels)


def test_the_floors_that_tables_carry_are_those_that_can_be_trained() -> None:
    assert tuple(floors.FLOORS) == FLOORS


def test_pixels_is_logistic_regression_that_starts_at_zero() -> None:
    backbone = described("pixels")
    assert (backbone.parameters, backbone.macs) == (30 * 1024 + 10, 30 * 1024)
    assert not module_from_backbone(backbone)(torch.randn(4, 3, 32, 32)).any()


@pytest.mark.parametrize(("image_size", "side"), [(28, 28), (32, 32), (33, 16), (96, 32), (224, 32)])
def test_pixels_looks_at_no_more_than_32_by_32(image_size: int, side: int) -> None:
    backbone = described("pixels", image_size, channels=1)
    assert backbone.parameters == 10 * side**2 + 10
    assert module_from_backbone(backbone)(torch.zeros(2, 1, image_size, image_size)).shape == (2, 10)


def test_resnet9_has_its_parameters_and_starts_near_a_guess() -> None:
    torch.manual_seed(0)
    backbone = described("resnet9")
    assert backbone.parameters == pytest.approx(1.65e6, abs=0.005e6)
    logits = module_from_backbone(backbone).train()(torch.randn(64, 3, 32, 32))
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(64) % 10)
    assert loss.item() == pytest.approx(math.log(10), abs=0.1)


@pytest.mark.parametrize(("image_size", "channels"), [(8, 3), (28, 1), (96, 3)])
def test_resnet9_takes_images_of_other_sizes(image_size: int, channels: int) -> None:
    backbone = described("resnet9", image_size, channels)
    assert module_from_backbone(backbone)(torch.zeros(2, channels, image_size, image_size)).shape == (2, 10)


@pytest.mark.parametrize("model", ["pixels", "resnet9"])
def test_a_floor_is_built_again_from_its_card_and_names_its_head(model: str) -> None:
    module = module_from_backbone(described(model))
    assert module.get_classifier().out_features == module.num_classes == 10
    assert not module.training


@pytest.mark.parametrize("adapt", ["small", "upsample:96"])
def test_a_floor_is_not_adapted(adapt: str) -> None:
    with pytest.raises(VlmError, match="pixels is made for small images as it stands"):
        backbone_from_timm("pixels", CLASSES, 32, (0.5,) * 3, (0.5,) * 3, adapt=adapt)


def test_a_misspelt_floor_is_named() -> None:
    with pytest.raises(VlmError, match="did you mean resnet9"):
        described("resnet_9")
