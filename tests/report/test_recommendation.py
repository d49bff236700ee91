"""The rules of the recommendation, on any records."""

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_contract.codec import Absent
from vlm_contract.measurement import Setup
from vlm_report.recommendation import ACCURACY_REACH_POINTS, Candidate, Recommendation, recommend
from vlm_report.records import Records
from vlm_report.requirements import requirement_from

POINTS = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 100)), min_size=1, max_size=8)


def records_at(double: SimpleNamespace, points: list[tuple[float, float]]) -> Records:
    """One valid artifact for each (latency, accuracy)."""
    names = [f"double-{index}-fp32" for index in range(len(points))]
    return double.records(  # type: ignore[no-any-return]
        *(double.measurement(name, p50) for name, (p50, _) in zip(names, points, strict=True)),
        manifests=tuple(double.manifest(name, accuracy) for name, (_, accuracy) in zip(names, points, strict=True)),
    )


def place(candidate: Candidate) -> tuple[float, float]:
    return candidate.latency.latency_ms_p50, candidate.accuracy.artifact_percent


def picked(recommendation: Recommendation) -> Candidate:
    assert isinstance(recommendation.pick, Candidate)
    return recommendation.pick


@given(points=POINTS)
def test_the_pick_is_never_dominated_and_within_reach_of_the_best(
    double: SimpleNamespace, points: list[tuple[float, float]]
) -> None:
    recommendation = recommend(records_at(double, points))
    latency, accuracy = place(picked(recommendation))
    assert not any(p <= latency and a >= accuracy and (p, a) != (latency, accuracy) for p, a in points)
    assert accuracy >= max(a for _, a in points) - ACCURACY_REACH_POINTS
    assert (latency, accuracy) in map(place, recommendation.front)


@given(points=POINTS)
def test_the_front_is_what_nothing_dominates(double: SimpleNamespace, points: list[tuple[float, float]]) -> None:
    def dominated(point: tuple[float, float]) -> bool:
        return any(p <= point[0] and a >= point[1] and (p, a) != point for p, a in points)

    assert {*map(place, recommend(records_at(double, points)).front)} == {p for p in points if not dominated(p)}


@pytest.mark.parametrize(
    "kind", ["invalid", "failed", "few", "refused", "estimated", "no accuracy", "no manifest", "b8", "paced"]
)
@given(points=POINTS)
def test_adding_an_infeasible_artifact_changes_nothing(
    double: SimpleNamespace, kind: str, points: list[tuple[float, float]]
) -> None:
    before = records_at(double, points)
    name = "double-best-of-all-fp32"
    changes = {
        "invalid": {"verdicts": (double.contended,)},
        "failed": {"verdicts": (double.killed,)},
        "few": {"verdicts": (double.few,)},
        "estimated": {"evidence": "estimated"},
        "b8": {"batch": 8},
        "paced": {"setup": Setup(1, 2, 1, "the call", 30.0, {})},
    }.get(kind, {})
    measurement = double.measurement(name, 0.01, **changes)
    accuracy = Absent("not scored") if kind == "no accuracy" else 100.0
    manifest = double.manifest(name, accuracy, refused=("parity",) if kind == "refused" else ())
    after = dataclasses.replace(
        before,
        measurements={**before.measurements, before.workspace.measurement("host", "best"): measurement},
        manifests=before.manifests
        if kind == "no manifest"
        else {**before.manifests, before.workspace.artifact(name) / "manifest.json": manifest},
    )
    old, new = recommend(before), recommend(after)
    assert dataclasses.replace(new, left_out=()) == dataclasses.replace(old, left_out=())
    assert [out.entry.name for out in new.left_out] == ([] if kind in ("b8", "paced") else [name])


def test_accuracy_is_bought_only_within_one_point(double: SimpleNamespace) -> None:
    recommendation = recommend(records_at(double, [(2.0, 97.9), (5.0, 98.0), (9.0, 99.0)]))
    assert place(picked(recommendation)) == (5.0, 98.0)
    assert isinstance(recommendation.runner_up, Candidate)
    assert place(recommendation.runner_up) == (9.0, 99.0)


@pytest.mark.parametrize(
    ("p50", "half", "tie"), [(10.4, 0.01, True), (10.6, 0.01, False), (12.0, 1.5, True), (12.0, 0.5, False)]
)
def test_a_tie_is_overlapping_intervals_or_a_difference_of_at_most_5_percent(
    double: SimpleNamespace, p50: float, half: float, tie: bool
) -> None:
    names = ("double-a-fp32", "double-b-fp32")
    measurements = (double.measurement(names[0], 10.0, half=0.5), double.measurement(names[1], p50, half=half))
    if half == 0.01:
        measurements = (double.measurement(names[0], 10.0, half=0.01), measurements[1])
    recommendation = recommend(double.records(*measurements, manifests=tuple(map(double.manifest, names))))
    assert bool(recommendation.ties) == tie


def test_another_machine_is_never_ranked_beside_this_one(double: SimpleNamespace) -> None:
    elsewhere = dataclasses.replace(double.device, cpu="another double CPU")
    names = ("double-here-fp32", "double-elsewhere-fp32")
    older = "2000-01-01T00:00:00+00:00"
    recommendation = recommend(
        double.records(
            double.measurement(names[0], 9.0),
            double.measurement(names[1], 1.0, device=elsewhere, measured_utc=older),
            manifests=tuple(map(double.manifest, names)),
        )
    )
    assert picked(recommendation).entry.name == "double-here-fp32"
    assert "other conditions" in recommendation.left_out[0].reason


def test_a_requirement_removes_what_misses_it_and_says_why(double: SimpleNamespace) -> None:
    records = records_at(double, [(5.0, 98.0), (9.0, 98.9)])
    recommendation = recommend(records, [requirement_from("accuracy_percent>=98.5")])
    assert place(picked(recommendation)) == (9.0, 98.9)
    assert "accuracy_percent is 98 %, off by 0.5 %" in recommendation.left_out[0].reason


def test_nothing_feasible_says_why_and_what_to_type(double: SimpleNamespace) -> None:
    name = "double-fp32"
    invalid = double.measurement(name, verdicts=(double.contended,))
    cases = {
        "vlm-export --fmt onnx --precision fp32,fp16": double.records(),
        "vlm-profile --target host": double.records(invalid, manifests=(double.manifest(name),)),
    }
    for command, records in cases.items():
        recommendation = recommend(records)
        assert isinstance(recommendation.pick, Absent)
        assert recommendation.to_type == command
    assert isinstance(recommendation.pick, Absent)
    assert "1 × invalid: contended" in recommendation.pick.reason
