"""ONNX graphs: made from a checkpoint, named by its layers, described, checked."""

import ast
import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from vlm_contract.card import Backbone
from vlm_contract.errors import CheckFailed
from vlm_contract.manifest import TensorSpec
from vlm_export.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

Model: TypeAlias = Any  # onnx.ModelProto

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
TRACED_BATCH = 2  # torch.export takes a dimension of 0 or 1 for a constant


def onnx_from_module(module: "torch.nn.Module", backbone: Backbone, opset: int, batch: int | None = None) -> Model:
    """The FP32 graph of a module in evaluation mode, by torch's dynamo exporter; a dynamic batch unless one is given.

    Nodes have the names of their layers. It carries no stack trace, no path and no time. Raises CheckFailed where torch
    cannot export the module.
    """
    import torch

    images = torch.zeros(batch or TRACED_BATCH, backbone.channels, backbone.image_size, backbone.image_size)
    try:
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=None if batch else ({0: torch.export.Dim(BATCH)},),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        cause = str(error.__cause__ or error).partition("\n")[0]
        raise CheckFailed(f"torch cannot export {backbone.name} to ONNX: {cause}") from error
    assert program is not None
    model = program.model_proto
    weights = {tensor.name for tensor in model.graph.initializer}
    name_nodes(model, lambda node: _layer_of(node, weights))
    strip(model)
    return model


def name_nodes(model: Model, layer_of: Callable[[Any], str]) -> None:
    """Name each node by its layer and operator, `layer1.0.conv1/Conv`; those after the first of a name are counted."""
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        name = f"{layer_of(node)}/{node.op_type}".lstrip("/")
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _layer_of(node: Any, weights: set[str]) -> str:
    """The module's path: by its weight where it has one, as a normalisation that was folded in lends its scope."""
    own: str | None = next((name for name in node.input if name in weights and name.endswith(".weight")), None)
    if own is not None:
        return own.removesuffix(".weight")
    scopes = {entry.key: entry.value for entry in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "[]")
    return next((scope for scope in reversed(ast.literal_eval(scopes)[:-1]) if scope), "")


def strip(message: Any) -> None:
    """Clear documentation and metadata at every depth: the exporter puts stack traces with local paths there."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in (value,) if hasattr(value, "DESCRIPTOR") else value:
                strip(child)


def describe(model: Model, checkpoint: Checkpoint, precision: str) -> None:
    """Write what a user of the file alone must know into the model's metadata; lists are JSON."""
    from onnx import helper

    backbone = checkpoint.backbone
    helper.set_model_props(
        model,
        {
            "run": checkpoint.name,
            "checkpoint_sha256": checkpoint.weights_sha256,
            "backbone": backbone.name,
            "precision": precision,
            "classes": json.dumps(backbone.classes, ensure_ascii=False),
            "image_size": str(backbone.image_size),
            "channels": str(backbone.channels),
            "mean": json.dumps(backbone.mean),
            "std": json.dumps(backbone.std),
        },
    )


def check_graph(model: Model, fixed_batch: int | None) -> tuple[str, ...]:
    """What is wrong with a graph as a file for other tools; empty where nothing is. The gate looks at its operators."""
    from onnx import checker, shape_inference

    reasons = []
    batches = {spec.shape[0] for spec in tensor_specs([*model.graph.input, *model.graph.output])}
    if batches != {fixed_batch or BATCH}:
        found = ", ".join(map(str, batches))
        reasons.append(f"the graph takes batch {found}, asked for {fixed_batch or 'any'}")
    foreign = sorted({opset.domain for opset in model.opset_import} - {"", "ai.onnx"})
    if foreign:
        reasons.append(f"the graph uses operators of {', '.join(foreign)}, beside the standard ones")
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
