"""The three ways in which a backbone meets small images."""

import pytest
import torch

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_train.adaptations import check_adapt
from vlm_train.backbones import backbone_from_timm, count_macs, module_from_backbone

GREY = ((0.3,) * 3, (0.4,) * 3)


def described(model: str, adapt: str, image_size: int = 32) -> Backbone:
    return backbone_from_timm(model, ("a", "b"), image_size, *GREY, adapt=adapt)


def side_of_the_last_map(model: str, adapt: str) -> int:
    module = module_from_backbone(described(model, adapt))
    return int(module.forward_features(torch.zeros(1, 3, 32, 32)).shape[2])


@pytest.mark.parametrize("adapt", ["stock", "small", "upsample:40", "upsample:96", "upsample:1024"])
def test_the_known_adaptations_pass(adapt: str) -> None:
    check_adapt(adapt)


@pytest.mark.parametrize(
    ("adapt", "message", "hint"),
    [
        ("smal", "'smal' is no way to adapt", "--adapt small"),
        ("upsampel:96", "expected stock, small or upsample:N", "--adapt upsample:96"),
        ("", "'' is no way to adapt", "--adapt small"),
        ("upsample", "'upsample' names no size", "--adapt upsample:96"),
        ("upsample:", "a multiple of 8 from 40 to 1024", "--adapt upsample:96"),
        ("upsample:97", "a multiple of 8", "--adapt upsample:96"),
        ("upsample:32", "a multiple of 8", "--adapt upsample:96"),
        ("upsample:-96", "a multiple of 8", "--adapt upsample:96"),
        ("upsample:٩٦", "a multiple of 8", "--adapt upsample:96"),
    ],
)
def test_others_are_refused_with_what_is_possible(adapt: str, message: str, hint: str) -> None:
    with pytest.raises(VlmError, match=message) as caught:
        check_adapt(adapt)
    assert caught.value.hint == hint


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_a_small_convolutional_net_keeps_twice_the_side(model: str) -> None:
    assert side_of_the_last_map(model, "small") == 2 * side_of_the_last_map(model, "stock")


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("test_vit", {"patch_size": 4, "img_size": 32}),
        ("deit_tiny_patch16_224", {"patch_size": 4, "img_size": 32}),
        ("swin_tiny_patch4_window7_224", {"patch_size": 2, "window_size": 4, "img_size": 32}),
    ],
)
def test_a_small_transformer_is_built_with_finer_patches(model: str, arguments: dict[str, int]) -> None:
    assert described(model, "small").arguments == arguments


def test_a_large_stem_becomes_three_by_three_and_a_patch_stem_two_by_two() -> None:
    shapes = {
        model: tuple(module_from_backbone(described(model, "small")).state_dict()[weight].shape)
        for model, weight in (("resnet18", "conv1.weight"), ("test_convnext", "stem.0.weight"))
    }
    assert shapes["resnet18"] == (64, 3, 3, 3)
    assert shapes["test_convnext"][2:] == (2, 2)


@pytest.mark.parametrize("model", ["test_byobnet", "convnext_atto_ols"])
def test_a_model_without_a_small_adaptation_is_refused_by_name(model: str) -> None:
    with pytest.raises(VlmError, match=f"No small adaptation of {model} is known") as caught:
        described(model, "small")
    assert caught.value.hint == "--adapt stock, or --adapt upsample:96"


@pytest.mark.parametrize("model", ["test_vit", "test_resnet"])
def test_upsampling_enlarges_inside_and_keeps_the_names_of_parameters(model: str) -> None:
    torch.manual_seed(0)
    adapted = module_from_backbone(described(model, "upsample:64"))
    torch.manual_seed(0)
    plain = module_from_backbone(described(model, "stock", image_size=64))
    assert adapted.state_dict().keys() == plain.state_dict().keys()
    images = torch.randn(2, 3, 32, 32)
    larger = torch.nn.functional.interpolate(images, (64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(adapted(images), plain(larger))


def test_the_macs_are_those_of_the_whole_network() -> None:
    backbone = described("test_resnet", "upsample:96")
    assert backbone.image_size == 32
    assert backbone.macs == described("test_resnet", "stock", image_size=96).macs
    assert backbone.macs == count_macs(module_from_backbone(backbone), 3, 32)


def test_upsampling_runs_in_half_precision() -> None:
    module = module_from_backbone(described("test_vit", "upsample:64")).half()
    assert module(torch.zeros(2, 3, 32, 32, dtype=torch.half)).dtype == torch.half


@pytest.mark.parametrize("adapt", ["small", "upsample:64"])
@pytest.mark.parametrize("model", ["test_vit", "test_resnet"])
def test_an_adapted_network_is_exported_whole_with_a_batch_of_any_size(model: str, adapt: str) -> None:
    module = module_from_backbone(described(model, adapt))
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=dynamic).module()
    images = torch.randn(5, 3, 32, 32)
    assert torch.allclose(program(images), module(images), atol=1e-6)


@pytest.mark.parametrize("image_size", [64, 96])
def test_images_are_never_made_smaller(image_size: int) -> None:
    with pytest.raises(VlmError, match=f"upsample:64 does not enlarge images of {image_size} pixels"):
        described("test_vit", "upsample:64", image_size)
