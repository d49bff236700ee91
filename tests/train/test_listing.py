"""The tables of runs: order, spreads over seeds, floors, and what is not finished."""

import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.card import Backbone, CheckpointCard, Data, Effort, Scores
from vlm_contract.codec import Absent, write_record
from vlm_contract.errors import VlmError
from vlm_contract.history import history_of
from vlm_contract.workspace import CARD_FILE, HISTORY_FILE, Workspace
from vlm_train.listing import (
    NOTHING,
    floors_table,
    mean_and_deviation,
    runs_of,
    runs_table,
    seeds_table,
    summary,
)

BEST, LAST = Scores(38, 1149, 99.5, 0.02, 98.0, 0.07), Scores(40, 1149, 99.9, 0.01, 97.5, 0.08)


def a_card(model: str = "double_net", seed: int = 0, samples: int = 1437, **changes: Any) -> CheckpointCard:
    no_gpu = Absent("no GPU")
    card = CheckpointCard(
        run=f"{model}-digits-{samples}-s{seed}",
        backbone=Backbone(model, "stock", {}, ("0", "1"), 32, 3, (0.5,), (0.5,), 4_210_000, 7_000_000),
        start=f"random weights, seed {seed}",
        data=Data("digits", "digits", "d" * 64, "e" * 64, samples, 1149, 288, "one in five", 360, "held out", 0, seed),
        recipe="scratch",
        hyperparameters={"epochs": 40},
        precision="FP32",
        best=BEST,
        last=LAST,
        test_accuracy_percent=97.0,
        effort=Effort(120.0, 240.0, 800.0, 6.0, 500_000_000, no_gpu, no_gpu),
        weights_sha256="f" * 64,
        device="double CPU",
        versions={},
        finished_utc="2001-01-01T00:00:00+00:00",
    )
    return dataclasses.replace(card, **changes)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("VLM_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    return Workspace(Path("workspace"))


def keep(workspace: Workspace, *cards: CheckpointCard) -> None:
    for card in cards:
        write_record(card, workspace.run(card.run) / CARD_FILE)


def write_history(folder: Path, *scores: Scores) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HISTORY_FILE).write_text("".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in scores))


def rows(table: str) -> list[list[str]]:
    """The cells of each row below the header."""
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def three_seeds() -> list[CheckpointCard]:
    return [
        a_card(
            seed=seed,
            best=dataclasses.replace(BEST, validation_accuracy_percent=98.0 + seed),
            test_accuracy_percent=97.0 - seed,
            effort=dataclasses.replace(a_card().effort, wall_s=120.0 + 10 * seed),
        )
        for seed in (0, 1, 2)
    ]


def test_an_empty_workspace_says_what_to_type(workspace: Workspace) -> None:
    for show in (runs_table, summary):
        with pytest.raises(VlmError, match="holds no run") as caught:
            show(workspace)
        assert caught.value.hint.startswith("vlm-train --model")


def test_a_row_holds_the_figures_of_the_card(workspace: Workspace) -> None:
    keep(workspace, a_card(), a_card("pixels"), a_card("resnet9"))
    assert rows(runs_table(workspace))[-1] == [
        "double_net-digits-1437-s0", "double_net", "digits", "1437", "0", "scratch",
        "38/40", "98.00", "97.00", "1.50", "2 min 00 s", "finished",
    ]  # fmt: skip


def test_the_spread_is_the_sample_standard_deviation() -> None:
    spreads = mean_and_deviation(three_seeds())
    assert spreads.validation_accuracy_percent.text() == "99.00 ± 1.00"
    assert spreads.test_accuracy_percent.text() == "96.00 ± 1.00"  # type: ignore[union-attr]
    assert spreads.wall_s.deviation == statistics.stdev([120.0, 130.0, 140.0]) == 10.0
    unscored = a_card(test_accuracy_percent=Absent("never scored"))
    assert isinstance(mean_and_deviation([a_card(), unscored]).test_accuracy_percent, Absent)


def test_runs_that_differ_in_the_seed_only_stand_together_above_their_mean(workspace: Workspace) -> None:
    other = a_card("a_net", run="z")
    longer = a_card(run="longer", hyperparameters={"epochs": 80})
    keep(workspace, *three_seeds(), other, longer, a_card("pixels"), a_card("resnet9"))
    first = [row[0] for row in rows(runs_table(workspace))]
    assert first == [
        "pixels-digits-1437-s0",
        "resnet9-digits-1437-s0",
        "z",
        "double_net-digits-1437-s0",
        "double_net-digits-1437-s1",
        "double_net-digits-1437-s2",
        "mean ± standard deviation",
        "longer",
    ]
    (group,) = summary(workspace)["groups"]
    assert group["runs"] == first[3:6]
    assert group["test_accuracy_percent"] == {"mean": 96.0, "deviation": 1.0}


def test_two_runs_of_one_seed_have_no_mean(workspace: Workspace) -> None:
    keep(workspace, a_card(), a_card(run="again"))
    assert "standard deviation" not in runs_table(workspace)
    assert summary(workspace)["groups"] == []


def test_a_floor_that_was_not_trained_is_a_row_of_dashes_and_a_command(workspace: Workspace) -> None:
    keep(workspace, a_card(seed=3), a_card(samples=500), a_card("pixels", samples=500))
    table = runs_table(workspace)
    missing = [row for row in rows(table) if row[-1] == "not trained"]
    assert [(row[1], row[3]) for row in missing] == [
        ("resnet9 (floor)", "500"),
        ("pixels (floor)", "1437"),
        ("resnet9 (floor)", "1437"),
    ]
    assert all(cell == NOTHING for row in missing for cell in row[4:-1])
    command = "vlm-train --model pixels --data digits --samples 1437 --seed 3"
    assert f"Not trained: the floor pixels on digits, 1437 samples: {command}" in table.splitlines()
    assert command in [floor["command"] for floor in summary(workspace)["floors_not_trained"]]


def test_the_command_names_the_source_and_the_workspace(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "my runs")
    data = dataclasses.replace(a_card().data, name="pets", source="imagefolder:/data/my pets")
    keep(workspace, a_card(data=data))
    command = summary(workspace)["floors_not_trained"][0]["command"]
    assert "--data 'imagefolder:/data/my pets'" in command
    assert f"--workspace '{tmp_path / 'my runs'}'" in command


def test_a_run_below_logistic_regression_on_pixels_is_pointed_out(workspace: Workspace) -> None:
    low = a_card("low_net", seed=1, test_accuracy_percent=67.3)
    pixels = [a_card("pixels", seed=seed, test_accuracy_percent=82.0 + seed) for seed in (0, 1)]
    keep(workspace, a_card(), low, *pixels)
    said = "Below logistic regression on pixels: low_net-digits-1437-s1 (67.30 % against 83.00 % on the test images)."
    assert said in runs_table(workspace).splitlines()
    assert summary(workspace)["below_pixels"] == [low.run]


def test_without_test_images_the_validation_images_decide(workspace: Workspace) -> None:
    unscored = Absent("never scored")
    keep(workspace, a_card(test_accuracy_percent=unscored, best=LAST), a_card("pixels", test_accuracy_percent=unscored))
    assert "(97.50 % against 98.00 % on the validation images)" in runs_table(workspace)


def test_a_run_of_other_data_is_not_held_against_the_floor(workspace: Workspace) -> None:
    other = dataclasses.replace(a_card().data, fingerprint="0" * 64)
    keep(workspace, a_card(data=other, test_accuracy_percent=10.0), a_card("pixels"))
    assert "Below" not in runs_table(workspace)


def test_what_is_not_finished_is_shown_with_its_state(workspace: Workspace) -> None:
    write_history(workspace.run("cut-off"), BEST, LAST)
    write_history(workspace.run("nan"), dataclasses.replace(BEST, train_loss=float("nan")))
    workspace.run("begun").mkdir(parents=True)
    workspace.run("damaged").mkdir()
    (workspace.run("damaged") / CARD_FILE).write_text("{")
    table = runs_table(workspace)
    states = {row[0]: row[-1] for row in rows(table)}
    assert states == {
        "begun": "unfinished, 0 epochs",
        "cut-off": "unfinished, 2 epochs",
        "damaged": "damaged",
        "nan": "damaged",
    }
    assert "damaged is damaged: workspace/runs/damaged/checkpoint.json is damaged" in table
    assert {line["run"]: line["state"] for line in summary(workspace)["runs"]}["nan"] == "damaged"


def test_a_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_history(tmp_path, BEST, LAST)
    assert history_of(tmp_path) == (BEST, LAST)


def test_the_table_of_seeds_ends_with_mean_and_deviation_and_begins_with_the_floors(workspace: Workspace) -> None:
    cards = three_seeds()
    floors = [a_card("pixels", seed=seed, test_accuracy_percent=95.5) for seed in (1, 7)]
    keep(workspace, *cards, *floors, a_card("double_net", samples=500))
    table = seeds_table(cards, workspace)
    assert rows(table) == [
        ["resnet9 (floor)", *[NOTHING] * 6],
        ["pixels (floor)", "1", "38/40", "98.00", "95.50", "1.50", "2 min 00 s"],
        ["double_net", "0", "38/40", "98.00", "97.00", "1.50", "2 min 00 s"],
        ["double_net", "1", "38/40", "99.00", "96.00", "0.50", "2 min 10 s"],
        ["double_net", "2", "38/40", "100.00", "95.00", "-0.50", "2 min 20 s"],
        ["double_net", "3 seeds", NOTHING, "99.00 ± 1.00", "96.00 ± 1.00", "0.50 ± 1.00", "2 min 10 s ± 10 s"],
    ]
    assert "Below logistic regression on pixels: double_net-digits-1437-s2" in table
    assert "500 samples" not in table


def test_one_run_stands_below_its_floors(workspace: Workspace) -> None:
    keep(workspace, a_card(), a_card("pixels"))
    names = [row[0] for row in rows(floors_table(a_card(), workspace))]
    assert names == ["resnet9 (floor)", "pixels (floor)", "double_net"]
    assert [row[0] for row in rows(floors_table(a_card("pixels"), workspace))] == ["resnet9 (floor)", "pixels (floor)"]


def test_a_hostile_name_is_text(workspace: Workspace) -> None:
    keep(workspace, dataclasses.replace(a_card(), recipe="\x1b[31mred"))
    assert "\x1b" not in runs_table(workspace)


def test_the_summary_is_json(workspace: Workspace) -> None:
    keep(workspace, *three_seeds(), a_card("pixels", test_accuracy_percent=Absent("never scored")))
    document = json.loads(json.dumps(summary(workspace), allow_nan=False))
    assert document["runs"][0]["test_accuracy_percent"] == {"absent": "never scored"}
    assert [line["floor"] for line in document["runs"]] == [True, False, False, False]


def test_a_listing_needs_neither_torch_nor_pandas(workspace: Workspace) -> None:
    keep(workspace, a_card())
    assert runs_of(workspace).finished == (a_card(),)
    code = (
        "import sys; from pathlib import Path; from vlm_contract.workspace import Workspace; import vlm_train.listing\n"
        "vlm_train.listing.runs_table(Workspace(Path('workspace')))\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
