"""What the runtimes of PyTorch share: a run's own network on one device, fed and read from the host."""

import os
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import read_record
from vlm_contract.manifest import TensorSpec
from vlm_contract.workspace import CARD_FILE, WEIGHTS_FILE
from vlm_profile.runtimes._base import missing
from vlm_profile.runtimes._device_memory import DeviceMemory, no_driver

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda"]


def import_library() -> None:
    import timm  # noqa: F401
    import torch  # noqa: F401


def unusable(device: Device) -> str:
    return missing("train", torch="torch", timm="timm", safetensors="safetensors") or (
        no_driver() if device == "cuda" else ""
    )


def no_compiler() -> str:
    """A sentence where torch.compile finds no compiler for what it writes, or no headers of Python; empty otherwise."""
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which(os.environ.get("CXX", "g++")) and headers.exists():
        return ""
    return "torch.compile needs a C++ compiler and Python's headers: sudo apt install g++ python3-dev"


class Network:
    """The network of a run's folder in FP32, in evaluation mode, without gradients."""

    def __init__(
        self, run: Path, threads: int, device: Device, prepare: Callable[["torch.nn.Module"], Any] | None = None
    ) -> None:
        import torch

        from vlm_train.backbones import module_from_checkpoint

        self._taken = DeviceMemory() if device == "cuda" else None
        set_threads(threads)
        backbone = read_record(CheckpointCard, run / CARD_FILE).backbone
        module = module_from_checkpoint(backbone, run / WEIGHTS_FILE).to(device)
        self._module = prepare(module) if prepare else module
        self._torch, self._device = torch, device
        size = backbone.image_size
        self.inputs = (TensorSpec("images", ("batch", backbone.channels, size, size), "float32"),)
        self.outputs = (TensorSpec("logits", ("batch", len(backbone.classes)), "float32"),)
        if device == "cuda":
            compute_in_fp32()
            self._begin, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        del self._module

    def on_cpu(self, feed: Mapping[str, Any]) -> list[Any]:
        with self._torch.inference_mode():
            return [self._module(self._torch.from_numpy(feed["images"])).numpy()]

    def on_gpu(self, feed: Mapping[str, Any]) -> list[Any]:
        """Copy in, compute between two events, copy out; the last copy waits for the end."""
        with self._torch.inference_mode():
            images = self._torch.from_numpy(feed["images"]).to(self._device)
            self._begin.record()
            logits = self._module(images)
            self._end.record()
            return [logits.cpu().numpy()]

    def device_ns(self) -> int:
        return int(1e6 * self._begin.elapsed_time(self._end))

    def memory(self) -> Mapping[str, int]:
        """On a GPU, what torch's allocator handed out at most and what it kept, and what the driver sees."""
        cuda = self._torch.cuda
        counted = {
            "torch allocator": cuda.max_memory_allocated(),
            "torch allocator, reserved": cuda.max_memory_reserved(),
        }
        return {**counted, **(self._taken.peak() if self._taken else {})}


def set_threads(threads: int) -> None:
    """Inside one operator; one operator at a time. torch takes the second number once in a process."""
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def compute_in_fp32() -> None:
    """On a GPU too: torch leaves convolutions in TF32 otherwise."""
    import torch

    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]  # set by a property


def compiled(options: Mapping[str, Any]) -> Callable[["torch.nn.Module"], Any]:
    """Compiles for the shapes of the first call, in that call; `options` are torch.compile's."""
    import torch

    return lambda module: torch.compile(module, dynamic=False, **options)
