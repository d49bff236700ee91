"""Training against validation accuracy: how much of what a model learnt holds for other images."""

from collections.abc import Iterator, Sequence
from typing import Any

from vlm_report.charts.axes import percent_domain
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.marks import INK, ROW_HEIGHT, base_chart, colour, dressed, evidence_words, rounded, shape_scale
from vlm_report.charts.seeds import Seeds, over_seeds
from vlm_report.charts.sources import LISTED, Sources, slug

WORD_WIDTH = 44  # pixels beside the bars that a gap is written in
NAME, TITLE = "overfitting-gap", "Overfitting gap"


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart a data set."""
    found: list[Chart | NoChart] = [
        _chart(data, marks, sources) for data, runs in sources.by_data().items() if (marks := over_seeds(runs))
    ]
    yield from found or [NoChart(NAME, TITLE, "No run says both its training and its validation accuracy.")]


def _chart(data: str, marks: Sequence[Seeds], sources: Sources) -> Chart:
    chosen = sorted(marks, key=lambda mark: mark.train - mark.validation)[: 2 * LISTED]
    rows = [_row(mark) for mark in chosen]
    left = f" Left out: the {len(marks) - len(rows)} widest gaps." if len(marks) > len(rows) else ""
    return Chart(
        name=slug(NAME, data),
        title=f"{TITLE}: {data}",
        caption="From validation accuracy (the mark) to training accuracy (the bar's end), means over seeds at the "
        f"epochs that were kept; the figure is the gap in points, the narrowest first. {evidence_words(rows)}{left}",
        spec=dressed(_layers(rows, sources), rows, max(3, len(rows)) * ROW_HEIGHT),
    )


def _row(mark: Seeds) -> dict[str, Any]:
    gap = mark.train - mark.validation
    return {
        "row": f"{mark.series}, {mark.samples:,}" + f" ({mark.evidence})" * (mark.evidence != "measured"),
        "model": mark.series,
        "evidence": mark.evidence,
        "train": rounded(mark.train),
        "validation": rounded(mark.validation),
        "right": rounded(max(mark.train, mark.validation)),
        "gap": f"{gap:.2f}".replace("-", "−"),
        "figure": mark.written,
    }


def _layers(rows: list[dict[str, Any]], sources: Sources) -> Any:
    import altair as alt

    domain = percent_domain([row[name] for row in rows for name in ("train", "validation")])
    scale = alt.Scale(domain=domain, nice=False, zero=False, padding=WORD_WIDTH)
    axis = alt.Axis(labelExpr="datum.value < 0 || datum.value > 100 ? '' : datum.label")
    x, train, right = (
        alt.X(f"{name}:Q", title="Accuracy (%)", scale=scale, axis=axis) for name in ("validation", "train", "right")
    )
    y = alt.Y("row:N", title=None, sort=None)
    base, inks = base_chart(), colour(rows, sources.colours).copy()
    inks.legend = None
    return alt.layer(
        base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=x, x2="train:Q", y=y, color=inks),
        base.mark_tick(thickness=3, size=14, opacity=1).encode(x=train, y=y, color=inks),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            x=x,
            y=y,
            color=inks,
            shape=alt.Shape("evidence:N", title=None, scale=shape_scale(rows), legend=alt.Legend(orient="bottom")),
            tooltip=[
                alt.Tooltip("row:N", title="Model, images"),
                alt.Tooltip("figure:N", title="Validation accuracy"),
                alt.Tooltip("train:Q", title="Training accuracy (%)"),
                alt.Tooltip("gap:N", title="Gap (points)"),
                alt.Tooltip("evidence:N", title="Evidence"),
            ],
        ),
        base.mark_text(align="left", dx=9, fontSize=11, color=INK).encode(x=right, y=y, text="gap:N"),
    )
