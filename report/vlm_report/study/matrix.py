"""The experiment matrix: the tables of a study's TOML file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vlm_contract.codec import Absent
from vlm_contract.workspace import safe_name

Value: TypeAlias = bool | int | float | str
Options: TypeAlias = dict[str, Value | tuple[Value, ...]]  # of a command, by their long names without the dashes

FOLDER = "imagefolder:"  # begins the name of a data set that is a folder of images


@dataclass(frozen=True)
class Name:
    """`[study]`."""

    name: str  # of the folder that its state and its logs lie in


@dataclass(frozen=True)
class Override:
    """`[[train.override]]`: options that some models are trained with, over the others."""

    models: tuple[str, ...]
    options: Options


@dataclass(frozen=True)
class Training:
    """`[train]`: every model × data set × number of samples × seed is one run."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    samples: tuple[int, ...]  # none: all that a data set holds
    seeds: tuple[int, ...]
    floors: tuple[str, ...]  # trained once for each data set and number of samples, by their own recipe; not exported
    options: Options  # of vlm-train
    override: tuple[Override, ...]

    def options_of(self, model: str) -> Options:
        """Those of all models, then what overrides name this one, in their order."""
        own = [override.options for override in self.override if model in override.models]
        return {name: value for options in (self.options, *own) for name, value in options.items()}


@dataclass(frozen=True)
class Exporting:
    """`[export]`: every run in these formats and precisions; no formats: nothing is exported."""

    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    options: Options  # of vlm-export


@dataclass(frozen=True)
class Profiling:
    """`[profile]`: every run's artifacts on each target; no targets: nothing is profiled."""

    targets: tuple[str, ...]
    batches: tuple[int | str, ...]
    runtimes: tuple[str, ...]
    hosts: dict[str, str]  # where a target is, user@board
    samples: tuple[int, ...]  # of the runs whose artifacts are profiled; none: of all
    seeds: tuple[int, ...]  # of the runs whose artifacts are profiled; none: of all
    options: Options  # of vlm-profile


@dataclass(frozen=True)
class Constraints:
    """`[constraints]`."""

    require: tuple[str, ...]  # of vlm-report


@dataclass(frozen=True)
class Cost:
    """`[cost]`: what an hour of one core and of one GPU costs."""

    per_cpu_hour: float | Absent
    per_gpu_hour: float | Absent
    currency: str


@dataclass(frozen=True)
class Matrix:
    """A study file."""

    study: Name
    train: Training
    export: Exporting
    profile: Profiling
    constraints: Constraints
    cost: Cost

    @property
    def name(self) -> str:
        return self.study.name


def dataset_name(dataset: str) -> str:
    """As tables and the names of runs call it: a folder by its own name."""
    if not dataset.startswith(FOLDER):
        return dataset
    return safe_name(Path(re.sub(r"@\d+$", "", dataset.removeprefix(FOLDER))).resolve().name)
