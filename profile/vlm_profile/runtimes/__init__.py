"""The runtimes: one module with one class `Runtime` each. The folder is the registry."""

import os
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from vlm_contract.card import Scalar
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import RuntimeUsed

Options = Mapping[str, Scalar]

SELFTEST = "VLM_SELFTEST"  # of the environment, where the self-test runs: doubles of runtimes are then among them


class Runtime(Protocol):
    """A model, loaded and ready; opened by `with`, in a process of its own."""

    name: ClassVar[str]
    distribution: ClassVar[str]  # the package whose version is the runtime's
    extra: ClassVar[str]  # of vlm-edge, that installs it
    formats: ClassVar[tuple[str, ...]]  # of artifacts that it runs: "onnx", "engine", "checkpoint"
    device: ClassVar[str]  # "cpu" or "cuda"
    scope: ClassVar[str]  # what a clock around `run` covers
    variants: ClassVar[tuple[Options, ...]]  # each a row of its own: ({"cuda_graph": False}, {"cuda_graph": True})
    self_timed: ClassVar[bool]  # a program of its own that times its own loop: no worker opens it
    tuning: ClassVar[tuple[Options, ...]]  # those to try with each number of threads where the best is looked for

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    used: RuntimeUsed

    def __init__(self, model: Path, threads: int, options: Options) -> None:
        """Load. Raises VlmError where the model or the options are not for it."""

    def __enter__(self) -> "Runtime": ...

    def __exit__(self, *_: object) -> None: ...

    @classmethod
    def version(cls) -> str:
        """Of what is installed, as packages or the program say it; empty where nothing is."""

    @staticmethod
    def import_library() -> None:
        """Import what the runtime needs, so that its cost is timed apart from loading."""

    @staticmethod
    def unusable() -> str:
        """Why it cannot run here, in one sentence with what mends it; empty where it can. Imports nothing heavy."""

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        """One inference: arrays by input name to arrays in the order of `outputs`."""

    def device_ns(self) -> int | None:
        """Nanoseconds of the last `run` by the device's own events, copies left out; None where it has none."""

    def memory(self) -> Mapping[str, int]:
        """Bytes by source, as the runtime counts them; empty where it counts none."""

    def fallback(self) -> str:
        """In words, which part of the model ran elsewhere than asked; empty where none did. Asked after timing."""


@lru_cache
def runtimes() -> dict[str, type[Runtime]]:
    """Every runtime by its name."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    kinds: list[type[Runtime]] = [import_module(f"{__name__}.{module}").Runtime for module in modules]
    if SELFTEST in os.environ:
        kinds += import_module(f"{__name__}._selftest").RUNTIMES
    return {kind.name: kind for kind in kinds}
