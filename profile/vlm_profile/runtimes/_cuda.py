"""What an engine needs of CUDA, as one small interface; `_cuda_python` and `_pycuda` implement it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from vlm_contract.console import require_extra

# A module of each package, and ours that adapts it; NVIDIA's own first, whose module 13 moved.
ADAPTERS = (("cuda.bindings.runtime", "_cuda_python"), ("cuda.cudart", "_cuda_python"), ("pycuda", "_pycuda"))


class Cuda(Protocol):
    """The first GPU and a context on it. What is opened by `with` is freed at its end.

    Streams and events are the package's own objects. Every call raises CheckFailed where CUDA says no; the process
    cannot use the GPU after that.
    """

    name: str  # of the package, with its version

    def free_bytes(self) -> int:
        """Device memory that nobody holds."""

    def stream(self) -> AbstractContextManager[Any]: ...

    def handle(self, stream: Any) -> int:
        """The stream as TensorRT takes it."""

    def event(self) -> AbstractContextManager[Any]: ...

    def device_memory(self, size: int) -> AbstractContextManager[int]:
        """The address of `size` bytes on the device."""

    def host_memory(self, shape: tuple[int, ...], dtype: str) -> AbstractContextManager[Any]:
        """An array in memory that is locked in its place: copies to and from other memory wait for the CPU."""

    def to_device(self, address: int, array: Any, stream: Any) -> None:
        """Enqueue a copy."""

    def to_host(self, array: Any, address: int, stream: Any) -> None:
        """Enqueue a copy."""

    def record(self, event: Any, stream: Any) -> None: ...

    def wait(self, stream: Any) -> None:
        """Block until all that was enqueued is done."""

    def elapsed_ns(self, begin: Any, end: Any) -> int:
        """Between two recorded events, in steps of about half a microsecond."""

    def graph(self, stream: Any, work: Callable[[], None]) -> AbstractContextManager[Callable[[], None]]:
        """What `work` enqueues on the stream, as one CUDA graph; what is given enqueues it whole."""

    def close(self) -> None:
        """Leave the context."""


def installed_cuda() -> Cuda:
    """The adapter of the package that is installed. Raises VlmError naming the extra where none is."""
    for module, adapter in ADAPTERS:
        if is_installed(module):
            cuda: Cuda = import_module(f"vlm_profile.runtimes.{adapter}").open_cuda()
            return cuda
    raise require_extra("trt", ImportError(name="cuda-python"))


def no_package() -> str:
    """A sentence where neither package is installed; empty otherwise."""
    if any(is_installed(module) for module, _ in ADAPTERS):
        return ""
    return "neither cuda-python nor pycuda is installed: pip install 'vlm-edge[trt]'"


def is_installed(module: str) -> bool:
    """Whether a module can be found; the folder `cuda` alone is there without cuda-python, too."""
    with suppress(ModuleNotFoundError):
        return find_spec(module) is not None
    return False
