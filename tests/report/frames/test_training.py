"""Runs of the workspace, of documents, and those that are missing."""

import shlex
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Verdict
from vlm_report.frames import frames_of
from vlm_report.frames.missing import OPTIONS
from vlm_report.frames.rows import rows_in

NAN_LOSS = Verdict("loss", "invalid", "Val Loss: NaN", "a finite number", "Train it again.")


def rows(double: SimpleNamespace, frame: str, *records: object) -> list[dict[str, Any]]:
    return rows_in(frames_of(double.all(*records))[frame])


def series(double: SimpleNamespace, *records: object) -> list[str]:
    found = rows(double, "training", *records)
    return [row["series"] for row in found if not isinstance(row["evidence"], Absent)]


def test_a_model_that_was_not_trained_on_as_many_samples_as_others_is_missing(double: SimpleNamespace) -> None:
    cards = double.trained("one", 5000), double.trained("one", 10_000), double.trained("two", 5000)
    (row,) = [r for r in rows(double, "training", *cards) if isinstance(r["evidence"], Absent) and not r["floor"]]
    assert (row["model"], row["samples"]) == ("two", 10_000)
    assert isinstance(row["validation_accuracy_percent"], Absent)
    words = shlex.split(row["to_type"])
    assert words[:7] == ["vlm-train", "--model", "two", "--data", "doubles", "--samples", "10000"]
    assert words[words.index("--epochs") + 1] == "40"
    assert words[words.index("--batch-size") + 1] == "128"


def test_on_other_images_nothing_is_missing(double: SimpleNamespace) -> None:
    one, two = double.trained("one", 5000), double.card("two")
    missing = [r["model"] for r in rows(double, "training", one, two) if isinstance(r["evidence"], Absent)]
    assert all("(floor)" in model for model in missing)


def test_seeds_alone_make_no_other_series(double: SimpleNamespace) -> None:
    assert series(double, *(double.trained("net", seed=seed) for seed in range(3))) == ["net"] * 3


def test_settings_that_differ_on_the_same_samples_tell_series_apart(double: SimpleNamespace) -> None:
    short = double.trained("net", run="short", hyperparameters={"weights": "random", "epochs": 5, "batch_size": 128})
    assert series(double, double.trained("net"), short) == ["net, epochs 40", "net, epochs 5"]


def test_what_follows_from_the_recipe_is_not_said_again(double: SimpleNamespace) -> None:
    other = double.trained("net", run="other", recipe="reference", hyperparameters={"weights": "random", "epochs": 9})
    assert series(double, double.trained("net"), other) == ["net, recipe reference", "net, recipe scratch"]


def test_fewer_epochs_on_more_samples_are_the_same_series(double: SimpleNamespace) -> None:
    longer = double.trained("net", 50_000, hyperparameters={"weights": "random", "epochs": 5, "batch_size": 128})
    assert series(double, double.trained("net"), longer) == ["net", "net"]


def test_a_reported_run_says_what_the_document_says_and_no_more(double: SimpleNamespace) -> None:
    (row,) = rows(double, "training", double.reported_run(), double.reported_model())
    assert (row["evidence"], row["state"]) == ("reported", "valid")
    assert row["overfitting_gap_points"] == pytest.approx(47.94)
    assert row["parameters"] == 27_870_000
    assert row["notes"] == "the document notes: Heavy overfitting"
    assert isinstance(row["images_per_s"], Absent)


def test_a_reported_run_with_a_flag_enters_no_ranking_and_shows_the_flag(double: SimpleNamespace) -> None:
    run = double.reported_run(validation_loss=Absent("the document says NaN"), verdicts=(NAN_LOSS,))
    frames = frames_of(double.all(run))
    (row,) = rows_in(frames["training"])
    assert row["state"] == "invalid: loss"
    assert "Val Loss: NaN" in row["notes"]
    assert rows_in(frames["rankings"]) == []


def test_the_data_of_a_document_are_ours_where_we_have_one_of_that_name(double: SimpleNamespace) -> None:
    found = rows(double, "training", double.trained("net"), double.reported_run())
    assert {row["fingerprint"] for row in found} == {"d" * 64}


def test_the_epochs_of_a_history_are_curves_and_notes(workspace: Any, keep: Any, double: SimpleNamespace) -> None:
    import json

    from vlm_contract.codec import encode
    from vlm_report.records import records_of

    card = double.trained("net", gap=20.0)
    keep(card)
    history = double.history((40, 40), (96, 58), (99, 60), *[(99, 59.5)] * 37)
    lines = [json.dumps(encode(scores)) for scores in history]
    (workspace.run(card.run) / "history.jsonl").write_text("\n".join(lines))
    frames = frames_of(records_of(workspace))
    (row,) = [row for row in rows_in(frames["training"]) if row["evidence"] == "measured"]
    assert (row["plateau_epoch"], row["fitted_epoch"], row["stable"]) == (3, 2, True)
    assert row["notes"] == "heavy overfitting; validation plateau from epoch 3"
    assert len(frames["curves"]) == 40
    assert [epoch["epoch"] for epoch in rows_in(frames["curves"]) if epoch["kept"]] == [38]


def test_a_damaged_history_takes_nothing_from_the_run(workspace: Any, keep: Any, double: SimpleNamespace) -> None:
    from vlm_report.records import records_of

    card = double.trained("net")
    keep(card)
    (workspace.run(card.run) / "history.jsonl").write_text("{")
    frames = frames_of(records_of(workspace))
    (row,) = [row for row in rows_in(frames["training"]) if row["evidence"] == "measured"]
    assert row["validation_accuracy_percent"] == 60.0
    assert "damaged" in row["plateau_epoch"].reason
    assert len(frames["curves"]) == 0


def test_the_command_of_a_missing_run_has_every_setting_of_the_one_beside_it(double: SimpleNamespace) -> None:
    settings = {"epochs": 3, "flip": True, "mix": "cutmix", "mix_alpha": 0.5, "label_smoothing": 0.1, "ema": 0.99}
    cards = (
        double.trained("one", 5000),
        double.trained("one", 10_000),
        double.trained("two", 5000, hyperparameters=settings),
    )
    (row,) = [r for r in rows(double, "training", *cards) if isinstance(r["evidence"], Absent) and not r["floor"]]
    words = shlex.split(row["to_type"])
    for option, value in {"--flip": "1", "--mix": "cutmix", "--mix-alpha": "0.5", "--ema": "0.99"}.items():
        assert words[words.index(option) + 1] == value


def test_every_option_of_a_missing_run_is_one_that_training_has() -> None:
    from vlm_train.__main__ import _parser

    known = {option for action in _parser()._actions for option in action.option_strings}
    assert set(OPTIONS.values()) <= known
