"""What a model asks of a device: the work and the traffic of each of its kernels, read off its ONNX file alone."""

from dataclasses import dataclass
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_profile.graph.fusion import Fused, fused
from vlm_profile.graph.steps import Steps, steps_of
from vlm_profile.inputs import Shapes, fixed_batch, resolved
from vlm_profile.onnxfile.check import model_of
from vlm_profile.onnxfile.parts import Model

KINDS = ("conv", "grouped", "depthwise", "matmul", "attention", "norm", "elementwise", "pool", "layout")


@dataclass(frozen=True)
class Operation:
    """One fused kernel of the graph, per image (batch 1); elements are counted, whatever their precision."""

    kind: str  # of KINDS
    macs: int  # multiply-accumulates
    reads: int  # activation elements read
    writes: int  # activation elements written
    weights: int  # weight elements read (independent of batch)


@dataclass(frozen=True)
class Costs:
    """Of one model."""

    operations: tuple[Operation, ...]  # in the order in which they run
    unknown: tuple[str, ...]  # what was only guessed, as sentences
    uncounted: tuple[str, ...]  # of these, what may be most of the work
    fixed_batch: int | None  # the only one that the model takes
    inputs: int  # elements of one image's input
    outputs: int  # elements of one image's outputs
    weights: int  # elements of all that operations read besides, each once


def operations_of(model: Path, shapes: Shapes | None = None) -> tuple[Operation, ...]:
    """The model's kernels. Raises VlmError where `whole_costs_of` does."""
    return whole_costs_of(model, shapes).operations


def whole_costs_of(model: Path, shapes: Shapes | None = None) -> Costs:
    """All that is counted of a model, of which nothing that may be most of the work was guessed.

    Raises VlmError where the file is no ONNX model, leaves a size open that `shapes` do not give, holds work that
    cannot be counted, or none.
    """
    read = model_of(model)
    costs = _costs(read, shapes_given(read, shapes or {}))
    if costs.uncounted:
        raise VlmError(f"What {model} asks of a device cannot be counted: {costs.uncounted[0]}.")
    if not costs.operations:
        raise VlmError(f"{model} has nothing to compute: it hands on its input.")
    return costs


def shapes_given(model: Model, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Every input's shape at batch 1. Raises VlmError for one that neither the file nor `shapes` tell."""
    return {each.name: tuple(map(int, each.shape)) for each in resolved(inputs_of(model), 1, shapes)}


def inputs_of(model: Model) -> tuple[TensorSpec, ...]:
    """As the file declares them, an open first dimension as the batch; all as floats, as sizes alone matter."""
    graph = model.graph
    return tuple(
        TensorSpec(
            each.name,
            tuple(("?" if axis else "batch") if axis in each.unknown else n for axis, n in enumerate(each.shape)),
            "float32",
        )
        for each in graph.inputs
        if each.name not in graph.initializers
    )


def costs_of(model: Path, shapes: Shapes | None = None) -> Costs:
    """All that is counted of a model; `shapes` are those of inputs that the file leaves open.

    Raises VlmError where the file is no ONNX model.
    """
    return _costs(model_of(model), shapes)


def _costs(model: Model, shapes: Shapes | None) -> Costs:
    graph = steps_of(model, shapes)
    kernels = fused(graph)
    weights = {name: size for kernel in kernels for name, size in kernel.weights.items()}
    return Costs(
        operations=tuple(_operation(graph, kernel) for kernel in kernels),
        unknown=graph.unknown,
        uncounted=graph.uncounted,
        fixed_batch=fixed_batch(inputs_of(model)),
        inputs=_per_image(graph, sum(graph.elements[name] for name in graph.inputs)),
        outputs=_per_image(graph, sum(graph.elements[name] for name in graph.outputs)),
        weights=sum(weights.values()),
    )


def _operation(graph: Steps, kernel: Fused) -> Operation:
    return Operation(
        kind=kernel.kind,
        macs=_per_image(graph, kernel.macs),
        reads=_per_image(graph, sum(kernel.inputs.values())),
        writes=_per_image(graph, sum(graph.elements[name] for name in kernel.outputs)),
        weights=sum(kernel.weights.values()),
    )


def _per_image(graph: Steps, count: int) -> int:
    """Of a file that fixes a batch, an image's share."""
    return -(-count // graph.batch)
