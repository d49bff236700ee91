"""Which CPUs a number of threads may be held to: those of as few cores as there are, or each a core of its own."""

from collections.abc import Sequence
from pathlib import Path

from vlm_profile.sensors._files import text_of


def pinnings(threads: int, cpus: Sequence[int], root: Path = Path("/")) -> tuple[str, ...]:
    """Choices of `threads` of these CPUs, as the option `cpus` takes them: "0,1". None where they take all.

    Where two hardware threads share a core there are two choices: whole cores, and one hardware thread of each core as
    far as they go. Elsewhere they are the same.
    """
    if threads >= len(cpus):
        return ()
    cores = cores_of(cpus, root)
    whole = [cpu for core in cores for cpu in core]
    spread = [core[i] for i in range(max(map(len, cores))) for core in cores if i < len(core)]
    return tuple(dict.fromkeys(",".join(map(str, sorted(order[:threads]))) for order in (whole, spread)))


def cores_of(cpus: Sequence[int], root: Path = Path("/")) -> list[list[int]]:
    """These CPUs by the core that they are hardware threads of; each alone where the kernel does not say."""
    cores: dict[str, list[int]] = {}
    for cpu in sorted(cpus):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        siblings = text_of(folder / "core_cpus_list") or text_of(folder / "thread_siblings_list")  # its older name
        cores.setdefault(siblings or str(cpu), []).append(cpu)
    return list(cores.values())
