"""Frames as tables: what a cell says, why it says nothing, and where its figure is from."""

import csv
import dataclasses
import io
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_report.cells import Cell, Table
from vlm_report.columns import durations, rates
from vlm_report.figures import interval, rate, seeds_range
from vlm_report.frames import frames_of
from vlm_report.frames.provenance import in_words, sources_of
from vlm_report.tables import csv_of, tables_of

NAME = "double-fp32"


def tables(double: SimpleNamespace, section: str, *records: object) -> list[Table]:
    found = double.all(*records)
    return [table for table in tables_of(found, frames_of(found)) if table.section == section]


def column(table: Table, title: str) -> list[Cell]:
    index = [each.title for each in table.columns].index(title)
    return [row[index] for row in table.rows]


def texts(table: Table, title: str) -> list[str]:
    return [cell.text for cell in column(table, title)]


def test_each_target_has_a_benchmark_of_its_own_with_its_hardware(double: SimpleNamespace) -> None:
    board = double.measurement(NAME, target="jetson")
    both = tables(double, "benchmark", double.measurement(NAME), board)
    assert [(t.name, t.title) for t in both] == [
        ("benchmark-host", "Benchmark: host"),
        ("benchmark-jetson", "Benchmark: jetson"),
    ]
    assert all("Hardware: double board: double CPU, 2 of 2 CPUs, 8 GB" in table.caption for table in both)


def test_what_was_measured_nowhere_stands_in_one_table_with_its_command(double: SimpleNamespace) -> None:
    records = double.measurement(NAME), double.measurement(NAME, target="jetson"), double.manifest("other-fp32")
    host, jetson, nowhere = tables(double, "benchmark", *records)
    assert (len(host.rows), len(jetson.rows), len(nowhere.rows)) == (1, 1, 1)
    (cell,) = column(nowhere, "Latency p50 (ms)")
    assert cell.text == "not measured"
    assert nowhere.name == "benchmark-measured_nowhere"
    assert nowhere.notes[cell.note - 1].command.startswith("vlm-profile --target host --artifact")


def test_a_cell_knows_the_record_of_its_figure(double: SimpleNamespace) -> None:
    (table,) = tables(double, "benchmark", double.manifest(NAME), double.measurement(NAME))
    manifest = f"artifacts/{NAME}/manifest.json"
    assert column(table, "Params (M)")[0].record == manifest
    measurement = column(table, "Latency p50 (ms)")[0].record
    assert measurement.startswith("measurements/host/")
    assert table.records == ((measurement, manifest),)
    assert table.evidence == ("measured",)


def test_every_record_of_a_cell_has_words_for_a_hover(double: SimpleNamespace) -> None:
    records = double.all(
        double.trained("net"), double.manifest(NAME), double.measurement(NAME), double.reported_run(),
        double.reported_model(), double.reported_measurement(),
    )  # fmt: skip
    words = in_words(sources_of(records))
    named = {path for table in tables_of(records, frames_of(records)) for row in table.records for path in row}
    assert named <= words.keys()
    measured = next(text for path, text in words.items() if path.startswith("measurements/host"))
    assert "measured; double board: double CPU" in measured
    assert "double-runtime 0.0, DoubleProvider; vlm-1; 2001-01-01" in measured


def test_a_reported_latency_stands_without_digits_that_nobody_gave_it(double: SimpleNamespace) -> None:
    (table,) = tables(double, "benchmark", double.reported_measurement(), double.reported_model())
    assert texts(table, "Latency p50 (ms)") == ["22.51"]
    assert texts(table, "Evidence") == ["reported"]
    assert texts(table, "Params (M)") == ["27.87"]


def test_an_estimate_has_the_digits_of_its_wide_interval(double: SimpleNamespace) -> None:
    (table,) = tables(double, "benchmark", double.estimate(NAME, 9.37))
    assert texts(table, "Latency p50 (ms)") == ["9.4 (6.2–14)"]


def test_a_table_of_unlike_evidence_says_so(double: SimpleNamespace) -> None:
    (mixed,) = tables(double, "benchmark", double.measurement(NAME), double.estimate("other-fp32"))
    (plain,) = tables(double, "benchmark", double.measurement(NAME))
    assert "estimated or reported is marked" in mixed.caption
    assert "estimated or reported" not in plain.caption


def test_a_column_that_no_row_has_is_left_out_and_named_with_the_reason(double: SimpleNamespace) -> None:
    (table,) = tables(double, "benchmark", double.measurement(NAME))
    assert "Energy (mJ/img)" not in [each.title for each in table.columns]
    assert "No row has Energy (mJ/img): no sensor." in table.caption


def test_each_regime_has_a_training_table_with_its_configuration(double: SimpleNamespace) -> None:
    cards = [double.trained(model, samples) for model in ("one", "two") for samples in (5000, 10_000)]
    few, many = tables(double, "training", *cards)
    assert (few.title, many.title) == ("Training: doubles, 5,000 samples", "Training: doubles, 10,000 samples")
    assert len({few.name, many.name}) == 2
    assert "All with batch size 128, epochs 40, recipe scratch, first weights random." in few.caption


def test_settings_that_differ_are_named_as_such(double: SimpleNamespace) -> None:
    other = double.trained("two", hyperparameters={"weights": "random", "epochs": 5, "batch_size": 128})
    (table,) = tables(double, "training", double.trained("one"), other)
    assert "They differ in epochs." in table.caption


def test_an_approximate_time_stays_approximate(double: SimpleNamespace) -> None:
    (table,) = tables(double, "training", double.reported_run())
    assert texts(table, "Training time") == ["~50 min"]
    assert texts(table, "Epochs (kept of run)") == ["100"]


def test_the_sample_efficiency_of_a_model_shows_the_seeds_range(double: SimpleNamespace) -> None:
    cards = [double.trained("net", seed=seed, validation=v) for seed, v in enumerate((52.9, 53.5, 53.8))]
    (table,) = tables(double, "samples", *cards)
    assert table.title == "Sample efficiency: net"
    assert texts(table, "Val. acc. (%)") == ["53.4 (52.9–53.8)"]


def test_exported_artifacts_say_why_one_was_refused(double: SimpleNamespace) -> None:
    refused = double.manifest("double-fp16", refused=("the accuracy drops by 4 points",))
    (table,) = tables(double, "exported", double.manifest(NAME), refused)
    assert texts(table, "Verdict") == ["refused: the accuracy drops by 4 points", "accepted"]
    assert texts(table, "Drop (points)") == ["0.00", "0.00"]


def test_no_record_gives_empty_tables_and_no_error(double: SimpleNamespace) -> None:
    records = double.all()
    found = tables_of(records, frames_of(records))
    assert {table.rows for table in found} == {()}
    assert {"benchmark", "training", "samples", "efficiency", "rankings", "families"} < {
        table.section for table in found
    }


def test_names_of_tables_are_unlike_each_other(double: SimpleNamespace) -> None:
    from dataclasses import replace

    card = double.trained("net")
    other = double.trained("net", run="other", data=replace(card.data, fingerprint="0" * 64))
    records = double.all(card, other, double.reported_run(data="else"))
    names = [table.name for table in tables_of(records, frames_of(records))]
    assert len(names) == len(set(names))


def test_a_csv_has_every_raw_value_and_the_reasons_of_the_rest(double: SimpleNamespace) -> None:
    frame = frames_of(double.all(double.measurement(NAME)))["benchmark"]
    (row,) = csv.DictReader(io.StringIO(csv_of(frame)))
    assert float(row["latency_ms_p50"]) == 4.5678
    assert row["energy_mj_per_image"] == ""
    assert "energy_mj_per_image: no sensor" in row["absent"]


def test_control_characters_of_a_record_are_escaped_in_cells_and_files(double: SimpleNamespace) -> None:
    card = double.trained("net\x1b[31m")
    (table,) = tables(double, "training", card)
    found = frames_of(double.all(card))["training"]
    assert "\x1b" not in repr([row[0].text for row in table.rows]).replace("\\x1b", "")
    assert "\x1b" not in table.rows[-1][0].text
    assert "\x1b" not in csv_of(found)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (seeds_range(53.4, 52.9, 53.8), "53.4 (52.9–53.8)"),
        (seeds_range(51.58, 51.58, 51.58), "51.58"),
        (seeds_range(40.2, 31.0, 49.0), "40.2 (31.0–49.0)"),
        (seeds_range(53.412, 53.404, 53.42), "53.41 (53.40–53.42)"),
        (interval(4.5678, 4.534, 4.602), "4.57 (4.53–4.60)"),
        (rate(1133.44, Absent("not said"), Absent("not said")), "1133.44"),
        (durations(121.4, 121.4, 121.4), "2 min 01 s"),
        (durations(3000.0, 2940.0, 3060.0), "50 min 00 s (49 min 00 s–51 min 00 s)"),
        (rates(6259.7, 6259.7, 6259.7), "6260"),
        (rates(1.452, 1.4, 1.5), "1.45 (1.4–1.5)"),
    ],
)
def test_figures_have_the_digits_that_they_support(made: str, text: str) -> None:
    assert made == text


def every_row(frames: Any) -> Any:
    return ((name, row) for name, frame in frames.items() for row in frame.to_dict("records"))


def test_every_row_of_every_frame_names_its_record_and_its_evidence(double: SimpleNamespace) -> None:
    records = double.all(
        double.trained("resnet50"), double.trained("vit_base_patch16_224"), double.manifest(NAME),
        double.measurement(NAME), double.estimate(NAME), double.reported_run(), double.reported_measurement(),
    )  # fmt: skip
    for name, row in every_row(frames_of(records)):
        assert row["evidence"] in ("measured", "estimated", "reported") or isinstance(row["evidence"], Absent), name
        assert isinstance(row["record"], str) or isinstance(row["evidence"], Absent), name


def test_with_one_seed_a_tie_is_not_known(double: SimpleNamespace) -> None:
    cards = double.trained("one", validation=60.0), double.trained("two", validation=90.0)
    (table,) = [t for t in tables(double, "rankings", *cards) if t.title.startswith("By validation")]
    assert texts(table, "Tied with") == ["not known, with one seed"] * 2


def test_with_one_seed_the_images_alone_may_make_a_tie(double: SimpleNamespace) -> None:
    cards = double.trained("one", validation=60.0), double.trained("two", validation=60.2)
    (table,) = [t for t in tables(double, "rankings", *cards) if t.title.startswith("By validation")]
    assert texts(table, "Tied with") == ["one", "two"]


def test_this_host_comes_first_and_the_other_targets_by_name(double: SimpleNamespace) -> None:
    rows = [double.measurement(NAME, target=target) for target in ("rpi5", "host", "gtx1660ti")]
    assert [table.name for table in tables(double, "benchmark", *rows)] == [
        "benchmark-host",
        "benchmark-gtx1660ti",
        "benchmark-rpi5",
    ]


def test_a_table_of_estimates_speaks_of_no_interval_between_processes(double: SimpleNamespace) -> None:
    measured, estimated = tables(
        double, "benchmark", double.measurement(NAME), double.estimate(NAME, target="jetson-orin-nano")
    )
    assert "95 % interval between fresh processes" in measured.caption
    assert "never ran there" not in measured.caption
    assert "fresh processes" not in estimated.caption
    assert "never ran there; its range is to hold the truth in 90 % of cases" in estimated.caption
    assert "Reported by" not in estimated.caption
    assert texts(estimated, "Evidence") == ["estimated"]


def test_rows_of_unlike_seeds_and_samples_can_be_told_apart(double: SimpleNamespace) -> None:
    cards = [double.trained("net", samples, seed) for samples, seed in ((5000, 0), (5000, 1), (10_000, 0))]
    rows = [
        record
        for card in cards
        for record in (double.manifest(f"{card.run}.fp32", run=card.run), double.measurement(f"{card.run}.fp32"))
    ]
    (table,) = tables(double, "benchmark", *cards, *rows)
    told = zip(texts(table, "Samples"), texts(table, "Seed"), strict=True)
    assert sorted(told) == [("10,000", "0"), ("5,000", "0"), ("5,000", "1")]
    (alone,) = tables(double, "benchmark", cards[0], *rows[:2])
    assert not {"Samples", "Seed", "Data", "Images scored"} & {column.title for column in alone.columns}


def test_accuracies_of_unlike_numbers_of_images_name_them(double: SimpleNamespace) -> None:
    whole = double.manifest("double-fp32")
    part = double.manifest("double-fp16", accuracy=98.0)
    part = dataclasses.replace(part, accuracy=dataclasses.replace(part.accuracy, samples=64))
    rows = [double.measurement(each.artifact) for each in (whole, part)]
    (table,) = tables(double, "benchmark", whole, part, *rows)
    assert sorted(texts(table, "Images scored")) == ["288", "64"]


def test_who_reports_a_figure_is_named_with_the_first_digits_of_the_document(double: SimpleNamespace) -> None:
    (table,) = tables(double, "benchmark", double.reported_measurement())
    assert texts(table, "Reported by") == ["double.md, table 1, row 1 (sha256 aaaaaaaa…)"]
