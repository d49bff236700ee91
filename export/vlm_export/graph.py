"""ONNX graphs: made from a checkpoint, brought to a precision, described, checked, run."""

import json
import os
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm_contract.card import Backbone, CheckpointCard
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import TensorSpec
from vlm_export.parity import Logits

if TYPE_CHECKING:
    import torch

Model: TypeAlias = Any  # onnx.ModelProto

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
TRACED_BATCH = 2  # torch.export takes a dimension of 0 or 1 for a constant


def onnx_from_module(module: "torch.nn.Module", backbone: Backbone, opset: int) -> Model:
    """The FP32 graph of a module in evaluation mode, by torch's dynamo exporter, with a dynamic batch.

    It carries no stack trace, no path and no time. Raises CheckFailed where torch cannot export the module.
    """
    import torch

    images = torch.zeros(TRACED_BATCH, backbone.channels, backbone.image_size, backbone.image_size)
    try:
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        cause = str(error.__cause__ or error).partition("\n")[0]
        raise CheckFailed(f"torch cannot export {backbone.name} to ONNX: {cause}") from error
    assert program is not None
    model = program.model_proto
    strip(model)
    return model


def fp16_from_fp32(model: Model) -> Model:
    """A copy whose weights and activations are FP16; its input and output stay FP32."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    converted = convert_float_to_float16(model, keep_io_types=True)
    # The converter appends its casts behind the nodes that read them; ONNX wants every node after its inputs.
    OnnxModel.graph_topological_sort(converted.graph)
    return converted


def strip(message: Any) -> None:
    """Clear documentation and metadata at every depth: the exporter puts stack traces with local paths there."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in (value,) if hasattr(value, "DESCRIPTOR") else value:
                strip(child)


def describe(model: Model, card: CheckpointCard, precision: str) -> None:
    """Write what a user of the file alone must know into the model's metadata; lists are JSON."""
    from onnx import helper

    backbone = card.backbone
    helper.set_model_props(
        model,
        {
            "run": card.run,
            "checkpoint_sha256": card.weights_sha256,
            "backbone": backbone.name,
            "precision": precision,
            "classes": json.dumps(backbone.classes, ensure_ascii=False),
            "image_size": str(backbone.image_size),
            "channels": str(backbone.channels),
            "mean": json.dumps(backbone.mean),
            "std": json.dumps(backbone.std),
        },
    )


def check_graph(model: Model, opset: int) -> tuple[str, ...]:
    """What is wrong with a graph as a file for other tools; empty where nothing is."""
    from onnx import checker, shape_inference

    reasons = []
    found = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    if found != {"ai.onnx": opset}:
        reasons.append(f"the graph uses operator sets {found}, asked for {{'ai.onnx': {opset}}}")
    if any(tensor.external_data for tensor in model.graph.initializer):
        reasons.append("the weights lie outside the file")
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        reasons.append(f"onnx.checker refuses the graph: {str(error).partition(chr(10))[0]}")
    return tuple(reasons)


def opset_of(model: Model) -> int:
    """The version of the standard operators, as found in the graph."""
    return max(int(opset.version) for opset in model.opset_import if opset.domain in ("", "ai.onnx"))


def tensor_specs(values: Any) -> tuple[TensorSpec, ...]:
    """Inputs or outputs of a graph; a dynamic dimension is a name."""
    from onnx import helper

    return tuple(
        TensorSpec(
            name=value.name,
            shape=tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
            dtype=str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
        )
        for value in values
    )


class OnnxSession:
    """A model file in ONNX Runtime on the CPU, fed as a stranger would feed it: by its own metadata."""

    def __init__(self, file: str) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CheckFailed(f"ONNX Runtime cannot open the model: {_first_line(error)}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._mean, self._std = json.loads(metadata["mean"]), json.loads(metadata["std"])

    def logits(self, pixels: npt.NDArray[np.uint8], batch: int) -> Logits:
        """Outputs [n, classes] for images [n, h, w, c], `batch` at a time; the last call may have fewer.

        Raises CheckFailed where the runtime stops.
        """
        from vlm_train.data import normalised

        try:
            return np.concatenate(
                [
                    self._session.run([OUTPUT], {INPUT: normalised(pixels[i : i + batch], self._mean, self._std)})[0]
                    for i in range(0, len(pixels), batch)
                ]
            )
        except Exception as error:
            raise CheckFailed(f"ONNX Runtime stops at batch {batch}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
