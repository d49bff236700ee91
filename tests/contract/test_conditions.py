"""A condition is read exactly, or refused with the word that was meant."""

import pytest

from vlm_contract.codec import Absent
from vlm_contract.conditions import (
    BYTES,
    MILLISECONDS,
    OF_MEASUREMENT,
    Condition,
    condition_from,
    figure_at,
    scale_of,
    words_from,
    written,
)
from vlm_contract.errors import VlmError
from vlm_contract.measurement import ColdStart, Energy, Latency, Memory, Pacing, Sustained, Temperature, Throughput


@pytest.mark.parametrize(
    ("text", "figure", "comparison", "limit"),
    [
        ("latency_ms_p99<=20", "latency_ms_p99", "<=", 20.0),
        (" latency_ms_p50 < 0.02 s ", "latency_ms_p50", "<", 20.0),
        ("latency_ms_p50<=500us", "latency_ms_p50", "<=", 0.5),
        ("peak_rss_bytes<=300MB", "peak_rss_bytes", "<=", 3e8),
        ("peak_rss_bytes<=300KB", "peak_rss_bytes", "<=", 3e5),
        ("peak_rss_bytes<=1MiB", "peak_rss_bytes", "<=", 2.0**20),
        ("peak_rss_bytes<=1GB", "peak_rss_bytes", "<=", 1e9),
        ("images_per_s>=1e2", "images_per_s", ">=", 100.0),
        ("load_s<=800ms", "load_s", "<=", 0.8),
        ("frames_dropped<=0", "frames_dropped", "<=", 0.0),
    ],
)
def test_a_condition_is_read_in_the_units_of_the_records(text: str, figure: str, comparison: str, limit: float) -> None:
    read = condition_from(text, "--budget", OF_MEASUREMENT)
    assert (read.figure, read.comparison) == (figure, comparison)
    assert read.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("latency_p99<=20", "no figure 'latency_p99'", "--budget 'latency_ms_p99<=20'"),
        ("xyz<=20", "no figure 'xyz'", "one of latency_ms_p50"),
        ("latency_ms_p99=20", "no condition", "--budget 'latency_ms_p99<=20'"),
        ("latency_ms_p99<=", "no condition", "--budget 'latency_ms_p99<=20'"),
        ("latency_ms_p99<=nan", "no condition", "--budget 'latency_ms_p99<=20'"),
        ("latency_ms_p99<=+20", "has no sign", "--budget 'latency_ms_p99<=20'"),
        ("latency_ms_p99<=20MB", "'MB' is no unit of latency_ms_p99; expected ms, s, us", "latency_ms_p99<="),
        ("frames_late<=2ms", "expected no unit", "frames_late<="),
    ],
)
def test_what_is_no_condition_is_refused_with_what_to_type(text: str, said: str, hint: str) -> None:
    with pytest.raises(VlmError, match=said) as caught:
        condition_from(text, "--budget", OF_MEASUREMENT)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_change_keeps_its_sign_and_its_unit_apart() -> None:
    words = words_from("images_per_s<-5%", "--fail-if", OF_MEASUREMENT, "latency_ms_p50>+5%")
    assert (words.comparison, words.sign, words.number, words.unit) == ("<", "-", 5.0, "%")
    with pytest.raises(VlmError, match="'%' is no unit of images_per_s; expected img/s"):
        scale_of(words, "--fail-if", OF_MEASUREMENT["images_per_s"].units)


def test_a_limit_itself_is_kept_by_one_comparison_and_not_by_the_other() -> None:
    assert Condition("latency_ms_p50", "<=", 20.0, MILLISECONDS).failure(20.0) == ""
    assert Condition("latency_ms_p50", "<", 20.0, MILLISECONDS).failure(20.0) != ""


def test_a_miss_says_by_how_much_in_units_that_are_read() -> None:
    said = Condition("peak_rss_bytes", "<=", 3e8, BYTES).failure(312_500_000)
    assert said == "peak_rss_bytes is 312.5 MB, off by 12.5 MB; required: peak_rss_bytes <= 300 MB"


def test_what_is_absent_keeps_no_limit_and_says_why() -> None:
    for comparison in ("<=", ">="):
        said = Condition("latency_ms_p99", comparison, 0.0, MILLISECONDS).failure(Absent("64 samples are too few"))
        assert "absent (64 samples are too few)" in said


def test_a_figure_of_what_is_absent_is_absent_for_its_reason() -> None:
    class Double:
        latency = Absent("the worker died")

    assert figure_at(Double(), "latency.latency_ms_p50") == Absent("the worker died")


def test_every_figure_stands_where_its_path_says() -> None:
    parts = {
        "latency": Latency, "throughput": Throughput, "memory": Memory, "cold_start": ColdStart, "pacing": Pacing,
        "sustained": Sustained, "energy": Energy, "temperature": Temperature,
    }  # fmt: skip
    for figure in OF_MEASUREMENT.values():
        part, _, name = figure.path.partition(".")
        assert part == "artifact" or name in parts[part].__dataclass_fields__, figure.path


def test_bytes_are_written_in_decimal_units_and_times_in_milliseconds() -> None:
    assert (written(300e6, BYTES), written(2.0**20, BYTES)) == ("300 MB", "1.04858 MB")
    assert (written(1500.0, MILLISECONDS), written(7.0, {})) == ("1500 ms", "7")
