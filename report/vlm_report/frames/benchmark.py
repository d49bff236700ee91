"""Measurements, estimates and reported figures, one row each; and how good the estimates were."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.conditions import figure_at
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Estimate, Measurement, Throughput
from vlm_contract.reported import ReportedModel
from vlm_profile.rows import how_it_ran
from vlm_report.figures import FIGURES, figure_of
from vlm_report.frames.machines import machine_of
from vlm_report.frames.reported import model_reported
from vlm_report.records import Entry, Records

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Bench:
    """What a row says beside its figures, which are columns by their names in FIGURES.

    A figure stands where its record is valid; else it is absent, and says which verdict is against it.
    """

    artifact: str
    model: str
    run: str | Absent  # that the artifact was exported from
    data: str | Absent  # that the run was trained on
    samples: int | Absent
    seed: int | Absent
    accuracy_images: int | Absent  # that the accuracy of the artifact is a share of
    format: str | Absent
    precision: str | Absent
    target: str | Absent
    device: str | Absent  # in words
    power_mode: str | Absent
    runtime: str | Absent  # with what is unlike its usual options
    batch: int | Absent
    threads: int | Absent
    streams: int | Absent
    fps: float | Absent
    scope: str | Absent  # what the clock covers
    throughput_obtained: str | Absent
    throughput_batch: int | Absent
    memory_by_source: dict[str, int] | Absent  # bytes
    memory_covers: str | Absent
    rung: str | Absent  # of an estimate
    coverage_percent: float | Absent  # of an estimate's interval
    improved_by: str | Absent  # what would narrow an estimate most
    origin: str | Absent  # of what is reported
    standing: str  # "valid", "not measured", "refused", or the verdict that stands where the figures would
    labels: tuple[str, ...]  # what is to be known beside the evidence: "quick", warnings' codes
    evidence: str | Absent  # "measured", "estimated" or "reported"; absent where there are no figures
    to_type: str  # the command that makes the figures, where there are none
    measured_utc: str | Absent
    record: str
    manifest_record: str  # empty where there is none


@dataclass(frozen=True)
class Judged:
    """An estimate beside what was measured later, latencies of one call in milliseconds."""

    model: str
    artifact: str
    target: str
    runtime: str
    batch: int
    rung: str
    coverage_percent: float
    estimated_ms_p50: float
    estimated_ms_p50_low: float | Absent
    estimated_ms_p50_high: float | Absent
    measured_ms_p50: float
    ratio: float  # estimated over measured
    within: bool | Absent  # whether the interval held it
    evidence: str  # "estimated"
    record: str
    measured_record: str


def benchmark_frame(records: Records) -> Any:
    """A pandas frame of Bench's columns and FIGURES', one row an entry that nothing supersedes."""
    import pandas as pd

    cards = {card.run: card for card in records.cards.values()}
    manifests = {id(manifest): records.within(path) for path, manifest in records.manifests.items()}
    sizes = list(records.reported_models.values())
    rows = [_row(records, entry, cards, manifests, sizes) for entry in standing_entries(records)]
    return pd.DataFrame(rows, columns=[field.name for field in fields(Bench)] + list(FIGURES), dtype=object)


def standing_entries(records: Records) -> list[Entry]:
    """Every entry but estimates of what was measured, validly, on the same target, with the same runtime and batch."""
    measured = _measured(records.entries())
    return [entry for entry in records.entries() if not (_is(entry, "estimated") and _key(entry) in measured)]


def judged_estimates(records: Records) -> list[Judged]:
    """Every superseded estimate beside the newest measurement that superseded it."""
    measured = _measured(records.entries())
    pairs = ((entry, measured.get(_key(entry))) for entry in records.entries() if _is(entry, "estimated"))
    judged = (_judged(entry, truth, records) for entry, truth in pairs if truth)
    return [row for row in judged if row]


def _measured(entries: Iterable[Entry]) -> dict[Key, Entry]:
    found = (e for e in entries if _is(e, "measured") and isinstance(e.measured, Measurement))
    by_date = sorted(found, key=lambda entry: str(_measurement(entry).measured_utc))
    return {_key(entry): entry for entry in by_date}


def _measurement(entry: Entry) -> Measurement:
    assert isinstance(entry.measurement, Measurement)
    return entry.measurement


def _is(entry: Entry, evidence: str) -> bool:
    return isinstance(entry.measurement, Measurement) and entry.measurement.evidence == evidence


def _key(entry: Entry) -> Key:
    m = _measurement(entry)
    file = m.artifact.name if isinstance(m.artifact.sha256, Absent) else m.artifact.sha256
    return m.target, file, m.setup.batch, m.runtime.name


def _judged(entry: Entry, truth: Entry, records: Records) -> Judged | None:
    m, t = _measurement(entry), _measurement(truth)
    estimate, said, was = m.estimate, m.latency, t.latency
    if isinstance(estimate, Absent) or isinstance(said, Absent) or isinstance(was, Absent):
        return None
    low, high = said.latency_ms_p50_low, said.latency_ms_p50_high
    ends = next((end for end in (low, high) if isinstance(end, Absent)), None)
    return Judged(
        model=entry.model,
        artifact=entry.name,
        target=m.target,
        runtime=how_it_ran(m),
        batch=m.setup.batch,  # type: ignore[arg-type]
        rung=estimate.rung,
        coverage_percent=estimate.coverage_percent,
        estimated_ms_p50=said.latency_ms_p50,
        estimated_ms_p50_low=low,
        estimated_ms_p50_high=high,
        measured_ms_p50=was.latency_ms_p50,
        ratio=said.latency_ms_p50 / was.latency_ms_p50,
        within=ends or low <= was.latency_ms_p50 <= high,  # type: ignore[operator]
        evidence="estimated",
        record=records.within(entry.record),
        measured_record=records.within(truth.record),
    )


def _row(
    records: Records,
    entry: Entry,
    cards: dict[str, CheckpointCard],
    manifests: dict[int, str],
    sizes: Sequence[ReportedModel],
) -> dict[str, Any]:
    why = entry.measured if isinstance(entry.measured, Absent) else None
    figures = {name: figure_of(entry, name) for name in FIGURES}
    if _is(entry, "reported"):
        figures |= _reported_size(entry, sizes)
    return {
        "artifact": entry.name,
        "model": entry.model,
        **_origins(entry, cards),
        "accuracy_images": figure_at(entry, "manifest.accuracy.samples"),
        **_setup(entry),
        **_extras(entry),
        **figures,
        "standing": entry.standing,
        "labels": _labels(entry),
        "evidence": why or _measurement(entry).evidence,
        "to_type": records.next_command(entry) if why else "",
        "record": records.within(entry.record),
        "manifest_record": manifests.get(id(entry.manifest), ""),
    }


def _reported_size(entry: Entry, sizes: Sequence[ReportedModel]) -> dict[str, int | Absent]:
    origin = _measurement(entry).origin
    found = model_reported(entry.name, "" if isinstance(origin, Absent) else origin, sizes)
    return {"parameters": found.parameters, "macs": found.macs, "flops": found.flops} if found else {}


def _origins(entry: Entry, cards: dict[str, CheckpointCard]) -> dict[str, Any]:
    manifest = entry.manifest
    if isinstance(manifest, Absent):
        return dict.fromkeys(("run", "data", "samples", "seed"), manifest)
    card = cards.get(manifest.run)
    data = card.data if card else None
    nothing = Absent(f"the run {manifest.run} is not in this workspace")
    return {
        "run": manifest.run,
        "data": data.name if data else nothing,
        "samples": data.samples if data else nothing,
        "seed": data.seed if data else nothing,
    }


def _setup(entry: Entry) -> dict[str, Any]:
    m, manifest = entry.measurement, entry.manifest
    if isinstance(m, Absent):
        names = (
            "target",
            "device",
            "power_mode",
            "runtime",
            "batch",
            "threads",
            "streams",
            "fps",
            "scope",
            "measured_utc",
        )
        exported = isinstance(manifest, ArtifactManifest)
        of = {"format": manifest.format, "precision": manifest.precision} if exported else {"format": m, "precision": m}  # type: ignore[union-attr]
        return {**dict.fromkeys(names, m), **of}
    setup = m.setup
    return {
        "format": m.artifact.format,
        "precision": m.artifact.precision,
        "target": m.target,
        "device": machine_of(m.device),
        "power_mode": m.device.power_mode,
        "runtime": how_it_ran(m),
        "batch": setup.batch,
        "threads": setup.threads,
        "streams": setup.streams,
        "fps": setup.fps,
        "scope": setup.scope,
        "measured_utc": m.measured_utc,
    }


def _extras(entry: Entry) -> dict[str, Any]:
    measured = entry.measured
    if isinstance(measured, Absent):
        names = ("throughput_obtained", "throughput_batch", "memory_by_source", "memory_covers")
        nothing = dict.fromkeys((*names, "rung", "coverage_percent", "improved_by"), measured)
        return {**nothing, "origin": measured if isinstance(entry.measurement, Absent) else entry.measurement.origin}
    throughput, estimate, memory = measured.throughput, measured.estimate, measured.memory
    obtained = throughput.obtained if isinstance(throughput, Throughput) else throughput
    return {
        "throughput_obtained": obtained,
        "throughput_batch": throughput.batch if isinstance(throughput, Throughput) else throughput,
        "memory_by_source": memory.by_source or Absent("the runtime counts no memory of its own"),
        "memory_covers": memory.covers,
        **{
            name: getattr(estimate, name) if isinstance(estimate, Estimate) else estimate
            for name in ("rung", "coverage_percent", "improved_by")
        },
        "origin": measured.origin,
    }


def _labels(entry: Entry) -> tuple[str, ...]:
    if isinstance(entry.measured, Absent):
        return ()
    mode = str(entry.measured.settings.get("mode", "full"))
    codes = [verdict.code for verdict in entry.measured.verdicts]
    return tuple([mode] * (mode not in ("full", "estimate")) + codes + ["refused by the export"] * bool(entry.refused))
