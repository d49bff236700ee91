"""Boards to try things on are real sshds; that a Jetson among them is an emulator is said."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo_board.py"


@pytest.mark.slow
def test_boards_answer_until_they_are_interrupted_and_leave_nothing(
    ended: Callable[..., object], tmp_path: Path
) -> None:
    words = [sys.executable, str(SCRIPT), "jetson-orin-nano", "linux"]
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin", "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    assert demo.stdout
    lines = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        lines.append(demo.stdout.readline())
        assert lines[-1], "it ended early"
    said = "".join(lines)
    assert "jetson-orin-nano: an EMULATOR, of TensorRT 10.3.0. Its figures are made up" in said
    (client,) = tmp_path.glob("vlm-demo.*/client")
    assert f"export PATH={client}:$PATH" in said
    for board, expected in (("jetson-orin-nano", "an emulator"), ("linux", "no emulator")):
        command = [str(client / "ssh"), board, "trtexec 2>/dev/null || echo no emulator"]
        assert expected in subprocess.run(command, capture_output=True, text=True).stdout
    demo.send_signal(signal.SIGINT)
    assert demo.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_board_that_is_none_is_named() -> None:
    refused = subprocess.run([sys.executable, str(SCRIPT), "jetson-orin-nona"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "no board of the name jetson-orin-nona; there are linux, jetson-agx-orin" in refused.stderr
