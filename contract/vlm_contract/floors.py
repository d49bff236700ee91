"""What every training table carries beside the backbones: what needs no deep model, and a small reference network."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vlm_contract.card import CheckpointCard, Data
from vlm_contract.codec import Absent
from vlm_contract.workspace import Workspace, default_workspace

FLOORS = ("pixels", "resnet9")  # logistic regression on pixels, and a small reference network
Regime: TypeAlias = tuple[str, int, str]  # name of the data, samples, fingerprint of the data


@dataclass(frozen=True)
class NotTrained:
    """A floor that a regime lacks, and what trains it."""

    model: str
    data: Data  # as a run of the regime saw it
    command: str


def regime_of(data: Data) -> Regime:
    """What runs must share to be compared."""
    return data.name, data.samples, data.fingerprint


def is_floor(card: CheckpointCard) -> bool:
    return card.backbone.name in FLOORS


def model_of(card: CheckpointCard) -> str:
    """The model's label, marked where it is a floor."""
    return card.backbone.label + " (floor)" * is_floor(card)


def not_trained(cards: Iterable[CheckpointCard], workspace: Workspace) -> list[NotTrained]:
    """The floors that the regimes of these runs lack."""
    regimes: dict[Regime, list[CheckpointCard]] = {}
    for card in cards:
        regimes.setdefault(regime_of(card.data), []).append(card)
    missing = []
    for group in regimes.values():
        data = min((card.data for card in group), key=lambda data: data.seed)
        names = {card.backbone.name for card in group}
        missing += [NotTrained(floor, data, _command(floor, data, workspace)) for floor in FLOORS if floor not in names]
    return missing


def floor_for(card: CheckpointCard, name: str, cards: Iterable[CheckpointCard]) -> CheckpointCard | None:
    """The floor `name` of the run's regime: of the run's seed, else of the lowest; None where there is none."""
    floors = [each for each in cards if each.backbone.name == name and regime_of(each.data) == regime_of(card.data)]
    return min(floors, key=lambda floor: (floor.data.seed != card.data.seed, floor.data.seed), default=None)


def below_pixels(cards: Sequence[CheckpointCard]) -> list[tuple[CheckpointCard, CheckpointCard]]:
    """Each run that scores below the floor `pixels` of its regime, with that floor."""
    pairs = ((card, floor_for(card, FLOORS[0], cards)) for card in cards)
    return [(card, floor) for card, floor in pairs if floor and _scored(card, floor)[0] < _scored(card, floor)[1]]


def below_pixels_sentence(cards: Sequence[CheckpointCard]) -> str:
    """Names the runs that logistic regression on pixels beats; empty where there is none."""
    named = [f"{card.run} ({_compared(card, floor)})" for card, floor in below_pixels(cards)]
    return f"Below logistic regression on pixels: {', '.join(named)}." if named else ""


def _command(model: str, data: Data, workspace: Workspace) -> str:
    words = ["vlm-train", "--model", model, "--data", data.source, "--samples", str(data.samples)]
    elsewhere = [] if workspace.root == default_workspace() else ["--workspace", str(workspace.root)]
    return shlex.join([*words, "--seed", str(data.seed), *elsewhere])


def _scored(card: CheckpointCard, floor: CheckpointCard) -> tuple[float, float, str]:
    """Both accuracies in percent, on the test images where both were scored there, and on which images."""
    ours, theirs = card.test_accuracy_percent, floor.test_accuracy_percent
    if isinstance(ours, Absent) or isinstance(theirs, Absent):
        return card.best.validation_accuracy_percent, floor.best.validation_accuracy_percent, "validation"
    return ours, theirs, "test"


def _compared(card: CheckpointCard, floor: CheckpointCard) -> str:
    ours, theirs, where = _scored(card, floor)
    return f"{ours:.2f} % against {theirs:.2f} % on the {where} images"
