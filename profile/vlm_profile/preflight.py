"""One look at the machine before anything is measured: its state, and whether others use it."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_contract.measurement import Context
from vlm_profile.energy import POWER, TEMPERATURE
from vlm_profile.kernel import read_counters
from vlm_profile.machine import PRESSURE_PERCENT, fingerprint_of
from vlm_profile.protocol import FULL
from vlm_profile.sensors import read_all, sensors
from vlm_profile.sensors._files import text_of
from vlm_profile.sensors.nvml import THERMAL
from vlm_profile.sensors.pi import KEY as PI_BITS
from vlm_profile.sensors.pi import NOW as PI_NOW

LOOK_S, READINGS = 1.0, 5
DEVICES = ("cpu", "cuda")  # that a runtime may compute on

Disturbance = tuple[str, float, float]  # in words, what was found, and its limit


@dataclass(frozen=True)
class Preflight:
    """What was seen."""

    sentences: tuple[str, ...]  # what is not quiet, each with its limit
    fingerprint: dict[str, str]  # of the machine's state, for the record
    idle_w: dict[str, float] | Absent  # that each power sensor gave, mean over the look, by its key
    values: dict[str, float] = field(default_factory=dict)  # of all sensors, at the look's end

    @property
    def quiet(self) -> bool:
        return not self.sentences


def wait_until_quiet(
    seconds: float,
    line: LiveLine,
    look: Callable[[], Preflight] | None = None,
    clock: Callable[[], float] = time.monotonic,
    devices: Collection[str] = DEVICES,
) -> Preflight:
    """Look again until the machine is quiet, for at most so many seconds; the last look, quiet or not.

    `devices` are those that the rows compute on: who else uses a GPU does not concern those of the CPU.
    """
    look = look or (lambda: preflight(devices=devices))
    end = clock() + seconds
    while not (seen := look()).quiet and clock() < end:
        line.show(f"waiting for a quiet machine, at most {end - clock():.0f} s more: {seen.sentences[0]}")
    return seen


def preflight(
    root: Path = Path("/"),
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    devices: Collection[str] = DEVICES,
) -> Preflight:
    """One second's look, for rows on these devices."""
    found, proc, sys = sensors(root), root / "proc", root / "sys"
    read_all(found)  # those that count energy say nothing at the first look
    try:
        began_s, before, waited = clock(), read_counters(proc, sys), _waited_s(proc)
        readings = [_later(lambda: read_all(found), sleep) for _ in range(READINGS)]
        seen = read_counters(proc, sys).since(before, clock() - began_s)
    except OSError as error:
        return Preflight((f"the kernel's counters cannot be read: {error}",), {}, Absent("nothing was read"))
    pressure = {what: total_s - waited[what] for what, total_s in _waited_s(proc).items()}
    looks = (*_by_others(seen, proc), *_waiting(seen, pressure, proc), *_sensed(readings[-1], devices))
    sentences = tuple(f"{text} (limit: {limit:g})" for text, found, limit in looks if found > limit)
    fingerprint = {**fingerprint_of(root), **hottest_in(readings[-1])}
    return Preflight(sentences, fingerprint, idle_w_of(readings, quiet=not sentences), readings[-1])


def _later(read: Callable[[], dict[str, float]], sleep: Callable[[float], None]) -> dict[str, float]:
    sleep(LOOK_S / READINGS)
    return read()


def _by_others(seen: Context, proc: Path) -> Iterator[Disturbance]:
    """In the verdicts' own shares: of our CPUs, and of the machine."""
    foreign = 100 * (seen.our_cpus_busy_s - seen.cpu_s) / (seen.at_s * len(os.sched_getaffinity(0)))
    yield f"others use {foreign:.0f} % of our CPUs", foreign, FULL.foreign_cpu_percent
    steal = 100 * seen.steal_s / (seen.at_s * _cpus(proc))
    yield f"the hypervisor takes {steal:.0f} % of the machine", steal, FULL.steal_percent


def _waiting(seen: Context, waited_s: Mapping[str, float], proc: Path) -> Iterator[Disturbance]:
    """Pressure stalls. Where some CPUs are not ours, those that wait for them are no concern of ours."""
    concerns_us = {"cpu": len(os.sched_getaffinity(0)) >= _cpus(proc), "memory": True}
    for what, waited in waited_s.items():
        percent = 100 * waited / seen.at_s
        if concerns_us[what]:
            yield f"for {percent:.0f} % of the time some task waited for {what}", percent, PRESSURE_PERCENT


def _sensed(values: Mapping[str, float], devices: Collection[str]) -> Iterator[Disturbance]:
    if "cuda" in devices:
        gpu = max((value for key, value in values.items() if key.startswith("gpu_processes ")), default=0.0)
        yield f"{gpu:.0f} processes compute on the GPU", gpu, 0
        reasons = [int(value) & THERMAL for key, value in values.items() if key.startswith("gpu_throttle_bits ")]
        hot = max(reasons, default=0)
        yield f"the GPU's driver says {hot:#x}: it slows down for heat or for its power supply", hot, 0
    bits = int(values.get(PI_BITS, 0)) & PI_NOW
    yield f"the Pi's firmware says {bits:#x}: under-voltage or throttled", bits, 0


def idle_w_of(readings: Sequence[Mapping[str, float]], *, quiet: bool) -> dict[str, float] | Absent:
    keys = sorted({key for values in readings for key in values if key.startswith(POWER)})
    if not keys:
        return Absent("no power sensor was read")
    if not quiet:
        return Absent("the machine was not quiet when it was looked at")
    return {key: fmean(values[key] for values in readings if key in values) for key in keys}


def hottest_in(values: Mapping[str, float]) -> dict[str, str]:
    """Empty where nothing says how warm it is."""
    found = [(value, key.removeprefix(TEMPERATURE)) for key, value in values.items() if key.startswith(TEMPERATURE)]
    return {"hottest_c": "{:.1f} ({})".format(*max(found))} if found else {}


def _waited_s(proc: Path) -> dict[str, float]:
    """Seconds in which some task waited, since the machine began (kernel: psi.rst); 0 where nobody counts them."""
    totals = {what: text_of(proc / "pressure" / what).partition("total=")[2].split() for what in ("cpu", "memory")}
    return {what: int(words[0]) / 1e6 if words else 0.0 for what, words in totals.items()}


def _cpus(proc: Path) -> int:
    """Of the machine (proc_stat(5))."""
    return sum(line.startswith("cpu") for line in text_of(proc / "stat").splitlines()) - 1
