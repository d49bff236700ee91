"""Measurements of the workspace as anchors: which of them count, and what they say of the roofline."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.evidence import why_no_evidence
from vlm_contract.measurement import ArtifactUsed, Latency, Measurement
from vlm_profile.estimates.anchors import Anchor, shares_of
from vlm_profile.estimates.families import IN_A_GRAPH, Family, family_of
from vlm_profile.estimates.processors import processor_of, reference_of
from vlm_profile.estimates.roofline import CHARACTER_BATCH, Constants, kernels_of, seconds_by_group
from vlm_profile.graph.costs import Operation, whole_costs_of
from vlm_profile.graph.precision import precision_of
from vlm_profile.inputs import Shapes
from vlm_targets.catalogue import Hardware, Target

Models = Callable[[ArtifactUsed], "Path | None"]  # the ONNX file behind an artifact, where it is at hand


def is_evidence(record: Measurement) -> bool:
    """Whether a record may stand for a device: measured, valid, one call after the other, and by no double.

    A sustained run is of a hot device, threads that were held to chosen CPUs are of these, and sizes that the command
    gave are no part of the model's file.
    """
    setup, latency = record.setup, record.latency
    is_alone = setup.streams == 1 and isinstance(setup.fps, Absent)
    is_usual = not (record.settings.get("soak_s") or record.settings.get("input_shapes") or "cpus" in setup.options)
    is_told = isinstance(record.runtime.name, str) and isinstance(setup.batch, int)
    is_valid = record.evidence == "measured" and record.status == "valid" and not why_no_evidence(record)
    has_latency = isinstance(latency, Latency) and 0 < latency.latency_ms_p50 < math.inf
    return is_alone and is_usual and is_told and is_valid and has_latency


def is_plain(record: Measurement) -> bool:
    """Whether it ran as an estimate takes it to: no clocks locked, and no option that changes the work."""
    chosen = {name: value for name, value in record.setup.options.items() if (name, value) != ("cuda_graph", False)}
    return not chosen and not record.settings.get("clocks_locked")


def family_of_record(record: Measurement, hardware: Hardware) -> Family | None:
    """Of the runtime that it names, and of whether a CUDA graph launched the kernels; None where it ran elsewhere."""
    graph = IN_A_GRAPH if record.setup.options.get("cuda_graph") is True else ""
    return family_of(f"{record.runtime.name}{graph}", hardware)


def anchor_of_record(
    name: str, record: Measurement, target: Target, model: Path, constants: Constants, elsewhere: bool
) -> Anchor | None:
    """What a record says, on the target that it is of.

    None where its model cannot be counted, and where it names no power mode that the target is known to have: its peaks
    are not known then, and those of another mode would be put down to the model.
    """
    hardware, batch, mode = target.hardware, record.setup.batch, record.device.power_mode
    if target.power_modes and mode not in {each.name for each in target.power_modes}:
        return None
    assert isinstance(hardware, Hardware) and isinstance(record.latency, Latency) and isinstance(batch, int)
    family, threads = family_of_record(record, hardware), record.setup.threads
    try:
        precision, operations = precision_of(model, record.artifact), counted(model).operations
        used = threads if isinstance(threads, int) and hardware.kind == "cpu" else None
        processor = processor_of(target, precision, str(mode) if target.power_modes else None, used)
    except VlmError:
        return None
    if family is None:
        return None
    seconds = seconds_by_group(kernels_of(operations, batch, processor, family), constants)
    reference = reference_of(hardware, precision)
    character = seconds_by_group(kernels_of(operations, CHARACTER_BATCH, reference, family), constants)
    residual = math.log(record.latency.latency_ms_p50 * 1e-3 / sum(seconds))
    return Anchor(name, residual, shares_of(seconds), shares_of(character), elsewhere)


@dataclass(frozen=True)
class Counted:
    """What is counted of a model."""

    operations: dict[Operation, int]  # with how many are alike
    fixed_batch: int | None  # the only one that it takes
    guessed: tuple[str, ...]  # operators without weights that nothing is known of, as sentences


def counted(model: Path, shapes: Shapes | None = None) -> Counted:
    """What an ONNX file asks of a device; read once while it does not change. Raises VlmError where that is unknown."""
    state = model.stat()
    return _counted(model, state.st_mtime_ns, state.st_size, tuple(sorted((shapes or {}).items())))


@lru_cache(maxsize=256)
def _counted(model: Path, mtime_ns: int, size: int, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Counted:
    costs = whole_costs_of(model, dict(shapes))
    return Counted(dict(Counter(costs.operations)), costs.fixed_batch, costs.unknown)
