"""This machine is reached as a board is: commands in sessions of their own, a private folder, files whole or not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_targets import reach
from vlm_targets.reach import Here, Machine
from vlm_targets.ssh import Board

Eventually = Callable[[Callable[[], object]], bool]


@pytest.fixture
def here() -> Iterator[Here]:
    with Here() as machine:
        yield machine


def runs(word: str) -> bool:
    """Whether a process has that word in its command line."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in process.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def test_a_board_and_this_machine_are_reached_alike(here: Here) -> None:
    machines: tuple[Machine, ...] = (here, Board("board"))
    assert [machine.address for machine in machines] == ["", "board"]


# Commands


def test_a_command_gives_its_code_and_both_outputs(here: Here) -> None:
    done = here.run(["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")


def test_a_command_that_is_not_there_has_the_shells_code(here: Here) -> None:
    done = here.run(["no-such-program"], 10)
    assert done.code == 127
    assert "no-such-program" in done.err


def test_a_signal_is_a_code_over_128(here: Here) -> None:
    assert here.run(["sh", "-c", "kill -SEGV $$"], 10).code == 128 + signal.SIGSEGV


@pytest.mark.parametrize(
    "words", [["a b", "it's", '"quoted"'], ["$HOME", "`id`", ";id", "&"], ["line\nbreak", "", "*"]]
)
def test_arguments_arrive_as_they_are(here: Here, words: list[str]) -> None:
    assert here.run(["printf", "<%s>", *words], 10).out == "".join(f"<{word}>" for word in words)


def test_a_command_has_no_input(here: Here) -> None:
    assert here.run(["cat"], 10).out == ""


def test_of_a_long_output_the_last_is_kept(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "OUTPUT_LIMIT_BYTES", 20)
    assert here.run(["seq", "1000"], 10).out == "996\n997\n998\n999\n1000\n"[-20:]


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(
    here: Here, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "TERMINATE_S", 0.2)
    with pytest.raises(VlmError, match=r"sh took more than 0\.5 s"):
        here.run(["sh", "-c", "trap '' TERM; sleep 4343.1 & sleep 4343.2"], 0.5)
    assert eventually(lambda: not runs("4343.1") and not runs("4343.2"))


def test_what_a_command_leaves_running_is_ended_with_it(here: Here, eventually: Eventually) -> None:
    assert here.run(["sh", "-c", "sleep 4343.3 & echo started"], 10).out == "started\n"
    assert eventually(lambda: not runs("4343.3"))


def test_a_command_does_not_outlive_who_started_it(eventually: Eventually) -> None:
    code = "from vlm_targets.reach import Here\nwith Here() as here: here.run(['sleep', '4343.4'], 60)"
    caller = subprocess.Popen([sys.executable, "-c", code])
    assert eventually(lambda: runs("4343.4"))
    os.kill(caller.pid, signal.SIGKILL)
    caller.wait()
    assert eventually(lambda: not runs("4343.4"))


# Files


def test_the_private_folder_goes_with_the_connection() -> None:
    with Here() as here:
        folder = Path(here.folder)
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_a_file_goes_there_and_back(here: Here, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0\1\xff")
    here.push(tmp_path / "file", f"{here.folder}/it's there")
    here.pull(f"{here.folder}/it's there", tmp_path / "back", 3)
    assert (tmp_path / "back").read_bytes() == b"\0\1\xff"


@pytest.mark.parametrize(
    ("remote", "problem"), [("large", "has 3 bytes, over the limit of 2"), ("none", "No such file")]
)
def test_what_is_too_large_or_absent_is_not_fetched(here: Here, tmp_path: Path, remote: str, problem: str) -> None:
    (tmp_path / "large").write_bytes(b"abc")
    with pytest.raises(VlmError, match=problem):
        here.pull(str(tmp_path / remote), tmp_path / "back", 2)
    with pytest.raises(VlmError, match="a device"):
        here.pull("/dev/zero", tmp_path / "back", 2)
    assert not (tmp_path / "back").exists()
