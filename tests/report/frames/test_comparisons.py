"""Sample efficiency, efficiency, rankings, times: figures over seeds."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_report.frames import frames_of
from vlm_report.frames.rows import rows_in, spread


def rows(double: SimpleNamespace, frame: str, *records: object) -> list[dict[str, Any]]:
    return rows_in(frames_of(double.all(*records))[frame])


def three_seeds(double: SimpleNamespace, model: str, *validation: float) -> list[Any]:
    return [double.trained(model, seed=seed, validation=percent) for seed, percent in enumerate(validation)]


def test_a_spread_over_seeds_has_the_mean_and_the_ends() -> None:
    found = spread([52.9, 53.5, 53.8])
    assert not isinstance(found, Absent)
    assert (round(found.mean, 4), found.low, found.high) == (53.4, 52.9, 53.8)
    assert found.deviation == pytest.approx(0.4583, abs=1e-4)


def test_a_figure_that_one_seed_lacks_is_absent_for_its_reason() -> None:
    assert spread([1.0, Absent("never scored")]) == Absent("never scored")


def test_sample_efficiency_counts_seeds_and_names_every_record(double: SimpleNamespace) -> None:
    (row,) = [r for r in rows(double, "samples", *three_seeds(double, "net", 52.9, 53.5, 53.8)) if not r["floor"]]
    assert (row["seeds"], row["validation_accuracy_percent_low"], row["validation_accuracy_percent_high"]) == (
        3,
        52.9,
        53.8,
    )
    assert row["record"].split(", ") == [f"runs/net-doubles-5000-s{seed}/checkpoint.json" for seed in range(3)]


def test_a_missing_size_has_a_row_with_the_command(double: SimpleNamespace) -> None:
    found = rows(double, "samples", double.trained("one"), double.trained("two"), double.trained("two", 50_000))
    (missing,) = [row for row in found if row["seeds"] == 0]
    assert (missing["model"], missing["samples"]) == ("one", 50_000)
    assert missing["to_type"].startswith("vlm-train --model one")


def test_the_reference_documents_ratios_come_out(double: SimpleNamespace) -> None:
    """27.87 M parameters and 22.51 ms at 51.58 %: 54.03 and 43.64; 99.52 against 51.58 %: a gap of 47.94 points."""
    told = double.reported_run(), double.reported_model(), double.reported_measurement()
    (row,) = rows(double, "efficiency", *told)
    assert round(row["parameters_per_accuracy"], 2) == 54.03
    assert round(row["latency_per_accuracy"], 2) == 43.64
    assert (round(row["overfitting_gap_points"], 2), row["overfitting_resistance"]) == (47.94, "Low")
    assert (row["evidence"], row["latency_evidence"]) == ("reported", "reported")


def test_a_reported_latency_is_never_that_of_our_own_run(double: SimpleNamespace) -> None:
    (row,) = rows(double, "efficiency", double.trained("Double-Net"), double.reported_measurement())
    assert isinstance(row["latency_ms_p50"], Absent)
    assert row["to_type"] == "vlm-export --ckpt Double-Net-doubles-5000-s0"


def test_efficiency_takes_the_fastest_valid_artifact_at_batch_1(double: SimpleNamespace) -> None:
    card = double.trained("net")
    names = ("net-a-fp32", "net-b-fp16", "net-c-fp16", "net-d-fp16")
    manifests = [double.manifest(name, run=card.run, backbone="net") for name in names]
    measured = (
        double.measurement(names[0], 5.0),
        double.measurement(names[1], 4.0),
        double.measurement(names[2], 1.0, verdicts=(double.contended,)),
        double.measurement(names[3], 2.0, batch=8),
    )
    (row,) = rows(double, "efficiency", card, *manifests, *measured)
    assert (row["artifact"], row["latency_ms_p50"]) == ("net-b-fp16", 4.0)
    assert row["latency_per_accuracy"] == pytest.approx(4.0 / 0.6)


def test_what_is_measured_goes_before_a_faster_estimate(double: SimpleNamespace) -> None:
    card = double.trained("net")
    manifests = [double.manifest(name, run=card.run, backbone="net") for name in ("net-fp32", "net-fp16")]
    both = double.measurement("net-fp32", 5.0), double.estimate("net-fp16", 1.0)
    (row,) = rows(double, "efficiency", card, *manifests, *both)
    assert (row["artifact"], row["latency_evidence"]) == ("net-fp32", "measured")


def test_an_exported_model_without_a_latency_comes_with_the_command_that_measures(double: SimpleNamespace) -> None:
    card = double.trained("net")
    (row,) = rows(double, "efficiency", card, double.manifest("net-fp32", run=card.run, backbone="net"))
    assert row["to_type"] == "vlm-profile --target host --artifact workspace/artifacts/net-fp32 --batch 1"


def test_rankings_name_ties_by_overlapping_seeds(double: SimpleNamespace) -> None:
    cards = [
        *three_seeds(double, "best", 60, 62),
        *three_seeds(double, "near", 58, 60.5),
        *three_seeds(double, "far", 40, 41),
    ]
    found = [row for row in rows(double, "rankings", *cards) if row["by"] == "validation accuracy"]
    assert [(row["rank"], row["model"], row["tied_with"]) for row in found] == [
        (1, "best", ("near",)),
        (2, "near", ("best",)),
        (3, "far", ()),
    ]


def test_the_smaller_gap_resists_overfitting_better(double: SimpleNamespace) -> None:
    cards = double.trained("wide", gap=40.0), double.trained("close", gap=2.0)
    found = [row for row in rows(double, "rankings", *cards) if row["by"] == "overfitting resistance"]
    assert [(row["model"], row["value"]) for row in found] == [("close", 2.0), ("wide", 40.0)]


def test_runs_on_unlike_devices_are_never_averaged_in_time(double: SimpleNamespace) -> None:
    cards = double.trained("net", seed=0), double.trained("net", seed=1, device="another CPU")
    assert [(row["device"], row["seeds"]) for row in rows(double, "times", *cards)] == [
        ("double CPU", 1),
        ("another CPU", 1),
    ]


def test_a_rankings_row_says_that_it_is_reported(double: SimpleNamespace) -> None:
    found = rows(double, "rankings", double.trained("net"), double.reported_run())
    assert {(row["model"], row["evidence"]) for row in found} == {("net", "measured"), ("Double-Net", "reported")}


def test_what_is_reported_is_in_no_order_with_what_was_measured(double: SimpleNamespace) -> None:
    """All are of the same data: one list of ranks would put the document's figure between two measured ones."""
    cards = double.trained("best", validation=60.0), double.trained("last", validation=40.0)
    found = rows(double, "rankings", *cards, double.reported_run(data=cards[0].data.name, validation=50.0))
    by_accuracy = [row for row in found if row["by"] == "validation accuracy"]
    assert len({(row["data"], row["fingerprint"]) for row in by_accuracy}) <= 2
    assert [(row["rank"], row["model"]) for row in by_accuracy if row["evidence"] == "measured"] == [
        (1, "best"),
        (2, "last"),
    ]
    assert [(row["rank"], row["model"]) for row in by_accuracy if row["evidence"] == "reported"] == [(1, "Double-Net")]


def test_so_few_images_tie_what_two_seeds_alone_would_tell_apart(double: SimpleNamespace) -> None:
    """43.6 and 40.4 % of 500 images: each may be 4 points more or less, whatever two seeds say."""
    cards = [
        double.trained(model, seed=seed, validation=percent)
        for model, percents in (("one", (43.5, 43.7)), ("two", (40.3, 40.5)), ("far", (20.0, 20.2)))
        for seed, percent in enumerate(percents)
    ]
    few = [dataclasses.replace(card, data=dataclasses.replace(card.data, validation_samples=500)) for card in cards]
    many = [dataclasses.replace(card, data=dataclasses.replace(card.data, validation_samples=50_000)) for card in cards]

    def tied(cards: list[object]) -> dict[str, tuple[str, ...]]:
        found = rows(double, "rankings", *cards)
        return {row["model"]: row["tied_with"] for row in found if row["by"] == "validation accuracy"}

    assert tied(few) == {"one": ("two",), "two": ("one",), "far": ()}
    assert tied(many) == {"one": (), "two": (), "far": ()}
