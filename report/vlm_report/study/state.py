"""What became of each step: kept in one file beside the logs, whole at every moment, and held against what is there."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar, Literal

from vlm_contract.codec import Absent, read_record, write_record
from vlm_contract.errors import VlmError
from vlm_contract.files import sha256_of
from vlm_contract.workspace import Workspace
from vlm_report.study.steps import Step, digest

STATE_FILE = "state.json"
PLAN_FILE = "plan.json"
HASHED_BYTES = 16 * 2**20  # larger files are told by their size: a record beside them holds their sha256
Became = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Made:
    """A file that a step left."""

    path: str  # from the workspace, or absolute where it lies elsewhere
    bytes: int
    sha256: str | Absent


@dataclass(frozen=True)
class Standing:
    """What became of one step, the last time that it ran."""

    key: str  # of the step as it was then
    given: str  # sha256 of what the steps before it had made
    became: Became
    said: str | Absent  # why it failed, or what a check of it said
    made: tuple[Made, ...]
    log: str  # its stderr, from the workspace
    machine: str  # that it ran on
    began_utc: str  # ISO 8601
    seconds: float  # that it ran, so far where it is running
    attempts: int
    work: float  # as the step had it
    cpu_s: float  # cores held × seconds, over all attempts
    gpu_s: float  # GPUs held × seconds, over all attempts


@dataclass(frozen=True)
class Holder:
    """The command that runs the study."""

    machine: str
    pid: int
    ticks: int  # since the machine started, when the process did: a later process of the same number has others
    engine: str


@dataclass(frozen=True)
class StudyState:
    """`studies/<name>/state.json`."""

    # vlm-edge/study/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/study/1"

    study: str
    holder: Holder | Absent  # of the last run; it may have been killed since
    steps: dict[str, Standing]  # by id; those that the study no longer has stay


@dataclass(frozen=True)
class StudyPlan:
    """`studies/<name>/plan.json`: what the study's file asked for when it was last run."""

    # vlm-edge/study-plan/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/study-plan/1"

    steps: tuple[str, ...]  # ids, those first that others wait for


@dataclass
class Ledger:
    """The state of a study as it changes, written at each change."""

    workspace: Workspace
    study: str
    holder: Holder | Absent
    steps: dict[str, Standing]

    @property
    def folder(self) -> Path:
        return folder_of(self.workspace, self.study)

    def set(self, id: str, standing: Standing) -> None:
        self.steps[id] = standing
        self.save()

    def save(self) -> None:
        write_record(StudyState(self.study, self.holder, self.steps), self.folder / STATE_FILE)

    def plan(self, steps: Sequence[Step]) -> None:
        """Keep which steps are asked for: a report tells those that have not begun."""
        write_record(StudyPlan(tuple(step.id for step in steps)), self.folder / PLAN_FILE)

    def planned(self) -> tuple[str, ...]:
        """Of the steps that the last run was asked for, those that never began. Raises VlmError for a damaged file."""
        path = self.folder / PLAN_FILE
        asked = read_record(StudyPlan, path).steps if path.exists() else ()
        return tuple(id for id in asked if id not in self.steps)

    def stands(self, step: Step) -> bool:
        """Whether the step is done as it is now: same key, same things given, and all that it made is still there."""
        standing = self.steps.get(step.id)
        return (
            standing is not None
            and standing.became == "done"
            and (standing.key, standing.given) == (step.key, self.given_to(step))
            and all(is_there(self.workspace, made) for made in standing.made)
        )

    def given_to(self, step: Step) -> str:
        """What the steps before it made; of the report's, those that are done."""
        made = {id: self.steps[id].made for id in step.after if id in self.steps and self.steps[id].became == "done"}
        return digest([[id, made[id]] for id in sorted(made)])

    def forget_verdict(self, id: str) -> bool:
        """Whether a step was done and a check said no; it counts as not done any more."""
        standing = self.steps.get(id)
        if standing is None or standing.became != "done" or isinstance(standing.said, Absent):
            return False
        self.steps[id] = replace(standing, became="stopped")
        return True

    def take_stopped(self) -> None:
        """Steps that a killed run left as running were stopped, wherever they had come to."""
        for id, standing in self.steps.items():
            if standing.became == "running":
                self.steps[id] = replace(standing, became="stopped", said="the study was killed")


def ledger_of(workspace: Workspace, study: str) -> Ledger:
    """The state as it was last written. Raises VlmError where the file is damaged."""
    path = folder_of(workspace, study) / STATE_FILE
    if not path.exists():
        return Ledger(workspace, study, Absent("nothing ran yet"), {})
    state = read_record(StudyState, path)
    if state.study != study:
        raise VlmError(f"{path} is of the study {state.study!r}.", hint="give the study another name")
    return Ledger(workspace, study, state.holder, dict(state.steps))


def folder_of(workspace: Workspace, study: str) -> Path:
    return workspace.root / "studies" / study


def made_of(workspace: Workspace, paths: Sequence[Path]) -> tuple[Made, ...]:
    """Files as they are now. Raises VlmError where one is not there."""
    return tuple(_made(workspace, path) for path in paths)


def is_there(workspace: Workspace, made: Made) -> bool:
    path = workspace.root / made.path
    try:
        if path.stat().st_size != made.bytes:
            return False
        return isinstance(made.sha256, Absent) or sha256_of(path) == made.sha256
    except OSError:
        return False


def holder_here(engine: str) -> Holder:
    """This process."""
    return Holder(platform.node(), os.getpid(), _ticks(os.getpid()), engine)


def is_at_work(holder: Holder | Absent) -> bool:
    """Whether the command still runs; of another machine's, which nothing here tells, it is taken to."""
    if isinstance(holder, Absent):
        return False
    return holder.machine != platform.node() or (holder.ticks != 0 and _ticks(holder.pid) == holder.ticks)


def now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def spent(steps: Mapping[str, Standing]) -> tuple[float, float]:
    """CPU-hours and GPU-hours of all attempts, with those of steps that the study no longer has."""
    return sum(s.cpu_s for s in steps.values()) / 3600, sum(s.gpu_s for s in steps.values()) / 3600


def _made(workspace: Workspace, path: Path) -> Made:
    try:
        size = path.stat().st_size
        name = os.path.relpath(path, workspace.root)
        large = Absent("told by its size; a record beside it holds its sha256")
        return Made(name, size, large if size > HASHED_BYTES else sha256_of(path))
    except OSError as error:
        raise VlmError(f"{path}, which the step says that it made, cannot be read: {error.strerror}.") from None


def _ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat, after the name, which may hold spaces and brackets; 0 where no such process is."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[19])
