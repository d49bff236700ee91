"""ONNX Runtime with its CUDA execution provider."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import BOTH_WAYS, CUDA_GRAPH, Base, check_options, first_installed, version_of
from vlm_profile.runtimes._device_memory import DeviceMemory
from vlm_profile.runtimes._onnxruntime import GpuSession, import_library, unusable_on_gpu

PROVIDER = "CUDAExecutionProvider"


class Runtime(Base):
    """FP32 means FP32: TF32 is switched off. A CUDA graph takes models of which every node runs on the GPU."""

    name: ClassVar[str] = "onnxruntime-cuda"
    distribution: ClassVar[str] = first_installed("onnxruntime-gpu", "onnxruntime")
    extra: ClassVar[str] = "ort-gpu"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    device: ClassVar[str] = "cuda"
    variants: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        import onnxruntime

        check_options(self.name, options, (CUDA_GRAPH,))
        graph = bool(options.get(CUDA_GRAPH, False))
        self._memory = DeviceMemory()
        self._session = GpuSession(
            model, threads, PROVIDER, {"enable_cuda_graph": str(int(graph)), "use_tf32": "0", "device_id": "0"}
        )
        self.inputs, self.outputs = self._session.inputs, self._session.outputs
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, onnxruntime.__version__),
            provider=self._session.ran_by,
            options={"intra_op_num_threads": threads, CUDA_GRAPH: graph, "use_tf32": False},
        )

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @staticmethod
    def import_library() -> None:
        import_library()

    @staticmethod
    def unusable() -> str:
        return unusable_on_gpu("cuda")

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        return self._session.run(feed)

    def memory(self) -> Mapping[str, int]:
        return self._memory.peak()

    def fallback(self) -> str:
        return self._session.fallback()
