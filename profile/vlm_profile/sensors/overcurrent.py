"""How often a Jetson's hardware capped clocks for its supply: counters of the hwmon chip `soctherm_oc` (Orin on).

Under load some count on and on at full power, by instants that no power sensor sees: they are recorded, not judged.
"""

from pathlib import Path

from vlm_profile.sensors._files import FileSensor, text_of

CHIP = "soctherm_oc"


def found(root: Path) -> list[FileSensor]:
    files = sorted(root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"))
    named = [(file.name.removesuffix("_event_cnt"), file) for file in files if text_of(file.with_name("name")) == CHIP]
    return [FileSensor(name, file, f"overcurrent_events {name}", 1.0) for name, file in named]
