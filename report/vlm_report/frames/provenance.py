"""Where each figure comes from: the record, the machine, the software, the protocol, the date."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vlm_contract.codec import Absent
from vlm_contract.measurement import Measurement
from vlm_report.frames.machines import machine_of
from vlm_report.records import Records

OF_MEASUREMENTS = Absent("the protocol is that of measurements")
OF_A_MANIFEST = Absent("a manifest names no machine")
OF_A_NETWORK = Absent("the size of a network is of no machine")
UNSAID = Absent("the document does not say")


@dataclass(frozen=True)
class Source:
    """One record."""

    record: str
    evidence: str
    machine: str | Absent
    software: str | Absent
    protocol: str | Absent
    date: str | Absent
    origin: str | Absent  # the document, of what is reported


def sources_of(records: Records) -> Iterator[Source]:
    """Cards, manifests, measurements, then what documents say."""
    here, within = Absent("made in this workspace"), records.within
    for path, card in records.cards.items():
        software = _listed(card.versions)
        yield Source(within(path), "measured", card.device, software, OF_MEASUREMENTS, card.finished_utc, here)
    for path, made in records.manifests.items():
        software = _listed(made.versions)
        yield Source(within(path), "measured", OF_A_MANIFEST, software, OF_MEASUREMENTS, made.made_utc, here)
    for path, m in records.measurements.items():
        yield _of_measurement(within(path), m)
    for path, run in records.reported_runs.items():
        yield Source(within(path), "reported", run.device, run.software, OF_MEASUREMENTS, run.date, run.origin)
    for path, model in records.reported_models.items():
        yield Source(within(path), "reported", OF_A_NETWORK, UNSAID, OF_MEASUREMENTS, UNSAID, model.origin)


def in_words(sources: Iterable[Source]) -> dict[str, str]:
    """What is told of a figure, by the path of its record: "measured; AMD EPYC, …; onnxruntime 1.23; vlm-1; 2026-…"."""
    return {source.record: _told(source) for source in sources}


def _told(source: Source) -> str:
    parts = (source.evidence, source.machine, source.software, source.protocol, source.date)
    return "; ".join([source.record, *(part for part in parts if isinstance(part, str))])


def _of_measurement(record: str, m: Measurement) -> Source:
    runtime = m.runtime
    version = f" {runtime.version}" if isinstance(runtime.version, str) else ""
    provider = f", {runtime.provider}" if isinstance(runtime.provider, str) else ""
    software = runtime.name if isinstance(runtime.name, Absent) else runtime.name + version + provider
    return Source(record, m.evidence, machine_of(m.device), software, m.protocol, m.measured_utc, m.origin)


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
