"""Temperatures: the kernel's thermal zones, and where there are none hwmon's chips; both in millidegrees."""

from pathlib import Path

from vlm_profile.sensors._files import FileSensor, text_of


def found(root: Path) -> list[FileSensor]:
    zones = sorted(root.glob("sys/class/thermal/thermal_zone*/temp"))
    named = [(text_of(zone.with_name("type")) or zone.parent.name, zone) for zone in zones]
    if not named:
        chips = sorted(root.glob("sys/class/hwmon/hwmon*/temp*_input"))
        named = [(_chip(file), file) for file in chips]
    return [FileSensor(name, file, f"temperature_c {name}", 1e-3) for name, file in named if _reads(file)]


def _chip(file: Path) -> str:
    label = text_of(file.with_name(file.name.replace("_input", "_label")))
    return " ".join(filter(None, [text_of(file.with_name("name")), label])) or file.parent.name


def _reads(file: Path) -> bool:
    """Some zones of a board that is idle cannot be read."""
    return text_of(file).lstrip("-").isdecimal()
