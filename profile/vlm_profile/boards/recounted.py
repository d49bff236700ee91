"""A board's record, counted again here from its own repetitions, by the code that made it there."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from vlm_contract.codec import Absent, encode, known
from vlm_contract.measurement import Measurement, Repetition
from vlm_profile.energy import POWER, energy_of, temperature_of
from vlm_profile.protocol import Protocol
from vlm_profile.recording import widened
from vlm_profile.statistics import (
    SHARED,
    cold_start_of,
    latency_of,
    memory_of,
    pacing_of,
    sustained_of,
    throughput_of,
)
from vlm_profile.verdicts import judge

FIGURES = ("latency", "throughput", "memory", "cold_start", "pacing", "sustained", "energy", "temperature")
WITHIN = 1e-6  # of a figure: versions of Python do not round alike
FAILURE_SHOWN = 600  # characters


def recounted(record: Measurement, protocol: Protocol) -> Measurement:
    """The record with the figures and the verdicts that its repetitions come to; what is absent keeps its reason.

    Raises ValueError saying what no run gives, or which figure is another than the samples come to.
    """
    if len(record.repetitions) > protocol.processes_max:
        raise ValueError(f"it has {len(record.repetitions)} processes, and {protocol.processes_max} at most were asked")
    for number, repetition in enumerate(record.repetitions, 1):
        if fault := _fault_in(repetition):
            raise ValueError(f"its process {number} {fault}")
    try:
        counted = _counted(record, protocol)
    except (ArithmeticError, LookupError):
        raise ValueError("its repetitions hold numbers that no run gives") from None
    for part in FIGURES:
        pair = encode(getattr(record, part)), encode(getattr(counted, part))
        for where, claimed, truth in _unlike(*pair, part):
            raise ValueError(f"its {where} is {claimed}, and its own samples come to {truth}")
    return replace(record, verdicts=counted.verdicts)


def _fault_in(repetition: Repetition) -> str:
    """What no process gives; empty where there is nothing of it."""
    if not repetition.samples_ns or min(repetition.samples_ns) <= 0 or repetition.measure_s <= 0:
        return "has no samples, or such as took no time"
    if min(_numbers_in(encode(replace(repetition, readings=())))) < 0:  # a sensor may say that it is freezing
        return "holds a negative number"
    ends = [0.0, *(window.at_s for window in repetition.context)]
    return "" if all(a < b for a, b in pairwise(ends)) else "has windows that do not follow each other"


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        yield min(value)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers_in(item)
    elif isinstance(value, (int, float)):
        yield value


def _counted(record: Measurement, protocol: Protocol) -> Measurement:
    """What `recording.measurement_of` makes of the same repetitions."""
    repetitions, setup = record.repetitions, record.setup
    failure = next((verdict.seen for verdict in record.verdicts if verdict.code == "worker"), "")[:FAILURE_SHOWN]
    failed = Absent(f"a process failed: {failure}") if failure else None
    claimed = record.energy
    idle_w = claimed if isinstance(claimed, Absent) else {POWER + claimed.sensor: claimed.idle_w}
    shared, model_bytes = record.memory.covers.startswith(SHARED), known(record.artifact.bytes)
    counted = replace(
        record,
        latency=failed or latency_of(repetitions),
        throughput=failed or throughput_of(repetitions, setup),
        memory=memory_of(repetitions, model_bytes, shared=shared),
        cold_start=failed or cold_start_of(repetitions),
        pacing=failed or pacing_of(repetitions, setup),
        sustained=failed or sustained_of(repetitions, protocol),
        energy=failed or energy_of(repetitions, setup, idle_w),
        temperature=failed or temperature_of(repetitions),
    )
    verdicts = judge(counted, protocol, failure=failure)
    if any(verdict.code == "neighbours" for verdict in verdicts):
        counted = widened(counted, protocol)
    return replace(counted, verdicts=verdicts)


def _unlike(claimed: Any, truth: Any, where: str) -> Iterator[tuple[str, str, str]]:
    """Where two encoded values differ, and both as text. Two that are absent are alike, whatever the reasons."""
    one, other = (isinstance(value, dict) and "absent" in value for value in (claimed, truth))
    if one or other:
        if one != other:
            yield where, "absent" if one else "given", "absent" if other else "given"
    elif isinstance(claimed, dict) and isinstance(truth, dict) and claimed.keys() == truth.keys():
        for key in claimed:
            yield from _unlike(claimed[key], truth[key], f"{where}.{key}")
    elif isinstance(claimed, list) and isinstance(truth, list) and len(claimed) == len(truth):
        for index, pair in enumerate(zip(claimed, truth, strict=True)):
            yield from _unlike(*pair, f"{where}[{index}]")
    elif not _alike(claimed, truth):
        yield where, _shown(claimed), _shown(truth)


def _alike(claimed: Any, truth: Any) -> bool:
    numbers: Sequence[type] = (int, float)
    if type(claimed) in numbers and type(truth) in numbers:
        return math.isclose(claimed, truth, rel_tol=WITHIN, abs_tol=1e-9)
    return bool(claimed == truth)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)[:80]
