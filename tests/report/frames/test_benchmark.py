"""One row an entry; a measurement supersedes the estimate of the same row, and nothing else does."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Setup
from vlm_report.frames import frames_of
from vlm_report.frames.rows import rows_in

NAME = "double-fp32"


def evidence(double: SimpleNamespace, *records: object) -> list[str | Absent]:
    return [row["evidence"] for row in rows_in(frames_of(double.all(*records))["benchmark"])]


def test_a_measurement_supersedes_the_estimate_of_its_row(double: SimpleNamespace) -> None:
    records = double.all(double.estimate(NAME), double.measurement(NAME), double.manifest(NAME))
    frames = frames_of(records)
    (row,) = rows_in(frames["benchmark"])
    assert (row["evidence"], row["latency_ms_p50"]) == ("measured", 4.5678)
    (judged,) = rows_in(frames["estimates"])
    assert judged["ratio"] == pytest.approx(9.0 / 4.5678)
    assert judged["within"] is False  # 9 ÷ 1.5 is 6


@pytest.mark.parametrize("change", ["target", "batch", "runtime", "artifact"])
def test_an_estimate_of_another_row_stands(double: SimpleNamespace, change: str) -> None:
    measured = double.measurement(NAME)
    other = {
        "target": replace(measured, target="jetson"),
        "batch": replace(measured, setup=replace(measured.setup, batch=8)),
        "runtime": replace(measured, runtime=replace(measured.runtime, name="another")),
        "artifact": double.measurement("double-fp16"),
    }[change]
    assert sorted(map(str, evidence(double, double.estimate(NAME), other))) == ["estimated", "measured"]


def test_an_invalid_measurement_supersedes_nothing(double: SimpleNamespace) -> None:
    found = evidence(double, double.estimate(NAME), double.measurement(NAME, verdicts=(double.contended,)))
    assert [word for word in found if isinstance(word, str)] == ["estimated"]


def test_figures_of_an_invalid_measurement_are_absent_with_the_verdict(double: SimpleNamespace) -> None:
    frames = frames_of(double.all(double.measurement(NAME, verdicts=(double.contended,))))
    (row,) = rows_in(frames["benchmark"])
    for name in ("latency_ms_p50", "images_per_s", "peak_rss_bytes", "evidence", "memory_by_source"):
        assert "contended" in row[name].reason, name


def test_a_reported_latency_has_the_size_that_its_document_tells(double: SimpleNamespace) -> None:
    other = double.reported_model(parameters=1, origin=f"other.md (sha256 {'b' * 64})")
    frames = frames_of(double.all(other, double.reported_measurement(), double.reported_model()))
    (row,) = rows_in(frames["benchmark"])
    assert (row["evidence"], row["parameters"], row["macs"]) == ("reported", 27_870_000, 91_000_000)
    assert isinstance(row["latency_ms_p50_low"], Absent)


def test_a_row_names_the_run_and_the_data_of_its_artifact(double: SimpleNamespace) -> None:
    card = double.card()
    frames = frames_of(double.all(card, double.manifest(NAME), double.measurement(NAME)))
    (row,) = rows_in(frames["benchmark"])
    assert (row["run"], row["data"], row["samples"]) == (card.run, "digits", 1437)
    assert row["manifest_record"] == f"artifacts/{NAME}/manifest.json"


def test_what_has_no_artifact_of_ours_says_so_where_the_run_would_stand(double: SimpleNamespace) -> None:
    setup = Setup(1, 2, 1, "the call", Absent("none"), {})
    (row,) = rows_in(frames_of(double.all(double.measurement("stray", setup=setup)))["benchmark"])
    assert "no manifest" in row["run"].reason
    assert row["manifest_record"] == ""
