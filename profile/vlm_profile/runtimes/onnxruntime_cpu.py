"""ONNX Runtime on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import RuntimeUsed

PROVIDER = "CPUExecutionProvider"
# Names of ONNX Runtime's element types that are not numpy's own.
_NUMPY_NAME = {"float": "float32", "double": "float64"}


class Runtime:
    """One inference session with explicit threads and no provider but the CPU's."""

    name: ClassVar[str] = "onnxruntime"
    distribution: ClassVar[str] = "onnxruntime"
    extra: ClassVar[str] = "ort"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    scope: ClassVar[str] = "host arrays in, host arrays out"

    def __init__(self, model: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(model), options, providers=[PROVIDER])
        if session.get_providers() != [PROVIDER]:
            raise VlmError(f"onnxruntime runs {model} on {session.get_providers()}; expected {PROVIDER} alone.")
        self._run = session.run
        self.inputs = tuple(_tensor(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor(node) for node in session.get_outputs())
        self.used = RuntimeUsed(
            name=self.name,
            version=onnxruntime.__version__,
            provider=PROVIDER,
            options={"intra_op_num_threads": threads, "inter_op_num_threads": 1},
        )

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *_: object) -> None:
        del self._run

    @staticmethod
    def import_library() -> None:
        import numpy  # noqa: F401
        import onnxruntime  # noqa: F401

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        outputs: list[Any] = self._run(None, feed)
        return outputs


def _tensor(node: Any) -> TensorSpec:
    """A tensor as the session describes it; an unnamed dimension is named `?`."""
    if not node.type.startswith("tensor("):
        raise VlmError(f"{node.name!r} is a {node.type}; only tensors can be generated.")
    element = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else str(size or "?") for size in node.shape)
    return TensorSpec(node.name, shape, _NUMPY_NAME.get(element, element))
