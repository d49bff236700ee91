"""The checkpoint itself in PyTorch, operator by operator, on the CPU: the baseline of every comparison."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import Base, check_options, version_of
from vlm_profile.runtimes._torch import Network, import_library, unusable


class Runtime(Base):
    """The run's network in FP32, as it was trained."""

    name: ClassVar[str] = "torch"
    distribution: ClassVar[str] = "torch"
    extra: ClassVar[str] = "train"
    formats: ClassVar[tuple[str, ...]] = ("checkpoint",)

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        import torch

        check_options(self.name, options)
        self._network = Network(model, threads, "cpu")
        self.inputs, self.outputs = self._network.inputs, self._network.outputs
        self.used = RuntimeUsed(
            name=self.name,
            version=version_of(self.distribution, torch.__version__),
            provider="eager",
            options={"num_threads": threads, "num_interop_threads": 1},
        )

    def __exit__(self, *_: object) -> None:
        self._network.close()

    @staticmethod
    def import_library() -> None:
        import_library()

    @staticmethod
    def unusable() -> str:
        return unusable("cpu")

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        return self._network.on_cpu(feed)
