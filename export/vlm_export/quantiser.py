"""What INT8 is made with: layers, ranges, and onnxruntime's quantizer with explicit QuantizeLinear, DequantizeLinear.

What is quantised, and how, follows from measurements on a CPU with VNNI: scripts/bench_int8.py.
"""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.graph import Model
from vlm_export.quiet import silenced

Ranges: TypeAlias = Any  # onnxruntime.quantization.calibrate.TensorsData

WEIGHTED = ("Conv", "Gemm", "MatMul")  # what has weights; a MatMul of two activations, as in attention, stays float
# What a CNN does between them, so that its maps stay in eight bits: ONNX Runtime has kernels for all of these, and none
# for HardSwish and HardSigmoid. With Sigmoid and Mul tf_efficientnetv2_s is 1.42 times as fast as FP32, without 1.16.
FOLLOWERS = ("Relu", "Clip", "Add", "Mul", "Sigmoid", "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape")
# In a transformer these stay float: with Add in eight bits the logits of a vit_base_patch16_224 of random weights fall
# from 25 to 9 dB, and it gets slower.
TRANSFORMER = "LayerNormalization"

# In the order in which they are tried. ONNX Runtime's entropy is left out: with its 128 bins for 128 levels it can only
# choose the largest value, as minmax does, and with 512 it took ten times as long to give 8 dB where minmax gave 20
# (mobilenetv3_large_100 trained on CIFAR-10) and 20 where minmax gave 37 (test_resnet). Percentile takes the lower end
# of a bin for the threshold: with its 2048 bins an outlier 2000 times as large as the rest makes that 0.
METHODS: dict[str, tuple[str, dict[str, float]]] = {
    "minmax": ("MinMax", {}),
    "percentile": ("Percentile", {"num_bins": 16384, "percentile": 99.99}),
}


@dataclass(frozen=True)
class Calibration:
    """Images that show which values occur."""

    images: npt.NDArray[np.float32]  # [n, c, h, w], normalised
    origin: str  # which images
    batch: int  # images in one run of the graph; where its batch is fixed this is that one, and n a multiple of it


@dataclass(frozen=True)
class Scheme:
    """How values are laid on eight bits: it follows from what will run the graph."""

    signed: bool  # int8 around 0, else uint8 with a zero point that fits
    maps_in_int8: bool  # outputs too, and FOLLOWERS; else the inputs and weights of WEIGHTED alone
    bias_in_int32: bool

    @property
    def float_outputs(self) -> tuple[str, ...]:
        """Types whose output is not quantised for their own sake. In a CNN a Conv's must be, or it is not fused."""
        return WEIGHTED[1:] if self.maps_in_int8 else WEIGHTED


# ONNX Runtime on x86 has its fast kernels for uint8, and with a zero point a Relu costs nothing: it is the range's end.
CPU = Scheme(signed=False, maps_in_int8=True, bias_in_int32=True)
# TensorRT reads int8 with zero point 0 alone, refuses int32 biases, and chooses itself what stays in eight bits. On a
# CPU this graph is half as fast as FP32 (resnet50 and mobilenetv3_large_100, 32 pixels), while CPU's is faster.
TENSORRT = Scheme(signed=True, maps_in_int8=False, bias_in_int32=False)


@dataclass(frozen=True)
class Layer:
    """What is quantised, or stays float, together: so no map changes its type between a Conv and what follows it."""

    nodes: tuple[str, ...]  # their names

    @property
    def name(self) -> str:
        """Of the node with the weights."""
        return self.nodes[0]


def check_calibration(calibration: Calibration) -> None:
    """Raise VlmError unless there are images, and all their values are numbers."""
    if len(calibration.images) == 0:
        raise VlmError("INT8 needs images to calibrate with; there are none.", hint="--precision fp32,fp16")
    if not np.isfinite(calibration.images).all():
        raise VlmError(
            f"The calibration images ({calibration.origin}) hold NaN or infinity.", hint="check --mean and --std"
        )


def prepared_for_int8(model: Model) -> Model:
    """A copy with the shape of every tensor, and with means over whole maps as the pooling for which kernels exist."""
    from onnx import numpy_helper, shape_inference
    from onnxruntime.quantization.onnx_model import ONNXModel

    prepared = shape_inference.infer_shapes(model)
    constants = {tensor.name: tensor for tensor in prepared.graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in prepared.graph.value_info}
    for place, node in enumerate(prepared.graph.node):
        node.name = node.name or f"{node.op_type}_{place}"
        if node.op_type == "ReduceMean" and len(node.input) == 2 and node.input[1] in constants:
            axes = sorted(axis % 4 for axis in numpy_helper.to_array(constants[node.input[1]]).tolist())
            kept = all(attribute.i for attribute in node.attribute if attribute.name == "keepdims")
            if axes == [2, 3] and kept and ranks.get(node.input[0]) == 4:
                node.op_type = "GlobalAveragePool"
                del node.input[1:], node.attribute[:]
    ONNXModel(prepared).clean_initializers()  # of which ONNX Runtime warns on stderr
    return prepared


def layers_of(model: Model, scheme: Scheme) -> tuple[Layer, ...]:
    """The layers of a graph, each with what follows it. Raises CheckFailed where none has weights.

    A node with several inputs, such as the sum of a residual branch, goes with the layer that comes last before it.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    types = operators_of(model, scheme)
    nodes: list[list[Any]] = []
    owners: dict[str, int] = {}
    for node in model.graph.node:
        owner = max((owners.get(name, -1) for name in node.input), default=-1)
        if node.op_type in WEIGHTED and node.input[1] in constants:
            owner = len(nodes)
            nodes.append([node])
        elif node.op_type not in WEIGHTED and node.op_type in types and owner >= 0:
            nodes[owner].append(node)
        owners |= dict.fromkeys(node.output, owner)
    if not nodes:
        raise CheckFailed(f"the graph has nothing to quantise: no {', '.join(WEIGHTED)} with constant weights")
    return tuple(Layer(tuple(node.name for node in group)) for group in nodes)


def operators_of(model: Model, scheme: Scheme) -> tuple[str, ...]:
    """The types of operators that are quantised in a graph."""
    transformer = any(node.op_type == TRANSFORMER for node in model.graph.node)
    return WEIGHTED if transformer or not scheme.maps_in_int8 else WEIGHTED + FOLLOWERS


def ranges_of(model: Model, calibration: Calibration, method: str, operators: Sequence[str]) -> Ranges:
    """The range of each tensor that these operators read or give out, by one of METHODS."""
    import onnx
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    kind, options = METHODS[method]
    with tempfile.TemporaryDirectory() as folder, silenced():
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        calibrater = create_calibrator(
            file,
            operators,
            str(Path(folder) / "augmented.onnx"),
            CalibrationMethod[kind],
            extra_options=options,
        )
        # One batch at a time: of all that it is given at once, a calibrater keeps every map in memory.
        for batch in batches_of(calibration, len(calibration.images)):
            calibrater.collect_data(Reader({model.graph.input[0].name: batch}))
        return calibrater.compute_data()


class Reader:
    """One batch as onnxruntime's calibraters ask for it."""

    def __init__(self, inputs: dict[str, npt.NDArray[np.float32]]) -> None:
        self._left = iter([inputs])

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._left, None)


def batches_of(calibration: Calibration, most: int) -> list[npt.NDArray[np.float32]]:
    """So many of the images, rounded up to whole batches."""
    firsts = range(0, min(most, len(calibration.images)), calibration.batch)
    return [calibration.images[first : first + calibration.batch] for first in firsts]


def quantised_from(
    model: Model, ranges: Ranges, layers: Sequence[Layer], scheme: Scheme, *, keep_relu: bool = False
) -> Model:
    """A copy with these layers in eight bits: weights symmetric, one scale for each output channel.

    `keep_relu` leaves in the graph what the end of a range makes superfluous, and biases in float.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    options = {
        "ActivationSymmetric": scheme.signed,
        "WeightSymmetric": True,
        "QuantizeBias": scheme.bias_in_int32 and not keep_relu,
        "QDQKeepRemovableActivations": keep_relu,
        "OpTypesToExcludeOutputQuantization": scheme.float_outputs,
    }
    with silenced():
        quantizer = QDQQuantizer(
            copy.deepcopy(model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if scheme.signed else QuantType.QUInt8,
            tensors_range=copy.deepcopy(ranges),  # which it changes
            nodes_to_quantize=[node for layer in layers for node in layer.nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=operators_of(model, scheme),
            extra_options=options,
        )
        quantised = ONNXModel(quantizer.quantize_model())
        quantised.topological_sort()  # ONNX wants every node after its inputs
    return quantised.model
