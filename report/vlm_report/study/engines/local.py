"""This machine's cores and GPUs: commands as child processes in sessions of their own."""

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vlm_contract.codec import known
from vlm_contract.console import PROGRESS
from vlm_contract.errors import VlmError
from vlm_report.study.engines import Ended, Job
from vlm_report.study.steps import Step

CORES_FOR_ONE = 4  # a second training at a time for so many cores more, where there is no GPU
END_S = 10.0  # between the request to end and the kill
LOOK_S = 0.1


@dataclass
class _Running:
    job: Job
    process: "subprocess.Popen[bytes]"
    began: float
    cpus: int
    gpus: tuple[str, ...]


class LocalEngine:
    """Runs `jobs` steps at a time; one that takes the whole machine runs alone."""

    name = "local"

    def __init__(
        self,
        jobs: int | None = None,
        *,
        cores: int | None = None,
        gpus: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cores = cores or cores_here()
        self._gpus = tuple(gpus_here() if gpus is None else gpus)
        self._jobs = checked_jobs(jobs, self._cores) or len(self._gpus) or max(1, self._cores // CORES_FOR_ONE)
        self._clock = clock
        self._running: dict[str, _Running] = {}

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *_: object) -> None:
        end_all([each.process for each in self._running.values()])

    @property
    def side_by_side(self) -> int:
        return self._jobs

    def threads(self) -> int:
        return max(1, self._cores // self._jobs)

    def has_room_for(self, step: Step) -> bool:
        running = [each.job.step for each in self._running.values()]
        if step.needs.whole or any(each.needs.whole for each in running):
            return not running
        held = {each.needs.lock for each in running if each.needs.lock}
        return (
            len(running) < self._jobs
            and step.needs.lock not in held
            and (not step.needs.gpu or not self._gpus or bool(self._free_gpus()))
        )

    def start(self, job: Job) -> None:
        needs = job.step.needs
        gpus = self._gpus if needs.whole else self._free_gpus()[:1] if needs.gpu else ()
        visible = {} if needs.whole or not self._gpus else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        process = started(job, visible)
        cpus = self._cores if needs.whole else self.threads()
        self._running[job.step.id] = _Running(job, process, self._clock(), cpus, gpus)

    def running(self) -> dict[str, tuple[float, float, int, str]]:
        now = self._clock()
        return {
            id: (now - each.began, each.cpus, len(each.gpus), platform.node()) for id, each in self._running.items()
        }

    def ended(self, timeout_s: float) -> Sequence[Ended]:
        limit = time.monotonic() + timeout_s
        while not (over := [id for id, each in self._running.items() if has_ended(each.process)]):
            if time.monotonic() >= limit:
                return ()
            time.sleep(LOOK_S)
        return [self._reaped(id) for id in over]

    def _reaped(self, id: str) -> Ended:
        each = self._running.pop(id)
        seconds = self._clock() - each.began
        return Ended(id, reaped(each.process), seconds, each.cpus, len(each.gpus), platform.node())

    def _free_gpus(self) -> tuple[str, ...]:
        held = {gpu for each in self._running.values() for gpu in each.gpus}
        return tuple(gpu for gpu in self._gpus if gpu not in held)


def started(job: Job, variables: Mapping[str, str], folder: str | None = None) -> "subprocess.Popen[bytes]":
    """The command in a session of its own: a Ctrl-C is this process's, and the kernel ends it with this process.

    The kernel's promise is to the thread that starts it, so the thread that calls this must last.
    """
    for path in (job.out, job.log):
        path.parent.mkdir(parents=True, exist_ok=True)
    with open(job.out, "wb") as out, open(job.log, "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "vlm_report.study.child", str(os.getpid()), *job.command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, PROGRESS: "lines", **variables},
        )


def has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether the process has ended; it stays to be reaped, so that its number is nobody else's."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def reaped(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process that has ended; what it left in its session is killed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def end_all(processes: Sequence["subprocess.Popen[bytes]"], end_s: float = END_S) -> None:
    """Ask each to end, and kill what has not after a while, with all that is in its session."""
    for process in processes:
        if not has_ended(process):
            process.terminate()
    limit = time.monotonic() + end_s
    while not all(map(has_ended, processes)) and time.monotonic() < limit:
        time.sleep(LOOK_S)
    for process in processes:
        if process.returncode is None:
            reaped(process)


def cores_here() -> int:
    """CPUs that the affinity mask and the cgroup leave."""
    from vlm_targets.host import device_of

    return known(device_of().usable_cpus)


def gpus_here(root: Path = Path("/")) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES names, else the numbers of the NVIDIA driver's GPUs; none for a torch without CUDA."""
    with suppress(PackageNotFoundError):
        if version("torch").endswith("+cpu"):
            return ()
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(word.strip() for word in visible.split(",") if word.strip() not in ("", "-1"))
    return tuple(str(index) for index, _ in enumerate(root.glob("proc/driver/nvidia/gpus/*/information")))


def checked_jobs(jobs: int | None, cores: int) -> int | None:
    """Raises VlmError where so many steps would have no core each."""
    if jobs is not None and not 1 <= jobs <= cores:
        raise VlmError(f"--jobs {jobs}: this machine has {cores} cores for us.", hint=f"--jobs {max(1, cores // 2)}")
    return jobs
