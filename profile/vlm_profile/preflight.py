"""One look at the machine before anything is measured: its state, and whether others use it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_profile.energy import POWER
from vlm_profile.kernel import read_counters
from vlm_profile.machine import fingerprint_of
from vlm_profile.protocol import FULL
from vlm_profile.sensors import read_all, sensors
from vlm_profile.sensors.pi import KEY as PI_BITS
from vlm_profile.sensors.pi import NOW as PI_NOW

LOOK_S = 1.0


@dataclass(frozen=True)
class Preflight:
    """What was seen."""

    sentences: tuple[str, ...]  # what is not quiet, each with its limit
    fingerprint: dict[str, str]  # of the machine's state, for the record
    idle_w: float | Absent  # that the machine takes: of the sensor that says most

    @property
    def quiet(self) -> bool:
        return not self.sentences


def wait_until_quiet(
    seconds: float,
    line: LiveLine,
    look: Callable[[], Preflight] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Preflight:
    """Look again until the machine is quiet, for at most so many seconds; the last look, quiet or not."""
    look = look or preflight
    end = clock() + seconds
    while not (seen := look()).quiet and clock() < end:
        line.show(f"waiting for a quiet machine, at most {end - clock():.0f} s more: {seen.sentences[0]}")
    return seen


def preflight(root: Path = Path("/"), sleep: Callable[[float], None] = time.sleep) -> Preflight:
    """One second's look."""
    found = sensors(root)
    read_all(found)  # those that count energy say nothing at the first look
    try:
        before = read_counters(root / "proc", root / "sys")
        sleep(LOOK_S)
        seen = read_counters(root / "proc", root / "sys").since(before, LOOK_S)
    except OSError as error:
        return Preflight((f"the kernel's counters cannot be read: {error}",), {}, Absent("nothing was read"))
    values = read_all(found)
    foreign = 100 * (seen.our_cpus_busy_s - seen.cpu_s) / LOOK_S
    steal = 100 * seen.steal_s / LOOK_S
    gpu = max((value for key, value in values.items() if key.startswith("gpu_processes ")), default=0.0)
    bits = int(values.get(PI_BITS, 0)) & PI_NOW
    looks = (
        (f"others use {foreign:.0f} % of a CPU of ours", foreign, FULL.foreign_cpu_percent),
        (f"the hypervisor takes {steal:.0f} % of a CPU", steal, FULL.steal_percent),
        (f"{gpu:.0f} processes compute on the GPU", gpu, 0),
        (f"the Pi's firmware says {bits:#x}: under-voltage or throttled", bits, 0),
    )
    sentences = tuple(f"{text} (limit: {limit:g})" for text, found, limit in looks if found > limit)
    watts = [value for key, value in values.items() if key.startswith(POWER)]
    return Preflight(sentences, fingerprint_of(root), max(watts) if watts else Absent("no power sensor was read"))
