"""Runs that are not there: floors, and models that were trained on other sizes of the same data."""

import shlex
from dataclasses import replace

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.floors import NotTrained, is_floor, model_of, not_trained, regime_of
from vlm_report.frames.backbones import family_of
from vlm_report.frames.run import Run, nothing
from vlm_report.records import Records

OPTIONS = {  # of vlm-train, by what a card calls them; what only computes otherwise, and file names, are left out
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "learning_rate": "--lr",
    "schedule": "--schedule",
    "warmup_epochs": "--warmup-epochs",
    "weight_decay": "--weight-decay",
    "shift_pixels": "--shift-pixels",
    "flip": "--flip",
    "policy": "--policy",
    "erase": "--erase",
    "mix": "--mix",
    "mix_alpha": "--mix-alpha",
    "label_smoothing": "--label-smoothing",
    "clip_norm": "--clip-norm",
    "ema": "--ema",
    "patience": "--patience",
}


def missing_runs(records: Records) -> list[Run]:
    """One row for each, with the command that trains it."""
    floors = not_trained(records.cards.values(), records.workspace)
    return [*map(_missing_floor, floors), *_missing_models(records)]


def _missing_floor(floor: NotTrained) -> Run:
    data = floor.data
    why = f"the floor {floor.model} was not trained on {data.name}, {data.samples} samples"
    return replace(
        nothing(Absent(why), f"{floor.model} (floor)", floor.command),
        floor=True,
        data=data.name,
        fingerprint=data.fingerprint,
        samples=data.samples,
    )


def _missing_models(records: Records) -> list[Run]:
    """Models that were trained on a data set, but not with as many samples as others were."""
    cards = [card for card in records.cards.values() if not is_floor(card)]
    regimes = sorted({regime_of(card.data) for card in cards})
    trained = {(model_of(card), *regime_of(card.data)) for card in cards}
    newest = {(model_of(c), c.data.name, c.data.fingerprint): c for c in sorted(cards, key=lambda c: c.finished_utc)}
    return [
        _missing_model(card, samples, records)
        for (model, name, fingerprint), card in sorted(newest.items(), key=lambda item: item[0])
        for data, samples, of in regimes
        if (data, of) == (name, fingerprint) and (model, data, samples, of) not in trained
    ]


def _missing_model(card: CheckpointCard, samples: int, records: Records) -> Run:
    why = Absent(f"{model_of(card)} was not trained on {card.data.name}, {samples} samples")
    return replace(
        nothing(why, model_of(card), shlex.join(training_words(card, samples) + records.workspace_option())),
        timm=card.backbone.name,
        family=family_of(card.backbone.name),
        data=card.data.name,
        fingerprint=card.data.fingerprint,
        samples=samples,
        parameters=card.backbone.parameters,
        macs=card.backbone.macs,
    )


def training_words(card: CheckpointCard, samples: int) -> list[str]:
    """The command that trains a run's model as that run was trained, on so many samples."""
    words = ["vlm-train", "--model", card.backbone.name, "--data", card.data.source, "--samples", str(samples)]
    words += ["--seed", str(card.data.seed), "--recipe", card.recipe, "--adapt", card.backbone.adapt]
    for name, option in OPTIONS.items():
        if name in card.hyperparameters:
            value = card.hyperparameters[name]
            words += [option, str(int(value) if isinstance(value, bool) else value)]
    return words
