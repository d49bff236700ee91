"""Power of Intel's and AMD's packages, by the energy that RAPL counts (kernel: powercap.rst, microjoules)."""

import time
from collections.abc import Callable
from pathlib import Path

from vlm_profile.sensors._files import text_of


class Package:
    """Mean power since the last look; none at the first."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"{text_of(folder / 'name') or folder.name} (RAPL)"
        self._energy, self._clock = folder / "energy_uj", clock
        self._range_uj = int(text_of(folder / "max_energy_range_uj") or 0)
        self._last: tuple[float, int] | None = None

    def read(self) -> dict[str, float]:
        now, energy_uj = self._clock(), int(self._energy.read_text())
        before, self._last = self._last, (now, energy_uj)
        if before is None or now <= before[0]:
            return {}
        used_uj = energy_uj - before[1]
        if used_uj < 0:  # the counter has begun anew
            used_uj += self._range_uj
        return {f"power_w {self.name}": used_uj / 1e6 / (now - before[0])}


def found(root: Path) -> list[Package]:
    """Those that may be read: since 2020 kernels let only root."""
    folders = sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]"))
    return [Package(folder) for folder in folders if text_of(folder / "energy_uj").isdecimal()]
