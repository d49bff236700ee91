"""timm models: described, built, and built again from what was written."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_train.backbones import (
    backbone_from_timm,
    count_macs,
    module_from_backbone,
    module_from_checkpoint,
)

GREY = ((0.3,) * 3, (0.4,) * 3)
CLASSES = tuple("0123456789")
SEVEN = {  # parameters in millions, MACs in thousands of millions and their tolerance; 10 classes, 32 pixels
    "mobilenetv3_large_100": (4.21, 0.0071, 0.01),
    "tf_efficientnetv2_s": (20.19, 0.0617, 0.01),
    "resnet50": (23.53, 0.0834, 0.01),
    "convnextv2_tiny": (27.87, 0.0909, 0.01),
    "vit_base_patch16_224": (85.66, 0.43, 0.012),
    "deit_small_patch16_224": (21.60, 0.11, 0.05),
    "swin_tiny_patch4_window7_224": (27.51, 0.10, 0.05),
}


def described(model: str, image_size: int = 32, adapt: str = "stock") -> Backbone:
    return backbone_from_timm(model, CLASSES, image_size, *GREY, adapt=adapt)


@pytest.mark.parametrize("model", SEVEN)
def test_parameters_and_macs_are_those_of_the_literature(model: str) -> None:
    backbone, (parameters, macs, tolerance) = described(model), SEVEN[model]
    assert backbone.parameters / 1e6 == pytest.approx(parameters, abs=0.005)
    assert isinstance(backbone.macs, int)
    assert backbone.macs / 1e9 == pytest.approx(macs, rel=tolerance)


def test_fused_attention_is_counted_with_gradients_and_without() -> None:
    tokens, width, depth = 197, 384, 12
    products = 3 * 16 * 16 * width * (tokens - 1) + 10 * width
    products += depth * (tokens * 12 * width**2 + 2 * tokens**2 * width)
    backbone = described("deit_small_patch16_224", 224)
    module = module_from_backbone(backbone)
    with torch.no_grad():
        assert count_macs(module, 3, 224) == products
    assert count_macs(module, 3, 224) == backbone.macs == products


def test_transformers_are_told_the_image_size_and_convolutional_nets_are_not() -> None:
    assert described("test_vit").arguments == {"img_size": 32}
    assert described("test_resnet").arguments == {}


def test_a_model_that_looks_at_its_weights_while_it_is_built_is_described_all_the_same() -> None:
    assert described("regnetx_002").macs == count_macs(module_from_backbone(described("regnetx_002")), 3, 32)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(VlmError, match=r"no model 'resnet5O'; did you mean resnet50") as caught:
        described("resnet5O")
    assert caught.value.hint == "--model resnet50"


def test_a_tag_of_weights_may_follow_the_name_and_is_checked() -> None:
    assert described("test_vit.r160_in1k").parameters == described("test_vit").parameters
    with pytest.raises(VlmError, match=r"no model 'test_vit.r16_in1k'; did you mean test_vit.r160_in1k"):
        described("test_vit.r16_in1k")


def test_a_model_that_cannot_take_the_image_size_is_refused() -> None:
    with pytest.raises(VlmError, match="inception_v3 cannot take images of 32 pixels"):
        described("inception_v3")


@pytest.mark.parametrize("adapt", ["stock", "small", "upsample:64"])
@pytest.mark.parametrize("model", ["test_vit", "test_resnet"])
def test_a_checkpoint_gives_back_the_same_outputs(model: str, adapt: str, tmp_path: Path) -> None:
    backbone = described(model, adapt=adapt)
    module = module_from_backbone(backbone)
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    again = module_from_checkpoint(backbone, tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 32, 32)
    assert not again.training
    assert torch.equal(again(images), module(images))
    assert torch.equal(copy.deepcopy(again)(images), module(images))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(module_from_backbone(described("test_resnet")).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(VlmError, match="does not fit test_vit"):
        module_from_checkpoint(described("test_vit"), tmp_path / "model.safetensors")


def test_a_file_that_holds_no_weights_is_named_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(VlmError, match="no safetensors file: an HTML page"):
        module_from_checkpoint(described("test_vit"), tmp_path / "model.safetensors")
