"""CUDA through NVIDIA's cuda-python: the runtime's functions, each of which gives its status first."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

from vlm_contract.console import require_extra
from vlm_contract.errors import CheckFailed
from vlm_profile.runtimes._base import first_installed


class CudaPython:
    """The interface of `_cuda.Cuda`, on the runtime's one context of the first GPU."""

    def __init__(self, runtime: Any, name: str) -> None:
        self._cuda, self.name = runtime, name
        self._kinds, self._captures = runtime.cudaMemcpyKind, runtime.cudaStreamCaptureMode

    def free_bytes(self) -> int:
        free, _ = self._call("cudaMemGetInfo")
        return int(free)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        (stream,) = self._call("cudaStreamCreate")
        try:
            yield stream
        finally:
            self._cuda.cudaStreamDestroy(stream)

    def handle(self, stream: Any) -> int:
        return int(stream)

    @contextmanager
    def event(self) -> Iterator[Any]:
        (event,) = self._call("cudaEventCreate")
        try:
            yield event
        finally:
            self._cuda.cudaEventDestroy(event)

    @contextmanager
    def device_memory(self, size: int) -> Iterator[int]:
        (address,) = self._call("cudaMalloc", size)
        try:
            yield int(address)
        finally:
            self._cuda.cudaFree(address)

    @contextmanager
    def host_memory(self, shape: tuple[int, ...], dtype: str) -> Iterator[Any]:
        import numpy

        empty = numpy.empty(shape, dtype)
        (address,) = self._call("cudaMallocHost", empty.nbytes)
        try:
            content: Any = (ctypes.c_byte * empty.nbytes).from_address(int(address))
            yield numpy.frombuffer(content, empty.dtype).reshape(shape)
        finally:
            self._cuda.cudaFreeHost(address)

    def to_device(self, address: int, array: Any, stream: Any) -> None:
        kind = self._kinds.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)

    def to_host(self, array: Any, address: int, stream: Any) -> None:
        kind = self._kinds.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, stream)

    def record(self, event: Any, stream: Any) -> None:
        self._call("cudaEventRecord", event, stream)

    def wait(self, stream: Any) -> None:
        self._call("cudaStreamSynchronize", stream)

    def elapsed_ns(self, begin: Any, end: Any) -> int:
        (milliseconds,) = self._call("cudaEventElapsedTime", begin, end)
        return int(1e6 * milliseconds)

    @contextmanager
    def graph(self, stream: Any, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
        self._call("cudaStreamBeginCapture", stream, self._captures.cudaStreamCaptureModeThreadLocal)
        work()
        (graph,) = self._call("cudaStreamEndCapture", stream)
        (ready,) = self._call("cudaGraphInstantiate", graph, 0)
        try:
            yield lambda: self._launch(ready, stream)
        finally:
            self._cuda.cudaGraphExecDestroy(ready)
            self._cuda.cudaGraphDestroy(graph)

    def close(self) -> None:
        """Nothing to leave: the runtime's context lives as long as the process."""

    def _launch(self, ready: Any, stream: Any) -> None:
        self._call("cudaGraphLaunch", ready, stream)

    def _call(self, function: str, *arguments: Any) -> list[Any]:
        status: Any
        values: list[Any]
        status, *values = getattr(self._cuda, function)(*arguments)
        if status != self._cuda.cudaError_t.cudaSuccess:
            raise CheckFailed(f"CUDA says {status.name} to {function}; this process cannot use the GPU again.")
        return values


def open_cuda() -> CudaPython:
    """cuda-python, whose module 13 moved. Raises VlmError naming the extra where it is not whole."""
    package = first_installed("cuda-bindings", "cuda-python")
    for module in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return CudaPython(import_module(module), f"{package} {version(package)}")
        except ImportError:
            continue
    raise require_extra("trt", ImportError(name="cuda-python"))
