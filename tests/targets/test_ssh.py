"""A board is reached through the system's ssh, against a real sshd on loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_targets import shell, ssh
from vlm_targets.shell import BLOCK_BYTES
from vlm_targets.ssh import Board, check_address

Start = Callable[..., Any]  # of tests/conftest.py: starts an sshd, and says where its board is
WAIT_S = 15.0


def processes(*words: str) -> list[int]:
    """Those that have all these words in their command lines."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = process.read_bytes().decode(errors="replace").split("\0")
            found += [int(process.parent.name)] if set(words) <= set(line) else []
    return found


def runs(word: str) -> bool:
    return bool(processes(word))


# Commands


def test_a_command_gives_its_code_and_both_outputs(loopback: Start) -> None:
    there = loopback()
    with Board(there.address, there.config) as board:
        done = board.run(["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
        assert (done.code, done.out, done.err) == (3, "out\n", "err\n")
        assert board.run(["no-such-program"], 10).code == 127


@pytest.mark.parametrize(
    "words", [["a b", "it's", '"quoted"'], ["$HOME", "`id`", "$(id)", ";id", "&"], ["line\nbreak", "", "*", "-n", "\\"]]
)
def test_arguments_arrive_as_they_are(loopback: Start, words: list[str]) -> None:
    there = loopback()
    with Board(there.address, there.config) as board:
        assert board.run(["printf", "<%s>", *words], 10).out == "".join(f"<{word}>" for word in words)


def test_a_talkative_shell_is_no_trouble(loopback: Start) -> None:
    there = loopback()
    for name in (".bashrc", ".profile", ".bash_logout"):
        (there.home / name).write_text("printf 'Welcome! 0 0 0'; echo 'no newline follows' >&2; printf '\\033[2J'\n")
    (there.home / "file").write_bytes(b"\0\1\n\xff")
    with Board(there.address, there.config) as board:
        assert board.run(["echo", "quiet"], 10).out == "quiet\n"
        board.pull(f"{there.home}/file", there.config.with_name("pulled"), 100)
    assert there.config.with_name("pulled").read_bytes() == b"\0\1\n\xff"


@pytest.mark.parametrize("shell", ["fish", "tcsh", "dash", "bash"])
def test_any_login_shell_will_do(loopback: Start, shell: str) -> None:
    if subprocess.run(["sh", "-c", f"command -v {shell}"], capture_output=True).returncode:
        pytest.skip(f"{shell} is not installed")
    there = loopback(shell=f'{shell} -c "$SSH_ORIGINAL_COMMAND"')
    with Board(there.address, there.config) as board:
        assert board.run(["printf", "%s", "a 'b' !c $d"], 10).out == "a 'b' !c $d"


def test_of_a_long_output_the_last_is_kept(loopback: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "OUTPUT_LIMIT_BYTES", 20)
    there = loopback()
    with Board(there.address, there.config) as board:
        assert board.run(["seq", "1000"], 10).out == "996\n997\n998\n999\n1000\n"[-20:]


def test_a_command_that_takes_too_long_is_ended_on_the_board(eventually: Callable[..., bool], loopback: Start) -> None:
    there = loopback()
    with Board(there.address, there.config) as board:
        with pytest.raises(VlmError, match=r"board took more than 0\.5 s running a script"):
            board.run(["sh", "-c", "trap '' TERM; sleep 4242.1 & sleep 4242.2"], 0.5)
        assert eventually(lambda: not runs("4242.1") and not runs("4242.2"))
        assert board.run(["echo", "still here"], 10).out == "still here\n"


def test_what_a_command_leaves_running_is_ended_with_it(eventually: Callable[..., bool], loopback: Start) -> None:
    there = loopback()
    with Board(there.address, there.config) as board:
        assert board.run(["sh", "-c", "sleep 4242.3 & echo started"], 10).out == "started\n"
        assert eventually(lambda: not runs("4242.3"))


def test_lines_of_stderr_are_told_while_the_command_runs(loopback: Start, tmp_path: Path) -> None:
    there, told = loopback(), []

    def tell(line: str) -> None:
        told.append(line)
        (tmp_path / line).write_text("")  # upon which the command goes on

    code = 'for n in 1 2; do echo "$n" >&2; while [ ! -e "$1/$n" ]; do sleep 0.05; done; done; echo out; echo >&2'
    with Board(there.address, there.config) as board:
        done = board.run(["sh", "-c", code, "sh", str(tmp_path)], 20, tell=tell)
    assert told == ["1", "2"]
    assert (done.code, done.out, done.err) == (0, "out\n", "1\n2\n\n")


def test_a_command_that_is_told_of_may_take_long_but_not_be_silent(loopback: Start) -> None:
    there, told = loopback(), []
    with Board(there.address, there.config) as board:
        slow = 'for n in 1 2 3 4 5; do echo "$n" >&2; sleep 0.6; done'
        assert board.run(["sh", "-c", slow], 2, tell=told.append).code == 0
        assert told == list("12345")
        with pytest.raises(VlmError, match=r"board said nothing for 1\.5 s running a script; it was ended"):
            board.run(["sh", "-c", "echo begun >&2; sleep 4242.7"], 1.5, tell=told.append)
    assert told[5:] == ["begun"]


def test_what_is_told_without_an_end_is_refused(loopback: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "TOLD_LIMIT_BYTES", 10_000)
    there = loopback()
    with Board(there.address, there.config) as board, pytest.raises(VlmError, match="board printed over 10000 bytes"):
        board.run(["sh", "-c", "seq 5000 >&2; sleep 4242.9"], 20, tell=lambda line: None)


# Files


def test_a_file_goes_there_and_back(loopback: Start, tmp_path: Path) -> None:
    there, content = loopback(), os.urandom(3 * BLOCK_BYTES + 17)
    (tmp_path / "it's a file").write_bytes(content)
    with Board(there.address, there.config) as board:
        remote = f'{board.folder}/a "quoted" name'
        board.push(tmp_path / "it's a file", remote)
        assert Path(remote).read_bytes() == content
        board.pull(remote, tmp_path / "back", len(content))
    assert (tmp_path / "back").read_bytes() == content


def test_a_file_that_cannot_be_written_leaves_nothing(loopback: Start, tmp_path: Path) -> None:
    there = loopback()
    # As on a full disk, a write fails in the middle.
    (there.home / ".bashrc").write_text("trap '' XFSZ; ulimit -f 100\n")
    (tmp_path / "file").write_bytes(b"x" * 10 * BLOCK_BYTES)
    with Board(there.address, there.config) as board:
        with pytest.raises(VlmError, match=r"file .* could not be written on board: .*File too large") as caught:
            board.push(tmp_path / "file", f"{board.folder}/file")
        assert board.run(["ls", board.folder], 10).out.split() == ["said-1.err", "said-1.out"]
    assert caught.value.hint.startswith("ssh board df -h")


def test_a_file_over_the_limit_is_not_fetched(loopback: Start, tmp_path: Path) -> None:
    there = loopback()
    (there.home / "large").write_bytes(b"x" * 1001)
    with Board(there.address, there.config) as board:
        with pytest.raises(VlmError, match="has 1001 bytes, over the limit of 1000"):
            board.pull(f"{there.home}/large", tmp_path / "large", 1000)
        with pytest.raises(VlmError, match="board has no file /dev/zero"):
            board.pull("/dev/zero", tmp_path / "large", 1000)
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [("sent 4 " + 64 * "0", "was lost"), ("sent 4000 " + 64 * "0", "over the limit"), ("sent -1 x", "no answer")],
)
def test_a_board_that_lies_is_not_believed(
    loopback: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, problem: str
) -> None:
    monkeypatch.setattr(ssh, "_PULL", f"""\n  printf '\\n%s {answer}\\nabcd' "$marker"\n""")
    there = loopback()
    with Board(there.address, there.config) as board, pytest.raises(VlmError, match=problem):
        board.pull("file", tmp_path / "file", 1000)
    assert not (tmp_path / "file").exists()


# Host keys


def test_an_unknown_board_is_refused_with_its_fingerprint(loopback: Start) -> None:
    there = loopback()
    there.known_hosts.write_text("")
    line = subprocess.run(["ssh-keygen", "-lf", there.host_key], capture_output=True, text=True, check=True).stdout
    with pytest.raises(VlmError, match="host key of board is not known here") as caught, Board("board", there.config):
        pass
    assert line.split()[1] in str(caught.value)
    assert "StrictHostKeyChecking=ask board true" in caught.value.hint
    assert there.temporary_folders() == []


def test_a_changed_host_key_has_no_override(loopback: Start, tmp_path: Path) -> None:
    there = loopback()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    host = there.known_hosts.read_text().split()[0]
    there.known_hosts.write_text(f"{host} {(tmp_path / 'other.pub').read_text()}")
    there.config.write_text(there.config.read_text() + "    StrictHostKeyChecking no\n")
    with pytest.raises(VlmError, match="another host key than before: ssh-ed25519 SHA256:") as caught:
        Board("board", there.config).__enter__()
    assert caught.value.hint.startswith(f"ssh-keygen -R '{host}'")


# Connections


@pytest.mark.parametrize("address", ["-oProxyCommand=touch x", "-v", "", "two words", "a\nb"])
def test_what_is_no_host_is_refused(address: str) -> None:
    with pytest.raises(VlmError, match="is no address of a board"):
        check_address(address)


def test_a_board_that_does_not_answer_is_named(loopback: Start) -> None:
    there = loopback()
    there.config.write_text(re.sub(r"Port \d+", "Port 1", there.config.read_text()))
    with pytest.raises(VlmError, match=r"board cannot be reached: .*Connection refused"), Board("board", there.config):
        pass


def test_a_port_behind_the_address_says_how_it_is_written(loopback: Start) -> None:
    with pytest.raises(VlmError, match="cannot be reached") as caught, Board("me@board.invalid:22", loopback().config):
        pass
    assert caught.value.hint == "--host ssh://me@board.invalid:22"


def test_a_key_that_is_refused_says_what_to_do(loopback: Start, tmp_path: Path) -> None:
    there = loopback()
    (tmp_path / "user_key.pub").write_text("")
    with pytest.raises(VlmError, match="refuses every key") as caught, Board("board", there.config):
        pass
    assert caught.value.hint.startswith("ssh-copy-id board")


def test_a_cut_connection_is_an_error_and_leaves_the_board_clean(
    eventually: Callable[..., bool], loopback: Start
) -> None:
    there = loopback()
    with Board(there.address, there.config) as board, pytest.raises(VlmError, match="connection to board was lost"):
        # The board's own end of the connection: the sshd that serves it.
        board.run(["sh", "-c", "kill -9 $(ps -o ppid= -p $PPID); sleep 4242.4"], 20)
    assert eventually(lambda: not runs("4242.4") and there.temporary_folders() == [])


def test_a_killed_caller_leaves_nothing_on_the_board(eventually: Callable[..., bool], loopback: Start) -> None:
    there = loopback()
    code = (
        "from pathlib import Path; from vlm_targets.ssh import Board\n"
        f"with Board('board', Path({str(there.config)!r})) as board:\n"
        "    board.run(['sh', '-c', 'echo > \"$1/engine\"; sleep 4242.5', 'sh', board.folder], 60)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    assert eventually(lambda: runs("4242.5") and there.temporary_folders())
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert eventually(lambda: not runs("4242.5") and there.temporary_folders() == [])


def test_an_interrupted_caller_leaves_nothing_on_the_board(eventually: Callable[..., bool], loopback: Start) -> None:
    there = loopback()
    code = (
        "from pathlib import Path; from vlm_targets.ssh import Board\n"
        f"with Board('board', Path({str(there.config)!r})) as board: board.run(['sleep', '4242.6'], 60)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    assert eventually(lambda: runs("4242.6"))
    caller.send_signal(signal.SIGINT)
    assert caller.wait(WAIT_S) != 0
    assert not runs("4242.6")
    assert there.temporary_folders() == []


def test_a_network_that_goes_dead_leaves_nothing_on_the_board(
    eventually: Callable[..., bool], loopback: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "BEAT_S", 0.2)
    monkeypatch.setattr(shell, "PATIENCE_S", 2.0)
    there = loopback()

    def run(board: Board) -> None:
        with pytest.raises(VlmError):
            board.run(["sleep", "4242.8"], 60)

    with Board(there.address, there.config) as board:
        caller = Thread(target=run, args=[board])
        caller.start()
        assert eventually(lambda: runs("4242.8"))
        time.sleep(3)
        assert runs("4242.8")  # for as long as there are signs of life
        (ssh_here,) = processes("ControlMaster=yes", str(there.config))
        os.kill(ssh_here, signal.SIGSTOP)
        try:
            assert eventually(lambda: not runs("4242.8") and there.temporary_folders() == [])
        finally:
            os.kill(ssh_here, signal.SIGCONT)
        caller.join(WAIT_S)
        assert not caller.is_alive()
