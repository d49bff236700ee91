"""The whole of vlm-profile runs on a board: a real sshd on loopback, and ONNX Runtime for real.

Only who the board is, is made up: it is the machine of the tests, and passes for a Raspberry Pi 5.
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent, read_record, write_record
from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_contract.files import sha256_of
from vlm_contract.manifest import ArtifactManifest, FileEntry
from vlm_contract.measurement import Measurement
from vlm_contract.workspace import Workspace
from vlm_profile.boards import environment, linux
from vlm_profile.boards.environment import PYTHONS, python_on
from vlm_profile.boards.linux import measure_on
from vlm_profile.boards.wheel import Wheel, wheel_of_this_toolkit
from vlm_profile.protocol import Protocol
from vlm_profile.rows import Request
from vlm_targets import lock
from vlm_targets.catalogue import target_named
from vlm_targets.lock import locked
from vlm_targets.ssh import Board

Start = Callable[..., Any]  # starts an sshd, and says where its board is
RPI5 = target_named("rpi5")


class Told(LiveLine):
    """Keeps what is shown in place of showing it."""

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        super().__init__(quiet=True)
        self.shown: list[str] = []
        self._after = after

    def show(self, text: str) -> None:
        self.shown.append(text)
        self._after()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board's folder for its user's data: the environment in it is made once for all tests."""
    folder = tmp_path_factory.mktemp("board's data") / "vlm-edge"
    (folder / "environment-of-an-older-wheel").mkdir(parents=True)
    (folder / ".environment-of-a-killed-run").mkdir()
    return folder


@pytest.fixture(scope="module")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """One wheel for all tests, whoever edits the sources meanwhile."""
    return wheel_of_this_toolkit(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def pi(loopback: Start, data: Path, toolkit: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A board whose Python is that of the tests."""
    there = loopback()
    program(there, "python3", f'exec {shlex.quote(sys.executable)} "$@"')
    (there.home / ".bashrc").write_text(f"export XDG_DATA_HOME={shlex.quote(str(data.parent))}\n")
    monkeypatch.setattr(environment, "wheel_of_this_toolkit", lambda folder: toolkit)
    monkeypatch.setattr(linux, "why_not", lambda target, root: "")
    monkeypatch.setattr(lock, "FOLDER", str(tmp_path / "lock"))
    return there


@pytest.fixture
def request_of_two(tiny_model: Path, tiny_protocol: Protocol) -> Request:
    return Request(target="rpi5", artifacts=(tiny_model,), batches=(1, 2), protocol=tiny_protocol, wait_quiet_s=0)


def program(there: Any, name: str, text: str) -> None:
    path = there.home / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def processes(part: str) -> list[int]:
    """Those whose command line has that part."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [int(process.parent.name)] if part.encode() in process.read_bytes() else []
    return found


def artifact(workspace: Workspace, model: Path) -> Path:
    """A folder as vlm-export leaves it."""
    folder = workspace.artifact("ours.onnx-fp16")
    folder.mkdir(parents=True)
    copied = shutil.copy(model, folder / "model.onnx")
    nothing = Absent("not in this test")
    manifest = ArtifactManifest(
        *("ours.onnx-fp16", "ours", "0" * 64, "resnet50", "onnx", "fp16", nothing, nothing, nothing, "outside"),
        *(
            (),
            (),
            1,
            nothing,
            (FileEntry("model.onnx", copied.stat().st_size, sha256_of(copied)),),
            1,
            nothing,
            nothing,
        ),
        *((), nothing, nothing, nothing, nothing, nothing, (), {}, (), 1.0, {}, "2026-01-01T00:00:00+00:00"),
    )
    write_record(manifest, folder / "manifest.json")
    return folder


# The whole way


@pytest.mark.slow
def test_a_model_is_measured_there_and_filed_under_the_boards_name(
    pi: Any, data: Path, workspace: Workspace, request_of_two: Request
) -> None:
    line = Told()
    with Board(pi.address, pi.config) as board:
        first = measure_on(board, RPI5, workspace, request_of_two, line)
        again = measure_on(board, RPI5, workspace, request_of_two, Told())
    assert pi.temporary_folders() == []
    (made,) = data.glob("environment-*")
    assert (made / "bin").exists()
    assert not list(data.glob(".environment-*"))
    remove = shlex.join(["ssh", pi.address, shlex.join(["rm", "-r", str(data)])])
    assert [text for text in first.advice if text.endswith(f"to remove it: {remove}")]
    assert any("process 2 of 2" in text for text in line.shown)
    made_once = f"making the toolkit's environment, once, some minutes on a slow card: {made}"
    assert any(made_once in text for text in line.shown)

    for path, record in first.records.items():
        assert path.parent == workspace.root / "measurements/rpi5"
        assert read_record(Measurement, path) == record
        assert (record.target, record.evidence, record.runtime.name) == ("rpi5", "measured", "onnxruntime")
        assert record.settings["mode"] == "test"
        assert [len(each.samples_ns) > 5 for each in record.repetitions] == [True, True]
    assert [record.setup.batch for record in first.records.values()] == [1, 2]
    assert not first.kept
    assert again.kept == frozenset(first.records)
    assert again.records == first.records
    assert not [text for text in again.advice if "environment" in text]


@pytest.mark.slow
def test_artifacts_go_there_with_their_weights_and_manifests(
    pi: Any, workspace: Workspace, tiny_model: Path, tiny_protocol: Protocol
) -> None:
    import onnx

    ours = artifact(workspace, tiny_model)
    theirs = tiny_model.parent / "it's a model"
    (theirs / "weights").mkdir(parents=True)
    model = onnx.load(tiny_model)
    onnx.save(model, theirs / "large.onnx", save_as_external_data=True, location="weights/all.bin", size_threshold=0)
    request = Request(artifacts=(ours, theirs / "large.onnx"), batches=(1,), protocol=tiny_protocol, wait_quiet_s=0)
    with Board(pi.address, pi.config) as board:
        found = [record.artifact for record in measure_on(board, RPI5, workspace, request, Told()).records.values()]
    assert [(used.name, used.precision) for used in found] == [("ours.onnx-fp16", "fp16"), ("large.onnx", "as is")]
    assert found[1].bytes == sum(path.stat().st_size for path in theirs.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_cut_connection_leaves_nothing_running_and_the_next_run_continues(
    eventually: Callable[..., bool], pi: Any, data: Path, workspace: Workspace, request_of_two: Request
) -> None:
    done = data / "workspace/measurements/host"
    for path in done.glob("*.json"):
        path.unlink()
    request = replace(request_of_two, protocol=replace(request_of_two.protocol, measure_s=1.5, measure_s_max=1.6))

    def cut_after_the_first_record() -> None:
        if list(done.glob("*.json")):
            for process in processes("ControlMaster=yes"):
                if str(pi.config).encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)

    with pytest.raises(VlmError, match="connection to board was lost"), Board(pi.address, pi.config) as board:
        measure_on(board, RPI5, workspace, request, Told(cut_after_the_first_record))
    assert eventually(lambda: not processes(f"{data}/") and pi.temporary_folders() == [])
    assert eventually(lambda: not list(Path(lock.FOLDER).glob("holder.*")))
    assert not list(workspace.root.glob("measurements/rpi5/*.json"))

    with Board(pi.address, pi.config) as board:
        continued = measure_on(board, RPI5, workspace, request, Told())
    assert (len(continued.records), len(continued.kept)) == (2, 1)


# What is refused


def test_a_board_that_is_another_device_is_sent_nothing(
    loopback: Start, workspace: Workspace, request_of_two: Request
) -> None:
    there = loopback()
    with Board(there.address, there.config) as board:
        with pytest.raises(VlmError, match=r"^board: This is .*, not the Raspberry Pi 5\.$") as caught:
            measure_on(board, RPI5, workspace, request_of_two, Told())
        with pytest.raises(VlmError, match="'host' is this machine, and board another one"):
            measure_on(board, target_named("host"), workspace, request_of_two, Told())
        assert [path.name for path in Path(board.folder).iterdir() if not path.name.startswith("said-")] == []
    assert "vlm-profile targets" in caught.value.hint
    assert not (there.home / ".local").exists()


def test_who_holds_the_board_is_named(pi: Any, workspace: Workspace, request_of_two: Request) -> None:
    with (
        Board(pi.address, pi.config) as other,
        Board(pi.address, pi.config) as board,
        locked(other, 0, Told()),
        pytest.raises(VlmError, match=r"board is in use by \S+@\S+"),
    ):
        measure_on(board, RPI5, workspace, request_of_two, Told())


def test_what_no_board_runs_is_named(pi: Any, workspace: Workspace, tiny_model: Path) -> None:
    engine = tiny_model.rename(tiny_model.with_name("model.engine"))
    request = Request(artifacts=(engine,), trusted=(sha256_of(engine),))
    with Board(pi.address, pi.config) as board, pytest.raises(VlmError, match=r"model\.engine is no ONNX model"):
        measure_on(board, RPI5, workspace, request, Told())


def test_a_full_disk_is_said_and_leaves_nothing(
    pi: Any, tmp_path: Path, workspace: Workspace, request_of_two: Request
) -> None:
    # As on a full disk, a write fails in the middle.
    (pi.home / ".bashrc").write_text(f"export XDG_DATA_HOME='{pi.home}/data'; trap '' XFSZ; ulimit -f 100\n")
    with (
        Board(pi.address, pi.config) as board,
        pytest.raises(VlmError, match="could not be written on board") as caught,
    ):
        measure_on(board, RPI5, workspace, request_of_two, Told())
    assert "df -h" in caught.value.hint
    assert pi.temporary_folders() == []
    assert not (pi.home / "data").exists()


# Which Python


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        ({"python3": "3.6.9"}, r"3\.10 to 3\.13 .*; board has: Python 3\.6\.9 \(.*/bin/python3\)\."),
        (
            {"python3": "3.14.0", "python3.10": "3.9.1"},
            r"Python 3\.14\.0 \(.*\), Python 3\.9\.1 \(.*/bin/python3\.10\)\.",
        ),
        ({"python3": "\x1b[2J3.11.1"}, r"Python \\x1b\[2J3\.11\.1 "),
    ],
)
def test_a_board_without_a_fitting_python_says_which_it_has(
    loopback: Start, versions: dict[str, str], problem: str
) -> None:
    there = loopback()
    for name in PYTHONS:
        program(there, name, f"printf '%s\\n' '{versions[name]}'" if name in versions else "exit 1")
    with Board(there.address, there.config) as board, pytest.raises(VlmError, match=problem) as caught:
        python_on(board)
    assert "sudo apt install python3.10" in caught.value.hint


def test_of_several_pythons_the_first_that_fits_is_taken(loopback: Start) -> None:
    there = loopback()
    for name in PYTHONS:
        program(there, name, {"python3": "echo 3.8.10", "python3.12": "echo 3.12.1"}.get(name, "exit 1"))
    with Board(there.address, there.config) as board:
        assert python_on(board) == f"{there.home}/bin/python3.12"
