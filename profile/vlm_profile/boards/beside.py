"""A command on a board, and what the board's sensors and counters said meanwhile.

It is all one command of the connection: whatever ends it ends what reads the sensors, too.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from vlm_contract.codec import Absent
from vlm_contract.measurement import Context, Reading
from vlm_profile.sensors import read_all, sensors
from vlm_targets.jetson import GPU
from vlm_targets.mirror import sampled_files
from vlm_targets.reach import Machine
from vlm_targets.sampling import readings_from, sampled_beside
from vlm_targets.ssh import Done

SAMPLES_LIMIT_BYTES = 64 * 2**20
COUNTERS_LIMIT_BYTES = 2**18
_LOOK_LIMIT_S = 30.0
_SHELL_TIMES = re.compile(r"^(\d{1,9})m(\d{1,2}[.,]\d{1,9})s (\d{1,9})m(\d{1,2}[.,]\d{1,9})s$", re.MULTILINE)
_TICKS_A_S = 100  # USER_HZ, of every Linux on Arm and on x86 (time(7))

# $1: where to write; then the command. Memory is looked at by builtins alone: a process for each look would be a load.
_COUNTED = r"""
base=$1; shift
proc=${VLM_EDGE_ROOT:-}/proc sys=${VLM_EDGE_ROOT:-}/sys
count() {
  echo "$(cat /proc/uptime) $(date +%s.%N)"
  times
  grep '^cpu' "$proc/stat"
  grep '^MemAvailable' "$proc/meminfo"
  grep -H '^some' "$proc/pressure/cpu" "$proc/pressure/memory"
  grep -H . "$sys"/class/devfreq/*/device/load
}
watch() {
  least=
  while sleep 0.2 || sleep 1; do
    while read -r name kb _; do [ "$name" != MemAvailable: ] || break; done <"$proc/meminfo"
    [ -n "$least" ] && [ "$kb" -ge "$least" ] || { least=$kb; echo "LeastAvailable: $least kB" >"$base.least"; }
  done
}
count >"$base.counters" 2>/dev/null
watch >/dev/null 2>&1 </dev/null &
watch=$!
"$@"
code=$?
kill "$watch" 2>/dev/null; wait "$watch" 2>/dev/null
{ echo; count; cat "$base.least"; } >>"$base.counters" 2>/dev/null
exit "$code"
"""


@dataclass(frozen=True)
class Counters:
    """Running totals of a board's kernel; the difference of two is what happened between."""

    uptime_s: float
    epoch_s: float  # the same time by the board's clock, which may be wrong, and may be put right meanwhile
    ours_s: float  # of CPUs, that the command took, and what watches it
    busy_s: float  # of all CPUs
    steal_s: float
    cpus: int
    waited_s: Mapping[str, float]  # in which some task waited for "cpu" or "memory"; empty where nobody counts
    available_bytes: int | None  # that could be given without swapping; None where an old kernel does not say
    gpu_load_percent: float | None  # at this moment


@dataclass(frozen=True)
class Watched:
    """What a command came to."""

    done: Done
    readings: tuple[Reading, ...]  # by the board's clock
    before: Counters | None  # None where the board's kernel gives no such lines
    after: Counters | None
    least_available_bytes: int | None


def watched(machine: Machine, tree: Path, arguments: Sequence[str], timeout_s: float) -> Watched:
    """Run a command, and read sensors and counters meanwhile; `tree` is the machine's own, mirrored.

    Raises VlmError as `Machine.run` does.
    """
    base, files = f"{machine.folder}/beside-{secrets.token_hex(4)}", sampled_files(tree)  # samples are appended
    counted = ["sh", "-c", _COUNTED, "sh", base, *arguments]
    done = machine.run(sampled_beside(counted, files, f"{base}.samples"), timeout_s)
    found = sensors(tree)
    samples = _text_of(machine, f"{base}.samples", SAMPLES_LIMIT_BYTES)
    said = _text_of(machine, f"{base}.counters", COUNTERS_LIMIT_BYTES)
    before, _, end = said.partition("\n\n")
    after = counters_in(end)
    began_s = after.epoch_s - after.uptime_s if after else 0.0  # when the board began
    readings = readings_from(samples, files, tree, lambda: read_all(found))
    return Watched(
        done=done,
        readings=tuple(replace(reading, at_s=reading.at_s + began_s) for reading in readings) if after else (),
        before=counters_in(before),
        after=after,
        least_available_bytes=_kb("LeastAvailable", end),
    )


def context_of(seen: Watched) -> tuple[Context, ...]:
    """What the kernel counted over the whole command, in one window; empty where it gave no such lines."""
    if not seen.before or not seen.after:
        return ()
    before, after = seen.before, seen.after
    busy_s = after.busy_s - before.busy_s
    window = Context(
        at_s=max(0.01, after.uptime_s - before.uptime_s),
        run_queue_wait_s=Absent("a board counts that of all tasks together"),
        cpu_s=after.ours_s - before.ours_s,
        involuntary_switches=Absent("a board does not count those of a command"),
        machine_busy_s=busy_s,
        our_cpus_busy_s=busy_s,
        steal_s=after.steal_s - before.steal_s,
        cpu_mhz=Absent("a board's clocks are read by its sensors"),
    )
    return (window,)


def counters_in(text: str) -> Counters | None:
    """Of the kernel's own lines: proc_stat(5), psi.rst; of a Tegra's GPU the load in tenths of a percent.

    And of the shell's `times`, as POSIX has it: its own, and in the next line that of what it ran.
    """
    times = re.match(r"(\d{1,12}\.\d+) \S+ (\d{1,12}\.\d+)$", text, re.MULTILINE)
    rows = re.findall(r"^cpu\d*((?: +\d{1,18}){8})", text, re.MULTILINE)
    of_shells = _SHELL_TIMES.findall(text)
    if not times or not rows or len(of_shells) != 2:
        return None
    of_children = of_shells[1][:2], of_shells[1][2:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, rows[0].split())
    told = re.findall(r"/devfreq/([^/\n]+)/device/load:(\d{1,4})$", text, re.MULTILINE)
    loads = [int(load) / 10 for name, load in told if GPU.fullmatch(name)]
    return Counters(
        uptime_s=float(times[1]),
        epoch_s=float(times[2]),
        ours_s=sum(60 * int(minutes) + float(seconds.replace(",", ".")) for minutes, seconds in of_children),
        busy_s=(user + nice + system + irq + softirq) / _TICKS_A_S,
        steal_s=steal / _TICKS_A_S,
        cpus=max(1, len(rows) - 1),
        waited_s={what: int(us) / 1e6 for what, us in re.findall(r"/(cpu|memory):some .*total=(\d{1,18})", text)},
        available_bytes=_kb("MemAvailable", text),
        gpu_load_percent=max(loads, default=None),
    )


def _kb(name: str, text: str) -> int | None:
    found = re.search(rf"^{name}: +(\d{{1,15}}) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _text_of(machine: Machine, remote: str, limit_bytes: int) -> str:
    """A file of the board; empty where there is none, because nothing could be written there."""
    if machine.run(["test", "-f", remote], _LOOK_LIMIT_S).code != 0:
        return ""
    with TemporaryDirectory(prefix="vlm-beside-") as folder:
        machine.pull(remote, Path(folder) / "text", limit_bytes)
        return (Path(folder) / "text").read_text(errors="replace")
