"""Why a model was not picked: what it failed first, by how much, and a change that really admits it."""

import dataclasses
import shlex
from itertools import pairwise
from types import SimpleNamespace

import pytest

from vlm_contract.codec import Absent
from vlm_report.decision.limits import limit_from, typed
from vlm_report.decision.spreads import outwards
from vlm_report.questions import EDGE_DEVICE, OWN
from vlm_report.recommendation import Candidate, recommend, recommendations_of
from vlm_report.records import Records
from vlm_report.whynot import WhyNot

FAST, SLOW = "double-fast.onnx-fp32", "double-slow.onnx-fp32"


def two_models(double: SimpleNamespace, slow_percent: float = 98.5, **more: float) -> Records:
    """A fast one of 5 ms and 98 %, and a slow one of 20 ms; `more` are rows of the slow one: its p50 by the batch."""
    manifests = (
        double.manifest(FAST, 98.0, run="double-fast", backbone="double_fast"),
        double.manifest(SLOW, slow_percent, run="double-slow", backbone="double_slow"),
    )
    rows = [double.measurement(SLOW, p50, batch=int(name[1:])) for name, p50 in more.items()]
    return double.records(double.measurement(FAST, 5.0), double.measurement(SLOW, 20.0), *rows, manifests=manifests)  # type: ignore[no-any-return]


def only(records: Records, *limits: str) -> WhyNot:
    (line,) = recommend(records, [limit_from(text) for text in limits]).why_nots
    return line


def picked(records: Records, *limits: str) -> str:
    pick = recommend(records, [limit_from(text) for text in limits], OWN).pick
    assert isinstance(pick, Candidate)
    return pick.name


def limits_in(change: str) -> list[str]:
    """The requirements that a line says to type."""
    words = shlex.split(change.replace(";", ""))
    return [word for before, word in pairwise(words) if before == "--require"]


def test_a_model_that_misses_a_limit_says_which_by_how_much_and_where_the_limit_would_admit_it(
    double: SimpleNamespace,
) -> None:
    records = two_models(double)
    line = only(records, "latency_ms_p50<=9")
    assert line.model == "double_slow"
    assert line.reason.startswith("latency_ms_p50 is 20 ms, off by 11 ms")
    (text,) = limits_in(line.change)
    assert text == "latency_ms_p50<=20ms"
    admitted = recommend(records, [limit_from(text)])
    assert SLOW in [candidate.name for candidate in admitted.feasible]


def test_the_first_limit_that_it_missed_is_named_and_all_that_must_be_relaxed(double: SimpleNamespace) -> None:
    line = only(two_models(double, 97.5), "accuracy_percent>=97.8", "latency_ms_p50<=9")
    assert line.reason.startswith("accuracy_percent is 97.5 %, off by 0.3 %")
    assert limits_in(line.change) == ["accuracy_percent>=97.5%", "latency_ms_p50<=20ms"]


def test_another_row_of_the_same_model_that_keeps_the_limit_is_the_cheapest_change(double: SimpleNamespace) -> None:
    line = only(two_models(double, b8=40.0), "images_per_s>=190")
    assert line.reason.startswith("images_per_s is 50 img/s, off by 140 img/s")
    assert line.change == f"{SLOW} meets all as double-runtime fp32 b8 t2, measured"


def test_a_precision_that_was_not_exported_is_a_command_that_may_help(double: SimpleNamespace) -> None:
    line = only(two_models(double), "latency_ms_p50<=9")
    assert line.command == "vlm-export --ckpt double-slow --fmt onnx --precision int8"
    assert only(two_models(double), "accuracy_percent<=98.2").command == ""


def test_a_feasible_model_says_why_the_rule_passed_it_over_and_what_requirement_picks_it(
    double: SimpleNamespace,
) -> None:
    records = two_models(double)
    line = only(records)
    assert line.reason == "4.00 times the pick's latency"
    (text,) = limits_in(line.change)
    assert text == "accuracy_percent>=98.50"
    assert picked(records, text) == SLOW


def test_one_that_nothing_picks_says_what_it_needs(double: SimpleNamespace) -> None:
    dominated = only(two_models(double, 97.5))
    assert dominated.change == "needs a latency under 5 ms"
    assert dominated.command.endswith("--precision int8")
    inaccurate = only(two_models(double, 95.5))
    assert inaccurate.reason == "its accuracy, 95.50 %, is 1.50 points short of what is within reach of the best"
    assert inaccurate.change == "needs 1.50 points more, 5 of its 288 images"


@pytest.mark.parametrize(("kind", "said"), [("contended", "invalid: contended"), ("few", "too few samples")])
def test_a_model_without_a_row_that_counts_says_so_in_few_words(double: SimpleNamespace, kind: str, said: str) -> None:
    records = two_models(double)
    spoilt = {
        path: dataclasses.replace(m, verdicts=(getattr(double, kind),)) if m.artifact.name == SLOW else m
        for path, m in records.measurements.items()
    }
    line = only(dataclasses.replace(records, measurements=spoilt))
    assert line.reason.startswith(said)
    assert line.command.startswith("vlm-profile --target host --again --artifact")


def test_a_model_that_was_never_measured_on_a_target_says_what_measures_it_there(double: SimpleNamespace) -> None:
    records = two_models(double)
    elsewhere = {
        path: dataclasses.replace(m, target="rpi5") if m.artifact.name == FAST else m
        for path, m in records.measurements.items()
    }
    moved = dataclasses.replace(records, measurements=elsewhere)
    (line,) = recommend(moved, question=EDGE_DEVICE, target="rpi5").why_nots
    assert line.reason == "not measured on rpi5"
    assert line.command == f"vlm-profile --target rpi5 --artifact workspace/artifacts/{SLOW}"


def test_where_nothing_meets_the_limits_what_to_type_meets_them(double: SimpleNamespace) -> None:
    records = two_models(double)
    recommendation = recommend(records, [limit_from("latency_ms_p50<=3"), limit_from("accuracy_percent>=97")])
    assert isinstance(recommendation.pick, Absent)
    words = shlex.split(recommendation.to_type)
    assert words[:2] == ["vlm-report", "--require"]
    assert picked(records, *words[2::2]) == FAST


@pytest.mark.parametrize("value", [0.000123456, 4.56789, 98.999, 123456.0, 7e9])
def test_a_relaxed_limit_is_rounded_so_that_the_figure_keeps_it(value: float) -> None:
    assert value <= outwards(value, upper=True) <= value * 1.011
    assert value >= outwards(value, upper=False) >= value * 0.989


@pytest.mark.parametrize("text", ["latency_ms_p50<=20ms", "rpi5:peak_rss_bytes<=300MB", "accuracy_percent>=97%"])
def test_a_limit_as_it_is_told_can_be_typed(text: str) -> None:
    assert typed(limit_from(text)) == text
    assert limit_from(typed(limit_from(text))) == limit_from(text)


def test_an_alias_of_a_target_is_that_target() -> None:
    assert str(limit_from("jetson:latency_ms_p50<=20")) == "jetson-orin-nano: latency_ms_p50 <= 20 ms"


def test_an_accuracy_that_the_picks_interval_allows_would_turn_the_choice(double: SimpleNamespace) -> None:
    changes = recommend(two_models(double, 98.9)).changes
    (change,) = [change for change in changes if "which its interval allows" in change.text]
    assert change.text.startswith("an accuracy of the pick 0.10 points lower")
    assert change.to == SLOW


def test_a_model_is_told_by_what_can_be_measured_again_before_what_was_refused(double: SimpleNamespace) -> None:
    manifests = (
        double.manifest("double-a.onnx-int8", refused=("the accuracy drops by 4 points",)),
        double.manifest("double-b.onnx-fp32"),
    )
    records = double.records(
        double.measurement("double-b.onnx-fp32", verdicts=(double.contended,)), manifests=manifests
    )
    line = only(records)
    assert (line.name, line.reason) == ("double-b.onnx-fp32", "invalid: contended")
    assert "--again" in line.command


def test_why_nothing_is_picked_is_counted_by_kind_and_short(double: SimpleNamespace) -> None:
    long = "; ".join(f"attempt {number} loses 4 points" for number in range(20))
    names = [f"double-{number}.onnx-fp32" for number in range(3)]
    rows = [
        double.measurement(name, verdicts=verdicts)
        for name, verdicts in zip(names, [(double.contended,), (double.contended, double.few)], strict=False)
    ]
    manifests = *map(double.manifest, names[:2]), double.manifest(names[2], refused=(long,))
    pick = recommend(double.records(*rows, manifests=manifests)).pick
    assert isinstance(pick, Absent)
    assert pick.reason.endswith("2 × invalid (contended); 1 × refused by the export")


def test_a_reported_row_names_its_document_and_the_device_that_a_flag_asks_for(double: SimpleNamespace) -> None:
    flag = dataclasses.replace(double.contended, next_step="Say which device it was: --target gtx1660ti.")
    records = double.all(double.reported_measurement(verdicts=(flag,)))
    (answer, *_) = recommendations_of(records)
    assert shlex.split(answer.to_type) == ["vlm-report", "import", "double.md", "--target", "gtx1660ti"]
    (line,) = answer.why_nots
    assert line.command == answer.to_type
    assert line.change == "say which device it was: --target gtx1660ti"


def test_how_an_estimate_misses_a_limit_has_no_more_digits_than_it_has(double: SimpleNamespace) -> None:
    records = double.all(double.manifest(FAST), double.estimate(FAST, 20.123456, target="jetson-orin-nano"))
    (answer,) = recommendations_of(records, (OWN,), [limit_from("latency_ms_p50<=20.1ms")], ["jetson-orin-nano"])
    (line,) = answer.why_nots
    assert line.reason.startswith("latency_ms_p50 is 20.2 ms, off by 0.1 ms; required")
