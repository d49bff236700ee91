"""FP16 graphs, and whether the numbers that a network computes with fit into FP16."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import LayerRange, RangeScan
from vlm_export.graph import INPUT, Model

LARGEST_HALF = 65504.0
SHOWN = 5
INFINITY = "|infinity"
# A sum of squares leaves FP16 long before its root: on a map of 56×56 once the input's root mean square passes 4.6.
SUMS_OF_SQUARES = ("ReduceL2", "ReduceSumSquare")


@dataclass(frozen=True)
class Scan:
    """What a scan found, and the nodes that must stay FP32 for it."""

    found: RangeScan
    float_nodes: tuple[str, ...]


def fp16_from_fp32(model: Model, scan: Scan, *, half_io: bool) -> Model:
    """A copy whose weights and activations are FP16; its input and output stay FP32 unless `half_io`.

    Sums of squares stay FP32, as do the nodes that the scan found to leave FP16's range. LayerNormalization stays one
    operator, which runtimes accumulate in FP32.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    converted = convert_float_to_float16(
        model,
        keep_io_types=not half_io,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *SUMS_OF_SQUARES],
        node_block_list=list(scan.float_nodes),
    )
    # The converter calls weights FP16 there that it leaves FP32 for the nodes that stay so.
    del converted.graph.value_info[:]
    _join_float_nodes(converted)
    # The converter appends its casts behind the nodes that read them; ONNX wants every node after its inputs.
    OnnxModel.graph_topological_sort(converted.graph)
    return converted


def _join_float_nodes(model: Model) -> None:
    """Let a node that stayed FP32 read what another one gives out as it is: the converter casts to FP16 and back."""
    from onnx import TensorProto

    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    halves = {name: node for name, node in casts.items() if node.attribute[0].i == TensorProto.FLOAT16}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name in casts and name not in halves and casts[name].input[0] in halves:
                node.input[i] = halves[casts[name].input[0]].input[0]
    _drop_unread_casts(model)


def _drop_unread_casts(model: Model) -> None:
    while True:
        read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
        unread = [node for node in model.graph.node if node.op_type == "Cast" and node.output[0] not in read]
        if not unread:
            return
        for node in unread:
            model.graph.node.remove(node)


def range_scan(model: Model, batches: Iterable[npt.NDArray[np.float32]], origin: str) -> Scan:
    """The largest magnitude that each layer of an FP32 graph gives out, over batches of images [n, c, h, w].

    A layer is one node. Those beyond FP16's range are listed, and so is what must stay FP32 for them: the nodes that
    give such numbers out and the nodes that read them. Raises CheckFailed where the graph does not run, or gives out
    what is no number in FP32 already.
    """
    watched, outputs = _watched(model)
    largest = dict.fromkeys(outputs, 0.0)
    images = 0
    for batch, seen in _maxima(watched, outputs, batches):
        images += batch
        largest = {tensor: np.maximum(largest[tensor], value) for tensor, value in zip(outputs, seen, strict=True)}
    check_finite(largest, outputs)
    ranges = {tensor: LayerRange(node.name, node.op_type, float(largest[tensor])) for tensor, node in outputs.items()}
    beyond = {tensor for tensor, value in largest.items() if value > LARGEST_HALF}
    float_nodes = tuple(node.name for node in model.graph.node if beyond & {*node.input, *node.output})
    found = RangeScan(
        images=images,
        origin=origin,
        largest=tuple(sorted(ranges.values(), key=lambda layer: -layer.max_abs)[:SHOWN]),
        overflowing=tuple(ranges[tensor] for tensor in outputs if tensor in beyond),
        kept_fp32=_kept_fp32(model, float_nodes),
    )
    return Scan(found, float_nodes)


def check_finite(largest: Mapping[str, float], nodes: Mapping[str, Any]) -> None:
    """Raise CheckFailed naming the first layer that gives NaN or infinity."""
    for tensor, value in largest.items():
        if not np.isfinite(value):
            raise CheckFailed(f"{nodes[tensor].name} gives NaN or infinity in FP32 already; it cannot become FP16.")


def _kept_fp32(model: Model, float_nodes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(node.name for node in model.graph.node if node.op_type in SUMS_OF_SQUARES or node.name in float_nodes)


def _watched(model: Model) -> tuple[Model, dict[str, Any]]:
    """A copy that also gives the largest magnitude of every activation, and the nodes by those tensors' names."""
    import onnx
    from onnx import helper, numpy_helper

    watched = onnx.shape_inference.infer_shapes(model)
    floats = {v.name for v in watched.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    floats |= {value.name for value in watched.graph.output}
    watched.graph.initializer.append(numpy_helper.from_array(np.array(np.inf, np.float32), INFINITY))
    outputs = {name: node for node in model.graph.node for name in node.output if name in floats}
    for name in outputs:
        nan, size, seen = (f"{name}|{word}" for word in ("nan", "abs", "seen"))
        watched.graph.node.append(helper.make_node("IsNaN", [name], [nan]))
        watched.graph.node.append(helper.make_node("Abs", [name], [size]))
        watched.graph.node.append(helper.make_node("Where", [nan, INFINITY, size], [seen]))  # a maximum may drop NaN
        watched.graph.node.append(helper.make_node("ReduceMax", [seen], [_max(name)], keepdims=0))
        watched.graph.output.append(helper.make_tensor_value_info(_max(name), onnx.TensorProto.FLOAT, []))
    return watched, outputs


def _max(tensor: str) -> str:
    return f"{tensor}|max"


def _maxima(
    watched: Model, outputs: Iterable[str], batches: Iterable[npt.NDArray[np.float32]]
) -> Iterator[tuple[int, list[Any]]]:
    from vlm_export.session import outputs_of, runtime_session

    session = runtime_session(watched.SerializeToString())
    names = [_max(name) for name in outputs]
    for batch in batches:
        yield len(batch), outputs_of(session, names, {INPUT: batch})
