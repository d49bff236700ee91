"""Which runs are one model with several seeds, and on which data models may be compared."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.reported import ReportedRun
from vlm_report.records import Entry, Records

UNKNOWN = "data that no card names"


@dataclass(frozen=True)
class Task:
    """The data that accuracies are of: those on other data say nothing of each other."""

    name: str
    fingerprint: str  # of all images and labels; empty where no card tells


@dataclass(frozen=True)
class Model:
    """What the seeds of one training share."""

    label: str  # of the backbone, with its adaptation
    task: Task
    samples: int | Absent
    recipe: str  # its name, the first weights, and every hyperparameter
    run: str  # where no card tells what else it shares with others; else empty


class Trainings:
    """The runs of a workspace, found by their weights, else by their name."""

    def __init__(self, records: Records) -> None:
        self._by_run = {card.run: card for card in records.cards.values()}
        self._by_weights = {card.weights_sha256: card for card in records.cards.values()}
        self._tasks = {plain(card.data.name): task_of(card) for card in records.cards.values()}

    def card_of(self, manifest: ArtifactManifest) -> CheckpointCard | None:
        return self._by_weights.get(manifest.checkpoint_sha256) or self._by_run.get(manifest.run)

    def model_of(self, entry: Entry) -> Model:
        """Of an entry with a manifest, as its card tells; of one without, as far as its name goes."""
        manifest = entry.manifest
        if isinstance(manifest, Absent):
            return Model(entry.model, Task(UNKNOWN, ""), Absent("no card"), "", entry.name)
        card = self.card_of(manifest)
        if card is None:
            return Model(entry.model, Task(UNKNOWN, ""), Absent("no card"), "", manifest.run)
        return model_of(card, entry.model)

    def reported_model_of(self, run: ReportedRun) -> Model:
        """What a document tells of a run; its data is taken for that of the workspace of the same name."""
        name = UNKNOWN if isinstance(run.data, Absent) else run.data
        task = self._tasks.get(plain(name), Task(name, ""))
        said = ", ".join(f"{key} {value}" for key, value in sorted(run.hyperparameters.items()))
        epochs = "" if isinstance(run.epochs, Absent) else f"{run.epochs} epochs"
        return Model(run.model, task, run.samples, "; ".join(filter(None, ("reported", epochs, said))), "")


def model_of(card: CheckpointCard, label: str = "") -> Model:
    settings = ", ".join(f"{name} {value}" for name, value in sorted(card.hyperparameters.items()))
    start = re.sub(r"\bseed \d+", "a seed", card.start)
    recipe = "; ".join((card.recipe, start, settings))
    return Model(label or card.backbone.label, task_of(card), card.data.samples, recipe, "")


def task_of(card: CheckpointCard) -> Task:
    return Task(card.data.name, card.data.fingerprint)


def plain(name: str) -> str:
    """`CIFAR-10` and `cifar10` are one name."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def names_of(models: Iterable[Model]) -> dict[Model, str]:
    """A name for each: its label, and what tells it from others of that label."""
    by_label: dict[str, list[Model]] = {}
    for model in dict.fromkeys(models):
        by_label.setdefault(model.label, []).append(model)
    return {model: _name(model, alike) for alike in by_label.values() for model in alike}


def _name(model: Model, alike: Sequence[Model]) -> str:
    if len(alike) == 1:
        return model.label
    words = []
    if len({str(other.samples) for other in alike}) > 1:
        words += [model.run if isinstance(model.samples, Absent) else f"{model.samples} samples"]
    if len({other.recipe for other in alike}) > 1:
        words += [_unlike(model.recipe, [other.recipe for other in alike])]
    if len({other.run for other in alike}) > 1 and not words:
        words += [model.run]
    return ", ".join(filter(None, (model.label, *words)))


def _unlike(recipe: str, others: Sequence[str]) -> str:
    """The parts of a recipe that not all share."""
    parts = [re.split(r"[;,] ", each) for each in others]
    shared = set(parts[0]).intersection(*parts[1:])
    return " ".join(part for part in re.split(r"[;,] ", recipe) if part not in shared)
