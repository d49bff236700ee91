"""Every number in the words is a figure of the records."""

import dataclasses
import re
from types import SimpleNamespace

from vlm_contract.codec import Absent
from vlm_contract.measurement import Estimate
from vlm_report.decision.spreads import accuracy_of
from vlm_report.questions import EDGE_DEVICE
from vlm_report.recommendation import Candidate, Recommendation, recommend, recommendations_of
from vlm_report.requirements import requirement_from
from vlm_report.sentences import figures, headline, in_brief, reasons

FAST, EXACT = "double-fast-fp32", "double-exact-fp32"


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


def a_recommendation(double: SimpleNamespace, exact_p50: float = 11.256) -> Recommendation:
    return recommend(
        double.records(
            double.measurement(FAST, 4.5678),
            double.measurement(EXACT, exact_p50),
            manifests=(double.manifest(FAST, 98.26), double.manifest(EXACT, 98.958)),
        )
    )


def test_the_numbers_of_the_headline_are_the_records(double: SimpleNamespace) -> None:
    measurement = double.measurement(FAST, 4.5678)
    figures, throughput = measurement.latency, measurement.throughput
    text = headline(a_recommendation(double)).replace(FAST, "").replace("double-runtime 0.0", "")
    assert numbers(text) == [
        str(measurement.setup.threads),
        str(measurement.setup.batch),
        f"{figures.latency_ms_p50:.2f}",
        f"{figures.latency_ms_p50_low:.2f}",
        f"{figures.latency_ms_p50_high:.2f}",
        f"{double.manifest(FAST).accuracy.artifact_percent:.2f}",
        f"{throughput.images_per_s:.0f}",
        f"{measurement.memory.peak_rss_bytes / 1e6:.0f}",
    ]


def test_the_comparison_follows_from_both_records(double: SimpleNamespace) -> None:
    text = in_brief(a_recommendation(double))[1].replace(EXACT, "")
    assert numbers(text) == ["11.26", "11.22", "11.29", "98.96", f"{11.256 / 4.5678:.2f}", f"{98.958 - 98.26:.2f}"]


def test_a_tie_is_called_one(double: SimpleNamespace) -> None:
    text = " ".join(reasons(a_recommendation(double, exact_p50=4.6)))
    assert f"cannot be told from that of {EXACT}" in text
    assert "neither can be called faster" in text
    assert "times as fast" not in text


def test_a_quick_measurement_and_its_warnings_are_named(double: SimpleNamespace) -> None:
    measurement = double.measurement(FAST, settings={"mode": "quick"}, verdicts=(double.unstable,))
    text = " ".join(reasons(recommend(double.records(measurement, manifests=(double.manifest(FAST),)))))
    assert "measured in quick mode" in text
    assert "Warning: unstable: the interval is ±4.0 %." in text


def an_estimate() -> Estimate:
    return Estimate("double rung", "a double of a method", 80.0, 2.0, 2.0, (), {}, "measuring it")


def of_evidence(double: SimpleNamespace, evidence: str, **changes: object) -> Recommendation:
    """Of two rows of that evidence alone."""
    rows = [double.measurement(n, p, evidence=evidence, **changes) for n, p in ((FAST, 4.5678), (EXACT, 11.256))]
    manifests = (double.manifest(FAST, 98.26), double.manifest(EXACT, 98.958))
    return recommend(double.records(*rows, manifests=manifests))


def test_an_estimate_is_called_one_in_every_line_with_its_figure(double: SimpleNamespace) -> None:
    recommendation = of_evidence(double, "estimated", estimate=an_estimate())
    lines = in_brief(recommendation)
    assert all("ms, estimated, at" in line for line in lines[:2])
    text = " ".join(reasons(recommendation))
    assert "estimated, not measured, from double rung" in text
    assert "holds 80 % of such estimates. To improve it: measuring it." in text
    assert "fresh processes" not in text


def test_a_reported_row_without_an_interval_is_never_called_faster(double: SimpleNamespace) -> None:
    nothing = Absent("the document does not say")
    latency = dataclasses.replace(
        double.measurement(FAST).latency, latency_ms_p50_low=nothing, latency_ms_p50_high=nothing
    )
    slow = dataclasses.replace(latency, latency_ms_p50=50.0)
    setup = dataclasses.replace(double.measurement(FAST).setup, batch=nothing, threads=nothing)
    rows = [
        double.measurement(n, evidence="reported", latency=each, setup=setup, origin="a double document")
        for n, each in ((FAST, latency), (EXACT, slow))
    ]
    manifests = (double.manifest(FAST, 98.26), double.manifest(EXACT, 98.958))
    recommendation = recommend(double.records(*rows, manifests=manifests))
    text = " ".join([*in_brief(recommendation), *reasons(recommendation)])
    assert "4.5678 ms (no interval is told), reported, at 98.26 %" in text
    assert "batch not said" in text
    assert "reported, not measured, by a double document" in text
    assert "times as fast" not in text
    assert EXACT in [candidate.name for candidate in recommendation.ties]


def test_what_would_change_the_answer_is_said_with_what_it_would_be(double: SimpleNamespace) -> None:
    (line,) = [line for line in reasons(a_recommendation(double)) if line.startswith("What would")]
    assert "a reach under 0.70 points in the place of 1 → double-exact-fp32" in line


def test_what_was_not_picked_has_a_line_of_its_own(double: SimpleNamespace) -> None:
    manifests = (
        double.manifest(FAST, 98.26, run="double-a", backbone="double-fast"),
        double.manifest(EXACT, 91.0, run="double-b", backbone="double-exact"),
    )
    measured = (double.measurement(FAST, 4.5), double.measurement(EXACT, 11.0))
    text = reasons(recommend(double.records(*measured, manifests=manifests)))
    assert any(line.startswith(f"Not {EXACT}: its accuracy, 91.00 %, is 6.26 points short") for line in text)


def test_seeds_and_their_spread_are_named(double: SimpleNamespace) -> None:
    spread = accuracy_of([97.0, 98.0, 99.0], 288)
    recommendation = a_recommendation(double)
    pick = recommendation.pick
    assert isinstance(pick, Candidate)
    seeded = dataclasses.replace(pick, figures={**pick.figures, "accuracy_percent": spread})
    assert figures(seeded).endswith("at 98.00 ± 1.00 % accuracy over 3 seeds")


def test_a_limit_that_the_wrong_end_of_an_estimate_misses_is_in_doubt(double: SimpleNamespace) -> None:
    """9 ms, give or take a factor of 1.5: 10 ms are kept by the middle and not by the end."""
    records = double.all(double.manifest(FAST), double.estimate(FAST, 9.0, target="jetson-orin-nano"))

    def doubts(limit: str) -> list[str]:
        (answer,) = recommendations_of(records, (), [requirement_from(limit)], ["jetson-orin-nano"])
        assert isinstance(answer.pick, Candidate)
        assert [line for line in in_brief(answer) if "Not sure" in line] == [
            line for line in reasons(answer) if "Not sure" in line
        ]
        return [line for line in in_brief(answer) if "Not sure" in line]

    assert doubts("latency_ms_p50<=10") == [
        "Not sure of a limit: at the wrong end of its interval, latency_ms_p50 is 13.5 ms, off by 3.5 ms; required: "
        "latency_ms_p50 <= 10 ms."
    ]
    assert doubts("latency_ms_p50<=14") == []
    assert doubts("latency_ms_p50>=5") == []
    assert len(doubts("accuracy_percent>=98")) == 1


def test_accuracies_of_unlike_numbers_of_images_are_said_to_be(double: SimpleNamespace) -> None:
    whole, part = double.manifest(EXACT, 98.9), double.manifest(FAST, 98.4)
    alike = double.records(double.measurement(EXACT, 9.0), double.measurement(FAST, 5.0), manifests=(whole, part))
    assert "not of the same images" not in " ".join(reasons(recommend(alike)))
    part = dataclasses.replace(part, accuracy=dataclasses.replace(part.accuracy, samples=64))
    unlike = double.records(double.measurement(EXACT, 9.0), double.measurement(FAST, 5.0), manifests=(whole, part))
    (line,) = (line for line in in_brief(recommend(unlike)) if "not of the same images" in line)
    assert f"(64 images: {FAST}; 288 images: {EXACT})" in line


def test_an_estimate_is_never_told_to_be_measured_again(double: SimpleNamespace) -> None:
    names = FAST, EXACT
    estimates = [
        double.estimate(name, p50, target="jetson-orin-nano") for name, p50 in zip(names, (9.0, 9.5), strict=True)
    ]
    records = double.all(*map(double.manifest, names), *estimates)
    (answer,) = recommendations_of(records, (EDGE_DEVICE,), (), ["jetson-orin-nano"])
    text = " ".join(reasons(answer))
    assert "measuring both, as their latency is not told apart" in text
