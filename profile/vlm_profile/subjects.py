"""What is measured: artifacts of the workspace, or any ONNX file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import read_record
from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, sha256_of, what_it_is
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import ArtifactUsed
from vlm_contract.workspace import MANIFEST_FILE, Workspace

MODEL_LIMIT_BYTES = 2**31  # no protobuf message is larger


@dataclass(frozen=True)
class Subject:
    """One model file."""

    path: Path
    used: ArtifactUsed
    label: str  # in the name of a measurement's file: two models never share one


def subjects_of(workspace: Workspace, paths: Sequence[Path]) -> tuple[Subject, ...]:
    """The models at `paths`, or every artifact of the workspace that no check refused. Raises VlmError."""
    if paths:
        return tuple(dict.fromkeys(subject_at(path) for path in paths))
    found = workspace.manifests()
    if found.problems:
        raise VlmError(found.problems[0])
    usable = [path.parent for path, manifest in found.records.items() if not manifest.refused]
    if not usable:
        raise VlmError(f"{workspace.root} holds no artifact to measure.", hint="vlm-export, or --artifact model.onnx")
    return tuple(subject_at(folder) for folder in usable)


def subject_at(path: Path) -> Subject:
    """The model at a path: an artifact's folder, the model file in it, or a file that this toolkit never made."""
    folder = path if path.is_dir() else path.parent
    manifest_path = folder / MANIFEST_FILE
    if path.is_dir() and not manifest_path.exists():
        raise VlmError(f"{path} holds no {MANIFEST_FILE}; expected an artifact's folder or a model file.")
    if manifest_path.exists():
        manifest = read_record(ArtifactManifest, manifest_path)
        if path.is_dir() or path.name == manifest.files[0].name:
            return _artifact(folder, manifest)
    return _foreign(path)


def _artifact(folder: Path, manifest: ArtifactManifest) -> Subject:
    remedy = f"vlm-export makes {manifest.artifact} again"
    if manifest.refused:
        raise VlmError(f"{folder} was refused by its export: {manifest.refused[0]}.", hint=remedy)
    file = manifest.files[0]
    path = folder / file.name
    check_model_file(path)
    if sha256_of(path) != file.sha256:
        raise VlmError(f"{path} is not the file that its manifest describes.", hint=remedy)
    used = ArtifactUsed(manifest.artifact, file.name, file.sha256, file.bytes, manifest.format, manifest.precision)
    return Subject(path, used, manifest.artifact)


def _foreign(path: Path) -> Subject:
    size = check_model_file(path)
    digest = sha256_of(path)
    used = ArtifactUsed(path.name, path.name, digest, size, "onnx", "as is")
    return Subject(path, used, f"{path.name[:80]}-{digest[:8]}")


def check_model_file(path: Path) -> int:
    """The bytes of a file that may be a model. Raises VlmError saying what it is instead."""
    size = check_regular_file(path, limit_bytes=MODEL_LIMIT_BYTES).st_size
    if what := what_it_is(path):
        raise VlmError(f"{path} is {what}; expected an ONNX model.")
    return size
