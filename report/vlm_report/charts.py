"""Each plot is one Altair definition, from which every format is made."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from vlm_contract.codec import known
from vlm_contract.console import printable
from vlm_report.recommendation import BATCH, Candidate, Recommendation

INK = "currentColor"  # the reader's text colour, light or dark
POINT, FRONT = "#228be6", "#e8590c"  # at least 3:1 on white and on near-black


def latency_accuracy_svg(recommendation: Recommendation) -> str:
    """The latency-accuracy plot as SVG; empty where no valid measurement has both."""
    if not recommendation.candidates:
        return ""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(latency_accuracy_chart(recommendation).to_dict()))


def latency_accuracy_chart(recommendation: Recommendation) -> Any:
    """Candidates by latency and accuracy, with interval bars, labels, and the Pareto front as a line."""
    import altair as alt

    title = f"Latency p50 (ms), batch {BATCH}"
    x = alt.X("latency_ms_p50:Q", title=title, scale=alt.Scale(zero=True))
    low = alt.X("latency_ms_p50_low:Q", title=title)
    domain = accuracy_domain(recommendation.candidates)
    y = alt.Y("accuracy_percent:Q", title="Accuracy (%)", scale=alt.Scale(domain=domain, nice=False))
    points = alt.Chart(alt.Data(values=points_of(recommendation.candidates)))
    front = alt.Chart(alt.Data(values=points_of(recommendation.front)))
    chart = alt.layer(
        front.mark_line(color=FRONT, strokeWidth=1.5, strokeDash=[5, 3]).encode(x=x, y=y),
        points.mark_rule(color=POINT, strokeWidth=2).encode(x=low, x2="latency_ms_p50_high:Q", y=y),
        points.mark_point(filled=True, size=90, color=POINT, opacity=1).encode(
            x=x, y=y, shape=alt.Shape("precision:N", title="Precision")
        ),
        *(
            points.transform_filter(f"datum.above == {above:d} && datum.late == {late:d}")
            .mark_text(
                align="right" if late else "left",
                dx=-8 if late else 8,
                dy=-10 if above else 13,
                fontSize=12,
                color=INK,
            )
            .encode(x=x, y=y, text="label:N")
            for above, late in product((False, True), repeat=2)
        ),
    )
    ink = dict.fromkeys(("labelColor", "titleColor"), INK)
    axis = alt.AxisConfig(**ink, domainColor=INK, tickColor=INK, gridColor=INK, gridOpacity=0.12)
    legend = alt.LegendConfig(**ink, orient="top", symbolFillColor=POINT)
    return chart.properties(width=560, height=320, background="transparent").configure(
        view=alt.ViewConfig(stroke=None), axis=axis, legend=legend, font="system-ui, sans-serif"
    )


def accuracy_domain(candidates: Sequence[Candidate]) -> list[float]:
    """The range of the accuracy axis in percent: the data's with some air, within 0 to 100."""
    values = [candidate.accuracy.artifact_percent for candidate in candidates]
    air = max(0.5, 0.15 * (max(values) - min(values)))
    return [max(0.0, min(values) - air), min(100.0, max(values) + air)]


def points_of(candidates: Sequence[Candidate]) -> list[dict[str, object]]:
    """One row of plain values a candidate; labels of neighbours in latency take turns above and below, and in the right
    half of the plot they stand on the left.
    """
    longest = max((known(candidate.latency.latency_ms_p50_high) for candidate in candidates), default=0.0)
    return [
        {
            "label": printable(candidate.entry.model),
            "above": index % 2,
            "late": int(2 * candidate.latency.latency_ms_p50 > longest),
            "precision": candidate.manifest.precision,
            "accuracy_percent": candidate.accuracy.artifact_percent,
            "latency_ms_p50": candidate.latency.latency_ms_p50,
            "latency_ms_p50_low": candidate.latency.latency_ms_p50_low,
            "latency_ms_p50_high": candidate.latency.latency_ms_p50_high,
        }
        for index, candidate in enumerate(candidates)
    ]
