"""Several targets at once: each is a command of its own, so that one that fails costs nobody else anything."""

import json
import os
import shutil
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
from vlm_contract.console import CHECK_SAID_NO, DONE, PROGRESS, LiveLine, clipped, printable
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file
from vlm_contract.measurement import Measurement
from vlm_profile.rows import HOST
from vlm_profile.session import Measured
from vlm_targets.catalogue import target_named
from vlm_targets.host import is_here

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COMMAND = (sys.executable, "-m", "vlm_profile")
FILE_LIMIT_BYTES = 1 << 20
ANSWER_LIMIT_BYTES = 64 * 2**20
END_S = 30.0  # for a member to end what it does on its board
BETWEEN = " | "
ENDED = {DONE: "done", CHECK_SAID_NO: "done, not all valid"}
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

    @property
    def failure(self) -> str:
        """What went wrong, and what to type, where it measured nothing."""
        error, hint = str(self.summary.get("error", self.said)), str(self.summary.get("hint", ""))
        return printable(f"{error} Try: {hint}" if hint else error)

    def files(self, marked: str = "file") -> list[Path]:
        """Of the records that it stored or kept, all or those marked "kept" or "out_of_reach"."""
        return [Path(row["file"]) for row in self.summary.get("measurements", ()) if row[marked]]

    def records(self) -> tuple[dict[Path, Measurement], tuple[str, ...]]:
        """The records that it stored or kept, and a sentence for each that cannot be read, or for why there is none."""
        found, problems = {}, []
        for path in self.files():
            try:
                found[path] = read_record(Measurement, path)
            except VlmError as error:
                problems.append(str(error))
        return found, tuple(problems) if found or problems else (self.failure,)


def members_of(targets: str, hosts: str, file: Path | None, known: Sequence[Path] = ()) -> tuple[Member, ...]:
    """Of `--target jetson,rpi5 --host user@a,user@b`, or of a fleet file; `known` are target files of one's own.

    Raises VlmError, for an unknown target too.
    """
    if file and (targets != HOST or hosts):
        raise VlmError(
            f"--fleet {file} says which targets there are and where; --target and --host say it anew.",
            hint=f"--fleet {file} alone, or neither",
        )
    members = _in_file(file) if file else _named(targets.split(","), hosts.split(",") if hosts else [])
    names = [target_named(member.target, known).name for member in members]  # of two aliases, one
    for name in names:
        if names.count(name) > 1:
            raise VlmError(
                f"The target {name!r} is named twice: its records would take each other's place.",
                hint="a target file for each board, with a name of its own (vlm-profile targets says where)",
            )
    return members


def measure_members(
    words: Sequence[str],
    members: Sequence[Member],
    line: LiveLine,
    command: Sequence[str] = COMMAND,
    known: Sequence[Path] = (),
) -> tuple[Measured, tuple[str, ...]]:
    """What all members measured, as one answer, and a sentence for each that failed and each record that is damaged."""
    answers = measure_fleet(words, members, line, command, known)
    found = {member: answer.records() for member, answer in answers.items()}
    records = {path: record for read, _ in found.values() for path, record in read.items()}
    failed = tuple(f"{member.target}: {why}" for member, (_, problems) in found.items() for why in problems)
    kept, out_of_reach = (
        frozenset(path for answer in answers.values() for path in answer.files(marked) if path in records)
        for marked in ("kept", "out_of_reach")
    )
    skipped, noise, advice = (tuple(_told(answers, name)) for name in ("skipped", "noise", "advice"))
    return Measured(records, kept, skipped, noise, advice, out_of_reach), failed


def measure_fleet(
    words: Sequence[str],
    members: Sequence[Member],
    line: LiveLine,
    command: Sequence[str] = COMMAND,
    known: Sequence[Path] = (),
) -> dict[Member, Answer]:
    """Run a command with such words for each member, boards side by side; this machine comes last, undisturbed."""
    command = [*command, *without(words)]
    here = [member for member in members if not member.host and is_here(target_named(member.target, known))]
    boards = [member for member in members if member not in here]
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


def _told(answers: Mapping[Member, Answer], name: str) -> Iterator[str]:
    """What members said of one kind, each with whose it is."""
    for member, answer in answers.items():
        yield from (f"{member.target}: {sentence}" for sentence in answer.summary.get(name, ()))


def _named(targets: Sequence[str], hosts: Sequence[str]) -> tuple[Member, ...]:
    if "" in targets:
        raise VlmError(
            f"--target {','.join(targets)}: a name is missing beside a comma.",
            hint=f"--target {','.join(filter(None, targets)) or 'jetson'}",
        )
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


def side_by_side(told: Mapping[str, str], columns: int) -> str:
    """What each member does, in one line of so many columns; what says little leaves its room to the others."""
    left, room, shown = len(told), columns - len(BETWEEN) * (len(told) - 1), {}
    for target, text in sorted(told.items(), key=lambda item: len("".join(item))):
        shown[target] = clipped(f"{target}: {text}", max(8, room // left))
        left, room = left - 1, room - len(shown[target])
    return BETWEEN.join(shown[target] for target in told)


def _columns() -> int:
    return shutil.get_terminal_size().columns - 1


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
            line.show(side_by_side({target: text for target, text in told.items() if text}, _columns()))
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
        told[self.member.target] = ENDED.get(self._process.returncode, "failed")

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
