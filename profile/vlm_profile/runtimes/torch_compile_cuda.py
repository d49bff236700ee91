"""The checkpoint itself in PyTorch, compiled by torch.compile, on the first GPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import BOTH_WAYS, CUDA_GRAPH, Base, check_options, version_of
from vlm_profile.runtimes._torch import Network, compiled, import_library, no_compiler, unusable


class Runtime(Base):
    """The first inference compiles, or finds kernels in torch's cache. A CUDA graph is its mode reduce-overhead."""

    name: ClassVar[str] = "torch-compile-cuda"
    distribution: ClassVar[str] = "torch"
    extra: ClassVar[str] = "train"
    formats: ClassVar[tuple[str, ...]] = ("checkpoint",)
    device: ClassVar[str] = "cuda"
    variants: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        import torch

        check_options(self.name, options, (CUDA_GRAPH,))
        graph = bool(options.get(CUDA_GRAPH, False))
        self._network = Network(model, threads, "cuda", compiled({"mode": "reduce-overhead"} if graph else {}))
        self.inputs, self.outputs = self._network.inputs, self._network.outputs
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, torch.__version__),
            provider="inductor",
            options={CUDA_GRAPH: graph, "tf32": False},
        )

    def __exit__(self, *_: object) -> None:
        self._network.close()

    @staticmethod
    def import_library() -> None:
        import_library()

    @staticmethod
    def unusable() -> str:
        return unusable("cuda") or no_compiler()

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        return self._network.on_gpu(feed)

    def device_ns(self) -> int | None:
        return self._network.device_ns()

    def memory(self) -> Mapping[str, int]:
        return self._network.memory()
