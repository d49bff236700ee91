"""The record of an estimate: what is said, of what, on which grounds, and what would make it better."""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.measurement import (
    ArtifactUsed,
    Device,
    Estimate,
    Latency,
    Measurement,
    Memory,
    RuntimeUsed,
    Setup,
    Throughput,
)
from vlm_contract.workspace import Workspace
from vlm_profile.estimates.assumed import assumed_of, improved_by
from vlm_profile.estimates.intervals import COVERAGE_PERCENT, interval_of
from vlm_profile.estimates.ladder import Ladder, Standing, ladder_of
from vlm_profile.estimates.memory.peak import ONNXRUNTIME, SOURCES, TENSORRT, memory_of
from vlm_profile.estimates.recorded import Models, counted
from vlm_profile.graph.precision import precision_of
from vlm_profile.inputs import Shapes
from vlm_targets.catalogue import Hardware, Target, limits_of

PROTOCOL = "estimate-1"
SCOPE = "one inference, copies left out"
_NOT = Absent("estimated: nothing ran")
_METHODS = {
    "calibrated": "a roofline a kernel, corrected by models that were measured on this device",
    "family": "a roofline a kernel, corrected by a device of the same family with this runtime and precision",
    "published": "a roofline a kernel, corrected by published rows of this device",
    "specifications": "a roofline a kernel from the data sheet alone, with efficiencies fitted on other devices",
}


def estimate_of(
    model: Path,
    artifact: ArtifactUsed,
    batch: int,
    target: Target,
    *,
    runtime: str = "auto",
    power_mode: str | None = None,
    threads: int | None = None,
    workspace: Workspace | None = None,
) -> Measurement:
    """What an ONNX model would do on a target; the record itself where this was measured there.

    The workspace's own measurements are anchors. Raises VlmError where nothing is known of the target, where it has no
    such power mode, and where the model cannot be counted.
    """
    records = {} if workspace is None else workspace.measurements().records
    models: Models = (lambda _: None) if workspace is None else models_of(workspace)
    return estimate_on(ladder_of(target, runtime, power_mode, threads, records, models), model, artifact, batch)


def estimate_on(
    ladder: Ladder,
    model: Path,
    artifact: ArtifactUsed,
    batch: int,
    shapes: Shapes | None = None,
    typed: Sequence[str] = (),
) -> Measurement:
    """The same from a ladder that several models share.

    `shapes` are those of inputs that the file leaves open; `typed` are the words after `vlm-profile --target NAME` that
    measure this row.
    """
    if batch < 1:
        raise VlmError(f"A batch has one image at least, not {batch}.", hint="--batch 1")
    known = None if shapes else ladder.measured(artifact, batch)
    if known is not None:
        return known
    precision = precision_of(model, artifact)
    ladder.processor(precision)  # so that a device without the precision is named, before the file is counted
    _check_batch(model, artifact, batch, shapes)
    memory = _memory(model, batch, precision, ladder, shapes)
    _check_fits(memory, artifact, batch, ladder)
    standing = ladder.stand(model, precision, batch, shapes)
    low, high = interval_of(standing.seconds * 1e3, standing.half_width)
    low = max(low, standing.least_seconds * 1e3)
    words = shlex.join(typed or ("--artifact", str(model), "--batch", str(batch)))
    return Measurement(
        target=ladder.target.name,
        evidence="estimated",
        protocol=PROTOCOL,
        settings={"mode": "estimate", "input_shapes": _shapes_in_words(shapes or {})},
        device=_device(ladder),
        runtime=RuntimeUsed(ladder.runtime, _NOT, _NOT, {}),
        artifact=artifact,
        setup=Setup(batch, _threads(ladder, precision), 1, SCOPE, Absent("no frame rate"), {}),
        latency=_latency(standing.seconds * 1e3, low, high),
        throughput=_throughput(ladder, precision, batch, standing.seconds * 1e3, low, high),
        memory=memory,
        cold_start=_NOT,
        pacing=_NOT,
        sustained=_NOT,
        energy=_NOT,
        temperature=_NOT,
        estimate=_estimate(ladder, standing, low, assumed_of(ladder, precision, counted(model, shapes).guessed), words),
        origin=Absent("estimated"),
        verdicts=(),
        repetitions=(),
        environment={"constants_fitted": ladder.fit.fitted_utc},
        measured_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def models_of(workspace: Workspace, files: Mapping[str, Path] | None = None) -> Models:
    """Where a record's ONNX model lies in the workspace: of an engine, that of the same run and precision.

    `files` are ONNX files made elsewhere, by the sha256 that their records name.
    """
    manifests = {path.parent.name: (path.parent, manifest) for path, manifest in workspace.manifests().records.items()}

    def model_of(artifact: ArtifactUsed) -> Path | None:
        if artifact.name not in manifests:
            return (files or {}).get(str(artifact.sha256))
        _, wanted = manifests[artifact.name]
        for folder, manifest in manifests.values():
            same = (manifest.run, manifest.precision) == (wanted.run, wanted.precision)
            path = folder / manifest.files[0].name
            if same and manifest.format == "onnx" and path.is_file():
                return path
        return None

    return model_of


def _device(ladder: Ladder) -> Device:
    hardware, unseen = ladder.hardware, Absent("nobody asked it: an estimate")
    is_gpu = hardware.kind == "gpu"
    mode = limits_of(ladder.target, ladder.power_mode).power_mode
    return Device(
        name=ladder.target.title,
        cpu=unseen if is_gpu else hardware.chip,
        cpus=unseen if is_gpu else hardware.cores,
        usable_cpus=unseen if is_gpu else hardware.cores,
        memory_bytes=unseen,
        gpu=hardware.chip if is_gpu else Absent("the CPU computes"),
        power_mode=mode,
        system=unseen,
        machine=unseen,
    )


def _threads(ladder: Ladder, precision: str) -> int | Absent:
    if ladder.hardware.kind == "gpu":
        return Absent("a GPU computes")
    return ladder.processor(precision).threads


def _latency(middle: float, low: float, high: float) -> Latency:
    names = ("floor", "p90", "p95", "p99", "mean", "std", "mad", "min", "max")
    figures = dict.fromkeys(names, Absent("an estimate is of the median alone"))
    return Latency(
        latency_ms_p50=middle,
        latency_ms_p50_low=low,
        latency_ms_p50_high=high,
        outliers=_NOT,
        samples=_NOT,
        processes=_NOT,
        first_inference_ms=_NOT,
        cpu_ms_per_inference=_NOT,
        device_ms_p50=_NOT,
        **{f"latency_ms_{name}": value for name, value in figures.items()},
    )


def _throughput(ladder: Ladder, precision: str, batch: int, middle: float, low: float, high: float) -> Throughput:
    return Throughput(
        images_per_s=1e3 * batch / middle,
        images_per_s_low=1e3 * batch / high,
        images_per_s_high=1e3 * batch / low,
        batch=batch,
        streams=1,
        threads=_threads(ladder, precision),
        obtained="estimated: the batch over the estimated latency, one call after the other",
    )


def _check_batch(model: Path, artifact: ArtifactUsed, batch: int, shapes: Shapes | None) -> None:
    """Raise VlmError where the file fixes another batch."""
    fixed = counted(model, shapes).fixed_batch
    if fixed not in (None, batch):
        raise VlmError(
            f"{artifact.name} takes batch {fixed} only: no figures for batch {batch}.", hint=f"--batch {fixed}"
        )


def _check_fits(memory: Memory, artifact: ArtifactUsed, batch: int, ladder: Ladder) -> None:
    """Raise VlmError where a row takes more memory than the device has; of one that is sold with several, the most."""
    taken, most = sum(memory.by_source.values()), _memory_bytes(ladder.hardware)[-1]
    if taken > most:
        raise VlmError(
            f"{artifact.name} at batch {batch} does not fit on {ladder.target.title}: it takes some "
            f"{taken / 2**30:.1f} GiB, and there are {most / 2**30:g}.",
            hint="a smaller --batch",
        )


def _memory_bytes(hardware: Hardware) -> list[float]:
    """What it is sold with, the least first: "1-8" is 1 and 8."""
    return sorted(float(number) * 2**30 for number in re.findall(r"[\d.]+", str(hardware.memory_gb)))


def _shapes_in_words(shapes: Shapes) -> str:
    """As a measurement's settings have them."""
    return " ".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in sorted(shapes.items()))


def _memory(model: Path, batch: int, precision: str, ladder: Ladder, shapes: Shapes | None) -> Memory:
    runtime = TENSORRT if ladder.hardware.kind == "gpu" else ONNXRUNTIME
    given = tuple(sorted((shapes or {}).items()))
    found = _memory_of(model, model.stat().st_mtime_ns, batch, precision, runtime, given)
    whole = sum(found.values())
    on_card = ladder.hardware.kind == "gpu" and not ladder.hardware.shared_memory
    elsewhere = Absent("estimated: the GPU has a memory of its own, and the process's is not estimated")
    return Memory(
        peak_rss_bytes=_NOT,
        model_rss_bytes=elsewhere if on_card else whole,
        device_peak_bytes=whole if on_card else Absent("CPU and GPU share one memory, or there is no GPU"),
        by_source=dict(found),
        covers="estimated: " + "; ".join(f"{name}: {SOURCES[name]}" for name in found),
    )


@lru_cache(maxsize=256)
def _memory_of(
    model: Path,
    mtime_ns: int,
    batch: int,
    precision: str,
    runtime: str,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
) -> Mapping[str, int]:
    return memory_of(model, batch, precision, runtime, shapes=dict(shapes))


def _estimate(ladder: Ladder, standing: Standing, low_ms: float, assumed: dict[str, str], typed: str) -> Estimate:
    return Estimate(
        rung=standing.rung,
        method=_METHODS[standing.rung],
        coverage_percent=COVERAGE_PERCENT,
        factor_low=standing.seconds * 1e3 / low_ms,
        factor_high=math.exp(standing.half_width),
        anchors=standing.anchors,
        assumed=assumed,
        improved_by=improved_by(ladder, standing, typed),
    )
