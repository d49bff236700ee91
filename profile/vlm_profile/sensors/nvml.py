"""An NVIDIA GPU's clocks, temperature, power, throttle reasons and processes, by NVML (`nvidia-ml-py`)."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from vlm_profile.runtimes._device_memory import first_pci_address

# nvmlClocksThrottleReason*, NVML's header.
IDLE = 0x01
SET_BY_USER = 0x02  # applications clocks, or clocks that were locked
THERMAL = 0x20 | 0x40 | 0x08  # software thermal, hardware thermal, hardware slowdown
POWER_CAP = 0x04


class Gpu:
    """One GPU. What it does not report is left out."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml, self._index = nvml, index
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.name = f"GPU {index} (NVML)"

    def read(self) -> dict[str, float]:
        nvml, handle = self._nvml, self._handle
        asked: dict[str, Callable[[], float]] = {
            "gpu_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "gpu_mhz_default": lambda: nvml.nvmlDeviceGetDefaultApplicationsClock(handle, nvml.NVML_CLOCK_SM),
            "gpu_mhz_highest": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "gpu_throttle_bits": lambda: _reasons(nvml)(handle),
            "gpu_processes": lambda: len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        }
        values = {}
        for key, ask in asked.items():
            with suppress(nvml.NVMLError):
                values[f"{key} {self._index}"] = float(ask())
        return values


def _reasons(nvml: Any) -> Callable[[Any], int]:
    """Renamed with CUDA 12.5; the old name is deprecated from 13 on."""
    ask: Callable[[Any], int] = getattr(
        nvml, "nvmlDeviceGetCurrentClocksEventReasons", nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    )
    return ask


def found(root: Path) -> list[Gpu]:
    """The GPU that runtimes compute on; none without the package, without a driver, or for a recorded tree."""
    if root != Path("/"):
        return []
    try:
        import pynvml

        pynvml.nvmlInit()
        return [Gpu(pynvml, index) for index in _used(pynvml)]
    except (ImportError, OSError):
        return []
    except Exception as error:
        if type(error).__name__.startswith("NVMLError"):  # its base cannot be named before the import
            return []
        raise


def _used(nvml: Any) -> list[int]:
    """The only GPU, or of several the one that CUDA calls 0: what another one does concerns no runtime of ours."""
    if (count := nvml.nvmlDeviceGetCount()) < 2:
        return list(range(count))
    address = first_pci_address()
    return [nvml.nvmlDeviceGetIndex(nvml.nvmlDeviceGetHandleByPciBusId(address))] if address else []
