"""A model's inputs: their shapes for a batch, and random arrays of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec

if TYPE_CHECKING:
    import numpy

Shapes = Mapping[str, tuple[int, ...]]  # by input name, as the user gave them

# Whole numbers stay 0 or 1 where they may be indices; 8-bit ones are pixels.
_INDICES = ("int16", "int32", "int64", "uint16", "uint32", "uint64")
_WHOLE_NUMBERS_BELOW = {"bool": 2, "uint8": 256, "int8": 128, **dict.fromkeys(_INDICES, 2)}


def fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    """The only batch that the model takes; None where its first dimension is dynamic."""
    sizes = [tensor.shape[0] for tensor in inputs if tensor.shape]
    first = sizes[0] if sizes else 1
    return None if _batch_names(inputs) or isinstance(first, str) else first


def resolved(inputs: Sequence[TensorSpec], batch: int, given: Shapes) -> tuple[TensorSpec, ...]:
    """The inputs with every dimension known. Raises VlmError naming the input and the dimension that is not."""
    for name in given.keys() - {tensor.name for tensor in inputs}:
        raise VlmError(
            f"--input-shape names {name!r}, and the model has no such input.",
            hint=f"one of: {', '.join(tensor.name for tensor in inputs)}",
        )
    names = _batch_names(inputs)
    return tuple(replace(tensor, shape=_shape(tensor, batch, names, given.get(tensor.name))) for tensor in inputs)


def random_feeds(inputs: Sequence[TensorSpec], count: int, seed: int) -> list[dict[str, "numpy.ndarray[Any, Any]"]]:
    """`count` feeds of seeded random arrays: floats of a standard normal, whole numbers uniform."""
    import numpy

    generator = numpy.random.default_rng(seed)

    def array(tensor: TensorSpec) -> "numpy.ndarray[Any, Any]":
        kind, shape = numpy.dtype(tensor.dtype), tuple(map(int, tensor.shape))
        if kind.kind == "f":
            return generator.standard_normal(shape, dtype=numpy.float32).astype(kind, copy=False)
        return generator.integers(_WHOLE_NUMBERS_BELOW[tensor.dtype], size=shape).astype(kind)

    return [{tensor.name: array(tensor) for tensor in inputs} for _ in range(count)]


def _batch_names(inputs: Sequence[TensorSpec]) -> set[str]:
    """The names of dynamic first dimensions: these are the batch, wherever they stand."""
    return {tensor.shape[0] for tensor in inputs if tensor.shape and isinstance(tensor.shape[0], str)}


def _shape(tensor: TensorSpec, batch: int, batch_names: set[str], given: tuple[int, ...] | None) -> tuple[int, ...]:
    if tensor.dtype not in {*_WHOLE_NUMBERS_BELOW, "float16", "float32", "float64"}:
        raise VlmError(f"Input {tensor.name!r} takes {tensor.dtype}, of which no random input can be made.")
    if given is not None and len(given) != len(tensor.shape):
        raise VlmError(f"--input-shape gives {tensor.name!r} {len(given)} dimensions; the model has {_text(tensor)}.")
    return tuple(
        _size(tensor, axis, batch, batch_names, given[axis] if given else None) for axis in range(len(tensor.shape))
    )


def _size(tensor: TensorSpec, axis: int, batch: int, batch_names: set[str], given: int | None) -> int:
    size = tensor.shape[axis]
    if (axis == 0 and isinstance(size, str)) or size in batch_names - {"?"}:
        return batch
    if isinstance(size, int):
        if given not in (None, size):
            raise VlmError(
                f"--input-shape gives dimension {axis} of {tensor.name!r} {given}; the model fixes {_text(tensor)}."
            )
        return size
    if given is None:
        raise VlmError(
            f"Dimension {axis} ({size}) of input {tensor.name!r} is unknown: the model says {_text(tensor)}.",
            hint=f"--input-shape {tensor.name}:{_example(tensor)}, with your sizes",
        )
    return given


def _example(tensor: TensorSpec) -> str:
    return "x".join(
        str(size if isinstance(size, int) else 224 if axis else 1) for axis, size in enumerate(tensor.shape)
    )


def _text(tensor: TensorSpec) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
