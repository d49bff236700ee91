"""An artifact is in its place whole, or not at all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vlm_contract.workspace import Workspace
from vlm_export.artifacts import draft_folder, kept_artifact, put_in_place
from vlm_export.checkpoint import checkpoint_from_path
from vlm_export.export import job_of
from vlm_export.gates import gate_of
from vlm_export.wanted import Wanted

NAME = "tiny-digits-200-s0.onnx-fp32"


def test_a_draft_that_fails_leaves_what_stood_there_and_nothing_else(exported: Path) -> None:
    final = Workspace(exported).artifact(NAME)
    before = sorted(final.parent.rglob("*"))
    with pytest.raises(KeyboardInterrupt), draft_folder(final) as draft:
        (draft / "manifest.json").write_text("half")
        raise KeyboardInterrupt
    assert sorted(final.parent.rglob("*")) == before


def test_what_a_kill_leaves_is_read_by_nobody_and_removed_by_the_next_export(exported: Path) -> None:
    workspace = Workspace(exported)
    before = workspace.manifests()
    final = workspace.artifact(NAME)
    code = (
        "import os, pathlib, signal\n"
        "from vlm_export.artifacts import draft_folder\n"
        f"with draft_folder(pathlib.Path({str(final)!r})) as draft:\n"
        "    (draft / 'manifest.json').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    (left,) = final.parent.glob(f".{NAME}.*/draft/manifest.json")
    assert workspace.manifests() == before
    with draft_folder(final):
        assert not left.exists()


def test_a_draft_replaces_the_whole_folder(tmp_path: Path) -> None:
    final = tmp_path / NAME
    for content in ("first", "second"):
        with draft_folder(final) as draft:
            (draft / content).write_text(content)
            assert put_in_place(draft, final, refused=False) == final
    assert [path.name for path in final.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("damage", ["model.onnx", "manifest.json"])
def test_a_damaged_artifact_is_not_kept(exported: Path, damage: str) -> None:
    workspace = Workspace(exported)
    checkpoint = checkpoint_from_path(Path("tiny-digits-200-s0"), workspace)
    recipe = job_of(checkpoint, "fp32", Wanted(), gate_of("host")).recipe
    assert kept_artifact(workspace, NAME, recipe) is not None
    (workspace.artifact(NAME) / damage).write_bytes(b"damaged")
    assert kept_artifact(workspace, NAME, recipe) is None
