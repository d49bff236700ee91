"""The checkpoint to export: found by any of its names, and held against its card."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import read_record
from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, sha256_of, what_it_is
from vlm_contract.workspace import CARD_FILE, WEIGHTS_FILE, Workspace

WEIGHTS_LIMIT_BYTES = 2**31  # the ONNX file of larger weights would not be a single one
PICKLES = (".pt", ".pth", ".pt2")


@dataclass(frozen=True)
class Checkpoint:
    """A finished run: its card, and the weights beside it."""

    card: CheckpointCard
    card_file: Path

    @property
    def weights(self) -> Path:
        return self.card_file.with_name(WEIGHTS_FILE)


def finished_runs(workspace: Workspace) -> tuple[Path, ...]:
    """The folder of every run that has a card. Raises VlmError where there is none."""
    folders = tuple(sorted(path.parent for path in workspace.root.glob(f"runs/*/{CARD_FILE}")))
    if not folders:
        raise VlmError(f"{workspace.root} holds no finished run.", hint="vlm-train, or --ckpt RUN_FOLDER")
    return folders


def checkpoint_from_path(path: Path, workspace: Workspace) -> Checkpoint:
    """The checkpoint at a run's folder, at one of its two files, or under a run's name in the workspace.

    Raises VlmError where there is none, where the run is unfinished, and where the card or the weights are damaged.
    """
    card_file = _run_folder(path, workspace) / CARD_FILE
    if not card_file.exists():
        raise _unfinished(card_file.parent)
    checkpoint = Checkpoint(read_record(CheckpointCard, card_file), card_file)
    check_weights(checkpoint)
    return checkpoint


def check_weights(checkpoint: Checkpoint) -> None:
    """Raise VlmError unless the weights are those that the card describes."""
    weights = checkpoint.weights
    check_regular_file(weights, limit_bytes=WEIGHTS_LIMIT_BYTES)
    if (found := sha256_of(weights)) != checkpoint.card.weights_sha256:
        raise VlmError(
            f"{weights} is {what_it_is(weights) or 'not the file that its card describes'}: "
            f"its sha256 is {found[:12]}…, the card says {checkpoint.card.weights_sha256[:12]}….",
            hint="restore the file, or train the run again with vlm-train --overwrite",
        )


def _run_folder(path: Path, workspace: Workspace) -> Path:
    if path.suffix.lower() in PICKLES:
        raise VlmError(
            f"{path} is not read: a {path.suffix} file is a pickle or holds code, and loading one executes what is "
            f"in it. Expected a run of vlm-train: its folder, {CARD_FILE} or {WEIGHTS_FILE}.",
            hint="vlm-train, then --ckpt with the folder of the run",
        )
    if not path.exists():
        path = _run_named(path, workspace)
    if path.is_dir():
        return path
    if path.name in (CARD_FILE, WEIGHTS_FILE):
        return path.parent
    raise VlmError(f"{path} is no checkpoint; expected a run's folder, its {CARD_FILE} or its {WEIGHTS_FILE}.")


def _run_named(path: Path, workspace: Workspace) -> Path:
    names = sorted(folder.name for folder in workspace.root.glob("runs/*"))
    if path.name in names:
        return workspace.run(path.name)
    nearest = difflib.get_close_matches(path.name, names, n=1)
    raise VlmError(
        f"{path} does not exist, and {workspace.root} has no run of that name"
        + (f"; did you mean {nearest[0]}?" if nearest else f"; it has {len(names)} runs."),
        hint=f"--ckpt {workspace.run(nearest[0] if nearest else 'RUN')}",
    )


def _unfinished(folder: Path) -> VlmError:
    return VlmError(
        f"{folder} holds no {CARD_FILE}: the run is unfinished, or this is no run's folder.",
        hint="the vlm-train command that began the run, with --resume",
    )
