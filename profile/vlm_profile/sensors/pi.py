"""What a Raspberry Pi's firmware says of under-voltage and throttling: the word of `vcgencmd get_throttled`."""

from dataclasses import dataclass
from pathlib import Path

from vlm_profile.sensors._files import text_of

KEY = "throttled_bits pi"
NOW = 0b1111  # bits 0 to 3: under-voltage, frequency capped, throttled, soft temperature limit; higher ones are history


@dataclass(frozen=True)
class Firmware:
    """Bits, in hexadecimal in the file."""

    file: Path
    name: str = "the Pi's firmware"

    def read(self) -> dict[str, float]:
        return {KEY: float(int(self.file.read_text(), 16))}


def found(root: Path) -> list[Firmware]:
    files = sorted(root.glob("sys/devices/platform/soc*/*firmware/get_throttled"))
    return [Firmware(file) for file in files if text_of(file)]
