"""What can only be known, or done, on the GPU that an engine is for."""

import ctypes
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from vlm_contract.codec import Absent
from vlm_contract.console import require_extra
from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt.api import TensorRT

WARM_UPS, RUNS = 20, 100
# By name: trt.nptype() of TensorRT 8 stops on numpy's old np.bool.
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT8": "int8", "INT32": "int32", "INT64": "int64"}
# CUdevice_attribute, CUDA driver API: the compute capability's two numbers
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True)
class Identity:
    """What an engine built here is for."""

    runtime: str  # "TensorRT 10.3.0"
    device: str | Absent  # the GPU's name
    compute_capability: str | Absent  # "7.5"

    def file_name(self) -> str | None:
        """A file name for what belongs to this device and version, such as its timings; None where there is no GPU."""
        if isinstance(self.device, Absent):
            return None
        named = f"{self.runtime}-{self.device}-sm{self.compute_capability}".lower()
        return "".join(c if c.isalnum() or c in ".-" else "-" for c in named)


def identity(api: TensorRT, driver: str = "libcuda.so.1") -> Identity:
    """This machine's TensorRT and its first GPU. CUDA does not outlive a fork: call it in the process that builds."""
    try:
        device, capability = first_gpu(driver)
    except VlmError as error:
        return Identity(api.name, Absent(str(error)), Absent(str(error)))
    return Identity(api.name, device, capability)


def first_gpu(driver: str) -> tuple[str, str]:
    """Name and compute capability ("7.5") of the first GPU, from the CUDA driver. Raises VlmError without one."""
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        raise VlmError("no NVIDIA driver here") from None
    device, name, numbers = ctypes.c_int(), ctypes.create_string_buffer(256), (ctypes.c_int(), ctypes.c_int())
    status = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, len(name), device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(numbers[0]), _MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(numbers[1]), _MINOR, device)
    )
    if status:
        raise VlmError(f"the NVIDIA driver gives no GPU (CUDA error {status})")
    return name.value.decode(errors="replace"), f"{numbers[0].value}.{numbers[1].value}"


def measured_on_device(
    api: TensorRT, images: npt.NDArray[Any], clock: Callable[[], int] = time.perf_counter_ns
) -> Callable[[bytes], tuple[float, npt.NDArray[Any]]]:
    """A function that runs an engine on images [n, ...] on the first GPU: median latency of a call in ms, and outputs.

    The clock covers the call and the wait for its end, no copies. Raises VlmError where cuda-python is missing, and
    CheckFailed where CUDA or the engine fails.
    """
    cuda = _cuda_runtime()

    def measure(engine: bytes) -> tuple[float, npt.NDArray[Any]]:
        loaded = api.loaded(engine)
        context = api.tried("make an execution context", loaded.create_execution_context)
        with ExitStack() as held:
            stream = held.enter_context(_held(cuda, cuda.cudaStreamCreate, (), cuda.cudaStreamDestroy))
            outputs = _bind(api, cuda, held, loaded, context, images)
            latencies = []
            for _ in range(WARM_UPS + RUNS):
                began = clock()
                api.tried("run the engine", context.execute_async_v3, int(stream))
                _checked(cuda, cuda.cudaStreamSynchronize(stream))
                latencies.append((clock() - began) / 1e6)
            return median(latencies[WARM_UPS:]), _fetched(cuda, outputs)

    return measure


def _bind(
    api: TensorRT, cuda: Any, held: ExitStack, engine: Any, context: Any, images: npt.NDArray[Any]
) -> tuple[int, npt.NDArray[Any]]:
    """Put the images on the GPU and give every tensor its place; address and host array of the one output."""
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == api.module.TensorIOMode.INPUT]
    (given,), (taken,) = inputs, [name for name in names if name not in inputs]
    api.tried(f"take images {images.shape}", context.set_input_shape, given, images.shape)
    arrays = {
        given: np.ascontiguousarray(images, _DTYPES[engine.get_tensor_dtype(given).name]),
        taken: np.empty(tuple(context.get_tensor_shape(taken)), _DTYPES[engine.get_tensor_dtype(taken).name]),
    }
    addresses = {}
    for name, array in arrays.items():
        addresses[name] = held.enter_context(_held(cuda, cuda.cudaMalloc, (array.nbytes,), cuda.cudaFree))
        api.tried("bind its tensors", context.set_tensor_address, name, int(addresses[name]))
    to_device = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
    _checked(cuda, cuda.cudaMemcpy(addresses[given], arrays[given].ctypes.data, arrays[given].nbytes, to_device))
    return addresses[taken], arrays[taken]


def _fetched(cuda: Any, output: tuple[int, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    address, array = output
    to_host = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
    _checked(cuda, cuda.cudaMemcpy(array.ctypes.data, address, array.nbytes, to_host))
    return array


@contextmanager
def _held(cuda: Any, make: Any, arguments: tuple[Any, ...], free: Any) -> Iterator[Any]:
    resource = _checked(cuda, make(*arguments))
    try:
        yield resource
    finally:
        free(resource)


def _checked(cuda: Any, answer: tuple[Any, ...]) -> Any:
    """What a CUDA call gave beside its status. Raises CheckFailed where the status is an error."""
    status, *values = answer
    if status != cuda.cudaError_t.cudaSuccess:
        raise CheckFailed(f"CUDA says {status.name} ({int(status)}); this process cannot use the GPU again.")
    return values[0] if values else None


def _cuda_runtime() -> Any:
    """The CUDA runtime of cuda-python, which 13 moved. Raises VlmError naming the extra."""
    for module in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return importlib.import_module(module)
        except ImportError:
            continue
    raise require_extra("trt", ImportError(name="cuda-python"))
