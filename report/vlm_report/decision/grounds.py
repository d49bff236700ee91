"""What stands to choose on one device, for one task: rows by their evidence, and those that cannot be ranked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vlm_contract.codec import Absent
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Evidence, Measurement
from vlm_report.decision.candidates import BATCH, EVIDENCE, Candidate, LeftOut, Scored, deployed, scored_rows
from vlm_report.decision.models import UNKNOWN, Task, Trainings
from vlm_report.records import HOST, Entry, Records


@dataclass(frozen=True)
class Ground:
    """Candidates of one evidence are comparable with each other, and with no others."""

    target: str
    task: Task
    candidates: Mapping[Evidence, tuple[Candidate, ...]]  # fastest first
    left_out: tuple[LeftOut, ...]
    entries: tuple[Entry, ...]  # all rows of the target, at any batch

    @property
    def evidence(self) -> Evidence:
        """The best that there is."""
        return next((kind for kind in EVIDENCE if self.candidates.get(kind)), "measured")


def targets_of(records: Records) -> tuple[str, ...]:
    """Where anything was measured, estimated or reported, this host first; it alone where nothing was."""
    found = {m.target for entry in records.entries() if isinstance(m := entry.measurement, Measurement)}
    return tuple(sorted(found, key=lambda target: (target != HOST, target))) or (HOST,)


def grounds_of(records: Records, targets: Iterable[str]) -> tuple[Ground, ...]:
    """One for each target and task; of a target, that with most candidates first."""
    trainings = Trainings(records)
    by_target: dict[str, list[Entry]] = {}
    for entry in records.entries():
        if isinstance(entry.measurement, Measurement):
            by_target.setdefault(entry.measurement.target, []).append(entry)
    return tuple(g for target in targets for g in _grounds(target, by_target.get(target, []), records, trainings))


def _grounds(target: str, entries: Sequence[Entry], records: Records, trainings: Trainings) -> list[Ground]:
    asked = [entry for entry in entries if _asked_about(entry)]
    rows: list[Scored] = []
    left_out = _without_a_row(target, entries, asked, records, trainings)
    for entry in asked:
        found = scored_rows(entry, records, trainings)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            rows += found
    able, unlike = _comparable(rows)
    left_out += unlike
    tasks = dict.fromkeys([row.model.task for row in able] + [out.model.task for out in left_out])
    real = [task for task in tasks if task.name != UNKNOWN or any(row.model.task == task for row in able)]
    grounds = [
        Ground(
            target,
            task,
            {kind: deployed(r for r in able if r.model.task == task and _evidence(r) == kind) for kind in EVIDENCE},
            tuple(out for out in left_out if out.model.task == task or out.model.task not in real),
            tuple(entries),
        )
        for task in real or [Task(UNKNOWN, "")]
    ]
    return sorted(grounds, key=lambda g: (-sum(map(len, g.candidates.values())), g.task.name, g.task.fingerprint))


def _asked_about(entry: Entry) -> bool:
    """One call after the other at the batch: frames at a rate of their own wait for others. Documents may not say."""
    m = entry.measurement
    if isinstance(m, Absent) or not isinstance(m.setup.fps, Absent):
        return False
    return m.setup.batch == BATCH or (m.evidence == "reported" and isinstance(m.setup.batch, Absent))


def _without_a_row(
    target: str, entries: Sequence[Entry], asked: Sequence[Entry], records: Records, trainings: Trainings
) -> list[LeftOut]:
    """The artifacts that any target may read, and of which this one has no row to rank."""
    here, ranked = ({entry.name for entry in each} for each in (entries, asked))
    found: dict[str, LeftOut] = {}
    for entry in records.entries():
        manifest = entry.manifest
        if not isinstance(manifest, ArtifactManifest) or manifest.format != "onnx" or entry.name in ranked:
            continue
        what = f"at batch {BATCH}" if entry.name in here else "" if target == HOST else f"on {target}"
        reason = f"refused by the export: {entry.refused}" if entry.refused else f"not measured {what}".rstrip()
        bare = replace(entry, measurement=Absent(reason))
        found.setdefault(entry.name, LeftOut(entry.name, trainings.model_of(entry), reason, bare))
    return list(found.values())


def _comparable(rows: Sequence[Scored]) -> tuple[list[Scored], list[LeftOut]]:
    """The rows under the conditions of the newest of their evidence; and the others."""
    newest: dict[Evidence, Measurement] = {}
    for row in rows:
        kind, m = _evidence(row), _measurement(row)
        if kind not in newest or str(m.measured_utc) > str(newest[kind].measured_utc):
            newest[kind] = m
    like = [_conditions(_measurement(row)) == _conditions(newest[_evidence(row)]) for row in rows]
    why = "taken under other conditions (machine, power mode, streams or scope) than the newest"
    return (
        [row for row, same in zip(rows, like, strict=True) if same],
        [LeftOut(r.entry.name, r.model, why, r.entry) for r, same in zip(rows, like, strict=True) if not same],
    )


def _conditions(measurement: Measurement) -> tuple[object, ...]:
    device, setup = measurement.device, measurement.setup
    machine = (device.cpu, device.usable_cpus, device.memory_bytes, device.gpu, device.power_mode)
    return *machine, setup.streams, setup.scope


def _measurement(row: Scored) -> Measurement:
    assert isinstance(row.entry.measurement, Measurement)
    return row.entry.measurement


def _evidence(row: Scored) -> Evidence:
    return _measurement(row).evidence
