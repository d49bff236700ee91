"""From the matrix to steps: one command each, what it waits for, what it takes, and the key that stands for it."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any, Literal

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import encode
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Measurement
from vlm_contract.workspace import safe_name
from vlm_report.study.matrix import Matrix, Options, dataset_name

Stage = Literal["train", "export", "profile", "report"]
STAGES: tuple[Stage, ...] = ("train", "export", "profile", "report")
COMMANDS: Mapping[Stage, tuple[str, ...]] = {
    stage: (sys.executable, "-m", f"vlm_{stage}") for stage in STAGES
}  # what each stage starts with
Place = Literal["here", "board", "estimate"]  # where the figures of a target come from
REPEATED = ("budget", "input-shape", "trust-file")  # options that are given once for each value
KEPT_OUT = ("threads", "log")  # options that change nothing in what is trained
# Libraries whose new version makes artifacts, or figures, anew. Weights stay: they cost most, and a card names theirs.
EXPORTERS = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "tensorrt")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "torch")


@dataclass(frozen=True)
class Needs:
    """What a step takes of a machine while it runs."""

    gpu: bool = False  # one GPU, where there are any
    whole: bool = False  # the whole machine, with nothing beside it
    lock: str = ""  # what only one step at a time may hold, by name


@dataclass(frozen=True)
class Step:
    """One command of the study."""

    id: str  # stage/run, profile/target/run, or report
    stage: Stage
    words: tuple[str, ...]  # of the command, without workspace and output
    after: tuple[str, ...]  # ids of the steps whose products it reads
    key: str  # sha256 of its options, the keys of those steps, and the versions that matter
    needs: Needs
    model: str = ""
    target: str = ""
    run: str = ""
    work: float = 1.0  # in proportion to which steps of one stage, target and model take time

    @property
    def takes_what_there_is(self) -> bool:
        """Whether it starts once all others have ended, well or not."""
        return self.stage == "report"


@dataclass(frozen=True)
class Cell:
    """One training."""

    model: str
    dataset: str
    samples: int | None
    seed: int
    options: Options
    exported: bool = True

    @property
    def run(self) -> str:
        """Model, data, samples and seed; then, where options were given, six digits that stand for these.

        A study whose options were changed trains beside the runs that it had, and never mistakes one for the other.
        """
        samples = "all" if self.samples is None else str(self.samples)
        parts = [self.model, dataset_name(self.dataset), samples, f"s{self.seed}"]
        return safe_name("-".join(parts + ([digest(self.shaping)[:6]] if self.shaping else [])))

    @property
    def shaping(self) -> Options:
        """The options that decide what comes of it."""
        return {name: value for name, value in self.options.items() if name not in KEPT_OUT}

    @property
    def work(self) -> float:
        epochs = self.options.get("epochs", 1)
        return float((self.samples or 1) * (epochs if isinstance(epochs, int) else 1))


def digest(value: Any) -> str:
    """Hex sha256 of a value's one way of being written in JSON."""
    return hashlib.sha256(json.dumps(encode(value), sort_keys=True, default=list).encode()).hexdigest()


def steps_of(matrix: Matrix, places: Mapping[str, Place], machine: str = "") -> tuple[Step, ...]:
    """Every step, those first that others wait for.

    `places` says of each target where its figures come from, and `machine` what this machine is: what was measured
    on another one is no answer here.
    """
    steps: dict[str, Step] = {}
    for cell in cells_of(matrix):
        for step in _steps_of_cell(matrix, cell, places, machine):
            steps[step.id] = step
    ordered = sorted(steps.values(), key=lambda step: STAGES.index(step.stage))
    return (*ordered, _report_step(matrix, ordered))


def cells_of(matrix: Matrix) -> Iterator[Cell]:
    """All trainings. One seed of every model comes before the next seed: a study cut short compares all models."""
    train = matrix.train
    samples: Sequence[int | None] = train.samples or (None,)
    for dataset, count, floor in product(train.datasets, samples, train.floors):
        yield Cell(floor, dataset, count, train.seeds[0], {}, exported=False)
    for seed, count, dataset, model in product(train.seeds, samples, train.datasets, train.models):
        yield Cell(model, dataset, count, seed, train.options_of(model))


def words_of(options: Options) -> tuple[str, ...]:
    """As they are typed: `--epochs=3`; true is the bare option, false none, and a list has commas or repeats it."""
    words: list[str] = []
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, tuple) and name in REPEATED:
            words += [f"--{name}={each}" for each in value]
        elif value is not False:
            words.append(f"--{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return tuple(words)


def _steps_of_cell(matrix: Matrix, cell: Cell, places: Mapping[str, Place], machine: str) -> Iterator[Step]:
    trained = _train_step(cell)
    yield trained
    if not (matrix.export.formats and cell.exported):
        return
    exported = _export_step(matrix, cell, trained)
    yield exported
    profile = matrix.profile
    if cell.seed in (profile.seeds or (cell.seed,)) and cell.samples in (profile.samples or (cell.samples,)):
        for target in profile.targets:
            yield _profile_step(matrix, cell, target, exported, places[target], machine)


def _train_step(cell: Cell) -> Step:
    samples = () if cell.samples is None else (f"--samples={cell.samples}",)
    what = (f"--model={cell.model}", f"--data={cell.dataset}", *samples, f"--seed={cell.seed}", f"--name={cell.run}")
    own = [cell.model, cell.dataset, cell.samples, cell.seed, cell.run, cell.shaping]
    return Step(
        id=f"train/{cell.run}",
        stage="train",
        words=(*what, *words_of(cell.options), "--resume"),
        after=(),
        key=digest(["train", own, CheckpointCard.SCHEMA]),
        needs=Needs(gpu=True),
        model=cell.model,
        run=cell.run,
        work=cell.work,
    )


def _export_step(matrix: Matrix, cell: Cell, trained: Step) -> Step:
    export = matrix.export
    chosen = export.formats[0] if len(export.formats) == 1 else "all"
    what = (f"--ckpt={cell.run}", f"--fmt={chosen}", f"--precision={','.join(export.precisions)}")
    words = (*what, *words_of(export.options))
    return Step(
        id=f"export/{cell.run}",
        stage="export",
        words=words,
        after=(trained.id,),
        key=digest(["export", words, trained.key, ArtifactManifest.SCHEMA, _versions(EXPORTERS)]),
        needs=Needs(gpu="trt" in export.formats, lock="artifacts"),
        model=cell.model,
        run=cell.run,
    )


def _profile_step(matrix: Matrix, cell: Cell, target: str, exported: Step, place: Place, machine: str) -> Step:
    """Of one run's artifacts on one target: a run that failed keeps no other from being measured."""
    profile = matrix.profile
    host = (f"--host={profile.hosts[target]}",) if target in profile.hosts else ()
    batches, runtimes = ",".join(map(str, profile.batches)), ",".join(profile.runtimes)
    words = (f"--target={target}", *host, f"--batch={batches}", f"--runtime={runtimes}", *words_of(profile.options))
    where = [machine, _versions(RUNTIMES)] if place == "here" else []
    return Step(
        id=f"profile/{target}/{cell.run}",
        stage="profile",
        words=words,
        after=(exported.id,),
        key=digest(["profile", words, exported.key, Measurement.SCHEMA, where]),
        needs=Needs(whole=place == "here", lock=f"measurements/{target if place == 'board' else ''}"),
        model=cell.model,
        target=target,
        run=cell.run,
    )


def _report_step(matrix: Matrix, steps: Sequence[Step]) -> Step:
    words = tuple(f"--require={text}" for text in matrix.constraints.require)
    after = tuple(step.id for step in steps)
    return Step("report", "report", words, after, digest(["report", words]), Needs(lock="report"))


def with_threads(step: Step, threads: int) -> Step:
    """The step as it is typed where so many cores are its own; an option of the study's comes first."""
    if step.stage != "train" or any(word.startswith("--threads=") for word in step.words):
        return step
    return replace(step, words=(*step.words, f"--threads={threads}"))


def places_of(matrix: Matrix, root: Path = Path("/")) -> dict[str, Place]:
    """Where each target's figures come from, as vlm-profile decides it: an addressed board, this machine or none."""
    from vlm_targets.catalogue import target_named
    from vlm_targets.host import is_here

    places: dict[str, Place] = {}
    for name in matrix.profile.targets:
        target = target_named(name)
        if name in matrix.profile.hosts or isinstance(target.address, str):
            places[name] = "board"
        else:
            places[name] = "here" if is_here(target, root) else "estimate"
    return places


def machine_here(root: Path = Path("/")) -> str:
    """What tells this machine from another kind: its processor and its GPU."""
    from vlm_targets.host import device_of

    device = device_of(root)
    return digest([device.cpu, device.gpu])


def _versions(names: Sequence[str]) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
