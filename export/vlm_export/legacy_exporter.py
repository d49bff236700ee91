"""torch's older exporter, for runtimes that read no opset 18."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.card import Backbone
from vlm_contract.errors import CheckFailed
from vlm_export.graph import BATCH, INPUT, OUTPUT, TRACED_BATCH, Model, name_nodes, strip

if TYPE_CHECKING:
    import torch


def onnx_by_legacy_exporter(
    module: "torch.nn.Module", backbone: Backbone, opset: int, batch: int | None = None
) -> Model:
    """The FP32 graph by torch's older exporter, which gives the opsets below 18 that it is asked for.

    As `onnx_from_module`: a module in evaluation mode, a dynamic batch unless one is given, nodes with the names of
    their layers, no stack trace. Constants are folded, so that old parsers meet no arithmetic on shapes but that of the
    batch. Raises CheckFailed where torch cannot export the module.
    """
    import torch

    images = torch.zeros(batch or TRACED_BATCH, backbone.channels, backbone.image_size, backbone.image_size)
    with tempfile.TemporaryDirectory(prefix="vlm-onnx-") as folder:
        file = Path(folder) / "traced.onnx"
        try:
            with torch.no_grad(), attention_in_steps(module), sizes_as_numbers():
                torch.onnx.export(
                    module,
                    (images,),
                    file,
                    dynamo=False,
                    opset_version=opset,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_axes=None if batch else {INPUT: {0: BATCH}, OUTPUT: {0: BATCH}},
                )
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            cause = str(error).partition("\n")[0]
            raise CheckFailed(f"torch cannot export {backbone.name} to ONNX of opset {opset}: {cause}") from error
        model = folded(file)
    name_nodes(model, lambda node: layer_of_scopes(node.name.strip("/").split("/")[:-1]))
    strip(model)
    return model


@contextmanager
def attention_in_steps(module: "torch.nn.Module") -> Iterator[None]:
    """Let timm's attention multiply and normalise by itself: below opset 14 the fused operator cannot be exported."""
    fused: list[Any] = [each for each in module.modules() if getattr(each, "fused_attn", False)]
    for each in fused:
        each.fused_attn = False
    try:
        yield
    finally:
        for each in fused:
            each.fused_attn = True


@contextmanager
def sizes_as_numbers() -> Iterator[None]:
    """While a network is traced, make numbers of all its sizes but the first, the batch.

    Otherwise the tracer writes what a network computes from them into the graph, as operators: SAME padding, windows.
    """
    import torch

    base = torch._C.TensorBase

    def shape(self: Any) -> Any:
        sizes = base.size(self)
        return torch.Size((*sizes[:1], *map(int, sizes[1:])))

    def size(self: Any, dim: int | None = None) -> Any:
        return shape(self) if dim is None else shape(self)[dim]

    tensor: Any = torch.Tensor
    tensor.shape, tensor.size = property(shape), size
    try:
        yield
    finally:
        del tensor.shape, tensor.size


def folded(file: Path) -> Model:
    """A graph with its constants folded by ONNX Runtime, which stays with the standard operators and the opset."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.optimized_model_filepath = str(file.with_suffix(".folded"))
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    model = onnx.load(options.optimized_model_filepath)
    # The file imports the domains of ONNX Runtime's own operators, of which this level uses none.
    for opset in [opset for opset in model.opset_import if opset.domain]:
        model.opset_import.remove(opset)
    return model


def layer_of_scopes(scopes: list[str]) -> str:
    """ "layer1.0.conv1" of layer1, layer1.0, conv1: the child of a sequence repeats the name of the sequence."""
    path: list[str] = []
    for scope in scopes:
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return ".".join(path)
