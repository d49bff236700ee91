"""The floors: which runs they belong to, what trains one that is missing, and who is below."""

import dataclasses
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.floors import below_pixels_sentence, floor_for, not_trained
from vlm_contract.workspace import Workspace
from vlm_report.frames import frames_of
from vlm_report.tables import tables_of


def a_run(double: SimpleNamespace, model: str, seed: int = 0, percent: float | Absent = 90.0) -> CheckpointCard:
    card: CheckpointCard = double.card(f"{model}-s{seed}", backbone=double.backbone(model))
    return dataclasses.replace(card, data=dataclasses.replace(card.data, seed=seed), test_accuracy_percent=percent)


def test_a_missing_floor_comes_with_the_command_that_trains_it(
    double: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLM_WORKSPACE", raising=False)
    card = a_run(double, "double_net", seed=3)
    card = dataclasses.replace(card, data=dataclasses.replace(card.data, source="imagefolder:/data/my pets"))
    here, elsewhere = (not_trained([card, a_run(double, "pixels", 3)], Workspace(Path(p))) for p in ("workspace", "w"))
    (floor,) = here
    words = ["vlm-train", "--model", "resnet9", "--data", "imagefolder:/data/my pets", "--samples", "1437"]
    assert shlex.split(floor.command) == [*words, "--seed", "3"]
    assert shlex.split(elsewhere[0].command) == [*words, "--seed", "3", "--workspace", "w"]


def test_the_floor_of_a_run_is_that_of_its_seed_else_of_the_lowest(double: SimpleNamespace) -> None:
    floors = [a_run(double, "pixels", seed) for seed in (7, 2, 1)]
    assert floor_for(a_run(double, "double_net", seed=2), "pixels", floors) == floors[1]
    assert floor_for(a_run(double, "double_net", seed=5), "pixels", floors) == floors[2]
    assert floor_for(a_run(double, "double_net"), "resnet9", floors) is None


def test_a_run_below_pixels_is_named_with_both_accuracies(double: SimpleNamespace) -> None:
    cards = [a_run(double, "double_net", percent=67.3), a_run(double, "ours"), a_run(double, "pixels", percent=82.6)]
    said = "Below logistic regression on pixels: double_net-s0 (67.30 % against 82.60 % on the test images)."
    assert below_pixels_sentence(cards) == said
    assert below_pixels_sentence(cards[1:]) == ""


def test_without_test_images_the_validation_images_decide(double: SimpleNamespace) -> None:
    cards = [a_run(double, "double_net"), a_run(double, "pixels", percent=Absent("never scored"))]
    best = dataclasses.replace(cards[0].best, validation_accuracy_percent=50.0)
    said = below_pixels_sentence([dataclasses.replace(cards[0], best=best), cards[1]])
    assert "(50.00 % against 98.26 % on the validation images)" in said


def test_runs_on_other_images_have_floors_of_their_own(double: SimpleNamespace) -> None:
    card = a_run(double, "double_net", percent=10.0)
    other = dataclasses.replace(card, data=dataclasses.replace(card.data, fingerprint="0" * 64))
    assert below_pixels_sentence([other, a_run(double, "pixels")]) == ""


def test_the_training_table_begins_a_regime_with_its_floors(double: SimpleNamespace) -> None:
    records = double.all(a_run(double, "double_net"), a_run(double, "resnet9"))
    (table,) = [table for table in tables_of(records, frames_of(records)) if table.section == "training"]
    assert [row[0].text for row in table.rows] == ["pixels (floor)", "resnet9 (floor)", "double_net"]
    note = table.notes[table.rows[0][1].note - 1]
    assert note.text == "the floor pixels was not trained on digits, 1437 samples"
    assert note.command == "vlm-train --model pixels --data digits --samples 1437 --seed 0"
