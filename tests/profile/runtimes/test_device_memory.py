"""Memory of a GPU as NVML counts it, with stand-ins for NVML and the driver."""

import ctypes
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_profile.runtimes import _device_memory
from vlm_profile.runtimes._device_memory import DeviceMemory, first_pci_address, no_driver, nvml_free_bytes


def test_the_peak_is_what_was_free_before_minus_what_is_free_now() -> None:
    free = iter([1000, 400, 250])
    memory = DeviceMemory(lambda: next(free))
    assert memory.taken() == 600
    assert memory.peak() == {"device peak": 750}


def test_without_nvml_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    memory = DeviceMemory()
    assert memory.taken() is None and memory.peak() == {}


def test_nvml_is_asked_about_the_gpu_that_cuda_calls_first(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {b"0000:01:00.0": 111, b"0000:02:00.0": 222}
    double = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByPciBusId=lambda address: address,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(free=free[handle]),
    )
    monkeypatch.setitem(sys.modules, "pynvml", double)
    monkeypatch.setattr(_device_memory, "first_pci_address", lambda: b"0000:02:00.0")
    read = nvml_free_bytes()
    assert read and read() == 222


def test_the_driver_tells_the_address_without_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Driver:
        """Stands for libcuda."""

        def cuInit(self, flags: int) -> int:
            asked.append("cuInit")
            return 0

        def cuDeviceGetPCIBusId(self, address: Any, size: int, device: int) -> int:
            asked.append("cuDeviceGetPCIBusId")
            address.value = b"0000:02:00.0"
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert first_pci_address() == b"0000:02:00.0"
    assert asked == ["cuInit", "cuDeviceGetPCIBusId"]


def test_a_machine_without_a_driver_says_so() -> None:
    assert first_pci_address("libno-such-driver.so") == b""
    assert no_driver("libno-such-driver.so").startswith("no NVIDIA driver here")
    assert no_driver("libc.so.6") == ""
