"""The precision of an ONNX file that nobody states: by its operators and the type of its weights."""

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.measurement import ArtifactUsed
from vlm_profile.onnxfile.check import all_nodes, model_of
from vlm_profile.onnxfile.parts import Model

if TYPE_CHECKING:
    from vlm_export.tensorrt.api import Precision

_FLOAT16, _BFLOAT16 = 10, 16  # TensorProto.DataType
_QUANTISED = {"ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}


def precision_of(model: Path, artifact: ArtifactUsed) -> str:
    """What its record states, else what its file shows; a precision that is stated but unknown is handed on.

    Raises VlmError where the file is no ONNX model.
    """
    stated = artifact.precision
    if isinstance(stated, str) and stated != "as is":
        return stated
    return _shown(model, model.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _shown(model: Path, mtime_ns: int) -> str:
    return shown_precision(model_of(model))


def shown_precision(model: Model) -> "Precision":
    """INT8 where any operator is of 8 bits, else the type of most of the weights."""
    if any(node.operator in _QUANTISED for node in all_nodes(model)):
        return "int8"
    sizes: Counter[int] = Counter()
    for tensor in model.graph.initializers.values():
        sizes[tensor.type] += tensor.elements
    halves = sizes[_FLOAT16] + sizes[_BFLOAT16]
    return "fp16" if 2 * halves > sum(sizes.values()) else "fp32"
