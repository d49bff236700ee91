"""Is a board quiet? A look of one second, as at this machine, by the board's own counters and sensors."""

from collections.abc import Iterator
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_profile.boards.beside import Counters, Watched, watched
from vlm_profile.machine import PRESSURE_PERCENT, fingerprint_of
from vlm_profile.preflight import LOOK_S, Disturbance, Preflight, hottest_in, idle_w_of
from vlm_profile.protocol import FULL
from vlm_targets.mirror import mirrored
from vlm_targets.reach import Machine

ANSWER_LIMIT_S = 60.0
GPU_LOAD_PERCENT = 10.0  # that a desktop may take


def look_at(machine: Machine, tree: Path) -> Preflight:
    """One second's look; `tree` is mirrored anew."""
    mirrored(machine, tree)
    return preflight_of(watched(machine, tree, ["sleep", f"{LOOK_S:g}"], ANSWER_LIMIT_S), tree)


def preflight_of(seen: Watched, tree: Path) -> Preflight:
    """What was seen while nothing of ours ran, but for the look itself."""
    values = [reading.values for reading in seen.readings]
    fingerprint = {**fingerprint_of(tree), **(hottest_in(values[-1]) if values else {})}
    if not seen.before or not seen.after:
        return Preflight(("the board's counters cannot be read",), fingerprint, Absent("nothing was read"))
    looks = _disturbances(seen.before, seen.after)
    sentences = tuple(f"{text} (limit: {limit:g})" for text, found, limit in looks if found > limit)
    return Preflight(sentences, fingerprint, idle_w_of(values, quiet=not sentences), values[-1] if values else {})


def _disturbances(before: Counters, after: Counters) -> Iterator[Disturbance]:
    seconds = max(0.01, after.uptime_s - before.uptime_s)
    busy = 100 * (after.busy_s - before.busy_s) / (seconds * after.cpus)
    yield f"others use {busy:.0f} % of the board's CPUs", busy, FULL.foreign_cpu_percent
    steal = 100 * (after.steal_s - before.steal_s) / (seconds * after.cpus)
    yield f"the hypervisor takes {steal:.0f} % of the board", steal, FULL.steal_percent
    for what, waited_s in after.waited_s.items():
        percent = 100 * (waited_s - before.waited_s.get(what, waited_s)) / seconds
        yield f"for {percent:.0f} % of the time some task waited for {what}", percent, PRESSURE_PERCENT
    load = before.gpu_load_percent or 0.0
    yield f"others use {load:.0f} % of the GPU", load, GPU_LOAD_PERCENT
