"""The sensors: one module for each kind, whose `found(root)` lists those of a machine. The folder is the registry.

Keys say unit and place: "power_w VDD_IN", "temperature_c cpu-thermal", "gpu_mhz 0", "throttled_bits pi".
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

ROOT = Path("/")


class Sensor(Protocol):
    """Something to read again and again."""

    name: str

    def read(self) -> dict[str, float]:
        """Values by unit and place; empty where it gives none now. Raises OSError where it has gone."""


def sensors(root: Path = ROOT) -> list[Sensor]:
    """Every sensor of the machine whose file system is at `root`."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    return [sensor for module in modules for sensor in import_module(f"{__name__}.{module}").found(root)]


def read_all(found: Sequence[Sensor]) -> dict[str, float]:
    """The values of all; a sensor that has gone gives none."""
    values: dict[str, float] = {}
    for sensor in found:
        try:
            values |= sensor.read()
        except (OSError, ValueError):
            continue
    return values
