"""Several targets at once: each is a command of its own, so that one that fails costs nobody else anything."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from threading import Thread
from typing import IO, Any

from vlm_contract.codec import FieldError, decode, read_record
from vlm_contract.console import PROGRESS, LiveLine, printable
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file
from vlm_contract.measurement import Measurement
from vlm_profile.rows import HOST

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COMMAND = (sys.executable, "-m", "vlm_profile")
FILE_LIMIT_BYTES = 1 << 20
ANSWER_LIMIT_BYTES = 64 * 2**20
END_S = 30.0  # for a member to end what it does on its board
OWN_OPTIONS = ("--target", "--host", "--fleet")  # of the fleet's command, which a member is given anew


@dataclass(frozen=True)
class Member:
    """One target, and where it is."""

    target: str
    host: str = ""  # an address; empty: this machine, or the address in the target's own file

    @property
    def words(self) -> list[str]:
        return ["--target", self.target, *(["--host", self.host] if self.host else [])]


@dataclass(frozen=True)
class _File:
    """A fleet file: `[[board]]` with `target` and `host`."""

    board: tuple[Member, ...]


@dataclass
class Answer:
    """How a member's command ended."""

    code: int
    summary: dict[str, Any] = field(default_factory=dict)  # its JSON; empty where it measured nothing
    said: str = ""  # its last words

    def records(self) -> dict[Path, Measurement]:
        """The records that it stored or kept. Raises VlmError where one cannot be read."""
        paths = [Path(row["file"]) for row in self.summary.get("measurements", ())]
        return {path: read_record(Measurement, path) for path in paths}


def members_of(targets: str, hosts: str, file: Path | None) -> tuple[Member, ...]:
    """Of `--target jetson,rpi5 --host user@a,user@b`, or of a fleet file. Raises VlmError."""
    members = _in_file(file) if file else _named(targets.split(","), hosts.split(",") if hosts else [])
    names = [member.target for member in members]
    for name in names:
        if names.count(name) > 1:
            raise VlmError(
                f"The target {name!r} is named twice: its records would take each other's place.",
                hint="a target file for each board, with a name of its own (vlm-profile targets says where)",
            )
    return members


def measure_fleet(
    words: Sequence[str], members: Sequence[Member], line: LiveLine, command: Sequence[str] = COMMAND
) -> dict[Member, Answer]:
    """Run a command with such words for each member, boards side by side; this machine comes last, undisturbed."""
    command = [*command, *without(words)]
    boards = [member for member in members if member.target != HOST]
    here = [member for member in members if member.target == HOST]
    answers = {**_side_by_side(command, boards, line), **_side_by_side(command, here, line)}
    return {member: answers[member] for member in members}


def without(words: Sequence[str], options: Sequence[str] = OWN_OPTIONS) -> list[str]:
    """A command's words but for some options and their values."""
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if skip or name in options:
            skip = not skip and not equals
            continue
        kept.append(word)
    return kept


def _named(targets: Sequence[str], hosts: Sequence[str]) -> tuple[Member, ...]:
    if len(hosts) > len(targets):
        raise VlmError(
            f"--host names {len(hosts)} boards, and --target {len(targets)}.",
            hint="--target jetson,rpi5 --host user@a,user@b",
        )
    return tuple(Member(target, host) for target, host in zip_longest(targets, hosts, fillvalue=""))


def _in_file(path: Path) -> tuple[Member, ...]:
    text = read_regular_file(path, limit_bytes=FILE_LIMIT_BYTES)
    try:
        fleet: _File = decode(_File, _with_hosts(tomllib.loads(text.decode())))
    except (FieldError, ValueError) as error:
        raise VlmError(
            f"{path} describes no fleet: {error}.", hint='[[board]] with target = "jetson" and host = "user@board"'
        ) from None
    if not fleet.board:
        raise VlmError(f"{path} names no board.", hint='[[board]] with target = "jetson" and host = "user@board"')
    return fleet.board


def _with_hosts(document: Mapping[str, Any]) -> dict[str, Any]:
    boards = document.get("board", [])
    if not isinstance(boards, list):
        return dict(document)
    return {**document, "board": [{"host": "", **board} if isinstance(board, dict) else board for board in boards]}


def _side_by_side(command: Sequence[str], members: Sequence[Member], line: LiveLine) -> dict[Member, Answer]:
    with ExitStack() as stack:
        running = [stack.enter_context(_Running(member, command)) for member in members]
        told = {member.target: "" for member in members}
        readers = [Thread(target=each.follow, args=(told,), daemon=True) for each in running]
        for reader in readers:
            reader.start()
        while any(reader.is_alive() for reader in readers):
            for reader in readers:
                reader.join(0.25)
            line.show("  |  ".join(f"{target}: {text}" for target, text in told.items() if text))
        line.clear()
        return {each.member: each.answer() for each in running}


class _Running:
    """The command for one member; ended, with its own way of ending, where the fleet's is interrupted."""

    def __init__(self, member: Member, command: Sequence[str]) -> None:
        self.member = member
        self._command = [*command, *member.words, "--json"]
        self._last = ""

    def __enter__(self) -> "_Running":
        self._out: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, PROGRESS: "lines"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._out.close()

    def follow(self, told: dict[str, str]) -> None:
        """What the member says, as it says it."""
        assert self._process.stderr is not None
        for text in self._process.stderr:
            self._last = told[self.member.target] = printable(text.strip())[:300] or self._last
        self._process.wait()
        told[self.member.target] = "done" if self._process.returncode == 0 else f"ended with {self._process.returncode}"

    def answer(self) -> Answer:
        return Answer(self._process.wait(), dict(self._summary()), self._last)

    def _summary(self) -> Iterator[tuple[str, Any]]:
        self._out.seek(0)
        lines = self._out.read(ANSWER_LIMIT_BYTES).splitlines()
        try:
            document = json.loads(lines[-1]) if lines else {}
        except ValueError:
            document = {}
        if isinstance(document, dict):
            yield from document.items()
