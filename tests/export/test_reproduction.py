"""The script beside an artifact makes it again."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from vlm_contract.workspace import Workspace
from vlm_export import Described, Wanted, export_checkpoint
from vlm_export.artifacts import Recipe
from vlm_export.checkpoint import checkpoint_from_path
from vlm_export.gates import gate_of
from vlm_export.reproduction import reproduction, without_engine, words_of

RUN = "tiny-digits-200-s0"


@pytest.mark.slow
def test_the_script_gives_the_same_bytes(done: Path, tmp_path: Path) -> None:
    """With a `python` that installs nothing: the libraries are here."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "python").write_text("#!/bin/sh\nexit 0\n")
    (commands / "vlm-export").write_text(f'#!/bin/sh\nexec {sys.executable} -m vlm_export "$@"\n')
    for command in commands.iterdir():
        command.chmod(0o755)
    script = Workspace(done).artifact(f"{RUN}.onnx-fp16") / "reproduce.sh"
    path = f"{commands}:{os.environ['PATH']}"
    made = subprocess.run(
        ["sh", script], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert f"reproduced/artifacts/{RUN}.onnx-fp16/model.onnx: OK" in made.stdout


def test_the_script_pins_the_libraries_and_is_a_file_of_the_manifest(done: Path) -> None:
    (exported, _) = export_checkpoint(Path(RUN), Workspace(done))
    assert [file.name for file in exported.manifest.files] == ["model.onnx", "reproduce.sh"]
    text = (exported.folder / "reproduce.sh").read_text()
    assert f"torch=={version('torch')}" in text.replace("'", "")
    assert exported.manifest.files[0].sha256 in text


def test_only_what_is_unlike_the_default_is_said() -> None:
    assert words_of(Wanted()) == []
    wanted = Wanted(target="jetson-nano", batches=(1,), half_io=True, max_drop_points=0.5)
    assert words_of(wanted) == ["--target", "jetson-nano", "--batch", "1", "--io", "fp16", "--max-drop", "0.5"]


ENGINES = Wanted(engines=True, batches=(1, 4), builds=3, workspace_mib=64)


def test_the_script_of_a_graph_makes_no_engine() -> None:
    assert words_of(without_engine(ENGINES, "fp16")) == ["--batch", "1,4"]
    board = Wanted(engines=True, target="jetson", host="user@board")
    assert words_of(without_engine(board, "int8")) == ["--target", "jetson"]
    rtx = Wanted(engines=True, flavor="rtx", compute_capabilities=("86",))
    assert words_of(without_engine(rtx, "fp32")) == []


def test_it_makes_the_same_graph() -> None:
    """That of INT8 differs with its reader; which device the reader is on is no matter."""
    again = without_engine(ENGINES, "int8")
    gates = gate_of("host", engines=True), gate_of(again.target, engines=again.engines)
    assert [replace(gate, reader="") for gate in gates] == [replace(gates[0], reader="")] * 2
    assert gate_of("host").symmetric_int8 != gates[0].symmetric_int8
    assert without_engine(replace(ENGINES, engines=False, builds=1, workspace_mib=None), "int8").target == "host"


def test_the_script_runs_in_any_folder(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    checkpoint = checkpoint_from_path(Path("runs") / RUN, Workspace(Path()))
    text = reproduction("a", checkpoint, "fp32", Wanted(), Recipe("0", {}, {}))
    assert f"vlm-export --ckpt {finished}/runs/{RUN} --precision" in text


@pytest.mark.parametrize(("data", "as_told"), [(None, tuple("0123456789")), ("digits", None)])
def test_classes_that_no_option_says_are_told_instead_of_a_checksum(
    finished: Path, tmp_path: Path, data: str | None, as_told: tuple[str, ...] | None
) -> None:
    weights = Path(shutil.copy(finished / "runs" / RUN / "model.safetensors", tmp_path / "w.safetensors"))
    for classes, told in ((as_told, False), (tuple("abcdefghij"), True)):
        described = Described("test_resnet", 10, 32, mean=(0.5,) * 3, std=(0.5,) * 3, classes=classes, data=data)
        checkpoint = checkpoint_from_path(weights, Workspace(tmp_path), described)
        text = reproduction("a", checkpoint, "fp32", Wanted(), Recipe("0", {}, {}), weights)
        assert ("through the Python API" in text, "sha256sum" in text) == (told, not told)
