#!/usr/bin/env python3
"""How fast the trainer trains, beside the bare loop and two loaders of others; and what an epoch and a start cost.

Everything runs in one session and takes turns, so that other load meets all alike; ratios are of neighbours in time.
"""

import argparse
import math
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the trainer does, before torch is imported

import timm
import torch
import torchvision
from training_loops import Plain, Setup, Step, Timm, not_deterministic, synchronise

from vlm_contract.console import plain_table
from vlm_contract.workspace import Workspace
from vlm_targets.host import device_of
from vlm_train.backbones import backbone_from_timm, module_from_backbone
from vlm_train.data import mean_and_std, open_data
from vlm_train.distributed import Group
from vlm_train.loop import LOOKED_EVERY, Loop, make_reproducible
from vlm_train.precision import Precision, choose_precision
from vlm_train.recipe import recipe_named
from vlm_train.train import PROBED_IMAGES, Request, train_model

STARTED_MODELS = ("resnet50", "mobilenetv3_large_100")
VARIANTS = """
ours        vlm_train.loop.Loop.epoch, its training part: flip, shift by 4 pixels, a look at each loss, learning rate
bare        forward, backward and fused AdamW on one batch that lies normalised on the device, beside each step of ours
DataLoader  torch's, 2 workers started for each epoch: one PIL image at a time through torchvision's RandomCrop with
            padding 4, RandomHorizontalFlip, ToTensor and Normalize; then bare's step
timm        timm.data.create_loader with its prefetcher, 2 lasting workers, RandomResizedCrop, flip, no colour jitter;
            timm's label smoothing loss, meter and scheduler, and AdamW from its factory with fused=True. This is not
            timm's train.py, which neither its wheel nor its source package on PyPI holds: the loop stands in here
"""


@dataclass(frozen=True)
class Clocks:
    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> "Clocks":
        return cls(time.perf_counter(), time.process_time())


class Beside:
    """Told of each step of ours, takes a bare step there and then: other load meets both alike."""

    def __init__(self, setup: Setup) -> None:
        self._step, self._device = Step(setup), setup.device
        self._batch_size = setup.recipe.batch_size
        self._inputs, self._targets = setup.inputs(self._batch_size)
        self.begin()

    def begin(self) -> None:
        """An epoch of ours begins."""
        self.looks: list[Look] = []
        self._left = Clocks.now()

    def __call__(self, loss: float, images: int) -> None:
        synchronise(self._device)
        entered = Clocks.now()
        steps = round(images / self._batch_size)
        with not_deterministic():
            for _ in range(steps):
                self._step(self._inputs, self._targets)
            synchronise(self._device)
        now = Clocks.now()
        self.looks.append(Look(steps, images / (steps * self._batch_size), self._left, entered, now))
        self._left = now


@dataclass(frozen=True)
class Look:
    """Between two looks of ours at the loss, and in the bare steps after it."""

    steps: int
    images: float  # of ours, for one of the bare steps'
    began: Clocks
    entered: Clocks
    left: Clocks

    @property
    def ours_s(self) -> float:
        return self.entered.wall_s - self.began.wall_s

    @property
    def bare_s(self) -> float:
        return self.left.wall_s - self.entered.wall_s

    @property
    def ratio(self) -> float:
        """Images of ours for one of the bare steps', in the same time."""
        return self.images * self.bare_s / self.ours_s

    @property
    def cpu_ratio(self) -> float:
        """The same in this process's CPU time, which other load hardly changes."""
        return self.images * (self.left.cpu_s - self.entered.cpu_s) / (self.entered.cpu_s - self.began.cpu_s)


@dataclass(frozen=True)
class Epoch:
    """One of ours, and the bare steps beside it."""

    images: int
    train_s: float  # without the bare steps
    scoring_s: float
    looks: list[Look]
    batch_size: int

    @property
    def steps(self) -> int:
        return sum(look.steps for look in self.looks)

    @property
    def images_per_s(self) -> float:
        return self.images / self.train_s

    @property
    def bare_images_per_s(self) -> float:
        return self.steps * self.batch_size / sum(look.bare_s for look in self.looks)

    @property
    def median_step_s(self) -> float:
        """The first look is left out: it comes in the middle of its last step."""
        return statistics.median(look.ours_s / look.steps for look in self.looks[1:])

    @property
    def fixed_s(self) -> float:
        """What the epoch took beside its steps: other load counts, too, where it lengthened steps."""
        return self.train_s - self.steps * self.median_step_s

    @property
    def edges_s(self) -> float:
        """What it took before the first step and after the last: other load in between counts for nothing."""
        between = sum(look.ours_s for look in self.looks[1:])
        return self.train_s - between - self.looks[0].steps * self.median_step_s


class Ours:
    """The trainer's loop."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._epochs = setup, 0
        group = Group(setup.device)
        module = module_from_backbone(setup.backbone)
        self._loop = Loop(module, setup.backbone, setup.splits, setup.recipe, 0, setup.precision, group)
        self._beside = Beside(setup)

    def epoch(self) -> Epoch:
        self._epochs += 1
        before, started = self._loop.train_s, time.perf_counter()
        self._beside.begin()
        self._loop.epoch(self._epochs, self._beside)
        wall_s, train_s = time.perf_counter() - started, self._loop.train_s - before
        bare_s = sum(look.bare_s for look in self._beside.looks)
        images = len(self._setup.splits.train)
        return Epoch(images, train_s - bare_s, wall_s - train_s, self._beside.looks, self._setup.recipe.batch_size)


@dataclass
class Round:
    """Each variant's turn, once."""

    ours: Epoch
    images_per_s: dict[str, float] = field(default_factory=dict)


def rounds_of(setup: Setup, rounds: int) -> Iterator[Round]:
    ours = Ours(setup)
    others: dict[str, Plain | Timm] = {"DataLoader": Plain(setup), "timm": Timm(setup)}
    for _ in range(rounds):
        taken = Round(ours.epoch())
        for name, other in others.items():
            with not_deterministic():
                started = time.perf_counter()
                other.epoch()
                synchronise(setup.device)
                seconds = time.perf_counter() - started
            taken.images_per_s[name] = setup.steps * setup.recipe.batch_size / seconds
        yield taken


def gaps_between_epochs(request: Request, threads: int) -> list[float]:
    """Seconds from an epoch's scores to the next epoch, in a real run: what keeping an epoch takes from training."""
    spans: list[tuple[float, float]] = []
    epoch = Loop.epoch

    def timed(loop: Loop, number: int, on_step: Callable[[float, int], None]) -> Any:
        started = time.perf_counter()
        scores = epoch(loop, number, on_step)
        spans.append((started, time.perf_counter()))
        return scores

    with mock.patch.object(Loop, "epoch", timed), tempfile.TemporaryDirectory() as folder:
        train_model(request, Workspace(Path(folder)), threads=threads)
    return [begin - end for (_, end), (begin, _) in pairwise(spans)]


def first_loss_s(model: str, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds from the start of vlm-train until it begins to choose the precision, and until it shows a loss."""
    terminal, side = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vlm_train", "--workspace", folder, "--model", model, "--data", options.data]
        command += ["--samples", str(options.samples), "--batch-size", str(options.batch_size)]
        command += ["--threads", str(options.threads)]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=side) as process:
            os.close(side)
            try:
                said = {word: said_at(terminal, word) - started for word in (b"precision", b"loss")}
            finally:
                process.kill()
                os.close(terminal)
    return said[b"precision"], said[b"loss"]


def said_at(terminal: int, word: bytes) -> float:
    """When a word comes up on a terminal."""
    said = b""
    while word not in said:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # the command has ended
            raise SystemExit(f"vlm-train ended before its first step:\n{said.decode(errors='replace')}") from None
    return time.perf_counter()


def spread(values: Sequence[float], digits: int) -> list[str]:
    """Least, median and greatest, as cells of a table."""
    return [f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values))]


def speeds_table(rounds: list[Round]) -> str:
    ours = [each.ours.images_per_s for each in rounds]
    others = {"bare": [each.ours.bare_images_per_s for each in rounds]}
    others |= {name: [each.images_per_s[name] for each in rounds] for name in rounds[0].images_per_s}
    rows = [["ours", *spread(ours, 1), "", "", ""]]
    for name, speeds in others.items():
        ratios = [mine / other for mine, other in zip(ours, speeds, strict=True)]
        rows.append([name, *spread(speeds, 1), *spread(ratios, 3)])
    return plain_table(["images/s", "min", "median", "max", "ours ÷ it: min", "median", "max"], rows)


def step_by_step(rounds: list[Round]) -> str:
    """Every step of ours beside the bare step that followed it: medians and quartiles of the ratios."""
    looks = [look for each in rounds for look in each.ours.looks[1:]]
    return (
        f"Step by step, {len(looks)} pairs: ours makes {middle_half([look.ratio for look in looks])} of the bare "
        f"steps' images in the same time,\n{middle_half([look.cpu_ratio for look in looks])} in the same CPU time."
    )


def middle_half(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def costs_table(rounds: list[Round], gaps: list[float], starts: dict[str, list[tuple[float, float]]]) -> str:
    epochs = [each.ours for each in rounds]
    rows = [
        ["an epoch's steps, each", *spread([epoch.median_step_s for epoch in epochs], 3)],
        ["an epoch beside its steps: training time - steps x median step", *spread([e.fixed_s for e in epochs], 3)],
        ["the same, before the first step and after the last alone", *spread([e.edges_s for e in epochs], 3)],
        ["scoring an epoch", *spread([epoch.scoring_s for epoch in epochs], 3)],
        ["keeping an epoch, between two epochs of a run", *spread(gaps, 3)],
    ]
    for model, times in starts.items():
        rows.append([f"vlm-train --model {model}, start to precision", *spread([first for first, _ in times], 2)])
        rows.append([f"vlm-train --model {model}, start to first loss", *spread([last for _, last in times], 2)])
    return plain_table(["seconds", "min", "median", "max"], rows)


def setup_of(options: argparse.Namespace, device: torch.device) -> Setup:
    _, splits = open_data(options.data, options.samples, 0)
    recipe = recipe_named(
        "scratch", options.model, options.data, batch_size=options.batch_size, adapt=options.adapt, flip=True
    )
    mean, std = mean_and_std(splits.train)
    backbone = backbone_from_timm(options.model, splits.classes, splits.train.image_size, mean, std, options.adapt)
    undecided = Setup(backbone, splits, recipe, Precision(None, False, True, ""), device)
    inputs, labels = undecided.inputs(min(PROBED_IMAGES, len(splits.train)))
    precision = choose_precision(options.precision, undecided.module(), inputs, labels)
    return Setup(backbone, splits, recipe, precision, device)


def warmed_up(setup: Setup) -> None:
    """Batches of ours have one of two lengths; the first step with each prepares the library's kernels."""
    step, least = Step(setup), len(setup.splits.train) // setup.steps
    for images in {setup.recipe.batch_size, least, math.ceil(len(setup.splits.train) / setup.steps)}:
        for _ in range(2):
            step(*setup.inputs(images))


def described(options: argparse.Namespace, setup: Setup) -> str:
    where = torch.cuda.get_device_name() if setup.device.type == "cuda" else device_of().cpu
    busy = f"threads {options.threads}, processors {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    libraries = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    return (
        f"{where}, {busy}, {libraries}\n"
        f"{options.model} ({options.adapt}), batch {options.batch_size}, {len(setup.splits.train)} training images of "
        f"{options.data}, {setup.steps} steps an epoch, {options.rounds} rounds\n{setup.precision.reason}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="of the loops (default: %(default)s)")
    parser.add_argument("--adapt", default="stock", help="of the loops: short steps show what is lost (%(default)s)")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="of vlm-train, for each model (default: %(default)s)")
    options = parser.parse_args()

    starts: dict[str, list[tuple[float, float]]] = {model: [] for model in STARTED_MODELS}
    for _ in range(options.starts):
        for model, times in starts.items():
            times.append(first_loss_s(model, options))

    make_reproducible(0, options.threads)
    setup = setup_of(options, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if options.rounds < 2 or setup.steps <= LOOKED_EVERY[setup.device.type]:
        parser.error(f"two rounds are the least, and epochs of {LOOKED_EVERY[setup.device.type] + 1} steps")
    warmed_up(setup)
    rounds = list(rounds_of(setup, options.rounds))
    recipe = recipe_named("scratch", options.model, batch_size=options.batch_size, adapt=options.adapt, epochs=4)
    request = Request(
        model=options.model, data=options.data, samples=options.samples, recipe=recipe, precision=options.precision
    )
    gaps = gaps_between_epochs(request, options.threads)

    print(f"{described(options, setup)}\n{VARIANTS}\n{speeds_table(rounds)}\n\n{step_by_step(rounds)}\n")
    print(costs_table(rounds, gaps, {model: times for model, times in starts.items() if times}))


if __name__ == "__main__":
    main()
