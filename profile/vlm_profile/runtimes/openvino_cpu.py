"""OpenVINO on the CPU, from ONNX."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import Base, PerThread, check_options, missing, version_of

PRECISION = "precision"  # that it computes in: "f32", "bf16", "f16". Left alone, OpenVINO takes BF16 where a CPU has it
PINNING = "pinning"  # whether each thread is held to a CPU
STATED = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING", "PERFORMANCE_HINT")


class Runtime(Base):
    """A model compiled for latency with explicit threads, in FP32 unless another precision is asked for."""

    name: ClassVar[str] = "openvino"
    distribution: ClassVar[str] = "openvino"
    extra: ClassVar[str] = "openvino"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = ({PINNING: True}, {PINNING: False})

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        check_options(self.name, options, (PRECISION, PINNING))
        openvino = library()
        asked = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": options.get(PRECISION, "f32"),
            "ENABLE_CPU_PINNING": bool(options.get(PINNING, True)),
        }
        compiled = openvino.Core().compile_model(str(model), "CPU", asked)
        self.inputs = tuple(spec_of(port, port.node.friendly_name) for port in compiled.inputs)
        self.outputs = tuple(spec_of(port, port.any_name) for port in compiled.outputs)
        self._requests = PerThread(compiled.create_infer_request)
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, openvino.__version__),
            provider=", ".join(compiled.get_property("EXECUTION_DEVICES")),
            options={name: said(compiled.get_property(name)) for name in STATED},
        )

    def __exit__(self, *_: object) -> None:
        del self._requests

    @staticmethod
    def import_library() -> None:
        library()

    @staticmethod
    def unusable() -> str:
        return missing("openvino", openvino="openvino")

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        results = self._requests.mine().infer(feed, share_inputs=True)
        return list(results.values())


def library() -> Any:
    """OpenVINO, whose import otherwise writes an identity below the home folder and reports itself to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # so its import fails
    import openvino

    return openvino


def spec_of(port: Any, name: str) -> TensorSpec:
    """An input or output. OpenVINO keeps no names of dimensions: a dynamic first one is the batch."""
    sizes = enumerate(port.partial_shape)
    shape = tuple(size.get_length() if size.is_static else "?" if axis else "batch" for axis, size in sizes)
    return TensorSpec(name, shape, port.element_type.to_dtype().name)


def said(value: Any) -> Scalar:
    """A property as a record can hold it; a type by OpenVINO's own name."""
    return value if isinstance(value, (bool, int, str)) else str(value.get_type_name())
