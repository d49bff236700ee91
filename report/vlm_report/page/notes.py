"""What holds for the whole report: when, on which machines, from which data, with which software."""

from collections.abc import Iterable, Iterator

from vlm_contract.codec import Absent
from vlm_report.frames.machines import machine_of
from vlm_report.frames.reported import document_named
from vlm_report.records import Records

SHOWN = ("torch", "timm", "onnx", "onnxruntime", "tensorrt", "openvino")  # software that figures depend on


def newest_of(records: Records) -> str:
    """The date of the newest record; in words where none has one."""
    dates = [card.finished_utc for card in records.cards.values()]
    dates += [manifest.made_utc for manifest in records.manifests.values()]
    dates += [m.measured_utc for m in records.measurements.values() if isinstance(m.measured_utc, str)]
    dates += [run.date for run in records.reported_runs.values() if isinstance(run.date, str)]
    return max(dates)[:10] if dates else "an unknown date"


def notes_of(records: Records) -> list[str]:
    """One sentence each: what nothing is known of is left out."""
    return [f"{title}: {'; '.join(values)}." for title, values in _noted(records) if values]


def _noted(records: Records) -> Iterator[tuple[str, list[str]]]:
    cards, measurements = records.cards.values(), records.measurements.values()
    made_here = [m for m in measurements if m.evidence == "measured"]
    yield "Last record", [newest_of(records)]
    yield "Measured on", _distinct(machine_of(m.device) for m in made_here)
    yield "Trained on", _distinct(card.device for card in cards)
    yield "Data", _distinct(card.data.name for card in cards)
    yield "Software", _distinct(_software(records))
    yield "Measured by", _distinct(f"the protocol {m.protocol}" for m in made_here if isinstance(m.protocol, str))
    yield "Reported by", _distinct(map(document_named, _origins(records)))


def _origins(records: Records) -> Iterator[str]:
    yield from (run.origin for run in records.reported_runs.values())
    yield from (model.origin for model in records.reported_models.values())
    yield from (m.origin for m in records.measurements.values() if isinstance(m.origin, str))


def _software(records: Records) -> Iterator[str]:
    made_with = [card.versions for card in records.cards.values()]
    made_with += [manifest.versions for manifest in records.manifests.values()]
    for versions in made_with:
        yield from (f"{name} {version}" for name, version in versions.items() if name in SHOWN)
    for m in records.measurements.values():
        if isinstance(m.runtime.name, str) and isinstance(m.runtime.version, str):
            yield f"{m.runtime.name} {m.runtime.version}"


def _distinct(texts: Iterable[str | Absent]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if isinstance(text, str)))
