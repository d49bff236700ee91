"""The runtimes: one module with one class `Runtime` each. The folder is the registry."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import RuntimeUsed


class Runtime(Protocol):
    """A model, loaded and ready; opened by `with`."""

    name: ClassVar[str]
    distribution: ClassVar[str]  # the package whose version is the runtime's
    extra: ClassVar[str]  # of vlm-edge, that installs it
    formats: ClassVar[tuple[str, ...]]
    scope: ClassVar[str]  # what a clock around `run` covers

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    used: RuntimeUsed

    def __init__(self, model: Path, threads: int) -> None: ...

    def __enter__(self) -> "Runtime": ...

    def __exit__(self, *_: object) -> None: ...

    @staticmethod
    def import_library() -> None:
        """Import what the runtime needs, so that its cost is timed apart from loading."""

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        """One inference: arrays by input name to arrays in the order of `outputs`."""


@lru_cache
def runtimes() -> dict[str, type[Runtime]]:
    """Every runtime by its name."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    kinds: list[type[Runtime]] = [import_module(f"{__name__}.{module}").Runtime for module in modules]
    return {kind.name: kind for kind in kinds}
