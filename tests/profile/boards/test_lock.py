"""A board is one person's at a time, and its clocks are put back, however a run ends."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_targets.lock import locked
from vlm_targets.ssh import Board, Done

QUIET = LiveLine(quiet=True)
LEAST, MOST = "306000000\n", "624750000\n"

Jetsons = Callable[[Path], Any]
Eventually = Callable[..., bool]


def board_of(there: Any) -> Board:
    return Board(there.ssh.address, there.ssh.config)


def holding(board: Board, *, clocks: bool = False) -> Any:
    """The board, held until the returned context is left."""
    context = locked(board, 0, QUIET, clocks=clocks)
    context.__enter__()
    return context


def caller_of(there: Any, *, clocks: bool) -> "subprocess.Popen[bytes]":
    """A process of its own that holds the board for a long time, and says when it does."""
    code = f"""
import time
from pathlib import Path
from vlm_contract.console import LiveLine
from vlm_targets.lock import locked
from vlm_targets.ssh import Board
quiet = LiveLine(quiet=True)
with Board("board", Path({str(there.ssh.config)!r})) as board, locked(board, 0, quiet, clocks={clocks}):
    print("held", flush=True)
    time.sleep(60)
"""
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert caller.stdout is not None
    assert caller.stdout.readline() == b"held\n"
    return caller


# The lock


def test_the_second_is_told_who_holds_the_board(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as first, board_of(there) as second, locked(first, 0, QUIET) as held:
        held.check()
        with pytest.raises(VlmError, match=r"board is in use by \S+@\S+, since \d{4}-\d\d-") as caught:
            holding(second)
    assert "--wait-quiet" in caught.value.hint


def test_the_second_waits_for_the_end_of_the_first(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as first, board_of(there) as second:
        earlier = holding(first)
        with locked(second, 30, QUIET, sleep=lambda seconds: earlier.__exit__(None, None, None)) as held:
            held.check()


def test_a_holders_name_moves_no_cursor(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as first, board_of(there) as second, locked(first, 0, QUIET):
        next(there.lock.glob("holder.*")).write_text("\x1b[2J" + "x" * 10_000)
        with pytest.raises(VlmError, match=r"in use by \\x1b\[2Jx{1,300}\.$"):
            holding(second)


def test_a_lock_whose_process_was_ended_is_no_lock(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as board, locked(board, 0, QUIET) as held:
        os.kill(held.process, signal.SIGKILL)
        with pytest.raises(VlmError, match="lock on board is lost"):
            held.check()


def test_a_folder_that_cannot_be_written_is_an_error(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    there.lock.parent.mkdir(parents=True)
    there.lock.write_text("a file")
    with board_of(there) as board, pytest.raises(VlmError, match=r"cannot be locked for this run: .*cannot be written"):
        holding(board)


def test_nobody_can_move_or_remove_what_another_put_into_the_locks_folder(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as board, locked(board, 0, QUIET):
        assert stat.S_IMODE(there.lock.stat().st_mode) == 0o1777
        assert stat.S_IMODE((there.lock / "lock").stat().st_mode) & 0o022 == 0


def test_a_link_in_the_locks_folder_is_not_written_through(jetson: Jetsons, small_tree: Path, tmp_path: Path) -> None:
    there = jetson(small_tree)
    there.lock.mkdir(parents=True)
    there.lock.chmod(0o777)
    (mine := tmp_path / "mine").write_text("a file of mine")
    for name in ("holder", *(f"holder.{number}" for number in range(os.getpid(), os.getpid() + 300))):
        (there.lock / name).symlink_to(mine)
    with board_of(there) as board, locked(board, 0, QUIET):
        assert stat.S_IMODE(there.lock.stat().st_mode) == 0o1777
    (there.lock / "lock").unlink()
    (there.lock / "lock").symlink_to(tmp_path / "new")
    with board_of(there) as board, pytest.raises(VlmError, match="cannot be written"):
        holding(board)
    assert mine.read_text() == "a file of mine"
    assert not (tmp_path / "new").exists()


def test_what_a_killed_holder_left_is_not_taken_for_the_next_ones_name(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as first, board_of(there) as second, locked(first, 0, QUIET):
        (older := there.lock / "holder.older").write_text("somebody long gone")
        os.utime(older, (1, 1))
        os.mkfifo(there.lock / "holder.pipe")
        with pytest.raises(VlmError, match=r"in use by \S+@\S+, since"):
            holding(second)


def test_a_killed_run_holds_no_board(eventually: Eventually, jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    caller = caller_of(there, clocks=False)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    with board_of(there) as board, locked(board, 15, QUIET) as held:
        held.check()


class Answers:
    """Stands for a machine that gives one answer to everything."""

    address, folder = "board", "/there"

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def run(self, arguments: Sequence[str], timeout_s: float) -> Done:
        return Done(0, self._answer, "")

    def push(self, path: Path, remote: str) -> None:
        raise AssertionError

    def pull(self, remote: str, path: Path, limit_bytes: int) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "answer", ["", "held", "held 0", "held -1", "held 99999999999", "held 1 2", "\x1b[2J", "x" * 9999]
)
def test_an_answer_that_is_none_locks_nothing(answer: str) -> None:
    with (
        pytest.raises(VlmError, match="board cannot be locked for this run") as caught,
        locked(Answers(answer), 0, QUIET),
    ):
        pass
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


# Clocks


def test_clocks_are_locked_meanwhile_and_put_back(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as board:
        with locked(board, 0, QUIET, clocks=True):
            assert (there.gpu / "min_freq").read_text() == MOST
        assert (there.gpu / "min_freq").read_text() == LEAST
    assert [call.split()[0] if call else "lock" for call in there.calls("jetson_clocks")] == [
        "--store",
        "lock",
        "--restore",
    ]
    assert not (there.ssh.home / ".cache" / "vlm-edge").exists()


def test_without_being_asked_clocks_stay_as_they_are(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as board, locked(board, 0, QUIET):
        assert (there.gpu / "min_freq").read_text() == LEAST
    assert there.calls("jetson_clocks") == []


def test_a_killed_run_puts_clocks_back(eventually: Eventually, jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    caller = caller_of(there, clocks=True)
    assert (there.gpu / "min_freq").read_text() == MOST
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert eventually(lambda: (there.gpu / "min_freq").read_text() == LEAST)
    assert eventually(lambda: there.ssh.temporary_folders() == [])


def test_an_interrupted_run_puts_clocks_back_before_it_ends(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    caller = caller_of(there, clocks=True)
    caller.send_signal(signal.SIGINT)
    caller.wait(30)
    assert (there.gpu / "min_freq").read_text() == LEAST
    assert there.ssh.temporary_folders() == []


def test_where_even_the_holder_was_killed_the_next_run_puts_clocks_back(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as board:
        earlier = locked(board, 0, QUIET, clocks=True)
        os.kill(earlier.__enter__().process, signal.SIGKILL)
        assert (there.gpu / "min_freq").read_text() == MOST
        with locked(board, 5, QUIET):
            assert (there.gpu / "min_freq").read_text() == LEAST
        earlier.__exit__(None, None, None)


def test_sudo_that_wants_a_password_says_what_to_type(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    (there.programs / "password").touch()
    with board_of(there) as board:
        with pytest.raises(VlmError, match="refuses that without a password: sudo: a password is required") as caught:
            holding(board, clocks=True)
        assert (there.gpu / "min_freq").read_text() == LEAST
        with locked(board, 5, QUIET):
            pass
    assert "ssh -t board sudo jetson_clocks" in caught.value.hint


def test_clocks_that_cannot_be_put_back_are_told(jetson: Jetsons, small_tree: Path) -> None:
    there = jetson(small_tree)
    with board_of(there) as board:
        held = holding(board, clocks=True)
        (there.programs / "password").touch()
        with pytest.raises(VlmError, match=r"still locked \(sudo: a password is required\)") as caught:
            held.__exit__(None, None, None)
        assert "sudo reboot" in caught.value.hint
        with pytest.raises(VlmError, match="an earlier run was killed there"):
            holding(board)
