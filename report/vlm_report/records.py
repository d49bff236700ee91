"""What a workspace holds, and which measurement belongs to which artifact."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vlm_contract.card import CheckpointCard, Scores
from vlm_contract.codec import Absent, read_record
from vlm_contract.errors import VlmError
from vlm_contract.evidence import why_no_evidence
from vlm_contract.history import history_of
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Measurement
from vlm_contract.reported import ReportedModel, ReportedRun
from vlm_contract.workspace import HISTORY_FILE, MANIFEST_FILE, Workspace, default_workspace

HOST = "host"
NOT_MEASURED = Absent("not measured")


@dataclass(frozen=True)
class Entry:
    """One row of the benchmark: an artifact with one of its measurements, or with none."""

    manifest: ArtifactManifest | Absent
    measurement: Measurement | Absent
    record: Path  # of the measurement, or of the manifest where nothing was measured
    model: str  # the backbone's label as its card gives it, else its name, else the artifact's

    @property
    def name(self) -> str:
        """The artifact's folder name, or the model file's own."""
        if isinstance(self.measurement, Measurement):
            return self.measurement.artifact.name
        return self.manifest.artifact if isinstance(self.manifest, ArtifactManifest) else self.record.name

    @property
    def refused(self) -> str:
        """Why a check of the export refused the artifact; empty where none did."""
        return "; ".join(self.manifest.refused) if isinstance(self.manifest, ArtifactManifest) else ""

    @cached_property
    def measured(self) -> Measurement | Absent:
        """The measurement where its figures may be shown; else why not."""
        if isinstance(self.measurement, Absent) or self.measurement.status == "valid":
            return self.measurement
        against = [verdict for verdict in self.measurement.verdicts if verdict.level == self.measurement.status]
        return Absent(
            " ".join(f"{v.level.capitalize()}: {v.code}: {v.seen} (limit: {v.limit}). {v.next_step}" for v in against)
        )

    @property
    def standing(self) -> str:
        """`valid`, `not measured`, `refused`, or the verdict that stands where the figures would."""
        if isinstance(self.measurement, Measurement):
            status = self.measurement.status
            codes = ", ".join(verdict.code for verdict in self.measurement.verdicts if verdict.level == status)
            return status if status == "valid" else f"{status}: {codes}"
        return "refused" if self.refused else self.measurement.reason


@dataclass(frozen=True)
class Records:
    """All records of a workspace by their path, and a sentence for each that is unreadable or out of date."""

    workspace: Workspace
    cards: dict[Path, CheckpointCard]
    manifests: dict[Path, ArtifactManifest]
    measurements: dict[Path, Measurement]  # without their repetitions; `whole` has them
    problems: tuple[str, ...]
    reported_runs: dict[Path, ReportedRun] = field(default_factory=dict)
    reported_models: dict[Path, ReportedModel] = field(default_factory=dict)

    def entries(self) -> tuple[Entry, ...]:
        """Every measurement with its artifact, and every artifact without a measurement, by name."""
        return self._entries

    def whole(self, path: Path) -> Measurement:
        """The measurement of a path with its repetitions. Raises VlmError where the file is damaged."""
        measurement = self.measurements[path]
        return measurement if measurement.repetitions or not path.is_file() else read_record(Measurement, path)

    def history(self, path: Path) -> tuple[Scores, ...] | Absent:
        """The epochs of the run whose card is at `path`; absent where they are not beside it, or damaged."""
        try:
            return history_of(path.parent) or Absent(f"the run has no {HISTORY_FILE}")
        except VlmError as error:
            return Absent(str(error))

    def within(self, path: Path) -> str:
        """A record's path as tables name it: from the workspace's root."""
        return str(path.relative_to(self.workspace.root))

    @cached_property
    def _entries(self) -> tuple[Entry, ...]:
        owners = self._manifests_by_file()
        labels = {(card.weights_sha256, card.backbone.name): card.backbone.label for card in self.cards.values()}
        pairs = [(self._manifest_of(m, owners), m, path) for path, m in self.measurements.items()]
        measured = [Entry(found, m, path, _model(found, m, labels)) for found, m, path in pairs]
        joined = {id(entry.manifest) for entry in measured}
        unmeasured = [(m, path) for path, m in self.manifests.items() if id(m) not in joined]
        rest = [Entry(m, _why_unmeasured(m), path, _label(m, labels)) for m, path in unmeasured]
        return tuple(sorted([*measured, *rest], key=_by_name))

    def next_command(self, entry: Entry) -> str:
        """What to type to get the row's figures: export again where a check refused it, else measure."""
        manifest, measurement = entry.manifest, entry.measurement
        exported = isinstance(manifest, ArtifactManifest)
        path = str(self.workspace.artifact(entry.name)) if exported else entry.name
        if entry.refused and isinstance(manifest, ArtifactManifest):
            words = ["vlm-export", "--ckpt", manifest.run, "--fmt", manifest.format, "--precision", manifest.precision]
        elif isinstance(measurement, Measurement) and measurement.evidence == "reported":
            words = ["vlm-report", "import", *_imported(measurement)]
        elif isinstance(measurement, Absent):
            words = ["vlm-profile", "--target", HOST, "--artifact", path]
        else:
            setup = measurement.setup
            words = ["vlm-profile", "--target", measurement.target, "--again", "--artifact", path]
            words += ["--runtime", str(measurement.runtime.name), "--batch", str(setup.batch)]
            words += ["--threads", "auto" if setup.options else str(setup.threads)]
            words += ["--streams", str(setup.streams)] if isinstance(setup.streams, int) and setup.streams > 1 else []
            words += ["--fps", f"{setup.fps:g}"] if isinstance(setup.fps, float) else []
        return shlex.join(words + self.workspace_option())

    def profile_command(self, artifact: str) -> str:
        """What to type to measure an artifact of the workspace on this host at batch 1."""
        words = ["vlm-profile", "--target", HOST, "--artifact", str(self.workspace.artifact(artifact)), "--batch", "1"]
        return shlex.join([*words, *self.workspace_option()])

    def export_command(self, run: str) -> str:
        """What to type to export a run."""
        return shlex.join(["vlm-export", "--ckpt", run, *self.workspace_option()])

    def workspace_option(self) -> list[str]:
        """The words that name the workspace in a command; none where it is the default."""
        root = self.workspace.root
        return [] if root == default_workspace() else ["--workspace", str(root)]

    def _manifests_by_file(self) -> dict[str, list[ArtifactManifest]]:
        owners: dict[str, list[ArtifactManifest]] = {}
        for manifest in self.manifests.values():
            for file in manifest.files:
                owners.setdefault(file.sha256, []).append(manifest)
        return owners

    def _manifest_of(
        self, measurement: Measurement, owners: dict[str, list[ArtifactManifest]]
    ) -> ArtifactManifest | Absent:
        """The manifest that lists the very file that was measured."""
        used = measurement.artifact
        if isinstance(used.sha256, Absent):
            return Absent(f"the file of {used.name} is not known: {used.sha256.reason}")
        if same := owners.get(used.sha256):
            return next((manifest for manifest in same if manifest.artifact == used.name), same[0])
        if self.workspace.artifact(used.name) / MANIFEST_FILE in self.manifests:
            return Absent(f"{used.name} was exported again after it was measured: the file is another one")
        return Absent(f"{used.name} has no manifest in this workspace")


def _imported(measurement: Measurement) -> list[str]:
    """The document that a row is from, and the device where a flag asks for it."""
    document = str(measurement.origin).partition(",")[0]
    device = next((found[0] for v in measurement.verdicts if (found := _DEVICE.search(v.next_step))), "")
    return [document, *device.split()]


_DEVICE = re.compile(r"--target (?!NAME\b)[\w-]+")


def records_of(workspace: Workspace) -> Records:
    """Read a workspace. Raises VlmError where it holds no record that can be read."""
    cards, manifests = workspace.cards(), workspace.manifests()
    measurements = workspace.measurements(repetitions=False)
    runs, models = workspace.reported_runs(), workspace.reported_models()
    problems = cards.problems + manifests.problems + measurements.problems + runs.problems + models.problems
    problems += _of_other_weights(cards.records.values(), manifests.records.values())
    evidence = {path: record for path, record in measurements.records.items() if not why_no_evidence(record)}
    problems += tuple(
        f"{path} is left out: {why_no_evidence(record)}. To mend it, move it out of the workspace."
        for path, record in measurements.records.items()
        if path not in evidence
    )
    if not (cards.records or manifests.records or evidence or runs.records or models.records):
        raise VlmError(
            " ".join((f"{workspace.root} holds no run, artifact or measurement to report on.", *problems)),
            hint="vlm-train --model resnet50 --data digits && vlm-export && vlm-profile",
        )
    return Records(workspace, cards.records, manifests.records, evidence, problems, runs.records, models.records)


def _of_other_weights(cards: Iterable[CheckpointCard], manifests: Iterable[ArtifactManifest]) -> tuple[str, ...]:
    weights = {card.run: card.weights_sha256 for card in cards}
    return tuple(
        f"{manifest.artifact} holds other weights than the run {manifest.run}, which was trained again after the "
        f"export. To mend it, vlm-export --ckpt {shlex.quote(manifest.run)}."
        for manifest in manifests
        if weights.get(manifest.run, manifest.checkpoint_sha256) != manifest.checkpoint_sha256
    )


def _label(manifest: ArtifactManifest, labels: dict[tuple[str, str], str]) -> str:
    """Of the backbone of these very weights; a manifest alone knows its name only."""
    return labels.get((manifest.checkpoint_sha256, manifest.backbone), manifest.backbone)


def _model(manifest: ArtifactManifest | Absent, measurement: Measurement, labels: dict[tuple[str, str], str]) -> str:
    return measurement.artifact.name if isinstance(manifest, Absent) else _label(manifest, labels)


def _why_unmeasured(manifest: ArtifactManifest) -> Absent:
    return Absent(f"refused by the export: {'; '.join(manifest.refused)}") if manifest.refused else NOT_MEASURED


def _by_name(entry: Entry) -> tuple[str, int, int, str]:
    measurement = entry.measurement
    if isinstance(measurement, Absent):
        return entry.name, 0, 0, str(entry.record)
    batch, threads = (
        0 if isinstance(value, Absent) else value for value in (measurement.setup.batch, measurement.setup.threads)
    )
    return entry.name, batch, threads, str(entry.record)
