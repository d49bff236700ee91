"""The heads of networks: found by name, and started near a guess."""

import math

import pytest
import torch

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_train.backbones import backbone_from_timm, module_from_backbone
from vlm_train.heads import classifiers

SEVEN = (
    "mobilenetv3_large_100",
    "tf_efficientnetv2_s",
    "resnet50",
    "convnextv2_tiny",
    "vit_base_patch16_224",
    "deit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
)


def described(model: str) -> Backbone:
    return backbone_from_timm(model, tuple("0123456789"), 32, (0.3,) * 3, (0.4,) * 3)


def first_loss(model: str) -> float:
    torch.manual_seed(0)
    module = module_from_backbone(described(model)).train()
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(module(torch.randn(64, 3, 32, 32)), torch.arange(64) % 10)
    return loss.item()


@pytest.mark.parametrize("model", [*SEVEN, "levit_128s"])
def test_the_first_loss_is_near_that_of_a_guess(model: str) -> None:
    assert first_loss(model) == pytest.approx(math.log(10), abs=0.2)


def test_the_heads_are_found_by_name() -> None:
    assert list(classifiers(module_from_backbone(described("test_convnext")))) == ["head.fc"]
    assert list(classifiers(module_from_backbone(described("levit_128s")))) == ["head", "head_dist"]


def test_a_norm_in_the_head_is_left_as_it_is() -> None:
    head = module_from_backbone(described("levit_128s")).get_submodule("head")
    assert torch.equal(head.bn.weight, torch.ones(384))
    assert head.linear.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(VlmError, match="MobileNetV5Encoder has no head that classifies"):
        described("mobilenetv5_300m_enc")
