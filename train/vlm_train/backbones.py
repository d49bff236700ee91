"""The one place where a card becomes a torch module."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.card import Backbone, Scalar
from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, what_it_is
from vlm_train.adaptations import STOCK, adapt_module, arguments_for, check_adapt, size_inside
from vlm_train.heads import start_head_small

if TYPE_CHECKING:
    import torch

WEIGHTS_LIMIT_BYTES = 16 * 2**30


def backbone_from_timm(
    name: str,
    classes: tuple[str, ...],
    image_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    adapt: str = STOCK,
) -> Backbone:
    """Describe the timm model, or the floor, `name` for square images of `len(mean)` channels.

    Raises VlmError for a name that is neither, and for a model that cannot take images of this size, or this `adapt`.
    """
    check_timm_name(name)
    check_adapt(adapt)
    if name in floors() and adapt != STOCK:
        raise VlmError(f"{name} is made for small images as it stands.", hint=f"--adapt {STOCK}")
    size, channels = size_inside(adapt, image_size), len(mean)
    try:
        arguments, parameters, macs = _measured(name, adapt, len(classes), channels, image_size)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise VlmError(
            f"{name} cannot take images of {size} pixels: {error}.", hint="--model resnet50, or another of timm's"
        ) from None
    return Backbone(name, adapt, arguments, classes, image_size, channels, mean, std, parameters, macs)


def check_timm_name(name: str) -> None:
    """Raise VlmError with the nearest names unless `name` is a floor's or a model of timm, with or without a tag."""
    import timm

    tagged = "." in name
    names = [*floors(), *timm.list_models(include_tags=tagged)]
    if name in names or (timm.is_model(name) and not tagged):  # that knows names which the list has given up, too
        return
    nearest = difflib.get_close_matches(name, names, n=3)
    known = f"did you mean {', '.join(nearest)}?" if nearest else "timm.list_models() names them all."
    raise VlmError(f"timm has no model {name!r}; {known}", hint=f"--model {nearest[0] if nearest else 'resnet50'}")


def floors() -> dict[str, Callable[..., "torch.nn.Module"]]:
    """The constructors of the models that are ours."""
    from vlm_train.floors import FLOORS

    return FLOORS


def pretrained_mean_and_std(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """By channel, red first, of pixels scaled to 0..1: what the pretrained weights of the timm model `name` expect.

    Raises VlmError for a model of which timm knows no weights.
    """
    import timm

    known = None if name in floors() else timm.get_pretrained_cfg(name)
    if known is None:
        raise VlmError(f"timm knows no pretrained weights of {name}.", hint="--weights random")
    return tuple(known.mean), tuple(known.std)


def module_from_backbone(backbone: Backbone) -> "torch.nn.Module":
    """The network with fresh weights, in evaluation mode; its head starts small."""
    classes = len(backbone.classes)
    return _created(backbone.name, backbone.adapt, classes, backbone.channels, backbone.arguments)


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


def count_parameters(module: "torch.nn.Module") -> int:
    """Trainable scalars."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_macs(module: "torch.nn.Module", channels: int, image_size: int) -> int:
    """Multiply-accumulates of one image: the products that torch's FlopCounterMode counts, which are two FLOPs each."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # Gradients stay on: without them the counter's module tracker fails on models with attention pooling.
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, channels, image_size, image_size, device=next(module.parameters()).device))
    return int(counter.get_total_flops()) // 2


def _measured(
    name: str, adapt: str, classes: int, channels: int, image_size: int
) -> tuple[dict[str, Scalar], int, int]:
    """Constructor arguments, parameters and MACs; counted on tensors without data where the model allows it."""
    import torch

    def on(device: str) -> tuple[dict[str, Scalar], int, int]:
        with torch.device(device):
            arguments, module = _built_for_size(name, adapt, classes, channels, size_inside(adapt, image_size))
        return arguments, count_parameters(module), count_macs(module, channels, image_size)

    try:
        return on("meta")
    except RuntimeError:  # some models look at their own weights while they are built
        return on("cpu")


def _built_for_size(
    name: str, adapt: str, classes: int, channels: int, size: int
) -> tuple[dict[str, Scalar], "torch.nn.Module"]:
    """Constructor arguments for this image size, and the network: transformers take `img_size`, most CNNs do not."""
    arguments = arguments_for(name, adapt)
    sized = {**arguments, "img_size": size}
    try:
        return sized, _created(name, adapt, classes, channels, sized)
    except TypeError:
        return arguments, _created(name, adapt, classes, channels, arguments)


def _created(name: str, adapt: str, classes: int, channels: int, arguments: dict[str, Scalar]) -> "torch.nn.Module":
    import timm

    if name in floors():
        return floors()[name](num_classes=classes, in_chans=channels, **arguments).eval()
    module: torch.nn.Module = timm.create_model(name, num_classes=classes, in_chans=channels, **arguments)
    adapt_module(module, name, adapt)
    start_head_small(module)
    return module.eval()
