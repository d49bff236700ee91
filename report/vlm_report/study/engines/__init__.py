"""Where steps run. An engine says how much it can take, starts commands, and tells how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vlm_report.study.steps import Step

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Job:
    """A step's command, ready to start."""

    step: Step
    command: tuple[str, ...]
    out: Path  # what the command says on stdout; on stderr, into `log`
    log: Path


@dataclass(frozen=True)
class Ended:
    """How a step's command ended."""

    id: str
    code: int  # negative: the signal that ended it
    seconds: float
    cpus: float  # cores that it held
    gpus: int  # GPUs that it held
    machine: str
    lost: bool = False  # the machine went, and the step may run elsewhere
    said: str = ""  # by the engine: what kept the command from running


class Engine(Protocol):
    """Starts commands, beside each other as far as their needs allow; used in a `with` block, which ends them all."""

    name: str

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def side_by_side(self) -> int:
        """Steps that run at a time, at most, beside those that take a whole machine."""

    def threads(self) -> int:
        """Cores of one training."""

    def has_room_for(self, step: Step) -> bool:
        """Whether the step could start now."""

    def start(self, job: Job) -> None: ...

    def running(self) -> dict[str, tuple[float, float, int, str]]:
        """Of each step under way: its seconds, cores and GPUs, and the machine."""

    def ended(self, timeout_s: float) -> Sequence[Ended]:
        """Those that have ended, waiting for the first one so long."""
