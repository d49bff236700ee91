"""Where a workspace keeps what the stages hand each other."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import RECORD_LIMIT_BYTES, R, read_record, record_from_json
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file
from vlm_contract.garbage import uncollected
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Measurement
from vlm_contract.reported import ReportedModel, ReportedRun

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
    def reported(self) -> Path:
        """One folder a document: `measurements`, `models` and `runs`, a file a row."""
        return self.root / "reported"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def cards(self) -> Found[CheckpointCard]:
        """Every finished run, by the path of its card."""
        return _read_all(CheckpointCard, self.root.glob(f"runs/*/{CARD_FILE}"))

    def manifests(self) -> Found[ArtifactManifest]:
        """Every artifact, those that were refused too, by the path of its manifest."""
        return _read_all(ArtifactManifest, self.root.glob(f"artifacts/*/{MANIFEST_FILE}"))

    def measurements(self, *, repetitions: bool = True) -> Found[Measurement]:
        """Every measurement, invalid and reported ones too, by path.

        Without `repetitions` the raw samples stay in the files: nine tenths of a record, and no table needs them.
        """
        paths = [*self.root.glob("measurements/*/*.json"), *self.root.glob("reported/*/measurements/*.json")]
        return _read_all(Measurement, paths, read_record if repetitions else _read_without_repetitions)

    def reported_models(self) -> Found[ReportedModel]:
        """Sizes of networks as documents say them, by path."""
        return _read_all(ReportedModel, self.root.glob("reported/*/models/*.json"))

    def reported_runs(self) -> Found[ReportedRun]:
        """Training runs as documents tell them, by path."""
        return _read_all(ReportedRun, self.root.glob("reported/*/runs/*.json"))


def _read_all(kind: type[R], paths: Iterable[Path], read: Callable[[type[R], Path], R] = read_record) -> Found[R]:
    records: dict[Path, R] = {}
    problems = []
    with uncollected():
        for path in sorted(path for path in paths if not path.name.startswith(".")):
            try:
                records[path] = read(kind, path)
            except VlmError as error:
                problems.append(f"{error} To mend it, {error.hint}." if error.hint else str(error))
    return Found(records, tuple(problems))


# A key that ends so, with its list: inside a JSON string its quotation mark would be escaped.
_NANOSECONDS = re.compile(rb'_ns":\s*\[[^\]]*\]')


def _read_without_repetitions(kind: type[R], path: Path) -> R:
    """One record whose repetitions are neither checked nor kept; lists of nanoseconds are not even parsed."""
    text = _NANOSECONDS.sub(b'_ns":[]', read_regular_file(path, limit_bytes=RECORD_LIMIT_BYTES))
    return record_from_json(kind, text, source=str(path), left_out=("repetitions",))
