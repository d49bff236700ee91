"""Temperatures: the kernel's thermal zones and the CPU's own chip, else all chips of hwmon; in millidegrees."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vlm_profile.sensors._files import FileSensor, text_of

PLACEHOLDERS = ("PMIC-Die",)  # on Jetson Nano, TX2 and Xavier: says 100 °C always
CPU_CHIPS = ("coretemp", "k10temp", "zenpower")  # on PCs zones may be the mainboard's alone; temp1 is the package


def found(root: Path) -> list[FileSensor]:
    """Those that can be read: some zones of a board cannot while their engine is off."""
    named = [(name, file) for name, file in [*_zones(root), *_chips(root, "temp1", CPU_CHIPS)] if _reads(file)]
    named = named or [(name, file) for name, file in _chips(root, "temp*") if _reads(file)]
    times = Counter(name for name, _ in named)
    distinct = ((f"{name} ({file.parent.name})" if times[name] > 1 else name, file) for name, file in named)
    return [FileSensor(name, file, f"temperature_c {name}", 1e-3) for name, file in distinct]


def _zones(root: Path) -> Iterator[tuple[str, Path]]:
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*/temp")):
        name = text_of(zone.with_name("type")) or zone.parent.name
        if name not in PLACEHOLDERS:
            yield name, zone


def _chips(root: Path, inputs: str, only: tuple[str, ...] = ()) -> Iterator[tuple[str, Path]]:
    for file in sorted(root.glob(f"sys/class/hwmon/hwmon*/{inputs}_input")):
        chip = text_of(file.with_name("name"))
        if not only or chip in only:
            label = text_of(file.with_name(file.name.replace("_input", "_label")))
            yield " ".join(filter(None, [chip, label])) or file.parent.name, file


def _reads(file: Path) -> bool:
    return text_of(file).lstrip("-").isdecimal()
