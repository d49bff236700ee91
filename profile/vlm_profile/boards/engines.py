"""Engines that boards built, kept on this machine: so a run that was cut off goes on, and nothing stays on a board."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vlm_contract.files import remove_abandoned, sha256_of

KEPT_BYTES = 8 * 2**30  # in all; the engine that was used longest ago goes first
KEY_DIGITS = 16


@dataclass(frozen=True)
class Kept:
    """A folder of engines. A file's name says what it was built from, and holds the digest of its bytes."""

    folder: Path

    def found(self, key: str) -> Path | None:
        """The engine of that key; one whose bytes are not those that were kept is removed."""
        for path in self.folder.glob(f"{key}-*.engine"):
            if path.stem == f"{key}-{sha256_of(path)}":
                path.touch()
                return path
            path.unlink()
        return None

    def keep(self, key: str, fetch: Callable[[Path], None]) -> Path:
        """Have an engine fetched to a path, and keep it under its key. One run at a time keeps engines here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder)
        with TemporaryDirectory(prefix=".arriving-", dir=self.folder) as folder:
            arrived = Path(folder) / "engine"
            fetch(arrived)
            path = arrived.replace(self.folder / f"{key}-{sha256_of(arrived)}.engine")
        self._forget(keep=path)
        return path

    def _forget(self, keep: Path) -> None:
        """Remove the oldest over the limit, and never the newest."""
        engines = sorted(self.folder.glob("*.engine"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        total = keep.stat().st_size
        for path in engines:
            if path != keep and (total := total + path.stat().st_size) > KEPT_BYTES:
                path.unlink()


def key_of(*made_of: str | Sequence[str]) -> str:
    """A name for what goes into an engine: the graph's digest, the build's words, the version, the very board.

    An engine is native code: what one board built is sent to no other one.
    """
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:KEY_DIGITS]
