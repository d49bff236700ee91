"""The one place where a card becomes a torch module."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.card import Backbone, Scalar
from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, what_it_is

if TYPE_CHECKING:
    import torch

WEIGHTS_LIMIT_BYTES = 16 * 2**30
HEAD_STD = 0.01  # of a fresh head's weights: logits stay far below 1, so the first loss is near ln(classes)


def backbone_from_timm(
    name: str, classes: tuple[str, ...], image_size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Backbone:
    """Describe the timm model `name` for square images of `len(mean)` channels.

    Raises VlmError for a name that timm does not know, and for a model that cannot take images of this size.
    """
    check_timm_name(name)
    channels = len(mean)
    try:
        arguments, module = _built_for_size(name, len(classes), channels, image_size)
        macs = count_macs(module, channels, image_size)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise VlmError(
            f"{name} cannot take images of {image_size} pixels: {error}.", hint="--model resnet50, or another of timm's"
        ) from None
    return Backbone(name, arguments, classes, image_size, channels, mean, std, count_parameters(module), macs)


def check_timm_name(name: str) -> None:
    """Raise VlmError with the nearest names unless timm has a model `name`."""
    import timm

    if timm.is_model(name):
        return
    nearest = difflib.get_close_matches(name, timm.list_models(), n=3)
    known = f"did you mean {', '.join(nearest)}?" if nearest else "timm.list_models() names them all."
    raise VlmError(f"timm has no model {name!r}; {known}", hint=f"--model {nearest[0] if nearest else 'resnet50'}")


def module_from_backbone(backbone: Backbone) -> "torch.nn.Module":
    """The network with fresh weights, in evaluation mode; its head starts small."""
    module = _created(backbone.name, len(backbone.classes), backbone.channels, backbone.arguments)
    start_head_small(module)
    return module


def module_from_checkpoint(backbone: Backbone, weights: Path) -> "torch.nn.Module":
    """The network with the weights of a safetensors file, in evaluation mode. Raises VlmError where they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_regular_file(weights, limit_bytes=WEIGHTS_LIMIT_BYTES)
    module = module_from_backbone(backbone)
    try:
        module.load_state_dict(load_file(weights))
    except SafetensorError as error:
        found = what_it_is(weights) or str(error)
        raise VlmError(f"{weights} is no safetensors file: {found}.", hint="vlm-train --overwrite") from None
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:300]
        raise VlmError(f"{weights} does not fit {backbone.name}: {problem}", hint="vlm-train --overwrite") from None
    return module


def start_head_small(module: Any) -> None:
    """Start the classifier near zero, so that the first loss is near ln(classes).

    timm's MobileNet and EfficientNet heads start at a loss of 3.9 to 6.4 on ten classes.
    """
    import torch

    heads = module.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=HEAD_STD if parameter.ndim > 1 else 0.0)


def count_parameters(module: "torch.nn.Module") -> int:
    """Trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_macs(module: "torch.nn.Module", channels: int, image_size: int) -> int:
    """Multiply-accumulates of one image: the products that torch's FlopCounterMode counts, which are two FLOPs each."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # Gradients stay on: without them the counter's module tracker fails on models with attention pooling.
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, channels, image_size, image_size))
    return int(counter.get_total_flops()) // 2


def _built_for_size(
    name: str, classes: int, channels: int, image_size: int
) -> tuple[dict[str, Scalar], "torch.nn.Module"]:
    """Constructor arguments for this image size, and the network: transformers take `img_size`, most CNNs do not."""
    arguments: dict[str, Scalar] = {"img_size": image_size}
    try:
        return arguments, _created(name, classes, channels, arguments)
    except TypeError:
        return {}, _created(name, classes, channels, {})


def _created(name: str, classes: int, channels: int, arguments: dict[str, Scalar]) -> "torch.nn.Module":
    import timm

    module: torch.nn.Module = timm.create_model(name, num_classes=classes, in_chans=channels, **arguments)
    return module.eval()
