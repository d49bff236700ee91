"""What a Raspberry Pi's firmware says of under-voltage and throttling: the word of `vcgencmd get_throttled`."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from vlm_profile.sensors._files import text_of
from vlm_targets.pi import throttled_in

KEY = "throttled_bits pi"
NOW = 0b1111  # bits 0 to 3: under-voltage, frequency capped, throttled, soft temperature limit; higher ones are history
PROGRAMS = (Path("/usr/bin/vcgencmd"), Path("/opt/vc/bin/vcgencmd"))
ANSWER_S = 1.0


@dataclass(frozen=True)
class Firmware:
    """Bits as the kernel last heard them, up to two seconds ago; in hexadecimal in the file."""

    file: Path
    name: str = "the Pi's firmware, by its kernel"

    def read(self) -> dict[str, float]:
        return {KEY: float(int(self.file.read_text(), 16))}


@dataclass(frozen=True)
class Asked:
    """Bits of this moment, as the firmware answers the program."""

    program: Path
    name: str = "the Pi's firmware"

    def read(self) -> dict[str, float]:
        try:
            said = subprocess.run([self.program, "get_throttled"], capture_output=True, timeout=ANSWER_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{self.program} does not answer") from error
        return {KEY: float(throttled_in(said.stdout.decode(errors="replace")))}


def found(root: Path) -> list[Asked | Firmware]:
    """The program where this machine is a Pi and the user may ask; else, and in a recorded tree, the kernel's file."""
    asked: list[Asked | Firmware] = [
        Asked(program) for program in PROGRAMS if root == Path("/") and _answers(Asked(program))
    ]
    files = sorted(root.glob("sys/devices/platform/soc*/*firmware/get_throttled"))
    heard = [Firmware(file) for file in files if text_of(file)]
    return [*asked, *heard][:1]


def _answers(sensor: Asked) -> bool:
    try:
        return bool(sensor.read())
    except (OSError, ValueError):  # not there, not ours to ask, or an error in words
        return False
