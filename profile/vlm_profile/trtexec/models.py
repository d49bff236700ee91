"""What a model's file says of itself: trtexec tells neither names nor types of inputs before it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.codec import read_record
from vlm_contract.errors import VlmError
from vlm_contract.manifest import ArtifactManifest, TensorSpec
from vlm_contract.workspace import MANIFEST_FILE
from vlm_profile.onnxfile.check import all_nodes, check_onnx_file
from vlm_profile.onnxfile.parts import Declared, Model, model_from_bytes
from vlm_profile.subjects import ENGINE_SUFFIXES

if TYPE_CHECKING:
    from vlm_export.tensorrt.api import Precision

# Numpy's names of TensorProto.DataType, as far as trtexec fills them.
_NUMPY_NAME = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}
_FLOAT16 = 10


def is_engine(model: Path) -> bool:
    """Whether the file is an engine; it is ONNX otherwise."""
    return model.suffix in ENGINE_SUFFIXES


def manifest_of(model: Path) -> ArtifactManifest | None:
    """The manifest beside a model that speaks of it; None where there is none."""
    path = model.parent / MANIFEST_FILE
    if not path.exists():
        return None
    manifest = read_record(ArtifactManifest, path)
    return manifest if manifest.files and manifest.files[0].name == model.name else None


def inputs_of(model: Path) -> tuple[TensorSpec, ...]:
    """A model's inputs as it declares them. Raises VlmError for an engine without a manifest."""
    if manifest := manifest_of(model):
        return manifest.inputs
    if is_engine(model):
        raise VlmError(
            f"{model} is an engine without a manifest, and trtexec does not tell what it takes.",
            hint="--runtime tensorrt, or measure the ONNX file that it was built from",
        )
    graph = _parsed(model).graph
    return tuple(_spec(model, each) for each in graph.inputs if each.name not in graph.initializers)


def build_precision_of(model: Path) -> "Precision":
    """The manifest's, or what a build must allow for the graph's own numbers and operators.

    One half-precision number asks for FP16 here; what a file is by most of its weights: `vlm_profile.graph.precision`.
    """
    if manifest := manifest_of(model):
        return manifest.precision
    parsed = _parsed(model)
    if any(node.operator == "DequantizeLinear" for node in all_nodes(parsed)):
        return "int8"
    return "fp16" if any(tensor.type == _FLOAT16 for tensor in parsed.tensors) else "fp32"


def files_of(model: Path) -> tuple[Path, ...]:
    """The model's file, and those of weights beside it."""
    return (model, *check_onnx_file(model).data_files) if not is_engine(model) else (model,)


def _parsed(model: Path) -> Model:
    check_onnx_file(model)
    return model_from_bytes(memoryview(model.read_bytes()))


def _spec(model: Path, declared: Declared) -> TensorSpec:
    """Axis 0 is the batch where the file leaves it open; other open axes have no name that could be told."""
    if declared.type not in _NUMPY_NAME:
        raise VlmError(
            f"{model}: trtexec cannot be given the input {declared.name!r}, of type {declared.type} of ONNX."
        )
    shape = (("?" if axis else "batch") if axis in declared.unknown else n for axis, n in enumerate(declared.shape))
    return TensorSpec(declared.name, tuple(shape), _NUMPY_NAME[declared.type])
