"""Where a workspace keeps what the stages hand each other."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import R, read_record
from vlm_contract.errors import VlmError
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Measurement

CARD_FILE = "checkpoint.json"
WEIGHTS_FILE = "model.safetensors"
HISTORY_FILE = "history.jsonl"
MANIFEST_FILE = "manifest.json"
REFUSED_SUFFIX = ".refused"  # of an artifact's folder that failed a check: kept aside, never used


def default_workspace() -> Path:
    """`$VLM_WORKSPACE`, or `workspace` in the current folder."""
    return Path(os.environ.get("VLM_WORKSPACE") or "workspace")


def safe_name(text: str) -> str:
    """`text` as a folder name: letters, digits, `.`, `_` and `-`, at most 120 characters, never hidden."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".")[:120] or "_"


@dataclass(frozen=True)
class Found(Generic[R]):
    """The records of one kind, and a sentence for each file that could not be read."""

    records: dict[Path, R]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Workspace:
    """The folders of one workspace."""

    root: Path

    def run(self, name: str) -> Path:
        return self.root / "runs" / name

    def artifact(self, name: str) -> Path:
        return self.root / "artifacts" / name

    def measurement(self, target: str, name: str) -> Path:
        return self.root / "measurements" / target / f"{name}.json"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def cards(self) -> Found[CheckpointCard]:
        """Every finished run, by the path of its card."""
        return _read_all(CheckpointCard, self.root.glob(f"runs/*/{CARD_FILE}"))

    def manifests(self) -> Found[ArtifactManifest]:
        """Every artifact, those that were refused too, by the path of its manifest."""
        return _read_all(ArtifactManifest, self.root.glob(f"artifacts/*/{MANIFEST_FILE}"))

    def measurements(self) -> Found[Measurement]:
        """Every measurement, invalid ones too, by path."""
        return _read_all(Measurement, self.root.glob("measurements/*/*.json"))


def _read_all(kind: type[R], paths: Iterable[Path]) -> Found[R]:
    records: dict[Path, R] = {}
    problems = []
    for path in sorted(paths):
        if path.name.startswith("."):
            continue
        try:
            records[path] = read_record(kind, path)
        except VlmError as error:
            problems.append(f"{error} To mend it, {error.hint}." if error.hint else str(error))
    return Found(records, tuple(problems))
