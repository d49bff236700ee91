"""What is asked of a board before it measures: an environment with the ONNX Runtime of the device that is wanted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.console import LiveLine
from vlm_profile.boards import environment
from vlm_profile.boards.environment import environment_on
from vlm_profile.boards.wheel import Wheel
from vlm_targets.ssh import Done


class BoardDouble:
    """In the place of a connection: it has a Python, and answers that the environment is made."""

    address, folder = "board", "/there"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def run(self, arguments: Sequence[str], timeout_s: float, tell: Any = None) -> Done:
        self.asked = list(arguments)
        if arguments[0] == "sh":
            return Done(0, "3.11.2 /usr/bin/python3\n", "")
        return Done(0, '{"Environment": {"python": "/data/bin/python", "made": true}}', "")

    def push(self, path: Path, remote: str) -> None:
        pass


def asked_for(computes: str) -> tuple[str, list[str]]:
    """The digest that the environment is told by, and what is to be installed."""
    board = BoardDouble()
    environment_on(board, LiveLine(quiet=True), computes)  # type: ignore[arg-type]
    words = board.asked[board.asked.index("vlm_profile.boards.onboard_environment") + 1 :]
    return words[0], words[1:]


def test_where_its_gpu_is_wanted_a_board_gets_the_onnx_runtime_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        environment, "wheel_of_this_toolkit", lambda folder: Wheel(tmp_path / "w.whl", "1", "0", ("a",))
    )
    monkeypatch.setattr(environment, "requirements_of", lambda extra: (f"what {extra} needs",))
    on_cpu, on_gpu = asked_for("cpu"), asked_for("cuda")
    assert (on_cpu[1], on_gpu[1]) == (["a", "what ort needs"], ["a", "what ort-gpu needs"])
    assert on_cpu[0] != on_gpu[0]
    assert on_cpu == asked_for("")
