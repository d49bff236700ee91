"""Every number in the words is a figure of the records."""

import re
from types import SimpleNamespace

from vlm_report.recommendation import recommend
from vlm_report.sentences import headline, in_brief, reasons

FAST, EXACT = "double-fast-fp32", "double-exact-fp32"


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


def a_recommendation(double: SimpleNamespace, exact_p50: float = 11.256) -> object:
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
    text = headline(a_recommendation(double)).replace(FAST, "").replace("double-runtime 0.0", "")  # type: ignore[arg-type]
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
    text = in_brief(a_recommendation(double))[1].replace(EXACT, "")  # type: ignore[arg-type]
    assert numbers(text) == ["11.26", "11.22", "11.29", "98.96", f"{11.256 / 4.5678:.2f}", f"{98.958 - 98.26:.2f}"]


def test_a_tie_is_called_one(double: SimpleNamespace) -> None:
    text = " ".join(reasons(a_recommendation(double, exact_p50=4.6)))  # type: ignore[arg-type]
    assert f"cannot be told from that of {EXACT}" in text
    assert "neither can be called faster" in text
    assert "times as fast" not in text


def test_a_quick_measurement_and_its_warnings_are_named(double: SimpleNamespace) -> None:
    measurement = double.measurement(FAST, settings={"mode": "quick"}, verdicts=(double.unstable,))
    text = " ".join(reasons(recommend(double.records(measurement, manifests=(double.manifest(FAST),)))))
    assert "measured in quick mode" in text
    assert "Warning: unstable: the interval is ±4.0 %." in text
