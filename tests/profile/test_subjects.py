"""What may be measured is found, and what must not be is named for what it is."""

import os
from pathlib import Path

import pytest

from vlm_contract.codec import Absent, write_record
from vlm_contract.errors import VlmError
from vlm_contract.files import sha256_of
from vlm_contract.manifest import ArtifactManifest, FileEntry
from vlm_contract.workspace import Workspace
from vlm_profile.subjects import subject_at, subjects_of


def artifact(workspace: Workspace, name: str, refused: tuple[str, ...] = ()) -> Path:
    folder = workspace.artifact(name)
    folder.mkdir(parents=True)
    model = folder / "model.onnx"
    model.write_bytes(b"\x08\x09" + name.encode())
    absent = Absent("not in this test")
    manifest = ArtifactManifest(
        artifact=name,
        run="run",
        checkpoint_sha256="0" * 64,
        backbone="resnet50",
        format="onnx",
        precision="fp16",
        opset=absent,
        runtime=absent,
        compute_capability=absent,
        preprocess="outside",
        inputs=(),
        outputs=(),
        batch_min=1,
        batch_max=absent,
        files=(FileEntry("model.onnx", model.stat().st_size, sha256_of(model)),),
        parameters=1,
        macs=absent,
        flops=absent,
        parity=(),
        device_parity=Absent("a double"),
        range_scan=Absent("a double"),
        quantisation=Absent("a double"),
        engine=Absent("a double"),
        accuracy=absent,
        refused=refused,
        options={},
        build_s=1.0,
        not_reproducible=(),
        versions={},
        made_utc="2026-01-01T00:00:00+00:00",
    )
    write_record(manifest, folder / "manifest.json")
    return folder


def test_every_artifact_that_no_check_refused_is_measured(workspace: Workspace) -> None:
    artifact(workspace, "good")
    artifact(workspace, "bad", refused=("parity",))
    assert [subject.used.name for subject in subjects_of(workspace, [])] == ["good"]


def test_an_artifact_is_found_by_its_folder_and_by_its_file(workspace: Workspace) -> None:
    folder = artifact(workspace, "good")
    assert subject_at(folder) == subject_at(folder / "model.onnx")
    assert subject_at(folder).used.precision == "fp16"
    assert len(subjects_of(workspace, [folder, folder / "model.onnx"])) == 1


def test_a_refused_artifact_is_not_measured_even_when_named(workspace: Workspace) -> None:
    with pytest.raises(VlmError, match="refused by its export: parity differs"):
        subject_at(artifact(workspace, "bad", refused=("parity differs",)))


def test_a_file_changed_after_its_export_is_not_measured(workspace: Workspace) -> None:
    folder = artifact(workspace, "good")
    (folder / "model.onnx").write_bytes(b"\x08\x09another")
    with pytest.raises(VlmError, match="not the file that its manifest describes"):
        subject_at(folder)


def test_a_foreign_file_is_named_by_itself_and_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "any.onnx").write_bytes(b"\x08\x09" + folder.encode())
    one, other = (subject_at(tmp_path / folder / "any.onnx") for folder in ("a", "b"))
    assert one.used.name == other.used.name == "any.onnx"
    assert one.label != other.label


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\x89PNG\r\n", "a PNG image"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_model_is_called_what_it_is(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(VlmError, match=what):
        subject_at(tmp_path / "m.onnx")


def test_a_pipe_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(VlmError, match="a named pipe"):
        subject_at(tmp_path / "m.onnx")


def test_an_empty_workspace_says_what_to_do(workspace: Workspace) -> None:
    with pytest.raises(VlmError, match="holds no artifact") as caught:
        subjects_of(workspace, [])
    assert "vlm-export" in caught.value.hint
