"""A machine on which commands run: a board over SSH, or this one, through one small interface."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, whole_file
from vlm_targets.ssh import OUTPUT_LIMIT_BYTES, PUSH_LIMIT_BYTES, Done

TERMINATE_S = 5.0  # between the request to end and the kill, as on a board
# The input ends when whoever holds its other end dies: then the whole session goes.
_GUARDED = """
  exec 3<&0
  "$@" </dev/null 3<&- &
  child=$!
  { cat <&3; kill -KILL 0; } >/dev/null 2>&1 &
  wait "$child"
"""


class Machine(Protocol):
    """Where commands run: `vlm_targets.ssh.Board`, or `Here`. Opened by `with`; what it started ends with it."""

    @property
    def address(self) -> str:
        """What `ssh` takes; empty for this machine."""

    @property
    def folder(self) -> str:
        """A private folder there, gone afterwards."""

    def run(self, arguments: Sequence[str], timeout_s: float) -> Done:
        """Run a command with no input. Raises VlmError where it takes longer; then it is ended."""

    def push(self, path: Path, remote: str) -> None:
        """Copy a file of this machine to a path there, whole or not at all."""

    def pull(self, remote: str, path: Path, limit_bytes: int) -> None:
        """Copy a file from there, whole or not at all. Raises VlmError where it is absent or over the limit."""


class Here:
    """This machine. A command has a session of its own, and is ended with all that it started."""

    address = ""

    def __init__(self) -> None:
        self.folder = ""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Here":
        self.folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vlm-edge."))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, arguments: Sequence[str], timeout_s: float) -> Done:
        """Of what it prints the last 4 MiB of each output are kept. Should this process die, it is ended, too."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            shell = subprocess.Popen(
                ["sh", "-c", _GUARDED, "sh", *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                code = shell.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise VlmError(f"{arguments[0]} took more than {timeout_s:g} s; it was ended.") from None
            finally:
                _end(shell)
            return Done(code, _last_of(out), _last_of(err))

    def push(self, path: Path, remote: str) -> None:
        size = check_regular_file(path, limit_bytes=PUSH_LIMIT_BYTES).st_size
        with whole_file(Path(remote), expected_bytes=size) as temporary:
            shutil.copyfile(path, temporary)

    def pull(self, remote: str, path: Path, limit_bytes: int) -> None:
        size = check_regular_file(Path(remote), limit_bytes=limit_bytes).st_size
        with whole_file(path, expected_bytes=size) as temporary:
            shutil.copyfile(remote, temporary)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a command and what it left running: asked first while it still runs itself, then killed."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _last_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OUTPUT_LIMIT_BYTES))
    return file.read().decode(errors="replace")
