"""What `trtexec --exportTimes` writes: one row a call, from samples/common/sampleReporting.cpp of NVIDIA/TensorRT.

Points in time are milliseconds since the run began, by the GPU's events; only those of the launch are the CPU's. They
are written with six digits: to 10 µs after a second, to 100 µs after ten. Durations are differences taken before that,
and as exact as the events. So every latency here is a duration, and only the whole wall is a difference of points.
"""

import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NoReturn

from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file

LIMIT_BYTES = 128 * 2**20  # some 350,000 calls
POINTS = ("startH2dMs", "endH2dMs", "startComputeMs", "endComputeMs", "startD2hMs", "endD2hMs")
DURATIONS = ("h2dMs", "computeMs", "d2hMs", "latencyMs")
RESOLUTION_MS = 2e-3  # of events on different streams, generously
DIGITS = 6  # of a float, as C++ streams print it
OVERLAP_MOST = 1.02  # of the wall, that the calls of a serial loop may fill
_ROW = re.compile(rb"\s*(\{[^{}\[\]]{0,2000}\})\s*(,|\Z)")  # some 400 bytes, and what stands behind it


@dataclass(frozen=True)
class Times:
    """The calls of one run, in the order in which they began."""

    warmup_ns: tuple[int, ...]  # of versions up to 8.4; later ones leave them out
    latency_ns: tuple[int, ...]  # copying in, computing and copying out
    compute_ns: tuple[int, ...]
    wall_s: float  # from the first call's copy in to the last one's copy out, by the GPU's events


def times_in(path: Path, warmup_ms: float, streams: int) -> Times:
    """Read what a run wrote. Raises VlmError where it is no such file, or says what cannot be."""
    text = read_regular_file(path, limit_bytes=LIMIT_BYTES)
    warm, measured = _Calls(), _Calls()
    try:
        for row in checked_rows(rows_in(text)):
            (warm if row["startComputeMs"] < warmup_ms else measured).take(row)
    except (ValueError, OverflowError, RecursionError) as error:
        raise VlmError(f"what trtexec wrote as its times is damaged: {error}") from None
    if not measured.latency_ns:
        raise VlmError("trtexec wrote no times after its warm-up")
    return _times(warm, measured, streams)


def rows_in(text: bytes) -> Iterator[Any]:
    """The rows of a list, one at a time: all at once they take many times the file's memory.

    Raises ValueError naming the first that is no flat set of numbers.
    """
    text = text.strip()
    if not (text.startswith(b"[") and text.endswith(b"]")):
        raise ValueError("it is no list of calls")
    at, end = 1, len(text) - 1
    for number in count(1):
        found = _ROW.match(text, at, end)
        if not found:
            if number == 1 and not text[1:end].strip():
                return
            raise ValueError(f"call {number} is no set of numbers")
        yield json.loads(found[1], parse_constant=_refused)
        if not found[2]:
            return
        at = found.end()


def checked_rows(rows: Iterable[Any]) -> Iterator[dict[str, float]]:
    """The same rows. Raises ValueError naming the first that no run can give."""
    before = 0.0
    for number, row in enumerate(rows, 1):
        if fault := _fault(row) or ("begins before the call before it" if row["startH2dMs"] < before else ""):
            raise ValueError(f"call {number} {fault}")
        before = row["startH2dMs"]
        yield row


@dataclass
class _Calls:
    """What is kept of rows."""

    latency_ns: "array[int]" = field(default_factory=lambda: array("q"))
    compute_ns: "array[int]" = field(default_factory=lambda: array("q"))
    begin_ms: float = math.inf
    end_ms: float = 0.0

    def take(self, row: Mapping[str, float]) -> None:
        self.latency_ns.append(round(row["latencyMs"] * 1e6))
        self.compute_ns.append(round(row["computeMs"] * 1e6))
        self.begin_ms = min(self.begin_ms, row["startH2dMs"])
        self.end_ms = max(self.end_ms, row["endD2hMs"])


def _fault(row: Mapping[str, Any]) -> str:
    """What is wrong with one row; empty where nothing is."""
    for name in (*POINTS, *DURATIONS):
        if type(row.get(name)) not in (int, float) or not math.isfinite(row[name]):
            return f"has no {name}"
        if row[name] < 0:
            return f"has a negative {name}"
    points = [row[name] for name in POINTS]
    if any(late < early - RESOLUTION_MS for early, late in pairwise(points)):
        return "ends before it begins"
    if row["computeMs"] <= 0 or not _same(row["latencyMs"], row["h2dMs"] + row["computeMs"] + row["d2hMs"]):
        return "has a latency that is not the sum of its parts"
    if row["latencyMs"] > points[-1] - points[0] + 4 * _unit(points[-1]):
        return "takes longer than from its begin to its end"
    return ""


def _times(warm: _Calls, measured: _Calls, streams: int) -> Times:
    wall_ms = measured.end_ms - measured.begin_ms
    busy = sum(measured.latency_ns) / 1e6 / (streams * wall_ms) if wall_ms else math.inf
    if busy > OVERLAP_MOST:
        raise VlmError(f"calls fill {busy:.2f} times the wall clock of each stream: they overlapped")
    return Times(
        warmup_ns=tuple(warm.latency_ns),
        latency_ns=tuple(measured.latency_ns),
        compute_ns=tuple(measured.compute_ns),
        wall_s=wall_ms / 1e3,
    )


def _unit(value: float) -> float:
    """The last digit of a number as it is written."""
    return 10.0 ** (math.floor(math.log10(value)) + 1 - DIGITS) if value > 0 else 0.0


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= RESOLUTION_MS + 4 * _unit(max(a, b))


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")
