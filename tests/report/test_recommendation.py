"""The rules of the recommendation, on any records."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Energy, Estimate, Measurement, Setup, Verdict
from vlm_contract.reported import ReportedRun
from vlm_contract.workspace import Workspace
from vlm_report.decision.balance import Balance
from vlm_report.decision.choices import Fastest, MostAccurate
from vlm_report.decision.fronts import dominates, pareto_front
from vlm_report.decision.limits import limit_from
from vlm_report.decision.spreads import Spread, overlap, same_latency
from vlm_report.questions import BALANCED, EDGE_DEVICE, OWN, SMALL_DATA
from vlm_report.recommendation import (
    ACCURACY_REACH_POINTS,
    Candidate,
    Recommendation,
    recommend,
    recommendations_of,
)
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


def without_the_rest(recommendation: Recommendation) -> Recommendation:
    """What was ranked, and nothing of what was not."""
    return dataclasses.replace(recommendation, left_out=(), apart=(), why_nots=())


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
    assert without_the_rest(new) == without_the_rest(old)
    stands = [candidate.name for candidate in new.apart] + [out.name for out in new.left_out]
    assert stands == [name]


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
    assert picked(recommendation).name == "double-here-fp32"
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
    assert "1 × invalid (contended)" in recommendation.pick.reason


SIZED = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 100), st.integers(1, 10**9)), min_size=1, max_size=8)
CHOICES = {"edge": EDGE_DEVICE.choice, "balanced": BALANCED.choice, "own": OWN.choice}
SPREADS = st.tuples(st.floats(0.1, 100), st.floats(0, 5), st.booleans()).map(
    lambda t: Spread(t[0], *([t[0] - t[1], t[0] + t[1]] if t[2] else [Absent("not told")] * 2))
)


def candidates_at(double: SimpleNamespace, points: list[tuple[float, float, int]]) -> tuple[Candidate, ...]:
    """One candidate for each (latency, accuracy, bytes)."""
    names = [f"double-{index}-fp32" for index in range(len(points))]
    measured = [
        dataclasses.replace(m, artifact=dataclasses.replace(m.artifact, bytes=size))
        for m, (_, _, size) in zip(
            (double.measurement(name, point[0]) for name, point in zip(names, points, strict=True)), points, strict=True
        )
    ]
    manifests = tuple(double.manifest(name, point[1]) for name, point in zip(names, points, strict=True))
    return recommend(double.records(*measured, manifests=manifests)).candidates


@pytest.mark.parametrize("name", CHOICES)
@given(points=SIZED)
def test_a_pick_is_feasible_and_on_the_front_and_never_dominated(
    double: SimpleNamespace, name: str, points: list[tuple[float, float, int]]
) -> None:
    candidates, choice = candidates_at(double, points), CHOICES[name]
    pick = choice.pick(candidates)
    assert pick in candidates
    assert not any(dominates(other, pick, choice.axes) for other in candidates)
    places = [tuple(axis.worth(c) for axis in choice.axes) for c in pareto_front(candidates, choice.axes)]
    assert tuple(axis.worth(pick) for axis in choice.axes) in places


@pytest.mark.parametrize("name", CHOICES)
@given(points=SIZED, worse=st.tuples(st.floats(0, 50), st.floats(0, 50), st.integers(1, 10**6)), of=st.integers(0, 7))
def test_a_dominated_candidate_changes_neither_the_pick_nor_the_front(
    double: SimpleNamespace,
    name: str,
    points: list[tuple[float, float, int]],
    worse: tuple[float, float, int],
    of: int,
) -> None:
    latency, accuracy, size = points[of % len(points)]
    dominated = (latency + worse[0], accuracy - min(worse[1], accuracy), size + worse[2])
    choice = CHOICES[name]
    before, after = candidates_at(double, points), candidates_at(double, [*points, dominated])
    assert choice.pick(after).name == choice.pick(before).name
    if name == "balanced":  # of the others the size is no axis: the added one may be another's equal
        assert [c.name for c in pareto_front(after, choice.axes)] == [c.name for c in pareto_front(before, choice.axes)]


@given(one=SPREADS, other=SPREADS)
def test_a_tie_is_symmetric(one: Spread, other: Spread) -> None:
    assert same_latency(one, other) == same_latency(other, one)
    assert overlap(one, other) == overlap(other, one)


@given(one=SPREADS, value=st.floats(0.1, 100))
def test_what_has_no_interval_is_never_called_faster_or_slower(one: Spread, value: float) -> None:
    assert same_latency(one, Spread(value, Absent("not told"), Absent("not told")))


@given(points=SIZED)
def test_a_change_of_the_reach_or_of_a_price_picks_what_it_says(
    double: SimpleNamespace, points: list[tuple[float, float, int]]
) -> None:
    candidates = candidates_at(double, points)
    pick = EDGE_DEVICE.choice.pick(candidates)
    for change in Fastest().changes(pick, candidates):
        words = change.text.split()
        if change.text.startswith("a reach of"):
            assert Fastest(float(words[3]) + 0.0051).pick(candidates) is not pick
    balanced = Balance()
    pick = balanced.pick(candidates)
    for change in balanced.changes(pick, candidates):
        words = change.text.split()
        if change.text.startswith("halving"):
            name = "latency_ms_p50" if words[2] == "latency" else "model_bytes"
            price = max(0.0, float(words[6]) + (0.006 if words[5] == "over" else -0.006))
            assert Balance({**balanced.prices, name: price}).pick(candidates) is not pick


def test_balance_pays_two_points_for_half_the_latency_and_one_for_half_the_size(double: SimpleNamespace) -> None:
    cases = {
        (5.0, 96.1, 100): (10.0, 98.0, 100),  # 1.9 points lost, and half the latency
        (10.0, 97.1, 50): (10.0, 98.0, 100),  # 0.9 points lost, and half the size
        (10.0, 98.0, 100): (5.0, 95.9, 100),
        (10.0, 98.0, 101): (10.0, 96.9, 50),
    }
    for better, worse in cases.items():
        candidates = candidates_at(double, [better, worse])
        assert place(BALANCED.choice.pick(candidates)) == better[:2]


def test_of_a_tie_in_latency_an_edge_device_takes_what_needs_less_energy(double: SimpleNamespace) -> None:
    def measured(name: str, p50: float, energy: float) -> Measurement:
        spent = Energy(energy, 5.0, 1.0, "double sensor", 10.0)
        return double.measurement(name, p50, half=0.5, energy=spent)  # type: ignore[no-any-return]

    manifests = (double.manifest("double-a-fp32", 98.0), double.manifest("double-b-fp32", 98.5))
    records = double.records(measured("double-a-fp32", 10.0, 80.0), measured("double-b-fp32", 10.2, 40.0),
                             manifests=manifests)  # fmt: skip
    assert picked(recommend(records)).name == "double-b-fp32"
    assert picked(recommend(records, question=OWN)).name == "double-a-fp32"


def estimate() -> Estimate:
    return Estimate("double rung", "a double of a method", 80.0, 2.0, 2.0, (), {}, "a measurement")


def test_every_target_with_rows_and_every_question_has_a_recommendation(double: SimpleNamespace) -> None:
    names = ("double-a-fp32", "double-b-fp32")
    records = double.records(
        double.measurement(names[0], 5.0),
        *(double.measurement(name, 9.0, target="jetson-orin-nano", evidence="estimated", estimate=estimate())
          for name in names),
        manifests=tuple(map(double.manifest, names)),
    )  # fmt: skip
    found = recommendations_of(records)
    assert [(r.target, r.question.name, r.evidence) for r in found] == [
        ("host", "edge", "measured"),
        ("host", "balanced", "measured"),
        ("jetson-orin-nano", "edge", "estimated"),
        ("jetson-orin-nano", "balanced", "estimated"),
    ]
    assert [out.reason for out in found[0].left_out] == ["not measured"]
    (only,) = recommendations_of(records, (EDGE_DEVICE,), targets=("rpi5",))
    assert isinstance(only.pick, Absent)
    assert only.to_type == "vlm-profile --target rpi5"


def test_an_estimate_is_ranked_apart_from_what_was_measured(double: SimpleNamespace) -> None:
    names = ("double-a-fp32", "double-b-fp32")
    records = double.records(
        double.measurement(names[0], 5.0),
        double.measurement(names[1], 0.1, evidence="estimated", estimate=estimate()),
        manifests=tuple(map(double.manifest, names)),
    )
    recommendation = recommend(records)
    assert [c.name for c in recommendation.candidates] == [names[0]]
    assert [c.name for c in recommendation.apart] == [names[1]]


def seeds(double: SimpleNamespace, percents: list[float], label: str = "double_net") -> Records:
    """The runs of one model, each exported and measured."""
    cards, manifests, measured = {}, [], []
    for seed, percent in enumerate(percents):
        run = f"{label}-s{seed}"
        card: CheckpointCard = double.card(run, backbone=double.backbone(label), weights_sha256=f"{seed}" * 64)
        path = Workspace(Path("workspace")).run(run) / "checkpoint.json"
        cards[path] = dataclasses.replace(card, start=f"random weights, seed {seed}")
        artifact = f"{run}.onnx-fp32"
        manifest: ArtifactManifest = double.manifest(
            artifact, percent, run=run, checkpoint_sha256=f"{seed}" * 64, backbone=label
        )
        manifests.append(manifest)
        measured.append(double.measurement(artifact, 5.0 + seed))
    return dataclasses.replace(double.records(*measured, manifests=tuple(manifests)), cards=cards)


def test_the_seeds_of_a_model_are_one_candidate_with_a_spread(double: SimpleNamespace) -> None:
    (candidate,) = recommend(seeds(double, [97.0, 98.0, 99.0])).candidates
    accuracy, latency = candidate.figures["accuracy_percent"], candidate.figures["latency_ms_p50"]
    assert (accuracy.value, accuracy.deviation, accuracy.seeds) == (98.0, 1.0, 3)
    assert accuracy.bounds is not None and accuracy.bounds[0] == pytest.approx(98 - 4.303 / 3**0.5)
    assert latency.value == 6.0
    assert latency.bounds == pytest.approx((5 - 0.034, 7 + 0.034))
    assert candidate.name == "double_net-s2.onnx-fp32"  # the most accurate of them is what to deploy
    assert candidate.runs == ("double_net-s0", "double_net-s1", "double_net-s2")


def test_small_data_is_judged_by_the_exported_artifact_and_not_by_the_checkpoint(double: SimpleNamespace) -> None:
    one = seeds(double, [70.0, 72.0])
    (recommendation,) = recommendations_of(one, (SMALL_DATA,))
    pick = picked(recommendation)
    assert pick.figures["accuracy_percent"].value == 71.0  # the double's card says 98.26
    assert pick.scored.startswith("the exported artifact's")
    assert recommendation.target == ""
    bare = dataclasses.replace(one, manifests={}, measurements={})
    pick = picked(recommendations_of(bare, (SMALL_DATA,))[0])
    assert pick.figures["accuracy_percent"].value == pytest.approx(98.26)
    assert pick.scored.startswith("the checkpoint's")


def test_ten_thousand_samples_are_no_small_data(double: SimpleNamespace) -> None:
    records = seeds(double, [70.0])
    for samples, expected in ((9_999, 1), (10_000, 0)):
        (path, card), = records.cards.items()  # fmt: skip
        data = dataclasses.replace(card.data, samples=samples)
        changed = dataclasses.replace(records, cards={path: dataclasses.replace(card, data=data)})
        assert len(recommendations_of(changed, (SMALL_DATA,))) == expected


def test_accuracies_on_other_data_are_never_ranked_together(double: SimpleNamespace) -> None:
    one, other = seeds(double, [90.0]), seeds(double, [50.0], "double_other")
    cards = {path: dataclasses.replace(card, weights_sha256="9" * 64, data=dataclasses.replace(
        card.data, name="other", fingerprint="9" * 64)) for path, card in other.cards.items()}  # fmt: skip
    manifests = {p: dataclasses.replace(m, checkpoint_sha256="9" * 64) for p, m in other.manifests.items()}
    both = dataclasses.replace(
        one,
        cards={**one.cards, **cards},
        manifests={**one.manifests, **manifests},
        measurements={**one.measurements, **{p.with_name("o.json"): m for p, m in other.measurements.items()}},
    )
    found = recommendations_of(both, (EDGE_DEVICE,))
    assert [(r.task.name, len(r.candidates)) for r in found] == [("digits", 1), ("other", 1)]


def test_a_limit_of_one_target_holds_there_alone(double: SimpleNamespace) -> None:
    name = "double-a-fp32"
    records = double.records(
        double.measurement(name, 5.0), double.measurement(name, 5.0, target="rpi5"), manifests=(double.manifest(name),)
    )
    own = recommendations_of(records, (), [limit_from("rpi5:latency_ms_p50<=1")])
    assert [(r.target, r.question.name, isinstance(r.pick, Absent)) for r in own] == [
        ("host", "own", False),
        ("rpi5", "own", True),
    ]
    assert own[1].to_type == "vlm-report --require 'rpi5:latency_ms_p50<=5ms'"


def test_the_nearest_limit_that_would_turn_the_choice_is_named(double: SimpleNamespace) -> None:
    records = records_at(double, [(5.0, 98.0), (9.0, 99.5)])
    recommendation = recommend(records, [requirement_from("latency_ms_p50<=8")])
    assert place(picked(recommendation)) == (5.0, 98.0)
    assert "latency_ms_p50 <= 9 ms in the place of 8 ms" in [change.text for change in recommendation.changes]


def test_the_backbone_for_small_data_is_the_most_accurate_unless_another_overfits_less(double: SimpleNamespace) -> None:
    def backbone(name: str, accuracy: float, half: float, gap: float) -> Candidate:
        (candidate,) = candidates_at(double, [(1.0, 50.0, 1)])
        figures = {
            "accuracy_percent": Spread(accuracy, accuracy - half, accuracy + half),
            "overfitting_gap_points": Spread(gap, gap, gap),
        }
        return dataclasses.replace(candidate, name=name, figures=figures)

    def chosen(*backbones: Candidate) -> str:
        return MostAccurate().pick(backbones).name

    best = backbone("best", 80.0, 0.9, 30.0)
    assert chosen(best, backbone("other", 79.5, 0.9, 10.0)) == "other"
    assert chosen(best, backbone("other", 79.5, 0.9, 29.5)) == "best"
    assert chosen(best, backbone("other", 79.5, 0.9, 40.0)) == "best"
    assert chosen(best, backbone("other", 78.5, 9.0, 1.0)) == "best"  # out of reach
    assert chosen(backbone("best", 80.0, 0.1, 30.0), backbone("other", 79.5, 0.1, 10.0)) == "best"  # told apart


def a_reported_run(model: str, percent: float, train: float, *verdicts: Verdict) -> ReportedRun:
    """A double of what a document says."""
    nothing = Absent("the document does not say")
    return ReportedRun(
        model=model, timm=nothing, data="Double-10", samples=5000, seed=nothing, epochs=nothing,
        train_accuracy_percent=train, validation_accuracy_percent=percent, test_accuracy_percent=nothing,
        train_loss=nothing, validation_loss=nothing, wall_s=nothing, hyperparameters={}, device=nothing,
        software=nothing, notes=nothing, origin="a double document", approximate=(), verdicts=verdicts, date=nothing,
    )  # fmt: skip


def test_what_documents_report_of_training_is_ranked_and_what_was_flagged_is_not(double: SimpleNamespace) -> None:
    flag = Verdict("nonfinite", "invalid", "val loss NaN", "a finite loss", "Train it again.")
    runs = [
        a_reported_run("Plain", 51.0, 60.0),
        a_reported_run("Best", 60.0, 99.0),
        a_reported_run("Odd", 90, 99, flag),
    ]
    reported = {Path(f"{run.model}.json"): run for run in runs}
    (recommendation,) = recommendations_of(dataclasses.replace(double.records(), reported_runs=reported), (SMALL_DATA,))
    assert picked(recommendation).name == "Best"
    assert recommendation.evidence == "reported"
    assert [candidate.name for candidate in recommendation.ties] == ["Plain"]  # no interval tells them apart
    odd = next(line for line in recommendation.why_nots if line.model == "Odd")
    assert odd.reason == "reported, and flagged: nonfinite: val loss NaN"


def test_a_reported_row_has_the_accuracy_that_a_document_reports_of_its_model(double: SimpleNamespace) -> None:
    row = double.measurement("Plain", evidence="reported", origin="a double document")
    unknown = dataclasses.replace(row.artifact, sha256=Absent("not said"))
    records = double.records(dataclasses.replace(row, artifact=unknown))
    reported = {Path("plain.json"): a_reported_run("Plain", 51.0, 60.0)}
    (candidate,) = recommend(dataclasses.replace(records, reported_runs=reported)).candidates
    assert place_of_figures(candidate) == (4.5678, 51.0)
    assert candidate.evidence == "reported"
    assert isinstance(recommend(records).pick, Absent)


def place_of_figures(candidate: Candidate) -> tuple[float, float]:
    return candidate.figures["latency_ms_p50"].value, candidate.figures["accuracy_percent"].value


def test_a_floor_is_no_choice_and_says_who_is_below_it(double: SimpleNamespace) -> None:
    records = seeds(double, [70.0])
    (path, card), = records.cards.items()  # fmt: skip
    floor = dataclasses.replace(card, run="pixels-s0", backbone=double.backbone("pixels"), weights_sha256="a" * 64)
    both = dataclasses.replace(records, cards={path: card, path.with_name("floor.json"): floor})
    (recommendation,) = recommendations_of(both, (SMALL_DATA,))
    assert [candidate.name for candidate in recommendation.candidates] == ["double_net-s0"]
    (out,) = recommendation.left_out
    assert out.reason == "a floor, which a backbone has to beat: 98.26 %; the pick is 28.26 points BELOW it"
