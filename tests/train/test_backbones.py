"""timm models: described, built, and built again from what was written."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_train.backbones import backbone_from_timm, module_from_backbone, module_from_checkpoint

GREY = ((0.3,) * 3, (0.4,) * 3)
CLASSES = tuple("0123456789")


def described(model: str) -> Backbone:
    return backbone_from_timm(model, CLASSES, 32, *GREY)


@pytest.mark.parametrize(
    ("model", "parameters", "macs"), [("mobilenetv3_large_100", 4.21e6, 0.007e9), ("resnet50", 23.53e6, 0.0835e9)]
)
def test_parameters_and_macs_are_those_of_the_literature(model: str, parameters: float, macs: float) -> None:
    backbone = described(model)
    assert backbone.parameters == pytest.approx(parameters, abs=0.005e6)
    assert backbone.macs == pytest.approx(macs, rel=0.02)


def test_transformers_are_told_the_image_size_and_convolutional_nets_are_not() -> None:
    assert described("test_vit").arguments == {"img_size": 32}
    assert described("test_resnet").arguments == {}


@pytest.mark.parametrize("model", ["mobilenetv3_large_100", "test_efficientnet", "test_vit", "test_resnet"])
def test_the_first_loss_is_near_that_of_a_guess(model: str) -> None:
    torch.manual_seed(0)
    module = module_from_backbone(described(model)).train()
    images, labels = torch.randn(64, 3, 32, 32), torch.arange(64) % 10
    assert torch.nn.functional.cross_entropy(module(images), labels).item() == pytest.approx(math.log(10), abs=0.1)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(VlmError, match=r"no model 'resnet5O'; did you mean resnet50") as caught:
        described("resnet5O")
    assert caught.value.hint == "--model resnet50"


def test_a_model_that_cannot_take_the_image_size_is_refused() -> None:
    with pytest.raises(VlmError, match="inception_v3 cannot take images of 32 pixels"):
        described("inception_v3")


def test_a_checkpoint_gives_back_the_same_outputs(tmp_path: Path) -> None:
    backbone = described("test_vit")
    module = module_from_backbone(backbone)
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    again = module_from_checkpoint(backbone, tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 32, 32)
    assert not again.training
    assert torch.equal(again(images), module(images))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(module_from_backbone(described("test_resnet")).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(VlmError, match="does not fit test_vit"):
        module_from_checkpoint(described("test_vit"), tmp_path / "model.safetensors")


def test_a_file_that_holds_no_weights_is_named_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(VlmError, match="no safetensors file: an HTML page"):
        module_from_checkpoint(described("test_vit"), tmp_path / "model.safetensors")
