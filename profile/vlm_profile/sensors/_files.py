"""Numbers in files of sysfs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileSensor:
    """One number in one file."""

    name: str
    file: Path
    key: str  # unit and place
    scale: float  # from the file's unit

    def read(self) -> dict[str, float]:
        return {self.key: int(self.file.read_text()) * self.scale}


def text_of(file: Path) -> str:
    """The file's text without its newline; empty where it cannot be read."""
    try:
        return file.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
