"""Artifacts in the workspace: the one that can be kept, and how a new one comes into its place."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.card import Scalar
from vlm_contract.codec import read_record
from vlm_contract.errors import VlmError
from vlm_contract.files import sha256_of
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.workspace import MANIFEST_FILE, REFUSED_SUFFIX, Workspace


@dataclass(frozen=True)
class Exported:
    """One artifact in its place."""

    folder: Path
    manifest: ArtifactManifest
    kept: bool  # nothing had to be made


@dataclass(frozen=True)
class Recipe:
    """All that an artifact's bytes depend on; the same recipe gives the same artifact."""

    checkpoint_sha256: str
    options: dict[str, Scalar]
    versions: dict[str, str]


def kept_artifact(workspace: Workspace, name: str, recipe: Recipe) -> Exported | None:
    """The artifact, accepted or refused, that stands there whole and was made by this very recipe."""
    for folder in _places(workspace.artifact(name)):
        try:
            manifest = read_record(ArtifactManifest, folder / MANIFEST_FILE)
        except VlmError:  # absent or damaged: it is made anew
            continue
        made_by = Recipe(manifest.checkpoint_sha256, manifest.options, manifest.versions)
        if made_by == recipe and _is_whole(folder, manifest):
            return Exported(folder, manifest, kept=True)
    return None


@contextmanager
def draft_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder to build the artifact `final` in; it is gone afterwards unless it was put in place.

    It lies one level deeper than artifacts do, in a hidden folder: no command reads what a kill leaves there, and the
    next export removes it. The caller holds the lock of the artifacts' folder.
    """
    prefix = f".{final.name}."
    for abandoned in final.parent.glob(f"{prefix}*"):
        shutil.rmtree(abandoned)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=final.parent) as hidden:
        draft = Path(hidden) / "draft"
        draft.mkdir()
        yield draft


def put_in_place(draft: Path, final: Path, *, refused: bool) -> Path:
    """Rename a complete draft to `final`, or to its name with `.refused`; whatever stood under either name goes.

    So an artifact of older weights never stands in for one that was refused.
    """
    for old in _places(final):
        if old.exists():
            old.replace(draft.with_name(old.name))
    return draft.replace(_places(final)[refused])


def _places(final: Path) -> tuple[Path, Path]:
    return final, final.with_name(final.name + REFUSED_SUFFIX)


def _is_whole(folder: Path, manifest: ArtifactManifest) -> bool:
    return all(
        (folder / file.name).is_file() and sha256_of(folder / file.name) == file.sha256 for file in manifest.files
    )
