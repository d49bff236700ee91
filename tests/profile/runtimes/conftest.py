"""Doubles of CUDA whose memory is the host's, an engine that doubles its input, and a run that was never trained."""

import ctypes
from collections.abc import Callable
from enum import IntEnum
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy
import pytest

from vlm_profile.runtimes import _device_memory, tensorrt_engine
from vlm_profile.runtimes._cuda_python import CudaPython
from vlm_profile.runtimes._pycuda import PyCuda

TESTS = Path(__file__).parents[2]


def borrowed(path: str) -> Any:
    """The conftest of another folder of tests, as a module: its doubles are made from TensorRT's real bindings."""
    spec = spec_from_file_location(path.replace("/", "_"), TESTS / path / "conftest.py")
    assert spec and isinstance(spec.loader, SourceFileLoader)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


doubles = borrowed("export/tensorrt")
stubs, with_bindings, specs, trt = doubles.stubs, doubles.with_bindings, doubles.specs, doubles.trt
run_maker = borrowed("export").run_maker


class Machine:
    """Stands for a GPU: what was asked of it, in order, and what is held on it. Its memory is the host's."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.held: dict[int, Any] = {}
        self.fails = ""  # the call that ends with an error
        self.capturing: list[Callable[[], None]] | None = None
        self.free_bytes = 1 << 30
        self._next = 100

    def does(self, call: str) -> bool:
        """Note a call; whether it ends well."""
        self.calls.append(call)
        return call != self.fails

    def takes(self, size: int) -> int:
        memory = ctypes.create_string_buffer(size)
        self.held[ctypes.addressof(memory)] = memory
        self.free_bytes -= size
        return ctypes.addressof(memory)

    def makes(self, what: Any) -> int:
        self._next += 1
        self.held[self._next] = what
        return self._next

    def drops(self, key: int) -> None:
        del self.held[int(key)]

    def enqueues(self, work: Callable[[], None]) -> None:
        """Done at once, or kept for the graph that is being captured."""
        work() if self.capturing is None else self.capturing.append(work)


class HostRuntime:
    """Stands for cuda-python's runtime, on such a machine."""

    class cudaError_t(IntEnum):
        cudaSuccess = 0
        cudaErrorMemoryAllocation = 2

    class cudaMemcpyKind(IntEnum):
        cudaMemcpyHostToDevice = 1
        cudaMemcpyDeviceToHost = 2

    class cudaStreamCaptureMode(IntEnum):
        cudaStreamCaptureModeThreadLocal = 1

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        do = getattr(self, f"_{name.removeprefix('cuda')}")

        def call(*arguments: Any) -> tuple[Any, ...]:
            if not self._machine.does(name):
                return self.cudaError_t.cudaErrorMemoryAllocation, None
            values = do(*arguments)
            return self.cudaError_t.cudaSuccess, *(() if values is None else values)

        return call

    def _MemGetInfo(self) -> tuple[int, int]:
        return self._machine.free_bytes, 1 << 30

    def _Malloc(self, size: int) -> tuple[int]:
        return (self._machine.takes(size),)

    _MallocHost = _Malloc

    def _Free(self, address: int) -> None:
        self._machine.drops(address)

    _FreeHost = _StreamDestroy = _EventDestroy = _GraphDestroy = _GraphExecDestroy = _Free

    def _StreamCreate(self) -> tuple[int]:
        return (self._machine.makes("stream"),)

    _EventCreate = _StreamCreate

    def _EventRecord(self, event: int, stream: int) -> None:
        self._machine.held[event] = len(self._machine.calls)

    def _EventElapsedTime(self, begin: int, end: int) -> tuple[float]:
        return (0.25 * (self._machine.held[end] - self._machine.held[begin]),)

    def _StreamSynchronize(self, stream: int) -> None:
        assert self._machine.held[stream] == "stream"

    def _MemcpyAsync(self, to: int, origin: int, size: int, kind: int, stream: int) -> None:
        ctypes.memmove(to, origin, size)

    def _StreamBeginCapture(self, stream: int, mode: int) -> None:
        self._machine.capturing = []

    def _StreamEndCapture(self, stream: int) -> tuple[int]:
        work, self._machine.capturing = self._machine.capturing, None
        return (self._machine.makes(work),)

    def _GraphInstantiate(self, graph: int, flags: int) -> tuple[int]:
        return (self._machine.makes(self._machine.held[graph]),)

    def _GraphLaunch(self, ready: int, stream: int) -> None:
        for work in self._machine.held[ready]:
            work()


class HostPyCuda:
    """Stands for pycuda.driver, on such a machine."""

    class Error(Exception):
        pass

    def __init__(self, machine: Machine) -> None:
        self._runtime, self._machine = HostRuntime(machine), machine
        self.contexts = 0

    def init(self) -> None:
        self._machine.does("cuInit")

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = getattr(self._runtime, name)(*arguments)
        if status:
            raise self.Error(f"{name} failed")
        return values[0] if values else None

    def Device(self, ordinal: int) -> Any:
        assert ordinal == 0
        return self

    def retain_primary_context(self) -> Any:
        return self

    def push(self) -> None:
        self.contexts += 1

    def pop(self) -> None:
        self.contexts -= 1

    def mem_get_info(self) -> tuple[int, int]:
        return self._machine.free_bytes, 1 << 30

    def mem_alloc(self, size: int) -> Any:
        return PyCudaObject(self, self._call("cudaMalloc", size), "cudaFree")

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        array = numpy.empty(shape, dtype)
        base = PyCudaObject(self, self._call("cudaMallocHost", array.nbytes), "cudaFreeHost")
        return array.view(based(base))

    def memcpy_htod_async(self, to: int, array: Any, stream: Any) -> None:
        self._call("cudaMemcpyAsync", to, array.ctypes.data, array.nbytes, 1, stream.handle)

    def memcpy_dtoh_async(self, array: Any, origin: int, stream: Any) -> None:
        self._call("cudaMemcpyAsync", array.ctypes.data, origin, array.nbytes, 2, stream.handle)

    def Stream(self) -> Any:
        return PyCudaObject(self, self._call("cudaStreamCreate"), "cudaStreamDestroy")

    def Event(self) -> Any:
        return PyCudaObject(self, self._call("cudaEventCreate"), "cudaEventDestroy")


def based(allocation: Any) -> type[Any]:
    """An array whose base is the allocation, as PyCUDA's are."""
    return type("Based", (numpy.ndarray,), {"base": allocation})


class PyCudaObject:
    """Stands for an allocation, a stream or an event: freed when told, or when nobody holds it."""

    def __init__(self, driver: HostPyCuda, handle: int, freed_by: str) -> None:
        self._driver, self.handle, self._freed_by = driver, handle, freed_by

    def __int__(self) -> int:
        return self.handle

    def free(self) -> None:
        self._driver._call(self._freed_by, self.handle)
        self._freed_by = ""

    def __del__(self) -> None:
        if self._freed_by:
            self.free()

    def synchronize(self) -> None:
        self._driver._call("cudaStreamSynchronize", self.handle)

    def record(self, stream: Any) -> None:
        self._driver._call("cudaEventRecord", self.handle, stream.handle)

    def time_till(self, other: Any) -> float:
        return float(self._driver._call("cudaEventElapsedTime", self.handle, other.handle))


class DriverLibrary:
    """Stands for libcuda, of which PyCUDA's adapter asks graphs, on such a machine."""

    def __init__(self, machine: Machine) -> None:
        self._runtime = HostRuntime(machine)

    def _ask(self, name: str, *arguments: Any) -> list[Any]:
        status, *values = getattr(self._runtime, name)(*arguments)
        return [int(status), *values]

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> int:
        return int(self._ask("cudaStreamBeginCapture", stream.value, mode)[0])

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        status, graph._obj.value = self._ask("cudaStreamEndCapture", stream.value)
        return int(status)

    def cuGraphInstantiateWithFlags(self, ready: Any, graph: Any, flags: Any) -> int:
        status, ready._obj.value = self._ask("cudaGraphInstantiate", graph.value, flags.value)
        return int(status)

    def cuGraphLaunch(self, ready: Any, stream: Any) -> int:
        return int(self._ask("cudaGraphLaunch", ready.value, stream.value)[0])

    def cuGraphExecDestroy(self, ready: Any) -> int:
        return int(self._ask("cudaGraphExecDestroy", ready.value)[0])

    def cuGraphDestroy(self, graph: Any) -> int:
        return int(self._ask("cudaGraphDestroy", graph.value)[0])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """NVML sees its free memory too."""
    made = Machine()
    monkeypatch.setattr(_device_memory, "nvml_free_bytes", lambda: lambda: made.free_bytes)
    return made


@pytest.fixture(params=["cuda-python", "pycuda"])
def cuda(request: pytest.FixtureRequest, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each adapter, on a double of its package; the engine runtime finds it installed."""
    adapter: Any = (
        CudaPython(HostRuntime(machine), "cuda-python 13")
        if request.param == "cuda-python"
        else PyCuda(HostPyCuda(machine), DriverLibrary(machine), "pycuda 2026.1")
    )
    monkeypatch.setattr(tensorrt_engine, "installed_cuda", lambda: adapter)
    return adapter


@pytest.fixture
def engine(trt: Any, machine: Machine, tmp_path: Path) -> Path:
    """The file of an engine: logits [batch, 3] are twice the images [batch, 3], as each version's real API has it."""
    shapes: dict[str, tuple[int, ...]] = {}
    places: dict[str, int] = {}

    def take(name: str, shape: tuple[int, ...]) -> bool:
        shapes.update(images=tuple(shape), logits=tuple(shape))
        return shape[0] <= 8

    def place(name: str, address: int) -> bool:
        places[name] = address
        return True

    def compute() -> None:
        given, taken = ((ctypes.c_float * (3 * shapes[n][0])).from_address(places[n]) for n in ("images", "logits"))
        taken[:] = [2 * number for number in given]

    def enqueue(stream: int) -> bool:
        assert machine.held[stream] == "stream"
        machine.does("enqueue")
        machine.enqueues(compute)
        return True

    def load(_: bytes) -> Any:
        machine.free_bytes -= 5000
        return doubles.Double(trt, "ICudaEngine")

    trt.answers |= {
        "Runtime.deserialize_cuda_engine": load,
        "ICudaEngine.num_io_tensors": 2,
        "ICudaEngine.get_tensor_name": lambda i: ("logits", "images")[i],
        "ICudaEngine.get_tensor_mode": lambda name: trt.TensorIOMode["INPUT" if name == "images" else "OUTPUT"],
        "ICudaEngine.get_tensor_dtype": lambda _: trt.DataType.FLOAT,
        "ICudaEngine.get_tensor_shape": (-1, 3),
        "IExecutionContext.set_input_shape": take,
        "IExecutionContext.get_tensor_shape": lambda name: shapes[name],
        "IExecutionContext.set_tensor_address": place,
        "IExecutionContext.execute_async_v3": enqueue,
    }
    (tmp_path / "model.engine").write_bytes(b"engine")
    return tmp_path / "model.engine"
