"""What the kernel knows of this process and of the machine: run-queue wait, CPU time, steal, memory."""

import os
import resource
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.measurement import Context

PROC, SYS = Path("/proc"), Path("/sys")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Counters:
    """Running totals; the difference of two is a `Context`."""

    run_queue_wait_s: float
    cpu_s: float
    involuntary_switches: int
    machine_busy_s: float
    steal_s: float
    our_cpus_busy_s: float
    cpu_mhz: float | Absent  # now

    def since(self, earlier: "Counters", at_s: float) -> Context:
        """What happened from `earlier` to here. A thread that ended takes its wait along: never below zero."""
        return Context(
            at_s=at_s,
            run_queue_wait_s=max(0.0, self.run_queue_wait_s - earlier.run_queue_wait_s),
            cpu_s=self.cpu_s - earlier.cpu_s,
            involuntary_switches=self.involuntary_switches - earlier.involuntary_switches,
            machine_busy_s=self.machine_busy_s - earlier.machine_busy_s,
            our_cpus_busy_s=self.our_cpus_busy_s - earlier.our_cpus_busy_s,
            steal_s=self.steal_s - earlier.steal_s,
            cpu_mhz=self.cpu_mhz,
        )


def read_counters(proc: Path = PROC, sys: Path = SYS) -> Counters:
    """The totals now. Raises OSError where this kernel does not count them."""
    ours = os.sched_getaffinity(0)
    busy_s, steal_s, our_cpus_busy_s = _machine_times(proc, ours)
    return Counters(
        run_queue_wait_s=_run_queue_wait_ns(proc) / 1e9,
        cpu_s=time.process_time(),
        involuntary_switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
        machine_busy_s=busy_s,
        steal_s=steal_s,
        our_cpus_busy_s=our_cpus_busy_s,
        cpu_mhz=cpu_mhz(ours, proc, sys),
    )


def cpu_mhz(cpus: Collection[int], proc: Path = PROC, sys: Path = SYS) -> float | Absent:
    """The fastest clock among these CPUs, of which some may be idle: cpufreq's, else that of /proc/cpuinfo."""
    clocks = [_scaling_mhz(sys, cpu) for cpu in cpus]
    if not all(clocks):
        clocks = _cpuinfo_mhz(proc, cpus)
    if not clocks or not all(clocks):
        return Absent("the kernel does not report the CPUs' clock")
    return max(clocks)


def thread_cpu_s(proc: Path = PROC) -> dict[int, float]:
    """CPU seconds of each thread of this process, by its id; empty where the kernel does not count them."""
    return {task: on_cpu_ns / 1e9 for task, (on_cpu_ns, _) in _schedstats(proc).items()}


def reset_peak(proc: Path = PROC) -> bool:
    """Let the high-water mark begin anew at the present size (proc_pid_clear_refs(5), value 5); whether it does.

    Where it does not, the mark covers the process from its start: still a peak, but no growth can be told from it.
    """
    try:
        (proc / "self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


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
    waits = [wait_ns for _, wait_ns in _schedstats(proc).values()]
    if not waits:
        raise FileNotFoundError(f"{proc}/self/task/*/schedstat")
    return sum(waits)


def _schedstats(proc: Path) -> dict[int, tuple[int, int]]:
    """Nanoseconds on a CPU and waiting for one, by thread."""
    found = {}
    for task in os.listdir(proc / "self/task"):  # noqa: PTH208 (read between two inferences: the cheapest way)
        try:
            with open(f"{proc}/self/task/{task}/schedstat") as file:
                on_cpu, waiting = file.read().split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended meanwhile
        found[int(task)] = int(on_cpu), int(waiting)
    return found


def _machine_times(proc: Path, ours: Collection[int]) -> tuple[float, float, float]:
    """Busy and stolen seconds of all CPUs, and busy ones of `ours`."""
    with open(proc / "stat") as file:
        lines = [line.split() for line in file if line.startswith("cpu")]
    busy = {name: _busy_s(fields) for name, *fields in lines}
    return busy["cpu"], int(lines[0][8]) * _TICK_S, sum(busy.get(f"cpu{cpu}", 0.0) for cpu in ours)


def _busy_s(fields: Sequence[str]) -> float:
    """User, nice, system, irq, softirq (proc_stat(5))."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) * _TICK_S


def _scaling_mhz(sys: Path, cpu: int) -> float:
    """0 where there is no cpufreq."""
    try:
        with open(f"{sys}/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq") as file:
            return int(file.read()) / 1000
    except (OSError, ValueError):
        return 0.0


def _cpuinfo_mhz(proc: Path, cpus: Collection[int]) -> list[float]:
    """Of the processors in their order; none on machines whose cpuinfo names no clock, as on Arm."""
    try:
        with open(proc / "cpuinfo") as file:
            clocks = [float(line.rpartition(":")[2]) for line in file if line.startswith("cpu MHz")]
    except (OSError, ValueError):
        return []
    return [clock for cpu, clock in enumerate(clocks) if cpu in cpus]
