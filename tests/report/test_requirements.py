"""A requirement is read exactly, or refused with the word that was meant."""

from types import SimpleNamespace

import pytest

from vlm_contract.errors import VlmError
from vlm_report.figures import FIGURES, figure_of
from vlm_report.requirements import failures, requirement_from


@pytest.mark.parametrize(
    ("text", "figure", "comparison", "limit"),
    [
        ("latency_ms_p99<=20", "latency_ms_p99", "<=", 20.0),
        ("latency_ms_p50 < 0.02 s", "latency_ms_p50", "<", 20.0),
        ("peak_rss_bytes<=300MB", "peak_rss_bytes", "<=", 3e8),
        ("peak_rss_bytes<=1GiB", "peak_rss_bytes", "<=", 2.0**30),
        ("accuracy_percent>=97%", "accuracy_percent", ">=", 97.0),
        ("parameters<=5M", "parameters", "<=", 5e6),
    ],
)
def test_a_requirement_is_read_in_the_units_of_the_records(
    text: str, figure: str, comparison: str, limit: float
) -> None:
    read = requirement_from(text)
    assert (read.figure, read.comparison, read.limit) == (figure, comparison, limit)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("latency_ms_p9<=20", "latency_ms_p9"),
        ("acuracy_percent>=97", "accuracy_percent>=97"),
        ("latency_ms_p50==20", "latency_ms_p99<=20"),
        ("latency_ms_p50<=nan", "latency_ms_p99<=20"),
        ("latency_ms_p50<=-1", "latency_ms_p99<=20"),
    ],
)
def test_what_is_no_requirement_is_refused_with_what_to_type(text: str, hint: str) -> None:
    with pytest.raises(VlmError) as caught:
        requirement_from(text)
    assert hint in caught.value.hint


def test_a_unit_of_another_kind_is_refused() -> None:
    with pytest.raises(VlmError, match="'MB' is no unit of latency_ms_p50; expected ms, s, us"):
        requirement_from("latency_ms_p50<=20MB")


def test_every_figure_can_be_read_from_an_entry(double: SimpleNamespace) -> None:
    (entry,) = double.records(double.measurement("double-fp32"), manifests=(double.manifest("double-fp32"),)).entries()
    absent = {name for name in FIGURES if not isinstance(figure_of(entry, name), (int, float))}
    of_sensors = {"device_ms_p50", "device_peak_bytes", "energy_mj_per_image", "temperature_max_c"}
    assert absent == {"latency_ms_p99", *of_sensors, "settled_ms", "frames_dropped", "frames_late"}


def test_an_absent_figure_meets_no_requirement_and_is_named(double: SimpleNamespace) -> None:
    (entry,) = double.records(double.measurement("double-fp32"), manifests=(double.manifest("double-fp32"),)).entries()
    for text in ("latency_ms_p99<=20", "latency_ms_p99>=0"):
        assert "latency_ms_p99 is absent (p99 needs 662 samples" in failures([requirement_from(text)], entry)


def test_a_miss_says_by_how_much(double: SimpleNamespace) -> None:
    (entry,) = double.records(double.measurement("double-fp32", 24.0)).entries()
    assert failures([requirement_from("latency_ms_p50<=20")], entry) == (
        "latency_ms_p50 is 24 ms, off by 4 ms; required: latency_ms_p50 <= 20 ms"
    )
