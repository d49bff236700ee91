"""The live table on a terminal, which here is a pseudo-terminal's other end."""

import io
import os
import pty
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.workspace import Workspace
from vlm_report.study.board import Board
from vlm_report.study.matrix import Cost
from vlm_report.study.run import Now, Progress
from vlm_report.study.state import Ledger
from vlm_report.study.steps import Needs, Step

FREE = Cost(Absent("not given"), Absent("not given"), "")


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    """A double of stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


def a_progress() -> Progress:
    step = Step("train/a", "train", (), (), "key", Needs())
    ledger = Ledger(Workspace(Path("workspace")), "study", Absent("nothing ran yet"), {})
    return Progress({step.id: step}, {step.id: Now.WAITING}, ledger, {}, 1)


def test_it_draws_over_itself_at_most_once_a_second() -> None:
    clock, terminal = Clock(), Terminal()
    board = Board("study x", FREE, stream=terminal, clock=clock)
    board.show(a_progress())
    first = terminal.getvalue()
    board.show(a_progress())
    assert terminal.getvalue() == first
    clock.seconds += 1
    board.show(a_progress())
    height = first.count("\n")
    assert terminal.getvalue()[len(first) :].startswith(f"\x1b[{height}A\r\x1b[J")


def test_a_sentence_stays_above_the_table() -> None:
    clock, terminal = Clock(), Terminal()
    board = Board("study x", FREE, stream=terminal, clock=clock)
    board.show(a_progress())
    height = terminal.getvalue().count("\n")
    board.tell("train/a failed\x1b: it died")
    assert terminal.getvalue().endswith(f"\x1b[{height}A\r\x1b[Jtrain/a failed\\x1b: it died\n")


def test_it_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "3")
    Board("a study of a long name", FREE, stream=terminal, clock=Clock()).show(a_progress())
    lines = terminal.getvalue().splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= 19


def test_it_is_silent_when_told_to_be() -> None:
    terminal = Terminal()
    board = Board("study x", FREE, quiet=True, stream=terminal, clock=Clock())
    board.show(a_progress())
    board.tell("something")
    board.clear()
    assert terminal.getvalue() == ""


def test_sentences_are_told_where_stderr_is_no_terminal_and_the_table_is_not() -> None:
    stream = io.StringIO()
    board = Board("study x", FREE, stream=stream, clock=Clock())
    board.show(a_progress())
    board.tell("train/a failed")
    assert stream.getvalue() == "train/a failed\n"


def test_it_draws_on_a_real_terminal() -> None:
    other, end = pty.openpty()
    with open(end, "w") as terminal:
        board = Board("study x", FREE, stream=terminal, clock=Clock())
        board.show(a_progress())
        board.clear()
        said = os.read(other, 65536).decode()
    os.close(other)
    assert said.startswith("study x: 0 of 1 steps done")
    assert said.endswith("\x1b[J")
