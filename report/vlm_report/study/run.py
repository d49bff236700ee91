"""A study under way: start what can start, judge what has ended, keep both, and go on until nothing is left."""

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_report.study.engines import Ended, Engine, Job
from vlm_report.study.outcome import Outcome, artifacts_for, outcome_of
from vlm_report.study.state import Became, Ledger, Standing, now_utc
from vlm_report.study.steps import COMMANDS, Stage, Step, with_threads

LOOK_S = 0.5
HEARTBEAT_S = 30.0  # between notes of how long running steps have run
LOSSES = 3  # of a step whose machine went, before it counts as failed
# Short steps first, so that what is wrong with them shows early; what needs the machine alone, once it is free.
ORDER: Mapping[Stage, int] = {"export": 0, "profile": 1, "train": 2, "report": 3}


class Now(Enum):
    """Where a step is."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    FAILED = "failed"
    BLOCKED = "blocked"  # by the failure of a step that it needs


@dataclass
class Progress:
    """A study as it stands at a moment."""

    steps: Mapping[str, Step]
    now: dict[str, Now]
    ledger: Ledger
    running: Mapping[str, tuple[float, float, int, str]]  # seconds, cores, GPUs, machine
    side_by_side: int
    seconds: float = 0.0  # of this run of the command

    def count(self, *states: Now) -> int:
        return sum(state in states for state in self.now.values())


Show = Callable[[Progress], None]
Tell = Callable[[str], None]


def run_study(
    steps: Sequence[Step],
    ledger: Ledger,
    engine: Engine,
    show: Show = lambda progress: None,
    tell: Tell = lambda text: None,
    *,
    commands: Mapping[Stage, tuple[str, ...]] = COMMANDS,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Run every step that is not done. What fails costs only the steps that need it; `tell` names it.

    The caller holds the study's lock. An interruption ends the commands under way, and what was done is kept.
    """
    began = clock()
    with engine:
        study = _Study({step.id: step for step in steps}, ledger, engine, tell, commands)
        try:
            while study.start_what_can() or study.progress.running:
                study.look()
                study.progress.seconds = clock() - began
                show(study.progress)
                study.beat(clock())
        except BaseException:
            study.stop()
            raise
    study.progress.seconds = clock() - began
    return study.progress


def standing_now(steps: Iterable[Step], ledger: Ledger) -> dict[str, Now]:
    """Where each step is before anything runs: done, or waiting. Those that others wait for come first."""
    now: dict[str, Now] = {}
    for step in steps:
        rests_on = all(now[id] is Now.DONE for id in step.after)
        now[step.id] = Now.DONE if rests_on and ledger.stands(step) else Now.WAITING
    return now


def typed(step: Step) -> str:
    """A step's command as a user would type it; the artifacts of a run that is not exported yet by a pattern."""
    artifacts = [f"--artifact artifacts/{step.run}.*"] if step.stage == "profile" else []
    return " ".join([f"vlm-{step.stage}", shlex.join(step.words), *artifacts]).strip()


class _Study:
    def __init__(
        self,
        steps: Mapping[str, Step],
        ledger: Ledger,
        engine: Engine,
        tell: Tell,
        commands: Mapping[Stage, tuple[str, ...]],
    ) -> None:
        now = standing_now(steps.values(), ledger)
        self.progress = Progress(steps, now, ledger, {}, engine.side_by_side)
        self._engine, self._ledger, self._tell, self._commands = engine, ledger, tell, commands
        self._jobs: dict[str, Job] = {}
        self._losses: dict[str, int] = {}
        self._beaten = 0.0

    def start_what_can(self) -> bool:
        """Whether any step was; or was found to be done, or could not be."""
        changed = False
        waiting = [self.progress.steps[id] for id, now in self.progress.now.items() if now is Now.WAITING]
        for step in sorted(waiting, key=lambda step: (step.needs.whole, ORDER[step.stage])):
            if self._is_ready(step) and self._engine.has_room_for(step):
                self._start(step)
                changed = True
        self.progress.running = self._engine.running()
        return changed

    def look(self) -> None:
        for ended in self._engine.ended(LOOK_S):
            self._take(ended)
        self.progress.running = self._engine.running()

    def beat(self, seconds: float) -> None:
        """Note from time to time how long the running steps have run, for the sake of a run that is killed."""
        if seconds - self._beaten >= HEARTBEAT_S:
            self._beaten = seconds
            self._note_running()
            self._ledger.save()

    def stop(self) -> None:
        """Keep what the steps under way have cost; the engine ends them."""
        self._note_running()
        for id in self._engine.running():
            standing = replace(self._ledger.steps[id], became="stopped", said="it was interrupted")
            self._ledger.steps[id] = standing
        self._ledger.save()

    def _is_ready(self, step: Step) -> bool:
        before = [self.progress.now[id] for id in step.after]
        if step.takes_what_there_is:
            return Now.DONE in before and not {Now.WAITING, Now.RUNNING} & set(before)
        return all(now is Now.DONE for now in before)

    def _start(self, step: Step) -> None:
        """A step that cannot start is named with the reason, and costs only what needs it."""
        if self._ledger.stands(step):  # it was made from the very things that stand there now
            self.progress.now[step.id] = Now.DONE
            return
        try:
            job = self._job(step)
        except VlmError as error:
            self._fail(step, str(error))
            return
        log = str(job.log.relative_to(self._ledger.workspace.root))
        before = self._blank(step)
        running = replace(before, became="running", said=Absent("it is running"), log=log, attempts=before.attempts + 1)
        self._ledger.set(step.id, running)
        self._engine.start(job)
        self._jobs[step.id] = job
        self.progress.now[step.id] = Now.RUNNING

    def _job(self, step: Step) -> Job:
        workspace = self._ledger.workspace
        artifacts = [f"--artifact={path}" for path in self._artifacts(step)]
        typed = with_threads(step, self._engine.threads()).words
        command = (*self._commands[step.stage], *typed, *artifacts, f"--workspace={workspace.root}", "--json")
        stem = step.id.replace("/", ".")
        logs = self._ledger.folder / "logs"
        return Job(step, command, logs / f"{stem}.json", logs / f"{stem}.log")

    def _artifacts(self, step: Step) -> list[str]:
        if step.stage != "profile":
            return []
        (exported,) = step.after
        return artifacts_for(step, self._ledger.steps[exported].made, self._ledger.workspace)

    def _take(self, ended: Ended) -> None:
        step, job = self.progress.steps[ended.id], self._jobs.pop(ended.id)
        if ended.lost and self._losses.setdefault(step.id, 1) < LOSSES:
            self._losses[step.id] += 1
            self._tell(f"{step.id}: lost ({ended.said}); it starts again.")
            self._settle(step, ended, Outcome(False, ended.said, ()), "stopped")
            self.progress.now[step.id] = Now.WAITING
            return
        outcome = outcome_of(step, ended, job.out, job.log, self._ledger.workspace)
        self._settle(step, ended, outcome, "done" if outcome.done else "failed")
        if outcome.done:
            self.progress.now[step.id] = Now.DONE
            if outcome.said:
                self._tell(f"{step.id}: done, and a check said: {outcome.said}")
        else:
            self._block(step, outcome.said, str(job.log))

    def _settle(self, step: Step, ended: Ended, outcome: Outcome, became: Became) -> None:
        """Keep how a step ended and what it cost."""
        before = self._ledger.steps[step.id]
        since = ended.seconds - before.seconds  # what no heartbeat has counted
        standing = replace(
            before,
            became=became,
            said=outcome.said or Absent("nothing was wrong"),
            made=outcome.made,
            machine=ended.machine,
            seconds=ended.seconds,
            cpu_s=before.cpu_s + since * ended.cpus,
            gpu_s=before.gpu_s + since * ended.gpus,
        )
        self._ledger.set(step.id, standing)

    def _note_running(self) -> None:
        for id, (seconds, cpus, gpus, machine) in self._engine.running().items():
            before = self._ledger.steps[id]
            since = seconds - before.seconds
            self._ledger.steps[id] = replace(
                before,
                machine=machine,
                seconds=seconds,
                cpu_s=before.cpu_s + since * cpus,
                gpu_s=before.gpu_s + since * gpus,
            )

    def _blank(self, step: Step) -> Standing:
        """Of a step about to start: nothing of earlier attempts but their number and their cost."""
        before = self._ledger.steps.get(step.id)
        return Standing(
            key=step.key,
            given=self._ledger.given_to(step),
            became="stopped",
            said=Absent("it has not started"),
            made=(),
            log="",
            machine="",
            began_utc=now_utc(),
            seconds=0.0,
            attempts=before.attempts if before else 0,
            work=step.work,
            cpu_s=before.cpu_s if before else 0.0,
            gpu_s=before.gpu_s if before else 0.0,
        )

    def _fail(self, step: Step, why: str) -> None:
        """Of a step that never started."""
        self._ledger.set(step.id, replace(self._blank(step), became="failed", said=why))
        self._block(step, why, "")

    def _block(self, step: Step, why: str, log: str) -> None:
        """Name a failure, and give up what needs the step."""
        self.progress.now[step.id] = Now.FAILED
        blocked, added = {step.id}, True
        while added:
            new = {
                each.id
                for each in self.progress.steps.values()
                if not each.takes_what_there_is and each.id not in blocked and blocked & set(each.after)
            }
            blocked, added = blocked | new, bool(new)
        for id in blocked - {step.id}:
            self.progress.now[id] = Now.BLOCKED
        others = f" {len(blocked) - 1} steps that need it wait for the next run." if len(blocked) > 1 else ""
        self._tell(f"{step.id} failed: {why}{f' (log: {log})' if log else ''}.{others}")
