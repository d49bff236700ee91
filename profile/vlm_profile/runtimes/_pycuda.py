"""CUDA through PyCUDA. It knows no CUDA graphs: those are asked of the driver itself."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vlm_contract.errors import CheckFailed

_CAPTURE_THREAD_LOCAL = 1  # CUstreamCaptureMode, CUDA driver API


class PyCuda:
    """The interface of `_cuda.Cuda`, on the primary context of the first GPU, for the thread that opened it."""

    def __init__(self, driver: Any, library: Any, name: str) -> None:
        self._cuda, self._library, self.name = driver, library, name
        with self._checked("open the GPU"):
            driver.init()
            self._context = driver.Device(0).retain_primary_context()
            self._context.push()

    def free_bytes(self) -> int:
        with self._checked("count memory"):
            return int(self._cuda.mem_get_info()[0])

    @contextmanager
    def stream(self) -> Iterator[Any]:
        with self._checked("make a stream"):
            stream = self._cuda.Stream()
        yield stream

    def handle(self, stream: Any) -> int:
        return int(stream.handle)

    @contextmanager
    def event(self) -> Iterator[Any]:
        with self._checked("make an event"):
            event = self._cuda.Event()
        yield event

    @contextmanager
    def device_memory(self, size: int) -> Iterator[int]:
        with self._checked(f"allocate {size} bytes"):
            allocation = self._cuda.mem_alloc(size)
        try:
            yield int(allocation)
        finally:
            allocation.free()

    @contextmanager
    def host_memory(self, shape: tuple[int, ...], dtype: str) -> Iterator[Any]:
        with self._checked("lock host memory"):
            array = self._cuda.pagelocked_empty(shape, dtype)
        try:
            yield array
        finally:
            array.base.free()

    def to_device(self, address: int, array: Any, stream: Any) -> None:
        with self._checked("copy to the device"):
            self._cuda.memcpy_htod_async(address, array, stream)

    def to_host(self, array: Any, address: int, stream: Any) -> None:
        with self._checked("copy from the device"):
            self._cuda.memcpy_dtoh_async(array, address, stream)

    def record(self, event: Any, stream: Any) -> None:
        with self._checked("record an event"):
            event.record(stream)

    def wait(self, stream: Any) -> None:
        with self._checked("finish"):
            stream.synchronize()

    def elapsed_ns(self, begin: Any, end: Any) -> int:
        with self._checked("compare events"):
            return int(1e6 * begin.time_till(end))

    @contextmanager
    def graph(self, stream: Any, work: Callable[[], None]) -> Iterator[Callable[[], None]]:
        handle, graph, ready = ctypes.c_void_p(self.handle(stream)), ctypes.c_void_p(), ctypes.c_void_p()
        self._ask("cuStreamBeginCapture_v2", handle, _CAPTURE_THREAD_LOCAL)
        work()
        self._ask("cuStreamEndCapture", handle, ctypes.byref(graph))
        self._ask("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        try:
            yield lambda: self._ask("cuGraphLaunch", ready, handle)
        finally:
            self._library.cuGraphExecDestroy(ready)
            self._library.cuGraphDestroy(graph)

    def close(self) -> None:
        self._context.pop()

    def _ask(self, function: str, *arguments: Any) -> None:
        if status := getattr(self._library, function)(*arguments):
            raise CheckFailed(f"CUDA gives error {status} to {function}; this process cannot use the GPU again.")

    @contextmanager
    def _checked(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            raise CheckFailed(f"CUDA could not {doing}: {error}; this process cannot use the GPU again.") from None


def open_cuda() -> PyCuda:
    import pycuda
    import pycuda.driver

    return PyCuda(pycuda.driver, ctypes.CDLL("libcuda.so.1"), f"pycuda {pycuda.VERSION_TEXT}")
