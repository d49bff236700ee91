"""ONNX Runtime with its TensorRT execution provider, which builds an engine of its own in each process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.codec import read_record
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import RuntimeUsed
from vlm_contract.workspace import MANIFEST_FILE
from vlm_profile.runtimes._base import BOTH_WAYS, CUDA_GRAPH, Base, check_options, first_installed, version_of
from vlm_profile.runtimes._device_memory import DeviceMemory
from vlm_profile.runtimes._onnxruntime import GpuSession, import_library, unusable_on_gpu

PROVIDER = "TensorrtExecutionProvider"
PRECISION = "precision"  # in which TensorRT may compute: "fp32", "fp16", "int8"; the graph's own where not given


class Runtime(Base):
    """No engine is kept between processes: what TensorRT chooses differs from build to build. Loading takes minutes."""

    name: ClassVar[str] = "onnxruntime-tensorrt"
    distribution: ClassVar[str] = first_installed("onnxruntime-gpu", "onnxruntime")
    extra: ClassVar[str] = "ort-gpu"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    device: ClassVar[str] = "cuda"
    variants: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        import onnxruntime

        check_options(self.name, options, (CUDA_GRAPH, PRECISION))
        graph, precision = bool(options.get(CUDA_GRAPH, False)), str(options.get(PRECISION, precision_of(model)))
        self._memory = DeviceMemory()
        self._session = GpuSession(model, threads, PROVIDER, provider_options(precision, graph))
        self.inputs, self.outputs = self._session.inputs, self._session.outputs
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, onnxruntime.__version__),
            provider=self._session.ran_by,
            options={"intra_op_num_threads": threads, CUDA_GRAPH: graph, PRECISION: precision},
        )

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @staticmethod
    def import_library() -> None:
        import_library()

    @staticmethod
    def unusable() -> str:
        return unusable_on_gpu("tensorrt")

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        return self._session.run(feed)

    def memory(self) -> Mapping[str, int]:
        return self._memory.peak()

    def fallback(self) -> str:
        return self._session.fallback()


def precision_of(model: Path) -> str:
    """What the manifest beside a model says; FP32 where there is none."""
    manifest = model.with_name(MANIFEST_FILE)
    return read_record(ArtifactManifest, manifest).precision if manifest.exists() else "fp32"


def provider_options(precision: str, graph: bool) -> dict[str, str]:
    """ONNX Runtime's names for what TensorRT may do. An INT8 graph brings its scales along, and rests on FP16."""
    return {
        "device_id": "0",
        "trt_fp16_enable": str(int(precision in ("fp16", "int8"))),
        "trt_int8_enable": str(int(precision == "int8")),
        "trt_cuda_graph_enable": str(int(graph)),
    }
