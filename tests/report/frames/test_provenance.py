"""Each record once, with what made it."""

from types import SimpleNamespace

from vlm_report.frames import frames_of
from vlm_report.frames.rows import rows_in


def test_records_of_every_kind_are_listed(double: SimpleNamespace) -> None:
    records = double.all(
        double.trained("net"), double.manifest("double-fp32"), double.measurement("double-fp32"),
        double.reported_run(), double.reported_model(),
    )  # fmt: skip
    rows = rows_in(frames_of(records)["provenance"])
    assert [row["record"].split("/")[0] for row in rows] == [
        "runs",
        "artifacts",
        "measurements",
        "reported",
        "reported",
    ]
    assert [row["evidence"] for row in rows] == ["measured"] * 3 + ["reported"] * 2
    assert "double.md, table 1" in rows[3]["origin"]


def test_a_machine_is_told_with_its_power_mode(double: SimpleNamespace) -> None:
    from dataclasses import replace

    measurement = double.measurement("double-fp32", device=replace(double.device, power_mode="15W"))
    (row,) = rows_in(frames_of(double.all(measurement))["provenance"])
    assert row["machine"] == "double board: double CPU, 2 of 2 CPUs, 8 GB, 15W, double OS"
