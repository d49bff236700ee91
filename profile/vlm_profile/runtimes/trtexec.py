"""TensorRT by its own benchmark, trtexec: where nothing else of it is installed, and beside what others report."""

import os
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from vlm_contract.card import Scalar
from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import BOTH_WAYS, Base
from vlm_profile.runtimes._device_memory import no_driver

FOLDER = "/usr/src/tensorrt/bin"  # of JetPack's and Debian's packages, on no PATH


class Runtime(Base):
    """An engine, or one built from ONNX, in processes of trtexec's: it times its own loop.

    No worker opens it: `vlm_profile.trtexec.work.work_here` does what a worker does.
    """

    name: ClassVar[str] = "trtexec"
    distribution: ClassVar[str] = "trtexec"  # of no package index
    extra: ClassVar[str] = "trt"
    formats: ClassVar[tuple[str, ...]] = ("onnx", "engine")
    device: ClassVar[str] = "cuda"
    scope: ClassVar[str] = "copying in, computing and copying out, by the GPU's events; the host's part left out"
    variants: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = BOTH_WAYS
    self_timed: ClassVar[bool] = True

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    used: RuntimeUsed

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        raise VlmError(f"{self.name} is a program of its own, which no worker can open.")

    @staticmethod
    def import_library() -> None:
        pass

    @staticmethod
    def unusable() -> str:
        if no_driver():
            return no_driver()
        return "" if where() else f"trtexec is neither on the PATH nor in {FOLDER}: sudo apt install tensorrt"

    @classmethod
    def version(cls) -> str:
        """As trtexec says it; empty where it says none."""
        return _version(where())

    def run(self, feed: Mapping[str, Any]) -> NoReturn:
        raise VlmError(f"{self.name} is a program of its own, which no worker can run.")


def where() -> str:
    """The path of this machine's trtexec; empty where there is none."""
    return shutil.which("trtexec", path=os.pathsep.join((os.environ.get("PATH", os.defpath), FOLDER))) or ""


@lru_cache
def _version(path: str) -> str:
    from vlm_profile.trtexec.work import bench_here

    try:
        return bench_here().version if path else ""
    except VlmError:
        return ""
