"""What a target's runtime can read, and how a graph for it is exported."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vlm_export.graph import opset_of
from vlm_export.tensorrt.trtexec import numbers
from vlm_targets.catalogue import Target, target_named

if TYPE_CHECKING:
    from vlm_export.graph import Model

DEFAULT_OPSET = 18  # the oldest that torch's dynamo exporter gives of every network
# No TensorRT reads these; QuantizeLinear and DequantizeLinear around a float operator take their place.
_INTEGER_OPERATORS = ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul")
_NEW_IN_8_5 = ("GridSample", "HardSwish", "MeanVarianceNormalization", "Mod", "NonZero", "OneHot", "RoiAlign", "Trilu")
_NEW_IN_8_6 = ("GroupNormalization", "IsInf", "LayerNormalization")
_NEW_IN_10 = ("Gelu",)
# Compute capabilities on which TensorRT has no INT8. Source: TensorRT's support matrices, "Hardware and Precision".
_WITHOUT_INT8 = ("5.3", "6.0", "6.2")
_INT8_OPERATORS = ("DequantizeLinear", "QuantizeLinear")


@dataclass(frozen=True)
class Reader:
    """What the ONNX parser of a range of versions takes."""

    first: tuple[int, ...]  # version of the range
    opset: int  # to export with: the newest whose operators it all has
    opset_max: int  # that it reads
    exporter: Literal["dynamo", "legacy"]  # that gives the opset
    refused: tuple[str, ...]  # operators that it does not have


# Asked for less than 18, torch's dynamo exporter gives 18 without a word: for 13 always, for 17 where the network has
# a ReduceMean. The legacy exporter gives what it is asked for. TensorRT 8.5 reads opset 17, but not its
# LayerNormalization, which at 16 is made of operators that it has.
# Sources: docs/operators.md and docs/Changelog.md of https://github.com/onnx/onnx-tensorrt, at the release of each.
TENSORRT = (
    Reader((0,), 13, 13, "legacy", (*_INTEGER_OPERATORS, *_NEW_IN_8_5, *_NEW_IN_8_6, *_NEW_IN_10)),
    Reader((8, 5), 16, 17, "legacy", (*_INTEGER_OPERATORS, *_NEW_IN_8_6, *_NEW_IN_10)),
    Reader((8, 6), 17, 17, "legacy", (*_INTEGER_OPERATORS, *_NEW_IN_10)),
    Reader((10,), DEFAULT_OPSET, 20, "dynamo", _INTEGER_OPERATORS),
)
# Source: https://onnxruntime.ai/docs/reference/compatibility.html, for the oldest version that the extra `ort` takes.
ONNX_RUNTIME = Reader((1, 23), DEFAULT_OPSET, 23, "dynamo", ())


@dataclass(frozen=True)
class Gate:
    """What a graph must be for one target, and how it is exported."""

    reader: str  # "TensorRT 8.2.1 on the Jetson Nano"
    opset: int  # to ask the exporter for
    opset_max: int
    exporter: Literal["dynamo", "legacy"]
    refused: frozenset[str]  # operators
    symmetric_int8: bool  # TensorRT reads INT8 around zero point 0 alone


def gate_of(name: str, *, engines: bool = False) -> Gate:
    """The gate of a target; of its TensorRT where engines are wanted. Raises VlmError if there is no such target."""
    target = target_named(name)
    if isinstance(target.tensorrt, str):
        reader = max((r for r in TENSORRT if r.first <= numbers(target.tensorrt)), key=lambda r: r.first)
        return _gate(f"TensorRT {target.tensorrt} on {target.title}", reader, _without_int8(target))
    if isinstance(target.compute_capability, str) or engines:
        return _gate(f"TensorRT 10 on {target.title}", TENSORRT[-1], _without_int8(target))
    return _gate(f"ONNX Runtime on {target.title}", ONNX_RUNTIME, ())


def check_gate(model: "Model", gate: Gate) -> tuple[str, ...]:
    """Why the target cannot read a graph, and what to do about it; empty where it can."""
    reasons = []
    opset, refused = opset_of(model), sorted(gate.refused & operators_of(model))
    if opset > gate.opset_max:
        reasons.append(
            f"the graph has opset {opset}, and {gate.reader} reads {gate.opset_max} at most: "
            f"export it anew with --target, or choose a target with a newer runtime"
        )
    if refused:
        reasons.append(
            f"{gate.reader} does not have {', '.join(refused)}: choose a network or a precision without, "
            f"such as resnet50 in FP16, or a target with a newer runtime"
        )
    return tuple(reasons)


def operators_of(model: "Model") -> set[str]:
    """The operators of a graph, of the graphs inside its nodes, and of its functions."""
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    return {node.op_type for body in bodies for node in _nodes(body)}


def _gate(reader: str, takes: Reader, without: tuple[str, ...]) -> Gate:
    refused = frozenset((*takes.refused, *without))
    return Gate(reader, takes.opset, takes.opset_max, takes.exporter, refused, takes is not ONNX_RUNTIME)


def _without_int8(target: Target) -> tuple[str, ...]:
    return _INT8_OPERATORS if target.compute_capability in _WITHOUT_INT8 else ()


def _nodes(body: "Model") -> Iterator["Model"]:
    for node in body:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)
