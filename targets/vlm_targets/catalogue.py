"""The known targets: one data file each."""

import difflib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import Absent, FieldError, decode
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KNOWN = Path(__file__).parent / "known"
FILE_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Target:
    """A device that figures are filed under."""

    name: str
    title: str  # as a sentence names it
    aliases: tuple[str, ...]
    recognised_by: tuple[str, ...]  # one of these is in the name that firmware gives it, or the driver its GPU
    compute_capability: str | Absent  # of its GPU, "8.7"
    tensor_cores: bool | Absent
    tensorrt: str | Absent  # the version that graphs for it must suit, "10.3.0"
    sources: tuple[str, ...]  # where the figures are from

    def __post_init__(self) -> None:
        for number in (self.compute_capability, self.tensorrt):
            if isinstance(number, str) and not re.fullmatch(r"\d+(\.\d+)+", number):
                raise ValueError(f'{number!r} is no version, such as "8.7"')


def known_targets(folder: Path = KNOWN) -> tuple[Target, ...]:
    """Every target of a folder of data files. Raises VlmError naming the file and the field that is wrong."""
    return tuple(_read_target(path) for path in sorted(folder.glob("*.toml")))


def target_named(name: str, folder: Path = KNOWN) -> Target:
    """The target of that name or alias. Raises VlmError with the nearest names."""
    targets = {word: target for target in known_targets(folder) for word in (target.name, *target.aliases)}
    if name in targets:
        return targets[name]
    nearest = difflib.get_close_matches(name, targets, n=3) or sorted({target.name for target in targets.values()})
    raise VlmError(f"{name!r} is no known target; the nearest: {', '.join(nearest)}.", hint=f"--target {nearest[0]}")


def _read_target(path: Path) -> Target:
    text = read_regular_file(path, limit_bytes=FILE_LIMIT_BYTES)
    try:
        target: Target = decode(Target, tomllib.loads(text.decode()))
    except (FieldError, ValueError) as error:
        raise VlmError(f"{path} describes no target: {error}.", hint="mend the file, or move it away") from None
    return target
