"""The training stage: open the data, build, resume or start, run the epochs, keep the best, write the card."""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.card import Backbone, CheckpointCard, Data, Scalar, Scores
from vlm_contract.codec import Absent, read_record, write_record
from vlm_contract.console import require_extra
from vlm_contract.errors import VlmError
from vlm_contract.files import locked, sha256_of, write_whole
from vlm_contract.workspace import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE, Workspace, safe_name
from vlm_train.data import Splits, mean_and_std, open_data
from vlm_train.progress import Progress, Show
from vlm_train.recipe import Recipe

if TYPE_CHECKING:
    from vlm_train.loop import Loop

RESUME_FILE = "resume.pt"  # stands in the folder of an unfinished run
VERSIONS_OF = ("vlm-edge", "torch", "timm", "numpy")


@dataclass(frozen=True)
class Request:
    """What to train. Raises VlmError for a seed or a name that cannot be."""

    model: str = "mobilenetv3_large_100"  # timm model name
    data: str = "digits"
    samples: int | None = None  # images trained on; all where None
    seed: int = 0  # of the split, the subset, the weights and the order of images
    recipe: Recipe = field(default_factory=Recipe)
    name: str = ""  # of the run; made from model, data, samples and seed where empty

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise VlmError(f"The seed is {self.seed}; expected 0 to {2**32 - 1}.", hint="--seed 0")
        if self.name and self.name != safe_name(self.name):
            raise VlmError(f"{self.name!r} cannot name a folder.", hint=f"--name {safe_name(self.name)}")


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    card: CheckpointCard
    folder: Path
    kept: bool  # it was finished before, and nothing was trained


def train_model(
    request: Request,
    workspace: Workspace,
    *,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    show: Show = lambda text: None,
) -> Trained:
    """Train one backbone, or keep the finished run of the same options, which needs no torch.

    `resume` continues an unfinished run from its last epoch, with the number of threads that it began with: on a CPU
    it ends with the very bits of a run that was never cut off. `overwrite` trains anew whatever is there. `threads`
    are all that this process may use where None. `show` is told the progress.
    Raises VlmError for a wrong request, CheckFailed where the loss is not finite.
    """
    data, splits = open_data(request.data, request.samples, request.seed)
    folder = workspace.run(request.name or safe_name(f"{request.model}-{data.name}-{data.samples}-s{data.seed}"))
    if (folder / CARD_FILE).exists() and not overwrite:
        return Trained(_finished_card(folder, options_of(request, data)), folder, kept=True)
    if (folder / RESUME_FILE).exists() and not (resume or overwrite):
        raise VlmError(
            f"{folder} holds a run that was cut off. The same command with --resume continues it.",
            hint="--resume, or --overwrite to start anew",
        )
    run = _Run(request, data, splits, folder, _checked_threads(threads), show)
    try:
        return Trained(_train(run, overwrite), folder, kept=False)
    except ImportError as error:
        raise require_extra("train", error) from None


def options_of(request: Request, data: Data) -> dict[str, Scalar]:
    """All that decides the weights, beside the library versions and the number of threads."""
    return {"model": request.model, **asdict(data), **request.recipe.hyperparameters()}


def check_same_options(run: str, asked: dict[str, Scalar], found: dict[str, Scalar]) -> None:
    """Raise VlmError where the run in the folder is another than the one asked for."""
    names = [name for name in asked | found if asked.get(name) != found.get(name)]
    if names:
        differences = ", ".join(f"{name} {found.get(name)} (now {asked.get(name)})" for name in names)
        raise VlmError(f"The run {run} is there already, with {differences}.", hint="--name NAME, or --overwrite")


def _checked_threads(threads: int | None) -> int:
    usable = len(os.sched_getaffinity(0))
    if threads is not None and not 1 <= threads <= usable:
        raise VlmError(f"{threads} threads were asked for; this process may use {usable}.", hint=f"--threads {usable}")
    return threads or usable


def _finished_card(folder: Path, asked: dict[str, Scalar]) -> CheckpointCard:
    """The card of a finished run, once its options and its weights are those that they should be."""
    card = read_record(CheckpointCard, folder / CARD_FILE)
    found = {"model": card.backbone.name, **asdict(card.data), **card.hyperparameters}
    check_same_options(folder.name, asked, found)
    weights = folder / WEIGHTS_FILE
    if not weights.exists() or sha256_of(weights) != card.weights_sha256:
        raise VlmError(f"{weights} is missing, or is not what {CARD_FILE} beside it describes.", hint="--overwrite")
    return card


@dataclass(frozen=True)
class _Run:
    request: Request
    data: Data
    splits: Splits
    folder: Path
    threads: int
    show: Show


def _train(run: _Run, overwrite: bool) -> CheckpointCard:
    # Read when torch is imported. Threads that spin while they wait trained 3.5 times slower beside other load.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from vlm_train.backbones import backbone_from_timm, module_from_backbone
    from vlm_train.loop import Loop, load_state, make_reproducible

    request, pixels = run.request, run.splits.train.pixels
    backbone = backbone_from_timm(request.model, run.splits.classes, pixels.shape[1], *mean_and_std(pixels))
    with locked(run.folder, f"vlm-train {run.folder.name}"):
        if overwrite:
            _clear(run.folder)
        saved = load_state(run.folder / RESUME_FILE)
        make_reproducible(request.seed, saved.get("threads", run.threads))
        loop = Loop(module_from_backbone(backbone), backbone, run.splits, request.recipe, request.seed)
        if saved:
            check_same_options(run.folder.name, options_of(request, run.data), saved["options"])
            loop.load_state(saved["loop"])
        history = [Scores(**scores) for scores in saved.get("history", [])]
        started = time.perf_counter() - saved.get("wall_s", 0.0)
        _run_epochs(run, loop, history, started)
        return _finish(run, backbone, loop, history, started)


def _clear(folder: Path) -> None:
    """Take the run out of the folder, its card first: a folder with a card is a finished run."""
    for name in (CARD_FILE, RESUME_FILE, HISTORY_FILE, WEIGHTS_FILE):
        (folder / name).unlink(missing_ok=True)


def _run_epochs(run: _Run, loop: "Loop", history: list[Scores], started: float) -> None:
    """Train the epochs that `history` lacks; after each, the best weights, the history and the resume state stand."""
    epochs = run.request.recipe.epochs
    progress = Progress(len(run.splits.train), len(history), epochs, run.show)
    for epoch in range(len(history) + 1, epochs + 1):
        history.append(loop.epoch(epoch, progress.stepped))
        progress.scored(history[-1])
        if best_of(history) is history[-1]:
            write_whole(run.folder / WEIGHTS_FILE, loop.weights())
        write_whole(run.folder / HISTORY_FILE, "".join(json.dumps(asdict(scores)) + "\n" for scores in history))
        write_whole(run.folder / RESUME_FILE, _state(run, loop, history, time.perf_counter() - started))


def best_of(history: list[Scores]) -> Scores:
    """The epoch with the highest validation accuracy; of several, that with the lowest validation loss."""
    return max(history, key=lambda scores: (scores.validation_accuracy_percent, -scores.validation_loss))


def _state(run: _Run, loop: "Loop", history: list[Scores], wall_s: float) -> bytes:
    from vlm_train.loop import state_bytes, threads_used

    return state_bytes(
        {
            "options": options_of(run.request, run.data),
            "threads": threads_used(),
            "history": [asdict(scores) for scores in history],
            "wall_s": wall_s,
            "loop": loop.state(),
        }
    )


def _finish(run: _Run, backbone: Backbone, loop: "Loop", history: list[Scores], started: float) -> CheckpointCard:
    """Score the best epoch on the test part, write the card, and drop the resume state."""
    weights = run.folder / WEIGHTS_FILE
    card = CheckpointCard(
        run=run.folder.name,
        backbone=backbone,
        data=run.data,
        hyperparameters=run.request.recipe.hyperparameters(),
        best=best_of(history),
        last=history[-1],
        test_accuracy_percent=_test_accuracy_percent(run, loop),
        wall_s=time.perf_counter() - started,
        images_per_s=len(history) * run.data.samples / loop.train_s,
        weights_sha256=sha256_of(weights),
        device=loop.device_name(),
        versions={"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
        finished_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    write_record(card, run.folder / CARD_FILE)
    (run.folder / RESUME_FILE).unlink(missing_ok=True)
    return card


def _test_accuracy_percent(run: _Run, loop: "Loop") -> float | Absent:
    if not run.data.test_samples:
        return Absent(f"{run.data.name} has no test part")
    loop.load_weights(run.folder / WEIGHTS_FILE)
    return loop.test_accuracy_percent()
