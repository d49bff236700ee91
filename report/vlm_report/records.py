"""What a workspace holds, and which measurement belongs to which artifact."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent, known
from vlm_contract.errors import VlmError
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Measurement
from vlm_contract.workspace import MANIFEST_FILE, Workspace, default_workspace

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

    @property
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
    measurements: dict[Path, Measurement]
    problems: tuple[str, ...]

    def entries(self) -> tuple[Entry, ...]:
        """Every measurement with its artifact, then every artifact without a measurement."""
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
        elif isinstance(measurement, Absent):
            words = ["vlm-profile", "--target", HOST, "--artifact", path]
        else:
            setup = measurement.setup
            words = ["vlm-profile", "--target", measurement.target, "--again", "--artifact", path]
            words += ["--runtime", measurement.runtime.name, "--batch", str(setup.batch)]
            words += ["--threads", "auto" if setup.options else str(setup.threads)]
            words += ["--streams", str(setup.streams)] if setup.streams > 1 else []
            words += ["--fps", f"{setup.fps:g}"] if isinstance(setup.fps, float) else []
        return shlex.join(words + self.workspace_option())

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
        if same := owners.get(used.sha256):
            return next((manifest for manifest in same if manifest.artifact == used.name), same[0])
        if self.workspace.artifact(used.name) / MANIFEST_FILE in self.manifests:
            return Absent(f"{used.name} was exported again after it was measured: the file is another one")
        return Absent(f"{used.name} has no manifest in this workspace")


def records_of(workspace: Workspace) -> Records:
    """Read a workspace. Raises VlmError where it holds no record that can be read."""
    cards, manifests, measurements = workspace.cards(), workspace.manifests(), workspace.measurements()
    problems = cards.problems + manifests.problems + measurements.problems
    problems += _of_other_weights(cards.records.values(), manifests.records.values())
    if not (cards.records or manifests.records or measurements.records):
        raise VlmError(
            " ".join((f"{workspace.root} holds no run, artifact or measurement to report on.", *problems)),
            hint="vlm-train --model resnet50 --data digits && vlm-export && vlm-profile",
        )
    return Records(workspace, cards.records, manifests.records, measurements.records, problems)


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
    setup = (0, 0) if isinstance(measurement, Absent) else (measurement.setup.batch, known(measurement.setup.threads))
    return entry.name, *setup, str(entry.record)
