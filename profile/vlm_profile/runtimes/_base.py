"""What runtimes have in common: the defaults that a new one need not say again, and what several check."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar, Generic, TypeVar

from vlm_contract.card import Scalar
from vlm_contract.errors import VlmError

HOST_TO_HOST = "host arrays in, host arrays out"
CPUS = "cpus"  # an option of every runtime: the process was held to these CPUs before the runtime loads
CUDA_GRAPH = "cuda_graph"
BOTH_WAYS: tuple[Mapping[str, Scalar], ...] = ({CUDA_GRAPH: False}, {CUDA_GRAPH: True})

T = TypeVar("T")


class Base:
    """A runtime on the CPU, without options, that frees by itself what it holds and tells nothing but its answers."""

    distribution: ClassVar[str]
    device: ClassVar[str] = "cpu"
    scope: ClassVar[str] = HOST_TO_HOST
    self_timed: ClassVar[bool] = False
    variants: ClassVar[tuple[Mapping[str, Scalar], ...]] = ({},)
    tuning: ClassVar[tuple[Mapping[str, Scalar], ...]] = ({},)

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @classmethod
    def version(cls) -> str:
        return version_of(cls.distribution, "")

    @staticmethod
    def unusable() -> str:
        return ""

    def device_ns(self) -> int | None:
        return None

    def memory(self) -> Mapping[str, int]:
        return {}

    def fallback(self) -> str:
        return ""


class PerThread(Generic[T]):
    """One of what `make` makes for each thread that asks: two calls at a time must not share their buffers."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._local = make, threading.local()

    def mine(self) -> T:
        try:
            made: T = self._local.made
        except AttributeError:
            made = self._local.made = self._make()
        return made


def check_options(runtime: str, options: Collection[str], known: Sequence[str] = ()) -> None:
    """Raise VlmError where an option is none of the runtime's."""
    for name in options:
        if name not in (*known, CPUS):
            raise VlmError(f"{runtime} has no option {name!r}; known: {', '.join((*known, CPUS))}.")


def first_installed(*distributions: str) -> str:
    """The first of several packages that bring the same module; the first of all where none is installed."""
    for name in distributions:
        with suppress(PackageNotFoundError):
            version(name)
            return name
    return distributions[0]


def version_of(distribution: str, otherwise: str) -> str:
    """The installed package's version, which can be had without importing it; `otherwise` where it has no metadata."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return otherwise


def missing(extra: str, **modules: str) -> str:
    """A sentence where a module, each with the name of its package, is not installed; empty otherwise."""
    absent = [package for module, package in modules.items() if find_spec(module) is None]
    return f"{' and '.join(absent)} not installed: pip install 'vlm-edge[{extra}]'" if absent else ""


def shapes_of(feed: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in feed.values())
