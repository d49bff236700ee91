"""The checkpoint as its own measure: what it answers in FP64, and how far rounding alone takes it from that."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.card import Backbone

if TYPE_CHECKING:
    import torch

    Rounding: TypeAlias = Callable[["torch.Tensor"], "torch.Tensor"]

Truth: TypeAlias = npt.NDArray[np.float64]  # logits [n, classes]
AT_ONCE = 100  # images in one call of torch


def truth(module: "torch.nn.Module", backbone: Backbone, pixels: npt.NDArray[np.uint8]) -> Truth:
    """Logits [n, classes] of images [n, h, w, c], computed in FP64."""
    return logits_of(copy.deepcopy(module).double(), backbone, pixels)


def logits_of(module: "torch.nn.Module", backbone: Backbone, pixels: npt.NDArray[np.uint8]) -> Truth:
    """Logits [n, classes] of images [n, h, w, c], normalised as the backbone says, computed in the module's dtype."""
    import torch

    from vlm_train.data import normalised

    dtype, logits = next(module.parameters()).dtype, []
    with torch.no_grad():  # in inference mode torch would not take composite operators apart
        for i in range(0, len(pixels), AT_ONCE):
            images = torch.from_numpy(normalised(pixels[i : i + AT_ONCE], backbone.mean, backbone.std))
            logits.append(module(images.to(dtype)).double().numpy())
    return np.concatenate(logits)


def rounded_logits(
    module: "torch.nn.Module", backbone: Backbone, pixels: npt.NDArray[np.uint8], precision: str
) -> Truth:
    """The same, as hardware of `precision` would round it: "fp32" is torch's own FP32.

    "fp16": weights and the result of every operator are rounded to FP16; sums inside one operator are not, nor is what
    lies beyond FP16's range, which an FP16 graph keeps in FP32. "int8": the operands of every product are rounded to 8
    bits, weights with a scale for each output channel, the rest with one scale for the tensor. Both compute in FP32
    otherwise.
    """
    if precision == "fp32":
        return logits_of(module, backbone, pixels)
    from torch.nn.attention import SDPBackend, sdpa_kernel

    module = copy.deepcopy(module)
    if precision == "fp16":
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.data = _to_half(tensor.data)
    with sdpa_kernel(SDPBackend.MATH), _every_operator(_after_half if precision == "fp16" else _before_int8):
        return logits_of(module, backbone, pixels)


def _every_operator(compute: "Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]") -> Any:
    """A context in which torch has `compute(operator, arguments, keywords)` compute each operator."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return compute(func, args, kwargs or {})

    return Mode()  # type: ignore[no-untyped-call]


def _after_half(operator: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Round in place, as in-place operators do; views look at what was rounded before."""
    import torch
    from torch.utils._pytree import tree_leaves

    result = operator(*arguments, **keywords)
    for tensor in () if operator.is_view else tree_leaves(result):
        if isinstance(tensor, torch.Tensor) and tensor.dtype is torch.float32:
            tensor.copy_(_to_half(tensor))
    return result


def _to_half(tensor: "torch.Tensor") -> "torch.Tensor":
    if not tensor.is_floating_point():
        return tensor
    rounded = tensor.half().to(tensor.dtype)
    return tensor.where(rounded.isinf(), rounded)


def _before_int8(operator: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """`operand` gives where the activations and the weights of a product stand, and the weights' channels."""
    import torch

    aten = torch.ops.aten
    products = {  # operator: (activations, weights, dimensions of a weight tensor that share a scale)
        aten.convolution.default: (0, 1, (1, 2, 3)),
        aten.addmm.default: (1, 2, (0,)),
        aten.mm.default: (0, 1, (0,)),
        aten.bmm.default: (0, 1, (0, 1, 2)),
    }
    if operator in products:
        activations, weights, shared = products[operator]
        operands = list(arguments)
        operands[activations] = _to_eight_bits(operands[activations], tuple(range(operands[activations].ndim)))
        operands[weights] = _to_eight_bits(operands[weights], shared)
        arguments = tuple(operands)
    return operator(*arguments, **keywords)


def _to_eight_bits(tensor: "torch.Tensor", shared: tuple[int, ...]) -> "torch.Tensor":
    scale = tensor.abs().amax(dim=shared, keepdim=True).clamp(min=1e-30) / 127
    return (tensor / scale).round() * scale
