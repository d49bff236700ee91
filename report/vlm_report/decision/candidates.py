"""What may be chosen: rows of a device, and trained backbones; the seeds of one model together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from vlm_contract.codec import Absent
from vlm_contract.conditions import Condition
from vlm_contract.manifest import Accuracy, ArtifactManifest
from vlm_contract.measurement import Evidence, Latency, Measurement
from vlm_report.decision.models import Model, Trainings
from vlm_report.decision.spreads import Spread, accuracy_of, exact, latency_of, outwards
from vlm_report.figures import figure_of
from vlm_report.records import Entry, Records

BATCH = 1
EVIDENCE: tuple[Evidence, ...] = ("measured", "estimated", "reported")  # the best first
ACCURACY, LATENCY, GAP = "accuracy_percent", "latency_ms_p50", "overfitting_gap_points"
ENERGY, MEMORY, SIZE = "energy_mj_per_image", "peak_rss_bytes", "model_bytes"


@dataclass(frozen=True)
class Candidate:
    """One possible choice, with all that a ranking needs."""

    name: str  # the artifact to deploy, or the run that stands for the backbone
    model: Model
    evidence: Evidence
    figures: Mapping[str, Spread]
    scored: str  # on what the accuracy is, in words
    images: int | Absent  # that it is a share of
    runs: tuple[str, ...]  # one for each seed
    entry: Entry | Absent  # the row to deploy; absent of a backbone

    @property
    def rank(self) -> tuple[float, float, str]:
        """Fastest first; of two as fast, the more accurate."""
        fast = self.figures[LATENCY].value if LATENCY in self.figures else 0.0
        record = self.name if isinstance(self.entry, Absent) else str(self.entry.record)
        return fast, -self.figures[ACCURACY].value, record

    @property
    def row(self) -> Entry:
        assert isinstance(self.entry, Entry)
        return self.entry

    @property
    def manifest(self) -> ArtifactManifest:
        assert isinstance(self.row.manifest, ArtifactManifest)
        return self.row.manifest

    @property
    def measurement(self) -> Measurement:
        assert isinstance(self.row.measurement, Measurement)
        return self.row.measurement

    @property
    def latency(self) -> Latency:
        """Of the row to deploy."""
        assert isinstance(self.measurement.latency, Latency)
        return self.measurement.latency

    @property
    def accuracy(self) -> Accuracy:
        """Of the artifact to deploy."""
        assert isinstance(self.manifest.accuracy, Accuracy)
        return self.manifest.accuracy

    def figure(self, name: str) -> float | Absent:
        """By its name in FIGURES: of all seeds where they are taken together, else of the row to deploy."""
        if name in self.figures:
            return self.figures[name].value
        return Absent("of no row") if isinstance(self.entry, Absent) else figure_of(self.entry, name)

    def failure(self, condition: Condition) -> str:
        """How it misses a condition, and by how much; empty where it meets it."""
        return self.missed(condition, self.figure(condition.figure))

    def missed(self, condition: Condition, value: float | Absent) -> str:
        """How a value of its own misses a condition; of an estimate with no more digits than it has."""
        missed = condition.failure(value)
        if not missed or isinstance(value, Absent) or self.evidence != "estimated" or condition.figure == ACCURACY:
            return missed
        return condition.failure(outwards(value, upper=condition.comparison.startswith("<")))


@dataclass(frozen=True)
class LeftOut:
    """What cannot be chosen, and why."""

    name: str
    model: Model
    reason: str
    entry: Entry | Absent

    @property
    def refused(self) -> bool:
        """Whether a check of the export refused it."""
        return isinstance(self.entry, Entry) and bool(self.entry.refused)

    @property
    def kind(self) -> str:
        """The reason without what differs from one artifact to the next: verdicts without codes."""
        return "refused by the export" if self.refused else self.brief.partition(":")[0]

    @property
    def codes(self) -> tuple[str, ...]:
        """Of the verdicts that stand against it."""
        return tuple(filter(None, self.brief.partition(": ")[2].split(", "))) if self.kind == "invalid" else ()

    @property
    def to_correct(self) -> str:
        """What a document would have to say otherwise; empty of what was measured here."""
        measurement = None if isinstance(self.entry, Absent) else self.entry.measurement
        if not isinstance(measurement, Measurement) or measurement.evidence != "reported":
            return ""
        said = " ".join(v.next_step for v in measurement.verdicts if v.level == measurement.status).rstrip(".")
        return f"{said[:1].lower()}{said[1:]}"

    @property
    def brief(self) -> str:
        """The reason in few words: of verdicts their codes."""
        entry = self.entry
        if isinstance(entry, Absent) or isinstance(entry.measurement, Absent) or entry.standing == "valid":
            return self.reason
        return entry.standing


@dataclass(frozen=True)
class Scored:
    """A row of a device with the accuracy that belongs to it."""

    entry: Entry
    model: Model
    percent: float
    images: int | Absent
    run: str


def why_not(entry: Entry) -> str:
    """Why an entry may not be ranked, whatever is required; empty where it may, given an accuracy."""
    measured = entry.measured
    if entry.refused:
        return f"refused by the export: {entry.refused}"
    if isinstance(measured, Absent):
        return measured.reason
    if any(verdict.code == "few" for verdict in measured.verdicts):
        return "too few samples or processes to be compared"
    return measured.latency.reason if isinstance(measured.latency, Absent) else ""


def scored_rows(entry: Entry, records: Records, trainings: Trainings) -> list[Scored] | LeftOut:
    """An entry with the accuracy of its very file; one that a document reports, with each that it reports."""
    model = trainings.model_of(entry)
    if reason := why_not(entry):
        return LeftOut(entry.name, model, reason, entry)
    if isinstance(entry.manifest, ArtifactManifest):
        accuracy = entry.manifest.accuracy
        if isinstance(accuracy, Absent):
            return LeftOut(entry.name, model, accuracy.reason, entry)
        return [Scored(entry, model, accuracy.artifact_percent, accuracy.samples, entry.manifest.run)]
    return _reported(entry, records, trainings) or LeftOut(entry.name, model, entry.manifest.reason, entry)


def deployed(rows: Iterable[Scored]) -> tuple[Candidate, ...]:
    """The seeds of one model in one form as one candidate; fastest first."""
    groups: dict[tuple[object, ...], list[Scored]] = {}
    for row in rows:
        groups.setdefault(_form(row), []).append(row)
    return tuple(sorted(map(_deployed, groups.values()), key=lambda candidate: candidate.rank))


def _form(row: Scored) -> tuple[object, ...]:
    """What two rows share where they differ in the seed alone. Without a card no two are known to."""
    measurement = row.entry.measurement
    assert isinstance(measurement, Measurement)
    setup = measurement.setup
    name = row.entry.name.removeprefix(row.run)
    way = (measurement.runtime.name, setup.threads, setup.streams, str(setup.options), setup.scope)
    return row.model, name, row.entry.record if row.model.run else "", *map(str, way)


def _deployed(rows: Sequence[Scored]) -> Candidate:
    best = max(rows, key=lambda row: (row.percent, str(row.entry.record)))
    measurement = best.entry.measurement
    assert isinstance(measurement, Measurement)
    latencies = [m.latency for row in rows if isinstance(m := row.entry.measurement, Measurement)]
    images = fewest(row.images for row in rows)
    figures = {
        ACCURACY: accuracy_of([row.percent for row in rows], images),
        LATENCY: latency_of([latency for latency in latencies if isinstance(latency, Latency)]),
        **_beside([row.entry for row in rows]),
    }
    where = "the exported artifact's on the validation images"
    scored = where if isinstance(best.entry.manifest, ArtifactManifest) else "reported beside it"
    runs = tuple(row.run for row in rows)
    return Candidate(best.entry.name, best.model, measurement.evidence, figures, scored, images, runs, best.entry)


def fewest(images: Iterable[int | Absent]) -> int | Absent:
    """Of several runs' numbers of images the one that leaves the accuracy least sure."""
    return min(images, key=lambda count: -1 if isinstance(count, Absent) else count)


def _beside(entries: Sequence[Entry]) -> dict[str, Spread]:
    """The median over the seeds of each other figure that a rule may ask for, where all have it."""
    found = {name: [figure_of(entry, name) for entry in entries] for name in (ENERGY, MEMORY, SIZE)}
    present = {name: [v for v in values if not isinstance(v, Absent)] for name, values in found.items()}
    return {name: exact(median(values)) for name, values in present.items() if len(values) == len(entries)}


def _reported(entry: Entry, records: Records, trainings: Trainings) -> list[Scored]:
    """A row that a document reports, once with each accuracy that a document reports of that model."""
    measurement = entry.measurement
    if not isinstance(measurement, Measurement) or measurement.evidence != "reported":
        return []
    return [
        Scored(entry, trainings.reported_model_of(run), run.validation_accuracy_percent, NO_IMAGES, f"{run.origin}")
        for run in records.reported_runs.values()
        if run.model == entry.model and run.status == "valid" and isinstance(run.validation_accuracy_percent, float)
    ]


NO_IMAGES = Absent("the document does not say of how many images the accuracy is a share")
