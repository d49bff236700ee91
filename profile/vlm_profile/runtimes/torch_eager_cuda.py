"""The checkpoint itself in PyTorch, operator by operator, on the first GPU: the baseline of every comparison."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import Base, check_options, version_of
from vlm_profile.runtimes._torch import Network, import_library, unusable


class Runtime(Base):
    """The run's network in FP32, as it was trained."""

    name: ClassVar[str] = "torch-cuda"
    distribution: ClassVar[str] = "torch"
    extra: ClassVar[str] = "train"
    formats: ClassVar[tuple[str, ...]] = ("checkpoint",)
    device: ClassVar[str] = "cuda"

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        import torch

        check_options(self.name, options)
        self._network = Network(model, threads, "cuda")
        self.inputs, self.outputs = self._network.inputs, self._network.outputs
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, torch.__version__),
            provider="eager",
            options={"tf32": False},
        )

    def __exit__(self, *_: object) -> None:
        self._network.close()

    @staticmethod
    def import_library() -> None:
        import_library()

    @staticmethod
    def unusable() -> str:
        return unusable("cuda")

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        return self._network.on_gpu(feed)

    def device_ns(self) -> int | None:
        return self._network.device_ns()

    def memory(self) -> Mapping[str, int]:
        return self._network.memory()
