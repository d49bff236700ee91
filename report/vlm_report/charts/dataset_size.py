"""Validation accuracy against the number of labelled images: how much a model makes of few samples."""

from collections.abc import Iterator, Sequence
from typing import Any

from vlm_report.charts.axes import log_domain, percent_domain
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.labels import MOST_ENDS, end_labels, moves_at_ends, room_for
from vlm_report.charts.marks import HEIGHT, base_chart, colour, dressed, evidence_words, rounded, shape_scale
from vlm_report.charts.seeds import Seeds, over_seeds
from vlm_report.charts.sources import Sources, slug

NAME, TITLE = "accuracy-vs-dataset-size", "Accuracy against dataset size"


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart a data set."""
    found: list[Chart | NoChart] = [
        _chart(data, marks, sources) for data, runs in sources.by_data().items() if (marks := over_seeds(runs))
    ]
    yield from found or [NoChart(NAME, TITLE, "No run says both its number of samples and its validation accuracy.")]


def _chart(data: str, marks: Sequence[Seeds], sources: Sources) -> Chart:
    rows = _rows(marks)
    return Chart(
        name=slug(NAME, data),
        title=f"{TITLE}: {data}",
        caption="Means over seeds, on the validation images; bands and bars reach from the least to the most accurate "
        f"seed. {evidence_words(rows)}",
        spec=dressed(_layers(rows, sources), rows, HEIGHT),
    )


def _domain(marks: Sequence[Seeds]) -> list[float]:
    return percent_domain([value for mark in marks for value in (mark.low, mark.high)])


def _rows(marks: Sequence[Seeds]) -> list[dict[str, Any]]:
    last = list({(mark.series, mark.evidence): mark for mark in marks}.values())
    last = last if len(last) <= MOST_ENDS else []
    moves = moves_at_ends([mark.validation for mark in last], _domain(marks), HEIGHT)
    moved = {id(mark): move for mark, move in zip(last, moves, strict=True)}
    return [
        {
            "model": mark.series,
            "evidence": mark.evidence,
            "samples": mark.samples,
            "mean": rounded(mark.validation),
            "low": rounded(mark.low),
            "high": rounded(mark.high),
            "figure": mark.written,
            "dy": moved.get(id(mark)),
        }
        for mark in marks
    ]


def _layers(rows: list[dict[str, Any]], sources: Sources) -> Any:
    import altair as alt

    sizes = sorted({row["samples"] for row in rows})
    span = 1.3 * sizes[-1] / sizes[0]
    room = room_for(row["model"] for row in rows if row["dy"] is not None)
    domain = log_domain(sizes, span**0.1, span ** (1.1 * room))
    axis = alt.Axis(values=sizes, format=",", labelOverlap=True)
    x = alt.X("samples:Q", title="Labelled images", scale=alt.Scale(type="log", domain=domain, nice=False), axis=axis)
    limits = percent_domain([row[name] for row in rows for name in ("low", "high")])
    scale = alt.Scale(domain=limits, nice=False)
    y, low = (alt.Y(f"{name}:Q", title="Validation accuracy (%)", scale=scale) for name in ("mean", "low"))
    inks = colour(rows, sources.colours)
    base = base_chart()
    kept = ["model:N", "evidence:N"]
    return alt.layer(
        base.mark_area(opacity=0.15).encode(x=x, y=low, y2="high:Q", color=inks, detail=kept),
        base.mark_rule(strokeWidth=1.5).encode(x=x, y=low, y2="high:Q", color=inks),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=inks, detail=kept),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=x,
            y=y,
            color=inks,
            shape=alt.Shape("evidence:N", title=None, scale=shape_scale(rows), legend=alt.Legend(orient="bottom")),
            tooltip=[
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("samples:Q", title="Labelled images", format=","),
                alt.Tooltip("figure:N", title="Validation accuracy"),
                alt.Tooltip("evidence:N", title="Evidence"),
            ],
        ),
        *end_labels(base, x, y, inks, "model"),
    )
