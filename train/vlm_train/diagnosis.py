"""Where a loss that is not finite comes from, and what to try. Needs torch."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def first_nonfinite(module: torch.nn.Module, inputs: Tensor, targets: Tensor) -> str:
    """Run a step again on this batch and say where its first NaN or infinite value is; the module stays as it is.

    `inputs` float [n, c, h, w] or [n, features]; `targets` classes [n] or shares [n, classes]. Call it in the autocast
    context of the step and before the optimizer's: after it the weights are broken too, and the first layer is named.
    The answer completes "The loss became nan: ...": a phrase such as "first in blocks.3.attn.proj (Linear), whose
    output has 12 of 4096 values not finite".
    """
    if not inputs.isfinite().all():
        return f"first in the batch itself, which has {_count(inputs)}"
    rerun = copy.deepcopy(module)
    found: list[str] = []
    for name, layer in rerun.named_modules():
        layer.register_forward_hook(_hook(name, found), with_kwargs=True)
    with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []):
        rerun.zero_grad()
        loss = functional.cross_entropy(rerun(inputs).float(), targets)
        torch.autograd.backward(loss)
    return (found + _parameters(rerun) + _gradients(rerun) + [_the_loss(loss)])[0]


def what_to_try(dtype: torch.dtype | None, learning_rate: float, clipped: bool) -> str:
    """Options for the next attempt, after a run in autocast's `dtype` (None: FP32), its gradients clipped or not."""
    if dtype is not None:
        return "--precision fp32 --overwrite"
    lower = f"--lr {learning_rate / 3:.2g} --overwrite"
    return lower if clipped else f"{lower}, or --clip-norm 1 --overwrite"


def _hook(name: str, found: list[str]) -> Any:
    def look(layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        broken = [tensor for tensor in _tensors(output) if not tensor.isfinite().all()]
        if broken and all(tensor.isfinite().all() for tensor in _tensors((args, kwargs))):
            weights = "".join(
                f"; its {own} has {_count(parameter)}"
                for own, parameter in layer.named_parameters(recurse=False)
                if not parameter.isfinite().all()
            )
            where = f"{name} ({type(layer).__name__})" if name else type(layer).__name__
            found.append(f"first in {where}, whose output has {_count(broken[0])}{weights}")

    return look


def _tensors(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors in a layer's arguments or output."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _parameters(module: torch.nn.Module) -> list[str]:
    return [
        f"first in the parameter {name}, which has {_count(parameter)}"
        for name, parameter in module.named_parameters()
        if not parameter.isfinite().all()
    ]


def _gradients(module: torch.nn.Module) -> list[str]:
    """The last layer's first: gradients flow backwards."""
    return [
        f"first in the gradient of {name}, which has {_count(parameter.grad)}"
        for name, parameter in reversed(list(module.named_parameters()))
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]


def _the_loss(loss: Tensor) -> str:
    if loss.isfinite():
        return "a second pass over this batch gives finite outputs, parameters and gradients"
    return "in the loss itself: the outputs are finite"


def _count(values: Tensor) -> str:
    return f"{int((~values.isfinite()).sum())} of {values.numel()} values not finite"
