"""An engine that was built is not built again, unless anything that it was built from has changed."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from vlm_profile.boards.bench import WatchedBoard
from vlm_profile.boards.engines import Kept
from vlm_targets.ssh import Done

BUILD = ["trtexec", "--onnx=/there/a/model.onnx", "--saveEngine=/there/a/engine", "--fp16"]


class FakeMachine:
    """Stands for a board: it keeps files in a dict, and builds an engine that numbers the builds."""

    address, folder = "board", "/there"

    def __init__(self, code: int = 0) -> None:
        self.files: dict[str, bytes] = {}
        self.builds, self._code = 0, code

    def run(self, arguments: Sequence[str], timeout_s: float) -> Done:
        self.builds += 1
        self.files["/there/a/engine"] = b"engine %d" % self.builds
        return Done(self._code, "", "")

    def push(self, path: Path, remote: str) -> None:
        self.files[remote] = path.read_bytes()

    def pull(self, remote: str, path: Path, limit_bytes: int) -> None:
        path.write_bytes(self.files[remote])


def build(
    folder: Path,
    *,
    graph: bytes = b"graph",
    weights: bytes = b"weights",
    only: Sequence[str] = ("10.3.0", "Orin", "serial 1"),
    words: Sequence[str] = BUILD,
    machine: FakeMachine | None = None,
) -> FakeMachine:
    """One build on a new connection."""
    machine = machine or FakeMachine()
    board = WatchedBoard(machine, folder / "tree", Kept(folder / "engines"), only, lambda _: None)
    for name, content in (("model.onnx", graph), ("model.onnx.data", weights)):
        (folder / name).write_bytes(content)
        board.push(folder / name, f"/there/a/{name}")
    board.run(words, 10)
    return machine


def test_the_same_is_built_once(tmp_path: Path) -> None:
    assert build(tmp_path).builds == 1
    again = build(tmp_path)
    assert again.builds == 0
    assert again.files["/there/a/engine"] == b"engine 1"


def test_a_new_folder_on_the_board_is_no_other_build(tmp_path: Path) -> None:
    build(tmp_path)
    moved = FakeMachine()
    moved.folder = "/elsewhere"
    board = WatchedBoard(moved, tmp_path, Kept(tmp_path / "engines"), ("10.3.0", "Orin", "serial 1"), lambda _: None)
    for name in ("model.onnx", "model.onnx.data"):
        board.push(tmp_path / name, f"/elsewhere/a/{name}")
    board.run([word.replace("/there", "/elsewhere") for word in BUILD], 10)
    assert moved.builds == 0


@pytest.mark.parametrize(
    "change",
    [
        {"graph": b"another"},
        {"weights": b"others"},
        {"only": ("10.3.0", "Orin", "serial 2")},
        {"only": ("10.7.0", "Orin", "serial 1")},
        {"words": [*BUILD[:-1], "--best"]},
    ],
)
def test_what_differs_is_built_anew(tmp_path: Path, change: dict[str, object]) -> None:
    build(tmp_path)
    assert build(tmp_path, **change).builds == 1  # type: ignore[arg-type]


def test_a_build_that_failed_is_not_kept(tmp_path: Path) -> None:
    build(tmp_path, machine=FakeMachine(code=1))
    assert not (tmp_path / "engines").exists()
