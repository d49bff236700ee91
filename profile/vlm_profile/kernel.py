"""What the kernel knows of this process and of the machine: run-queue wait, CPU time, steal, memory."""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.measurement import Context

PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Counters:
    """Running totals; the difference of two is a `Context`."""

    run_queue_wait_s: float
    cpu_s: float
    involuntary_switches: int
    machine_busy_s: float
    steal_s: float

    def since(self, earlier: "Counters", at_s: float) -> Context:
        """What happened from `earlier` to here. A thread that ended takes its wait along: never below zero."""
        return Context(
            at_s=at_s,
            run_queue_wait_s=max(0.0, self.run_queue_wait_s - earlier.run_queue_wait_s),
            cpu_s=self.cpu_s - earlier.cpu_s,
            involuntary_switches=self.involuntary_switches - earlier.involuntary_switches,
            machine_busy_s=self.machine_busy_s - earlier.machine_busy_s,
            steal_s=self.steal_s - earlier.steal_s,
        )


def read_counters(proc: Path = PROC) -> Counters:
    """The totals now. Raises OSError where this kernel does not count them."""
    busy_s, steal_s = _machine_times(proc)
    return Counters(
        run_queue_wait_s=_run_queue_wait_ns(proc) / 1e9,
        cpu_s=time.process_time(),
        involuntary_switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
        machine_busy_s=busy_s,
        steal_s=steal_s,
    )


def reset_peak(proc: Path = PROC) -> None:
    """Let the high-water mark begin anew at the present size (proc_pid_clear_refs(5), value 5)."""
    try:
        (proc / "self/clear_refs").write_text("5")
    except OSError:
        return  # the mark then covers the process from its start, and is still a peak


def rss_bytes(field: str, proc: Path = PROC) -> int | Absent:
    """`VmRSS` or `VmHWM` of this process."""
    try:
        lines = (proc / "self/status").read_text().splitlines()
    except OSError as error:
        return Absent(f"{proc}/self/status cannot be read: {error.strerror}")
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return Absent(f"this kernel does not report {field}")


def _run_queue_wait_ns(proc: Path) -> int:
    """Over all threads; the second number of schedstat (kernel documentation, scheduler/sched-stats)."""
    waits = []
    for task in os.listdir(proc / "self/task"):  # noqa: PTH208 (read between two inferences: the cheapest way)
        try:
            with open(f"{proc}/self/task/{task}/schedstat") as file:
                waits.append(int(file.read().split()[1]))
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended meanwhile
    if not waits:
        raise FileNotFoundError(f"{proc}/self/task/*/schedstat")
    return sum(waits)


def _machine_times(proc: Path) -> tuple[float, float]:
    """Busy and stolen seconds of all CPUs: user, nice, system, irq, softirq; steal (proc_stat(5))."""
    with open(proc / "stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) * _TICK_S, steal * _TICK_S
