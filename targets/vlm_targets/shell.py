"""A shell on a board through ssh: how it is told a task, how it answers, and that neither side waits for ever."""

import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread, Timer
from time import monotonic
from typing import IO

NOISE_LIMIT_BYTES = 2**20  # that a board's shell may print before it answers
TOLD_LIMIT_BYTES = 64 * 2**20  # of lines that are passed on while a command runs
BEAT_S = 20.0  # between two signs of life for what runs on the board
PATIENCE_S = 60.0  # that it waits for the next: a network that went dead says nothing to the board's sshd either
GRACE_S = 7.0  # for the board to end what it does: it kills after five
BLOCK_BYTES = 1 << 20
NOTES = ("debug1:", "OpenSSH_", "Authenticated to", "Transferred:", "Bytes per second")  # of `ssh -v`

# Returns when the input ends, or no sign of life comes any more.
WHILE_CALLED = """while_called() {
  if timeout 9 true; then while [ "$(timeout "$patience" head -c 1)" ]; do :; done; else cat; fi >/dev/null 2>&1
}
"""


class Shell:
    """A shell on the board, through ssh. At the deadline ssh is killed, and whatever waits for it goes on."""

    def __init__(self, command: Sequence[str], said: IO[bytes], timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.late = self.telling = False
        self.flooded = 0  # bytes that came without an answer, where they were too many
        self._marker = secrets.token_hex(16)
        self._said = said
        # A session of its own: a Ctrl-C here must not kill ssh before the board is told.
        self._ssh = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
        assert self._ssh.stdin is not None and self._ssh.stdout is not None
        self._input, self._output = self._ssh.stdin, self._ssh.stdout
        self._limit = monotonic() + timeout_s
        self._wake_in(timeout_s)

    def tell(self, body: str, parameters: Sequence[str]) -> None:
        """Hand the shell its task. The parameters are quoted here, once, and nowhere else."""
        begin = f"marker={self._marker} patience={PATIENCE_S:g}\n{WHILE_CALLED}"
        text = f'{begin}set -- {shlex.join(parameters)}\nmain() {{{body}  exit\n}}\nmain "$@"\n'
        with suppress(BrokenPipeError):  # then no answer comes, and that is reported
            self._input.write(text.encode())
            self._input.flush()

    def answer(self, tell: Callable[[str], None] | None = None) -> list[str]:
        """The words behind the marker; none where it never comes.

        Lines before it are the login shell's, or a followed command's: these are told, and put the deadline off.
        """
        read, most, self.telling = 0, TOLD_LIMIT_BYTES if tell else NOISE_LIMIT_BYTES, tell is not None
        while read < most and (line := self._output.readline(NOISE_LIMIT_BYTES)):
            read += len(line)
            text = line.decode(errors="replace").rstrip("\n")
            marker, _, words = text.partition(" ")
            if marker == self._marker:
                return words.split(" ")
            if tell and text:
                self._limit = monotonic() + self.timeout_s
                tell(text)
        self.flooded = most if read >= most else 0
        return []

    def blocks(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes; fewer where the connection ends."""
        while size and (block := self._output.read(min(size, BLOCK_BYTES))):
            size -= len(block)
            yield block

    def send(self, file: IO[bytes]) -> None:
        with suppress(BrokenPipeError):  # the board has closed its end, and its answer says why
            while block := file.read(BLOCK_BYTES):
                self._input.write(block)
            self._input.flush()

    def keep(self) -> None:
        """No deadline any more."""
        self._alarm.cancel()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Give signs of life meanwhile, one byte each."""
        end = Event()

        def beat() -> None:
            with suppress(OSError):  # the board has closed its end, and its answer says why
                while not end.wait(BEAT_S):
                    self._input.write(b".")
                    self._input.flush()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join(BEAT_S)

    def said(self) -> str:
        """What ssh, and the shell on the board, wrote to stderr."""
        with suppress(subprocess.TimeoutExpired):
            self._ssh.wait(1.0)
        self._said.seek(0)
        return self._said.read(NOISE_LIMIT_BYTES).decode(errors="replace")

    def last_words(self) -> str:
        return last_words(self.said())

    def close(self) -> None:
        """End the input, upon which the board ends what it still does, and do not wait for it long."""
        with suppress(BrokenPipeError):
            self._input.close()
        self._alarm.cancel()
        try:
            self._ssh.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()
        self._output.close()

    def _wake_in(self, seconds: float) -> None:
        self._alarm = Timer(seconds, self._end_if_late)
        self._alarm.daemon = True
        self._alarm.start()

    def _end_if_late(self) -> None:
        if (left := self._limit - monotonic()) > 0:
            self._wake_in(left)
        else:
            self.late = True
            self._ssh.kill()


def last_words(said: str) -> str:
    """The last line that is no note of ssh's own."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(NOTES)]
    return lines[-1].rstrip(".")[:300] if lines else "ssh gave no reason"
