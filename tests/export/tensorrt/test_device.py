"""What is asked of, and run on, a GPU: with stand-ins for the driver and for CUDA's runtime, and on a real one."""

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from enum import IntEnum
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt.api import TensorRT
from vlm_export.tensorrt.builder import Wanted, engine_from_onnx
from vlm_export.tensorrt.device import RUNS, WARM_UPS, first_gpu, identity, measured_on_device

DRIVER = """
/* Stands for the CUDA driver of a machine with one GPU. */
#include <string.h>
int cuInit(unsigned flags) { return STATUS; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "NVIDIA GeForce GTX 1660 Ti", size); return 0; }
int cuDeviceGetAttribute(int *value, int what, int device) { *value = what == 75 ? 7 : what == 76 ? 5 : -1; return 0; }
"""


@pytest.fixture
def driver(tmp_path: Path) -> Callable[[int], str]:
    """Compiles a driver whose start ends with a status."""

    def compiled(status: int) -> str:
        compiler = shutil.which("cc") or pytest.skip("no C compiler for the stub of the driver")
        source, library = tmp_path / "driver.c", tmp_path / f"libcuda-{status}.so"
        source.write_text(DRIVER)
        subprocess.run([compiler, "-shared", "-fPIC", f"-DSTATUS={status}", "-o", library, source], check=True)
        return str(library)

    return compiled


class HostCuda:
    """Stands for cuda-python's runtime: the memory that it gives is the host's."""

    class cudaError_t(IntEnum):
        cudaSuccess = 0
        cudaErrorMemoryAllocation = 2

    class cudaMemcpyKind(IntEnum):
        cudaMemcpyHostToDevice = 1
        cudaMemcpyDeviceToHost = 2

    def __init__(self, limit_bytes: int = 1 << 20) -> None:
        self.held: dict[int, Any] = {}
        self.synchronised = 0
        self._limit_bytes = limit_bytes

    def cudaMalloc(self, size: int) -> tuple[Any, int]:
        if size > self._limit_bytes:
            return self.cudaError_t.cudaErrorMemoryAllocation, 0
        memory = ctypes.create_string_buffer(size)
        self.held[ctypes.addressof(memory)] = memory
        return self.cudaError_t.cudaSuccess, ctypes.addressof(memory)

    def cudaFree(self, address: int) -> tuple[Any]:
        del self.held[address]
        return (self.cudaError_t.cudaSuccess,)

    def cudaStreamCreate(self) -> tuple[Any, int]:
        self.held[7] = "stream"
        return self.cudaError_t.cudaSuccess, 7

    def cudaStreamDestroy(self, stream: int) -> tuple[Any]:
        return self.cudaFree(stream)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any]:
        self.synchronised += 1
        return (self.cudaError_t.cudaSuccess,)

    def cudaMemcpy(self, to: int, come_from: int, size: int, kind: int) -> tuple[Any]:
        ctypes.memmove(to, come_from, size)
        return (self.cudaError_t.cudaSuccess,)


def engine_that_doubles(trt: Any) -> None:
    """Logits [2, 3] are twice the first six numbers of the images."""
    places: dict[str, int] = {}

    def run(_: int) -> bool:
        given, taken = ((ctypes.c_float * 6).from_address(places[name]) for name in ("images", "logits"))
        taken[:] = [2 * number for number in given]
        return True

    def place(name: str, address: int) -> bool:
        places[name] = address
        return True

    trt.answers |= {
        "ICudaEngine.num_io_tensors": 2,
        "ICudaEngine.get_tensor_name": lambda i: ("logits", "images")[i],
        "ICudaEngine.get_tensor_mode": lambda name: trt.TensorIOMode["INPUT" if name == "images" else "OUTPUT"],
        "ICudaEngine.get_tensor_dtype": lambda _: trt.DataType.FLOAT,
        "IExecutionContext.get_tensor_shape": (2, 3),
        "IExecutionContext.set_tensor_address": place,
        "IExecutionContext.execute_async_v3": run,
    }


def test_the_gpu_is_named_by_its_driver(trt: Any, driver: Callable[[int], str]) -> None:
    found = identity(TensorRT("tensorrt", trt), driver(0))
    assert found.runtime == f"TensorRT {trt.__version__}"
    assert (found.device, found.compute_capability) == ("NVIDIA GeForce GTX 1660 Ti", "7.5")
    assert found.file_name() == f"tensorrt-{trt.__version__}-nvidia-geforce-gtx-1660-ti-sm7.5"


def test_without_a_driver_or_a_gpu_the_device_is_absent_and_says_why(trt_of: Any, driver: Callable[[int], str]) -> None:
    api = TensorRT("tensorrt", trt_of("10.3.0"))
    nowhere = identity(api, "libnowhere.so")
    assert nowhere.device == nowhere.compute_capability == Absent("no NVIDIA driver here")
    assert nowhere.file_name() is None
    assert identity(api, driver(100)).device == Absent("the NVIDIA driver gives no GPU (CUDA error 100)")


def test_an_engine_is_run_after_warming_up_and_its_outputs_come_back(trt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = HostCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    engine_that_doubles(trt)
    images = np.arange(6.0).reshape(2, 3)
    ticks = (tick for call in count(1) for tick in (0, 1_000_000 * call))  # each call takes 1 ms more than the last
    latency, outputs = measured_on_device(TensorRT("tensorrt", trt), images, lambda: next(ticks))(b"engine")
    assert latency == WARM_UPS + (RUNS + 1) / 2
    assert outputs.tolist() == (2 * images).tolist()
    assert cuda.synchronised == WARM_UPS + RUNS
    assert trt.called("IExecutionContext.set_input_shape") == [("images", (2, 3))]
    assert cuda.held == {}


def test_an_error_of_cuda_is_named_and_nothing_stays_held(trt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = HostCuda(limit_bytes=8)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    engine_that_doubles(trt)
    with pytest.raises(CheckFailed, match=r"cudaErrorMemoryAllocation \(2\)"):
        measured_on_device(TensorRT("tensorrt", trt), np.zeros((2, 3)))(b"engine")
    assert cuda.held == {}


def test_an_older_cuda_python_is_found_under_its_older_name(trt_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setitem(sys.modules, "cuda.cudart", HostCuda())
    trt = trt_of("8.6.1")
    engine_that_doubles(trt)
    assert measured_on_device(TensorRT("tensorrt", trt), np.ones((2, 3)))(b"engine")[1].max() == 2.0


def test_a_missing_cuda_python_names_its_extra(trt_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(VlmError, match="cuda-python is not installed") as error:
        measured_on_device(TensorRT("tensorrt", trt_of("10.3.0")), np.zeros((2, 3)))
    assert error.value.hint == "pip install 'vlm-edge[trt]'"


def test_the_stand_in_has_the_names_of_cuda_python() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for name in (name for name in vars(HostCuda) if name.startswith("cuda")):
        assert hasattr(runtime, name)
    for kind in (HostCuda.cudaError_t, HostCuda.cudaMemcpyKind):
        assert {m.name: m.value for m in kind}.items() <= {
            m.name: int(m) for m in getattr(runtime, kind.__name__)
        }.items()


@pytest.mark.gpu
def test_two_builds_on_a_gpu_are_timed_compared_and_described(graph: Any, tmp_path: Path) -> None:
    try:
        first_gpu("libcuda.so.1")
    except VlmError as error:
        pytest.skip(f"needs a GPU: {error}")
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("TensorRT is not installed: pip install 'vlm-edge[trt]'")
    images = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    api = TensorRT.installed("tensorrt")
    wanted = Wanted("tensorrt", "fp16", (1, 8, 32), timing_cache=tmp_path / "device.timings", builds=2)
    made = engine_from_onnx(graph(precision="fp16"), wanted, [].append, measured_on_device(api, images))
    assert isinstance(made.record.latency_ms, tuple) and len(made.record.latency_ms) == 2
    assert isinstance(made.record.output_spread, float) and made.record.output_spread < 0.05
    assert isinstance(made.layers, str) and "conv" in made.layers
    assert (tmp_path / "device.timings").stat().st_size > 0
