"""Memory of the first GPU, as NVML counts it: unlike CUDA's own count, that needs no context."""

import ctypes
from collections.abc import Callable, Mapping
from contextlib import suppress

DEVICE_PEAK = "device peak"  # free memory before the context, minus what is free now


class DeviceMemory:
    """What the process took of the GPU's memory. Make it before anything asks CUDA for a context.

    The runtimes here give nothing back while they live, so that what is taken at the end is the peak.
    """

    def __init__(self, free_bytes: Callable[[], int] | None = None) -> None:
        self._free = free_bytes or nvml_free_bytes()
        self._before = self._free() if self._free else 0

    def taken(self) -> int | None:
        """Bytes since this was made, by whichever process; None where nothing tells."""
        return self._before - self._free() if self._free else None

    def peak(self) -> Mapping[str, int]:
        taken = self.taken()
        return {} if taken is None else {DEVICE_PEAK: taken}


def nvml_free_bytes() -> Callable[[], int] | None:
    """A function that reads the free bytes of CUDA's first GPU; None without NVML, as on a Jetson."""
    address = first_pci_address()
    with suppress(Exception):  # nvidia-ml-py raises errors of its own, and is only there with the extra "nvml"
        import pynvml

        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByPciBusId(address)
        pynvml.nvmlDeviceGetMemoryInfo(gpu)
        return lambda: int(pynvml.nvmlDeviceGetMemoryInfo(gpu).free)
    return None


def first_pci_address(driver: str = "libcuda.so.1") -> bytes:
    """Of the GPU that CUDA calls 0, which CUDA_VISIBLE_DEVICES may have chosen; empty without one. Makes no context."""
    address = ctypes.create_string_buffer(32)
    with suppress(OSError):
        cuda = ctypes.CDLL(driver)
        if cuda.cuInit(0) == 0 and cuda.cuDeviceGetPCIBusId(address, len(address), 0) == 0:
            return address.value
    return b""


def no_driver(driver: str = "libcuda.so.1") -> str:
    """A sentence where no NVIDIA driver is installed; empty otherwise."""
    try:
        ctypes.CDLL(driver)
    except OSError:
        return f"no NVIDIA driver here ({driver}): sudo ubuntu-drivers install, on a machine with an NVIDIA GPU"
    return ""
