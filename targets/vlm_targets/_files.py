"""Text in files of /proc, /sys and /etc."""

import re
from pathlib import Path

SAID = "said"  # where a mirrored tree keeps what commands said, beside the files


def text_of(file: Path) -> str:
    """The file's text without the NUL or newline that ends it; empty where it cannot be read."""
    try:
        return file.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def field(text: str, name: str) -> str:
    """The value of a line `name : value`; empty where there is none."""
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def number_in(text: str) -> int | None:
    """A whole number, of no more digits than a counter has; None where the text is something else."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None
