"""What `trtexec --exportOutput` writes, read: an engine's outputs as text, with six digits of each number."""

import json
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_contract.console import printable
from vlm_contract.errors import CheckFailed
from vlm_contract.files import read_regular_file

DIGITS = 6  # of a C++ stream that nobody set: dumpBuffer() in samples/common/sampleUtils.cpp of NVIDIA/TensorRT
LIMIT_BYTES = 64 * 2**20
OUTPUTS_MAX = 1000
_DIMENSIONS = re.compile(r"\d{1,9}(x\d{1,9}){0,7}")
# One output: strings, then a list of numbers; and what stands behind it.
_OUTPUT = re.compile(rb'\s*(\{(?:[\s:,]|"(?:[^"\\]|\\.){0,2000}"){0,100})\[([^\[\]{}"]*)\]\s*\}\s*(,|\Z)', re.DOTALL)
# C++ streams print "nan", "-nan" and "inf", which Python reads, and JSON's only numbers.
_NUMBERS = re.compile(rb"[-+.0-9einfa,\s]*")
_BLOCK_BYTES = 2**16


@dataclass(frozen=True)
class Printed:
    """One output of an engine."""

    name: str
    shape: tuple[int, ...]
    values: "array[float]"  # as many as the shape says, the last dimension fastest; may be NaN or infinite


def printed_outputs(path: Path) -> tuple[Printed, ...]:
    """The outputs in a file. Raises CheckFailed where it is none that trtexec writes.

    The form: exportJSONOutput() in samples/common/sampleReporting.cpp of https://github.com/NVIDIA/TensorRT. Numbers
    are read by themselves: as a document of JSON they would take many times the file's memory.
    """
    text = read_regular_file(path, limit_bytes=LIMIT_BYTES).strip()
    try:
        return tuple(_outputs_in(text))
    except (ValueError, OverflowError, RecursionError) as error:
        raise CheckFailed(f"What trtexec wrote as the engine's outputs is damaged: {error}") from None


def printing_error(largest: float) -> float:
    """How far a number no larger than that is from what was printed of it, at most: half its last digit."""
    return 0.5 * 10.0 ** (math.floor(math.log10(largest)) + 1 - DIGITS) if largest else 0.0


def _outputs_in(text: bytes) -> Iterator[Printed]:
    at, end = 1, len(text) - 1
    if not (text.startswith(b"[") and text.endswith(b"]")) or not text[1:end].strip():
        raise ValueError("it is no list of outputs")
    for _ in range(OUTPUTS_MAX):
        found = _OUTPUT.match(text, at, end)
        if not found:
            raise ValueError("an output is not its name, its dimensions and its values")
        yield _printed(json.loads(found[1] + b"null}"), found[2])
        if not found[3]:
            return
        at = found.end()
    raise ValueError(f"it has over {OUTPUTS_MAX} outputs")


def _printed(said: dict[str, Any], numbers: bytes) -> Printed:
    """Of an output whose last member, as yet null, is a list of these numbers."""
    name, dimensions = said.get("name"), said.get("dimensions")
    if not (isinstance(name, str) and isinstance(dimensions, str) and [*said][-1] == "values"):
        raise ValueError("an output is not its name, its dimensions and its values")
    which = printable(f"{name[:80]!r} of {dimensions[:80]!r}")
    if not _DIMENSIONS.fullmatch(dimensions):
        raise ValueError(f"output {which} has no such dimensions")
    shape = tuple(map(int, dimensions.split("x")))
    count = numbers.count(b",") + 1 if numbers.strip() else 0
    if count != math.prod(shape):
        raise ValueError(f"output {which} has {count} values")
    try:
        return Printed(name, shape, _values_of(numbers if count else b""))
    except ValueError:
        raise ValueError(f"output {which} holds what is no number") from None


def _values_of(numbers: bytes) -> "array[float]":
    """Block by block. Raises ValueError for what is no number."""
    if not _NUMBERS.fullmatch(numbers):
        raise ValueError(f"expected numbers, found {numbers[:80]!r}")
    values, at = array("d"), 0
    while at < len(numbers):
        comma = numbers.find(b",", at + _BLOCK_BYTES)
        end = len(numbers) if comma < 0 else comma
        values.extend(map(float, numbers[at:end].split(b",")))
        at = end + 1
    return values
