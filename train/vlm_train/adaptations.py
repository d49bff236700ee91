"""How a backbone meets small images: as it stands, with a finer stem, or on images that are enlarged inside it.

Stock models divide an image by 32: at 32 pixels a 1 × 1 map is left, or four tokens.
"""

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vlm_contract.card import Scalar
from vlm_contract.errors import VlmError

if TYPE_CHECKING:
    import torch

STOCK, SMALL, UPSAMPLE = "stock", "small", "upsample"
UPSAMPLE_SIZES = range(40, 1025, 8)  # pixels


@dataclass(frozen=True)
class Finer:
    """What makes the timm models of one family fit for images of about 32 pixels."""

    arguments: dict[str, Scalar] = field(default_factory=dict)  # of the constructor
    stem: str = ""  # module whose first convolution is changed
    stride: int = 1  # of that convolution
    kernel: int = 3  # of that convolution, at most


# By timm's module of that name.
FINER = {
    # The constructor's patch_size=2 gains nothing: it moves the other half of the stride into the first stage.
    "convnext": Finer(stem="stem", stride=2, kernel=2),
    "deit": Finer(arguments={"patch_size": 4}),
    "efficientnet": Finer(stem="conv_stem"),
    "mobilenetv3": Finer(stem="conv_stem"),
    "resnet": Finer(stem="conv1"),
    "swin_transformer": Finer(arguments={"patch_size": 2, "window_size": 4}),
    "vision_transformer": Finer(arguments={"patch_size": 4}),
}


def check_adapt(adapt: str) -> None:
    """Raise VlmError with what is possible unless `adapt` is stock, small or upsample:N."""
    kind, colon, size = adapt.partition(":")
    if adapt in (STOCK, SMALL):
        return
    if kind != UPSAMPLE:
        nearest = difflib.get_close_matches(kind, (STOCK, SMALL, UPSAMPLE), n=1)
        meant = {UPSAMPLE: "upsample:96"}.get(*nearest, *nearest) if nearest else SMALL
        raise VlmError(
            f"{adapt!r} is no way to adapt a model; expected stock, small or upsample:N.", hint=f"--adapt {meant}"
        )
    if not (colon and size.isascii() and size.isdecimal() and int(size) in UPSAMPLE_SIZES):
        raise VlmError(
            f"{adapt!r} names no size; expected upsample:N, N pixels, a multiple of 8 from {UPSAMPLE_SIZES[0]} to "
            f"{UPSAMPLE_SIZES[-1]}.",
            hint="--adapt upsample:96",
        )


def size_inside(adapt: str, image_size: int) -> int:
    """Pixels that the network itself sees of images of `image_size`. Raises VlmError where they would shrink."""
    if not adapt.startswith(UPSAMPLE):
        return image_size
    size = int(adapt.partition(":")[2])
    if size <= image_size:
        raise VlmError(f"{adapt} does not enlarge images of {image_size} pixels.", hint=f"--adapt {STOCK}")
    return size


def arguments_for(name: str, adapt: str) -> dict[str, Scalar]:
    """Constructor arguments that the adaptation gives the timm model `name`. Raises VlmError where none is known."""
    return dict(_finer(name).arguments) if adapt == SMALL else {}


def adapt_module(module: "torch.nn.Module", name: str, adapt: str) -> None:
    """Change a timm model that was built with `arguments_for`; the names of its parameters stay as they are.

    Raises VlmError where the family's adaptation does not reach this model.
    """
    if adapt == SMALL:
        _make_finer(module, name, _finer(name))
    elif adapt.startswith(UPSAMPLE):
        _enlarge_inside(module, int(adapt.partition(":")[2]))


def _finer(name: str) -> Finer:
    import timm

    family = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    if family not in FINER:
        raise _unknown(name)
    return FINER[family]


def _unknown(name: str) -> VlmError:
    return VlmError(
        f"No small adaptation of {name} is known; those of {', '.join(sorted(FINER))} are.",
        hint="--adapt stock, or --adapt upsample:96",
    )


def _make_finer(module: "torch.nn.Module", name: str, finer: Finer) -> None:
    import torch

    if finer.stem:
        parts = module.get_submodule(finer.stem).modules()
        convolution = next(part for part in parts if isinstance(part, torch.nn.Conv2d))
        if convolution.stride[0] <= finer.stride:
            raise _unknown(name)
        _make_stem_fine(convolution, finer.stride, finer.kernel)


def _make_stem_fine(convolution: "torch.nn.Conv2d", stride: int, kernel: int) -> None:
    """A larger kernel becomes `kernel` with fresh weights, as timm starts those of its ResNets."""
    import torch

    convolution.stride = (stride, stride)
    if convolution.kernel_size[0] <= kernel:
        return
    convolution.kernel_size, convolution.padding = (kernel, kernel), ((kernel - 1) // 2,) * 2
    convolution.weight = torch.nn.Parameter(convolution.weight.new_empty(*convolution.weight.shape[:2], kernel, kernel))
    torch.nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")


def _enlarge_inside(module: "torch.nn.Module", size: int) -> None:
    """Enlarge what the module is called with; a hook, so that no parameter is named anew."""
    from torch.nn.functional import interpolate

    def enlarge(_: Any, inputs: tuple["torch.Tensor"]) -> "torch.Tensor":
        return interpolate(inputs[0], size=(size, size), mode="bilinear", align_corners=False)

    module.register_forward_pre_hook(enlarge)
