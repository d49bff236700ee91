"""NVML is read through `pynvml`, for which a double stands here: what a GPU does not report is left out.

Of several GPUs the one that CUDA calls 0 is read: a double says where that is.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm_profile.sensors import nvml


class FakeNvml:
    """A double of the module `pynvml` with two GPUs or one: the second reports its temperature alone."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    class NVMLError(Exception):
        """As the package's: the base of all its errors."""

    class NVMLError_NotSupported(NVMLError):
        """What a GPU does not report."""

    def __init__(self, *, driver: bool = True, gpus: int = 2) -> None:
        self._driver, self._gpus = driver, gpus

    def nvmlInit(self) -> None:
        if not self._driver:
            raise self.NVMLError_NotSupported

    def nvmlDeviceGetCount(self) -> int:
        return self._gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByPciBusId(self, address: bytes) -> int:
        return {b"0000:01:00.0": 0, b"0000:02:00.0": 1}[address]

    def nvmlDeviceGetIndex(self, handle: int) -> int:
        return handle

    def nvmlDeviceGetTemperature(self, handle: int, _: int) -> int:
        return 60 + handle

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers: dict[str, Any] = {
            "nvmlDeviceGetClockInfo": 1785,
            "nvmlDeviceGetDefaultApplicationsClock": 1500,
            "nvmlDeviceGetMaxClockInfo": 2100,
            "nvmlDeviceGetPowerUsage": 81_250,  # milliwatts
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x24,
            "nvmlDeviceGetComputeRunningProcesses": ["ours", "another's"],
        }
        if name not in answers:
            raise AttributeError(name)

        def asked(handle: int, *_: int) -> Any:
            if handle == 1:
                raise self.NVMLError_NotSupported
            return answers[name]

        return asked


def test_a_gpu_gives_what_it_reports_in_the_units_of_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpus=1))  # type: ignore[arg-type]
    (gpu,) = nvml.found(Path("/"))
    assert gpu.read() == {
        "gpu_mhz 0": 1785.0,
        "gpu_mhz_default 0": 1500.0,
        "gpu_mhz_highest 0": 2100.0,
        "temperature_c 0": 60.0,
        "power_w 0": 81.25,
        "gpu_throttle_bits 0": 36.0,
        "gpu_processes 0": 2.0,
    }
    assert nvml.Gpu(FakeNvml(), 1).read() == {"temperature_c 1": 61.0}


@pytest.mark.parametrize(
    ("address", "read"), [(b"0000:01:00.0", ["GPU 0 (NVML)"]), (b"0000:02:00.0", ["GPU 1 (NVML)"]), (b"", [])]
)
def test_of_several_gpus_the_one_is_read_that_runtimes_compute_on(
    monkeypatch: pytest.MonkeyPatch, address: bytes, read: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())  # type: ignore[arg-type]
    monkeypatch.setattr(nvml, "first_pci_address", lambda: address)
    assert [gpu.name for gpu in nvml.found(Path("/"))] == read


@pytest.mark.parametrize("module", [None, FakeNvml(driver=False)])
def test_without_the_package_or_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert nvml.found(Path("/")) == []


def test_a_recorded_tree_has_not_this_machines_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())  # type: ignore[arg-type]
    assert nvml.found(tmp_path) == []
