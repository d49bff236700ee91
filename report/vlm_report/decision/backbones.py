"""Backbones as they were trained, one candidate for the seeds of each, and what documents report of others."""

from collections.abc import Mapping, Sequence

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.floors import is_floor
from vlm_contract.manifest import Accuracy
from vlm_contract.reported import ReportedRun
from vlm_report.decision.candidates import ACCURACY, GAP, NO_IMAGES, Candidate, LeftOut, fewest
from vlm_report.decision.models import Model, Task, Trainings, model_of
from vlm_report.decision.spreads import accuracy_of, mean_of
from vlm_report.records import Records


def trained(records: Records, task: Task, samples: int) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """The backbones that were trained on so many images, most accurate first; and the floors, which are no choice."""
    groups: dict[Model, list[CheckpointCard]] = {}
    for card in records.cards.values():
        if card.data.samples == samples and model_of(card).task == task:
            groups.setdefault(model_of(card), []).append(card)
    exported = _accuracies(records)
    found = [(is_floor(cards[0]), _trained(model, cards, exported)) for model, cards in groups.items()]
    found += [(False, candidate) for candidate in _reported_runs(records, task, samples)]
    backbones, floors = (sorted((c for so, c in found if so == f), key=lambda c: c.rank) for f in (False, True))
    return tuple(backbones), tuple(floors)


def flagged_runs(records: Records, task: Task, samples: int) -> tuple[LeftOut, ...]:
    """The runs that a document reports, and of which something cannot be right."""
    return tuple(
        LeftOut(run.model, model, f"reported, and flagged: {_flags(run)}", Absent("a document reports it"))
        for run, model in _reported_on(records, task, samples)
        if run.status != "valid"
    )


def _accuracies(records: Records) -> dict[str, Accuracy]:
    """By the sha256 of the weights: of the most exact of their artifacts that no check refused."""
    found: dict[str, tuple[int, Accuracy]] = {}
    for manifest in records.manifests.values():
        if isinstance(manifest.accuracy, Accuracy) and not manifest.refused:
            order = ("fp32", "fp16", "int8").index(manifest.precision)
            kept = found.get(manifest.checkpoint_sha256)
            if kept is None or order < kept[0]:
                found[manifest.checkpoint_sha256] = order, manifest.accuracy
    return {sha256: accuracy for sha256, (_, accuracy) in found.items()}


def _trained(model: Model, cards: Sequence[CheckpointCard], exported: Mapping[str, Accuracy]) -> Candidate:
    artifacts = [exported[card.weights_sha256] for card in cards if card.weights_sha256 in exported]
    whole = len(artifacts) == len(cards)
    percents = [
        *(accuracy.artifact_percent for accuracy in artifacts if whole),
        *(card.best.validation_accuracy_percent for card in cards if not whole),
    ]
    gaps = [card.best.train_accuracy_percent - percent for card, percent in zip(cards, percents, strict=True)]
    images = (
        fewest(accuracy.samples for accuracy in artifacts)
        if whole
        else fewest(card.data.validation_samples for card in cards)
    )
    scored = "the exported artifact's" if whole else "the checkpoint's, as not every run is exported,"
    return Candidate(
        name=cards[0].run,
        model=model,
        evidence="measured",
        figures={ACCURACY: accuracy_of(percents, images), GAP: mean_of(gaps)},
        scored=f"{scored} on the validation images",
        images=images,
        runs=tuple(card.run for card in cards),
        entry=Absent("a backbone is trained, not deployed"),
    )


def _flags(run: ReportedRun) -> str:
    return "; ".join(f"{verdict.code}: {verdict.seen}" for verdict in run.verdicts if verdict.level != "warning")


def _reported_on(records: Records, task: Task, samples: int) -> list[tuple[ReportedRun, Model]]:
    trainings = Trainings(records)
    pairs = [(run, trainings.reported_model_of(run)) for run in records.reported_runs.values()]
    return [(run, model) for run, model in pairs if run.samples == samples and model.task == task]


def _reported_runs(records: Records, task: Task, samples: int) -> list[Candidate]:
    found = []
    for run, model in _reported_on(records, task, samples):
        percent, train = run.validation_accuracy_percent, run.train_accuracy_percent
        if run.status != "valid" or isinstance(percent, Absent):
            continue
        gap = {} if isinstance(train, Absent) else {GAP: mean_of([train - percent])}
        figures = {ACCURACY: accuracy_of([percent], NO_IMAGES), **gap}
        nowhere = Absent("a document reports it")
        found.append(Candidate(run.model, model, "reported", figures, "reported", NO_IMAGES, (run.origin,), nowhere))
    return found
