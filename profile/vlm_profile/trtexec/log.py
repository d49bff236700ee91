"""What a run's log tells beside its times. Wordings: logs of trtexec 8.2, 8.6 and 11.0."""

import re

from vlm_contract.codec import Absent
from vlm_export.tensorrt.trtexec import found

MIB = 2**20
# TensorRT's own counter of what it takes on the GPU, in whole MiB; and a context's exact size, from 10 on.
_GROWN = r"\[MemUsageChange\] TensorRT-managed allocation in {}: CPU [+-]\d+, GPU \+(\d+),"
_SOURCES = {
    "engine as loaded, in whole MiB": _GROWN.format("engine deserialization"),
    "execution contexts, in whole MiB": _GROWN.format("IExecutionContext creation"),
    "engine activations": r"Created execution context with device memory size: ([\d.]+) MiB",
}
NO_GRAPH = "not permitted under CUDA graph capture mode"


def memory_in(log: str) -> dict[str, int]:
    """Bytes by source, streams together; without what is under a MiB, which is told as 0."""
    told = {source: re.findall(pattern, log) for source, pattern in _SOURCES.items()}
    sums = {source: round(sum(map(float, sizes)) * MIB) for source, sizes in told.items()}
    return {source: size for source, size in sums.items() if size}


def load_s_in(log: str) -> float | Absent:
    """Seconds that the engine took to load."""
    said = found(r"Engine deserialized in ([\d.]+) sec", log)
    return float(said) if said else Absent("this trtexec does not tell how long it loads")


def fallback_in(log: str) -> str:
    """In words, that the CUDA graph which was asked for was given up; empty where it was not."""
    return "the engine cannot be captured in a CUDA graph: it was launched without" if NO_GRAPH in log else ""


def enqueue_ms_in(log: str) -> float | Absent:
    """Median time of the CPU to launch a call; of the summary, for the times' own points are rounded."""
    said = found(r"Enqueue Time: .*median = ([\d.e+-]+) ms", log)
    return float(said) if said else Absent("this trtexec does not tell how long it launches")
