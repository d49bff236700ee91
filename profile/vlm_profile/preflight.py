"""One look at the machine before anything is measured: what it is, and whether others use it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_profile.kernel import read_counters
from vlm_profile.protocol import FULL

LOOK_S = 1.0


@dataclass(frozen=True)
class Preflight:
    """What was seen."""

    sentences: tuple[str, ...]  # what is not quiet, each with its limit
    fingerprint: dict[str, str]  # of the machine's state, for the record
    idle_w: float | Absent  # that the machine takes

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
    while True:
        seen = look()
        if seen.quiet or clock() >= end:
            return seen
        line.show(f"waiting for a quiet machine: {seen.sentences[0]}")


def preflight(root: Path = Path("/"), sleep: Callable[[float], None] = time.sleep) -> Preflight:
    """One second's look."""
    try:
        before = read_counters(root / "proc", root / "sys")
        sleep(LOOK_S)
        seen = read_counters(root / "proc", root / "sys").since(before, LOOK_S)
    except OSError as error:
        return Preflight((f"the kernel's counters cannot be read: {error}",), {}, Absent("nothing was read"))
    foreign = 100 * (seen.our_cpus_busy_s - seen.cpu_s) / LOOK_S
    steal = 100 * seen.steal_s / LOOK_S
    limits = (
        (f"others use {foreign:.0f} % of a CPU of ours", foreign, FULL.foreign_cpu_percent),
        (f"the hypervisor takes {steal:.0f} % of a CPU", steal, FULL.steal_percent),
    )
    sentences = tuple(f"{text}; the limit is {limit:g} %" for text, found, limit in limits if found > limit)
    return Preflight(sentences, {}, Absent("no power sensor was looked for"))
