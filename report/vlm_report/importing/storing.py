"""The records of one document, in a folder of their own: replaced together, or not at all."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from vlm_contract.codec import json_from_record
from vlm_contract.files import locked, write_whole
from vlm_contract.workspace import Workspace, safe_name
from vlm_report.importing.recording import Taken, file_names

DRAFTS = ".drafts"


def folder_of(document: str) -> str:
    """A folder name that no other document has."""
    name = safe_name(document)
    return name if name == document else f"{name[:100]}.{hashlib.sha256(document.encode()).hexdigest()[:8]}"


def store(workspace: Workspace, document: str, taken: Sequence[Taken]) -> dict[Path, str]:
    """Put the records of a document in the place of those it had; what became of each, by its path.

    Nothing is touched where the same are there already. Raises VlmError where one cannot be written.
    """
    final = workspace.reported / folder_of(document)
    records = {
        Path(kind) / f"{name}.json": record
        for each, name in zip(taken, file_names(taken), strict=True)
        for kind, record in each.records
    }
    with locked(workspace.reported, "vlm-report import"):
        _restore_abandoned(final)
        before = {path.relative_to(final): path.read_bytes() for path in final.glob("*/*.json")}
        after = {path: json_from_record(record).encode() for path, record in records.items()}
        if before != after:
            draft = final.parent / DRAFTS / final.name
            shutil.rmtree(draft, ignore_errors=True)
            for path, data in after.items():
                write_whole(draft / path, data)
            _exchange(draft, final)
    return {final / path: _became(path, before, after) for path in sorted({*before, *after})}


def _became(path: Path, before: dict[Path, bytes], after: dict[Path, bytes]) -> str:
    if path not in after:
        return "removed"
    if path not in before:
        return "new"
    return "as before" if before[path] == after[path] else "changed"


def _old(final: Path) -> Path:
    return final.parent / DRAFTS / f"{final.name}.old"


def _exchange(draft: Path, final: Path) -> None:
    shutil.rmtree(_old(final), ignore_errors=True)
    if final.exists():
        final.rename(_old(final))
    draft.rename(final)
    shutil.rmtree(final.parent / DRAFTS)


def _restore_abandoned(final: Path) -> None:
    """Where a command was killed between the two renames, what was there before comes back."""
    if not final.exists() and _old(final).exists():
        _old(final).rename(final)
