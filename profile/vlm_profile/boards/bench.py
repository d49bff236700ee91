"""A board as `trtexec` is run on it: sensors are read beside each measuring run, and engines are built but once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vlm_contract.files import sha256_of
from vlm_contract.measurement import Reading
from vlm_profile.boards.beside import Watched, watched
from vlm_profile.boards.engines import Kept, key_of
from vlm_profile.trtexec.engines import Tell
from vlm_targets.reach import Machine
from vlm_targets.ssh import Done

ENGINE_LIMIT_BYTES = 4 * 2**30
SAVES, MEASURES = "--saveEngine=", "--exportTimes="


class WatchedBoard:
    """A `Machine`. `only` tells this board and its TensorRT from all others, so that no other's engine gets here."""

    def __init__(self, machine: Machine, tree: Path, kept: Kept, only: Sequence[str], tell: Tell) -> None:
        self._machine, self._tree, self._kept, self._only, self._tell = machine, tree, kept, only, tell
        self._pushed: dict[str, str] = {}  # digests, by the name in the folder
        self.last: Watched | None = None

    @property
    def address(self) -> str:
        return self._machine.address

    @property
    def folder(self) -> str:
        return self._machine.folder

    def push(self, path: Path, remote: str) -> None:
        self._machine.push(path, remote)
        self._pushed[self._local(remote)] = sha256_of(path)

    def pull(self, remote: str, path: Path, limit_bytes: int) -> None:
        self._machine.pull(remote, path, limit_bytes)

    def run(self, arguments: Sequence[str], timeout_s: float) -> Done:
        if any(word.startswith(SAVES) for word in arguments):
            return self._built(arguments, timeout_s)
        if any(word.startswith(MEASURES) for word in arguments):
            self.last = watched(self._machine, self._tree, arguments, timeout_s)
            return self.last.done
        return self._machine.run(arguments, timeout_s)

    @contextmanager
    def sampling(self) -> Iterator[list[Reading]]:
        """What sensors said beside the last measuring run, once the block ends."""
        readings: list[Reading] = []
        self.last = None
        yield readings
        readings += self.last.readings if self.last else ()

    def _built(self, arguments: Sequence[str], timeout_s: float) -> Done:
        """The engine that is kept here already, or else a new one, which is kept."""
        there = next(word.removeprefix(SAVES) for word in arguments if word.startswith(SAVES))
        key = self._key(arguments)
        if engine := self._kept.found(key):
            self._tell(f"{self.address} takes the engine that it built before")
            self._machine.push(engine, there)
            return Done(0, "", "")
        done = self._machine.run(arguments, timeout_s)
        if done.code == 0:
            self._tell(f"the engine is kept here, in {self._kept.folder}; nothing stays on {self.address}")
            self._kept.keep(key, lambda path: self._machine.pull(there, path, ENGINE_LIMIT_BYTES))
        return done

    def _key(self, arguments: Sequence[str]) -> str:
        """Of the words, and of the files that they speak of: a graph, and its weights beside it."""
        words = [self._local(word) for word in arguments]
        folder = next(word.partition("=")[2].rpartition("/")[0] for word in words if word.startswith("--onnx="))
        files = [f"{name} {digest}" for name, digest in sorted(self._pushed.items()) if name.startswith(f"{folder}/")]
        return key_of(words, files, self._only)

    def _local(self, text: str) -> str:
        return text.replace(self._machine.folder, "FOLDER")
