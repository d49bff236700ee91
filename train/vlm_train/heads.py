"""The layers that give the logits: found, and started."""

from typing import TYPE_CHECKING, Any

from vlm_contract.errors import VlmError

if TYPE_CHECKING:
    import torch

HEAD_STD = 0.01  # of a fresh head's weights: logits stay far below 1, so the first loss is near ln(classes)


def start_head_small(module: Any) -> None:
    """Start the classifier near zero, so that the first loss is near ln(classes).

    timm's MobileNet and EfficientNet heads start at a loss of 3.9 to 6.4 on ten classes.
    """
    import torch

    for head in classifiers(module).values():
        for layer in head.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):  # some heads begin with a norm
                torch.nn.init.normal_(layer.weight, std=HEAD_STD)
                if layer.bias is not None:
                    torch.nn.init.zeros_(layer.bias)


def classifiers(module: Any) -> dict[str, "torch.nn.Module"]:
    """The layers that give the logits, by their names in the module: one, or two of a distilled transformer."""
    if not hasattr(module, "get_classifier"):
        raise VlmError(f"timm's {type(module).__name__} has no head that classifies.", hint="--model resnet50")
    heads = module.get_classifier()
    heads = heads if isinstance(heads, tuple) else (heads,)
    return {name: part for name, part in module.named_modules() if any(part is head for head in heads)}
