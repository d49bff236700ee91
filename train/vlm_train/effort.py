"""What a training run costs: memory at its peak, and how busy the GPU was. Needs torch."""

from pathlib import Path

import torch

from vlm_contract.codec import Absent

NO_GPU = Absent("trained on a CPU")


def peak_rss_bytes(proc: Path = Path("/proc")) -> int | Absent:
    """The most memory that this process held: VmHWM, which starts at 0 with the program, unlike ru_maxrss."""
    try:
        lines = (proc / "self" / "status").read_text().splitlines()
    except OSError:
        return Absent("this system has no /proc/self/status")
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    return found[0] if found else Absent("this kernel counts no VmHWM")


def device_peak_bytes(device: torch.device) -> int | Absent:
    """The most memory that torch's allocator held on the GPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else NO_GPU


class GpuUse:
    """The share of time in which the GPU computed, as NVML says, looked at now and then."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._looks: list[int] = []
        self._silent = device.type == "cpu"
        self._absent = NO_GPU if device.type == "cpu" else Absent("the run was too short for a look at the GPU")

    def look(self) -> None:
        if self._silent:
            return
        try:
            self._looks.append(torch.cuda.utilization(self._device))
        except Exception as error:  # noqa: BLE001  NVML's errors have no base class but this without its package
            self._silent = True
            self._absent = Absent(f"NVML does not answer: {error or type(error).__name__} (extra: nvml)")

    def percent(self) -> float | Absent:
        return sum(self._looks) / len(self._looks) if self._looks else self._absent
