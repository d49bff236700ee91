"""Which layers bear INT8 worst: each one alone quantised, and the logits beside those of the float graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm_export.graph import Model
from vlm_export.quantiser import Layer
from vlm_export.session import runtime_session

QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
REMOVABLE = ("Relu", "Clip")  # where all is quantised the end of a range does their work, and they add no error
SWITCH = "quantised "  # before a tensor's name: the input that switches it


@dataclass(frozen=True)
class Switchable:
    """One graph for all layers, as a session for each would cost more than all its runs."""

    model: Model  # for each quantised tensor a boolean input chooses between it and the float one
    layers: tuple[Layer, ...]
    deciders: dict[str, set[Layer]]  # for each tensor the layers for whose sake it is quantised

    def switches(self, on: Sequence[Layer]) -> dict[str, npt.NDArray[np.bool_]]:
        """The boolean inputs that quantise these layers and no other."""
        return {SWITCH + name: np.array(not layers.isdisjoint(on)) for name, layers in self.deciders.items()}


def switchable(
    quantised: Model, original: Model, layers: tuple[Layer, ...], float_outputs: Sequence[str]
) -> Switchable:
    """Of `original` and its copy with all layers quantised, Relus kept: see `Scheme.float_outputs` for the last."""
    from onnx import TensorProto, helper

    model = type(quantised)()
    model.CopyFrom(quantised)
    floats, owners = float_sources(model), {node: layer for layer in layers for node in layer.nodes}
    makers = {name: node for node in model.graph.node for name in node.output if node.op_type not in float_outputs}
    deciders = {name: {owners[m.name] for m in [makers.get(floats[name])] if m and m.name in owners} for name in floats}
    nodes: list[Any] = []
    for node in model.graph.node:
        nodes.append(node)
        if node.output[0] in floats:
            name, switch = node.output[0], SWITCH + node.output[0]
            nodes.append(helper.make_node("Where", [switch, name, floats[name]], [chosen(name)]))
            model.graph.input.append(helper.make_tensor_value_info(switch, TensorProto.BOOL, []))
        for place, name in enumerate(node.input):
            if name in floats and node.op_type not in QUANTISERS:
                removable = node.op_type in REMOVABLE and node.name in owners
                node.input[place] = floats[name] if removable else chosen(name)
                deciders[name] |= {owners[node.name]} if node.name in owners and not removable else set()
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    present = {tensor.name for tensor in model.graph.initializer}
    model.graph.initializer.extend(tensor for tensor in original.graph.initializer if tensor.name not in present)
    return Switchable(model, layers, deciders)


def chosen(name: str) -> str:
    return f"{name} or float"


def float_sources(model: Model) -> dict[str, str]:
    """For the output of each DequantizeLinear the tensor that was quantised, a weight or what a node gives out."""
    from onnxruntime.quantization.quant_utils import DEQUANT_OUTPUT_SUFFIX

    quantised = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return {
        node.output[0]: quantised.get(node.input[0], node.output[0].removesuffix(DEQUANT_OUTPUT_SUFFIX))
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }


def by_sensitivity(
    graph: Switchable, batches: Sequence[npt.NDArray[np.float32]], tell: Callable[[str], None]
) -> list[Layer]:
    """The layers, that with the largest mean squared error of the logits first.

    `batches` are the images, each [n, c, h, w] and normalised.
    """
    session, images = runtime_session(graph.model.SerializeToString()), graph.model.graph.input[0].name

    def logits(*quantised: Layer) -> npt.NDArray[np.float64]:
        switches = graph.switches(quantised)
        outputs = [session.run(None, {images: batch, **switches})[0] for batch in batches]
        return np.concatenate(outputs).astype(np.float64)

    reference, errors = logits(), {}
    for done, layer in enumerate(graph.layers, 1):
        tell(f"INT8: sensitivity of layer {done} of {len(graph.layers)}")
        error = float(np.mean((logits(layer) - reference) ** 2))
        errors[layer] = error if np.isfinite(error) else np.inf
    return sorted(graph.layers, key=lambda layer: -errors[layer])
