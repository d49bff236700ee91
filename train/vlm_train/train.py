"""The training stage: open the data, build, resume or start, run the epochs, keep the best, write the card."""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm_contract.card import Backbone, CheckpointCard, Data, Effort, Scalar, Scores
from vlm_contract.codec import Absent, read_record, write_record
from vlm_contract.console import require_extra
from vlm_contract.errors import VlmError, check_known
from vlm_contract.files import LOCK_FILE, locked, remove_abandoned, sha256_of, write_whole
from vlm_contract.garbage import uncollected
from vlm_contract.workspace import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE, Workspace, safe_name
from vlm_train.adaptations import check_adapt
from vlm_train.data import Splits, identity_of, mean_and_std, normalised, open_data
from vlm_train.loggers import logger_names
from vlm_train.progress import Progress, Show
from vlm_train.recipe import DEFAULT, PRECISIONS, PRETRAINED, Recipe

if TYPE_CHECKING:
    import torch

    from vlm_train.distributed import Group
    from vlm_train.effort import GpuUse
    from vlm_train.loggers import Logger
    from vlm_train.loop import Loop
    from vlm_train.precision import Precision

RESUME_FILE = "resume.pt"  # stands in the folder of an unfinished run
VERSIONS_OF = ("vlm-edge", "torch", "timm", "numpy")
RANDOM = "random"  # the start without pretrained weights
FROM_TIMM = "timm"  # the start from the weights that timm downloads
PROBED_IMAGES = 128  # at most, in the steps that choose the precision


@dataclass(frozen=True)
class Request:
    """What to train. Raises VlmError for a seed or a name that cannot be."""

    model: str = "mobilenetv3_large_100"  # timm model name, or a floor's
    data: str = "digits"  # its name, or imagefolder:PATH
    samples: int | None = None  # labelled images used; all where None
    seed: int = 0  # of the split, the subset, the weights and the order of images
    recipe: Recipe = field(default_factory=Recipe)
    image_size: int | None = None  # pixels, of an image folder; as the images are where None
    weights: str = RANDOM  # "random", "timm", or a file
    precision: str = "auto"  # of the steps: auto, fp32, bf16 or fp16
    compiled: bool = False  # by torch.compile
    logs: tuple[str, ...] = ()  # names of loggers
    name: str = ""  # of the run; made from the rest where empty

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise VlmError(f"The seed is {self.seed}; expected 0 to {2**32 - 1}.", hint="--seed 0")
        if self.name and self.name != safe_name(self.name):
            raise VlmError(f"{self.name!r} cannot name a folder.", hint=f"--name {safe_name(self.name)}")
        check_adapt(self.recipe.adapt)
        check_known("precision", self.precision, PRECISIONS)
        for log in self.logs:
            check_known("log", log, logger_names())
        if self.weights == RANDOM and self.recipe.name in PRETRAINED:
            raise VlmError(
                f"The recipe {self.recipe.name} starts from pretrained weights, and none were named.",
                hint=f"--weights FILE, or --weights {FROM_TIMM}",
            )
        if self.weights not in (RANDOM, FROM_TIMM) and not Path(self.weights).is_file():
            raise VlmError(
                f"{self.weights} is no file of weights.", hint=f"--weights FILE, --weights {FROM_TIMM} or {RANDOM}"
            )

    def run_name(self, data: Data) -> str:
        """Says all that usually tells one run from another, and no time."""
        recipe = self.recipe
        adapt = [] if recipe.adapt == "stock" else [recipe.adapt.replace(":", "")]
        how = [] if recipe.name == DEFAULT else [recipe.name]
        parts = [self.model, *adapt, data.name, str(data.samples), *how, f"s{self.seed}"]
        return self.name or safe_name("-".join(parts))


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
    tell: Show = lambda text: None,
) -> Trained:
    """Train one backbone, or keep the finished run of the same options, which needs no torch.

    `resume` continues an unfinished run from its last epoch, with the number of threads that it began with: on a CPU
    it ends with the very bits of a run that was never cut off. `overwrite` trains anew whatever is there. `threads`
    are all that this process may use where None. `show` is told the progress, `tell` what should stay to be read.
    Under torchrun, every process calls this.
    Raises VlmError for a wrong request, CheckFailed where the loss is not finite.
    """
    began = time.perf_counter(), time.process_time()
    data, splits = open_data(request.data, request.samples, request.seed, request.image_size, show)
    for note in splits.notes:
        tell(note)
    folder, options = workspace.run(request.run_name(data)), options_of(request, data)
    run = _Run(request, data, splits, folder, options, _checked_threads(threads), began, show, tell)
    if (folder / CARD_FILE).exists() and not overwrite:
        return _kept(run)
    try:
        return _train(run, resume=resume, overwrite=overwrite)
    except ImportError as error:
        raise require_extra("train", error) from None


def options_of(request: Request, data: Data) -> dict[str, Scalar]:
    """All that decides the weights, beside the library versions and the number of threads."""
    recipe = {"recipe": request.recipe.name, "adapt": request.recipe.adapt}
    return {"model": request.model, **identity_of(data), **recipe, **hyperparameters_of(request)}


def hyperparameters_of(request: Request) -> dict[str, Scalar]:
    """As the card keeps them: the recipe's, and what was asked of start, precision and compiler."""
    weights = request.weights
    if weights not in (RANDOM, FROM_TIMM):
        weights = sha256_of(Path(weights))
    asked: dict[str, Scalar] = {"weights": weights, "precision": request.precision, "compiled": request.compiled}
    return {**request.recipe.hyperparameters(), **asked}


def check_same_options(run: str, asked: dict[str, Scalar], found: dict[str, Scalar]) -> None:
    """Raise VlmError where the run in the folder is another than the one asked for."""
    names = [name for name in asked | found if asked.get(name) != found.get(name)]
    if names:
        differences = ", ".join(f"{name} {found.get(name)} (now {asked.get(name)})" for name in names)
        raise VlmError(f"The run {run} is there already, with {differences}.", hint="--name NAME, or --overwrite")


def _checked_threads(threads: int | None) -> int:
    """Of this process; where torchrun started several here, they share the CPUs."""
    usable = len(os.sched_getaffinity(0))
    if threads is not None and not 1 <= threads <= usable:
        raise VlmError(f"{threads} threads were asked for; this process may use {usable}.", hint=f"--threads {usable}")
    return threads or max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@dataclass(frozen=True)
class _Run:
    request: Request
    data: Data
    splits: Splits
    folder: Path
    options: dict[str, Scalar]
    threads: int
    began: tuple[float, float]  # on the wall's clock and on the process's
    show: Show
    tell: Show


def _kept(run: _Run) -> Trained:
    """The finished run in the folder, once its options and its weights are those that they should be."""
    card = read_record(CheckpointCard, run.folder / CARD_FILE)
    found = {"model": card.backbone.name, "recipe": card.recipe, "adapt": card.backbone.adapt}
    check_same_options(run.folder.name, run.options, {**found, **identity_of(card.data), **card.hyperparameters})
    weights = run.folder / WEIGHTS_FILE
    if not weights.exists() or sha256_of(weights) != card.weights_sha256:
        raise VlmError(f"{weights} is missing, or is not what {CARD_FILE} beside it describes.", hint="--overwrite")
    return Trained(card, run.folder, kept=True)


@dataclass
class _Course:
    """A run under way."""

    run: _Run
    backbone: Backbone
    start: str
    precision: "Precision"
    group: "Group"
    loop: "Loop"
    gpu: "GpuUse"
    history: list[Scores]
    spent_before: tuple[float, float]  # seconds that earlier sessions took, on the wall's clock and the process's
    best_sha256: str  # of the weights of the best epoch

    @property
    def wall_s(self) -> float:
        return self.spent_before[0] + time.perf_counter() - self.run.began[0]

    @property
    def cpu_s(self) -> float:
        return self.spent_before[1] + time.process_time() - self.run.began[1]


def _train(run: _Run, *, resume: bool, overwrite: bool) -> Trained:
    # Read when torch is imported. Threads that spin while they wait trained 3.5 times slower beside other load.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with uncollected():
        from vlm_train.distributed import joined_group

        backbone = _backbone(run)
    with joined_group() as group, _held(run, group):
        if (run.folder / CARD_FILE).exists() and not overwrite:
            return _kept(run)
        if (run.folder / RESUME_FILE).exists() and not (resume or overwrite):
            raise VlmError(
                f"{run.folder} holds a run that was cut off. The same command with --resume continues it.",
                hint="--resume, or --overwrite to start anew",
            )
        course = _course(run, group, backbone, anew=overwrite)
        run.tell(f"{run.folder.name}: {course.start}; steps in {course.precision.reason}.")
        with _loggers(course) as loggers:
            _run_epochs(course, loggers)
            card = _card(course)
            if group.leads:
                write_record(card, run.folder / CARD_FILE)
                (run.folder / RESUME_FILE).unlink(missing_ok=True)
                for logger in loggers:
                    logger.finished(card)
    return Trained(card, run.folder, kept=False)


def _backbone(run: _Run) -> Backbone:
    """The network that the request names, for images normalised as its first weights expect."""
    from vlm_train.backbones import backbone_from_timm, check_timm_name, pretrained_mean_and_std

    request, train = run.request, run.splits.train
    check_timm_name(request.model)
    colours = mean_and_std(train) if request.weights == RANDOM else pretrained_mean_and_std(request.model)
    return backbone_from_timm(request.model, run.splits.classes, train.image_size, *colours, adapt=request.recipe.adapt)


@contextmanager
def _held(run: _Run, group: "Group") -> Iterator[None]:
    """The folder, for this run's processes alone; it goes where nothing came of the run."""
    if not group.leads:
        yield
        return
    with locked(run.folder, f"vlm-train {run.folder.name}"):
        remove_abandoned(run.folder)
        try:
            yield
        finally:
            if [path.name for path in run.folder.iterdir()] == [LOCK_FILE]:
                shutil.rmtree(run.folder)


def _clear(folder: Path) -> None:
    """Take the run out of the folder, its card first: a folder with a card is a finished run."""
    for name in (CARD_FILE, RESUME_FILE, HISTORY_FILE, WEIGHTS_FILE):
        (folder / name).unlink(missing_ok=True)


def _course(run: _Run, group: "Group", backbone: Backbone, *, anew: bool) -> _Course:
    """The network, and where its run stands: at the start, or behind the last epoch that was kept."""
    from vlm_train.backbones import module_from_backbone
    from vlm_train.effort import GpuUse
    from vlm_train.loop import Loop, load_state, make_reproducible

    request = run.request
    saved = {} if anew else load_state(run.folder / RESUME_FILE)
    if request.recipe.batch_size < 2 * group.size:
        raise VlmError(f"{group.size} processes share batches of {request.recipe.batch_size}.", hint="--batch-size N")
    make_reproducible(request.seed, saved.get("threads", run.threads))
    module = module_from_backbone(backbone)
    if saved:
        check_same_options(run.folder.name, {**run.options, **_place(group)}, saved["options"])
        start, precision = saved["start"], _precision_from(saved["precision"])
    else:
        start = _start(module, backbone, request)
        precision = _chosen_precision(module, backbone, run, group)
    loop = Loop(module, backbone, run.splits, request.recipe, request.seed, precision, group, compiled=request.compiled)
    if saved:
        loop.load_state(saved["loop"])
    history = [Scores(**scores) for scores in saved.get("history", [])]
    spent, best = (saved.get("wall_s", 0.0), saved.get("cpu_s", 0.0)), saved.get("best_sha256", "")
    return _Course(run, backbone, start, precision, group, loop, GpuUse(group.device), history, spent, best)


def _place(group: "Group") -> dict[str, Scalar]:
    """Where a run's bits come from, beside its options."""
    return {"device": group.device.type, "processes": group.size}


def _start(module: "torch.nn.Module", backbone: Backbone, request: Request) -> str:
    """Load the first weights; the sentence that the card says of them."""
    if request.weights == RANDOM:
        return f"random weights, seed {request.seed}"
    from vlm_train.weights import load_pretrained, load_start

    if request.weights == FROM_TIMM:
        return load_pretrained(module, backbone)
    return load_start(module, backbone, Path(request.weights))


def _chosen_precision(module: "torch.nn.Module", backbone: Backbone, run: _Run, group: "Group") -> "Precision":
    """What this module's steps are computed in, in all processes: what was asked for, or what a probe finds."""
    import torch

    from vlm_train.precision import Precision, choose_precision

    if run.request.recipe.frozen:
        return Precision(None, scale=False, channels_last=False, reason="FP32: only the classifier learns")
    run.show("choosing the precision")
    images = min(PROBED_IMAGES, run.data.train_samples)
    pixels, labels = run.splits.train.batch(np.arange(images)), run.splits.train.labels[:images]
    inputs = torch.from_numpy(normalised(pixels, backbone.mean, backbone.std)).to(group.device)
    targets = torch.from_numpy(labels).to(group.device)
    chosen = choose_precision(run.request.precision, module.to(group.device), inputs, targets)
    dtypes = (None, torch.bfloat16, torch.float16)
    numbers = group.agreed([dtypes.index(chosen.dtype), chosen.scale, chosen.channels_last])
    return Precision(dtypes[numbers[0]], bool(numbers[1]), bool(numbers[2]), chosen.reason)


def _precision_from(saved: dict[str, Any]) -> "Precision":
    import torch

    from vlm_train.precision import Precision

    return Precision(**{**saved, "dtype": saved["dtype"] and getattr(torch, saved["dtype"])})


@contextmanager
def _loggers(course: _Course) -> Iterator[tuple["Logger", ...]]:
    from vlm_train.loggers import logger_named

    run = course.run
    with ExitStack() as stack:
        names = run.request.logs if course.group.leads else ()
        yield tuple(
            stack.enter_context(
                logger_named(name, run.folder, run.folder.name, run.options),
            )
            for name in names
        )


def _run_epochs(course: _Course, loggers: Sequence["Logger"]) -> None:
    """Train the epochs that the history lacks; what each leaves is written while the next one trains."""
    run, loop, history, recipe = course.run, course.loop, course.history, course.run.request.recipe
    progress = Progress(run.data.train_samples, len(history), recipe.epochs, run.show)

    def on_step(loss: float, images: int) -> None:
        progress.stepped(loss, images)
        course.gpu.look()

    with _Writer() as writer:
        for epoch in range(len(history) + 1, recipe.epochs + 1):
            if recipe.patience and history and epoch - best_of(history).epoch > recipe.patience:
                break
            history.append(loop.epoch(epoch, on_step))
            progress.scored(history[-1])
            if course.group.leads:
                writer.settle()
                writer.put(_kept_epoch(course))
            for logger in loggers:
                logger.epoch(history[-1], loop.learning_rate)


def best_of(history: list[Scores]) -> Scores:
    """The epoch with the highest validation accuracy; of several, that with the lowest validation loss."""
    return max(history, key=lambda scores: (scores.validation_accuracy_percent, -scores.validation_loss))


class _Writer:
    """Writes one thing at a time beside the training; the error of one is raised when the next comes, or at the end."""

    def __enter__(self) -> "_Writer":
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[None] | None = None
        return self

    def settle(self) -> None:
        """Wait for what is being written, and raise its error."""
        if self._pending:
            self._pending.result()

    def put(self, write: Callable[[], None]) -> None:
        self._pending = self._pool.submit(write)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self.settle()


def _kept_epoch(course: _Course) -> Callable[[], None]:
    """What writes the epoch just trained: its weights where it is the best, the history, the resume state."""
    history, weights = list(course.history), b""
    if best_of(history) is history[-1]:
        weights = course.loop.weights()
        course.best_sha256 = sha256(weights).hexdigest()
    return partial(_keep_epoch, course.run.folder, history, weights, _state(course))


def _keep_epoch(folder: Path, history: list[Scores], weights: bytes, state: dict[str, Any]) -> None:
    """The first epoch takes the place of whatever run stood there; a later one follows the one before it."""
    from vlm_train.loop import state_bytes

    if len(history) == 1:
        _clear(folder)
    if weights:
        write_whole(folder / WEIGHTS_FILE, weights)
    write_whole(folder / HISTORY_FILE, "".join(json.dumps(asdict(scores)) + "\n" for scores in history))
    write_whole(folder / RESUME_FILE, state_bytes(state))


def _state(course: _Course) -> dict[str, Any]:
    from vlm_train.loop import threads_used

    precision = course.precision
    dtype = str(precision.dtype).removeprefix("torch.") if precision.dtype else None
    return {
        "options": {**course.run.options, **_place(course.group)},
        "threads": threads_used(),
        "start": course.start,
        "precision": {**asdict(precision), "dtype": dtype},
        "history": [asdict(scores) for scores in course.history],
        "best_sha256": course.best_sha256,
        "wall_s": course.wall_s,
        "cpu_s": course.cpu_s,
        "loop": course.loop.state(),
    }


def _card(course: _Course) -> CheckpointCard:
    """Score the best epoch on all training images and on the test part, and describe the run."""
    run, loop, history = course.run, course.loop, course.history
    weights = run.folder / WEIGHTS_FILE
    course.group.wait()
    if course.group.leads and sha256_of(weights) != course.best_sha256:
        raise VlmError(f"{weights} is not what this run wrote.", hint="--overwrite")
    loop.load_weights(weights)
    return CheckpointCard(
        run=run.folder.name,
        backbone=course.backbone,
        start=course.start,
        data=run.data,
        recipe=run.request.recipe.name,
        hyperparameters={name: run.options[name] for name in hyperparameters_of(run.request)},
        precision=course.precision.reason,
        best=loop.scores(best_of(history).epoch, run.data.train_samples),
        last=history[-1],
        test_accuracy_percent=loop.test_accuracy_percent()
        if run.data.test_samples
        else Absent(f"{run.data.name} has no test part"),
        effort=_effort(course),
        weights_sha256=course.best_sha256,
        device=_device_name(course.group),
        versions={"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
        finished_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _effort(course: _Course) -> Effort:
    from vlm_train.effort import device_peak_bytes, peak_rss_bytes

    loop = course.loop
    return Effort(
        wall_s=course.wall_s,
        cpu_s=course.cpu_s,
        images_per_s=len(course.history) * course.run.data.train_samples / loop.train_s,
        iterations_per_s=loop.steps / loop.train_s,
        peak_rss_bytes=peak_rss_bytes(),
        device_peak_bytes=device_peak_bytes(course.group.device),
        gpu_use_percent=course.gpu.percent(),
    )


def _device_name(group: "Group") -> str:
    import torch

    from vlm_train.loop import threads_used

    threads = threads_used()
    name = f"cpu, {threads} thread{'s' * (threads > 1)}"
    if group.device.type == "cuda":
        name = torch.cuda.get_device_name(group.device)
    return f"{name}, {group.size} processes" if group.size > 1 else name
