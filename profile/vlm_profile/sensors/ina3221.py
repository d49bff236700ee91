"""Power rails of a Jetson, by its INA3221 chips: hwmon from JetPack 5 on, iio before.

Which rail is the whole board's: VDD_IN on Orin Nano, Orin NX and Xavier NX, POM_5V_IN on the Nano; AGX boards have
none, and their total is the sum of the rails.
"""

from dataclasses import dataclass
from pathlib import Path

from vlm_profile.sensors._files import FileSensor, text_of

TOTALS = ("VDD_IN", "POM_5V_IN")
SUM = "sum of rails"
NOT_CONNECTED = "NC"


@dataclass(frozen=True)
class Rail:
    """Volts times amperes (hwmon: millivolts, milliamperes)."""

    name: str
    volts: Path
    amperes: Path

    def read(self) -> dict[str, float]:
        return {f"power_w {self.name}": int(self.volts.read_text()) * int(self.amperes.read_text()) / 1e6}


@dataclass(frozen=True)
class Sum:
    """All rails together."""

    rails: tuple[Rail | FileSensor, ...]
    name: str = SUM

    def read(self) -> dict[str, float]:
        return {f"power_w {SUM}": sum(watts for rail in self.rails for watts in rail.read().values())}


def found(root: Path) -> list[Rail | FileSensor | Sum]:
    """Each rail, and their sum where none of them is the total."""
    rails: list[Rail | FileSensor] = [*_hwmon(root), *_iio(root)]
    if not rails or any(rail.name in TOTALS for rail in rails):
        return [*rails]
    return [*rails, Sum(tuple(rails))]


def _hwmon(root: Path) -> list[Rail]:
    rails = []
    for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label")):
        channel = label.name.removeprefix("in").removesuffix("_label")
        volts, amperes = label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input")
        name = text_of(label)
        if name != NOT_CONNECTED and volts.exists() and amperes.exists():  # in7, a sum of voltages, has no current
            rails.append(Rail(name, volts, amperes))
    return rails


def _iio(root: Path) -> list[FileSensor]:
    rails = []
    for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*")):
        power = label.with_name(f"in_power{label.name.removeprefix('rail_name_')}_input")  # milliwatts
        name = text_of(label)
        if name != NOT_CONNECTED:
            rails.append(FileSensor(name, power, f"power_w {name}", 1e-3))
    return rails
