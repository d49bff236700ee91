"""Validation accuracy against the size of the network."""

from collections.abc import Iterator, Sequence
from typing import Any

from vlm_contract.codec import Absent
from vlm_report.charts.axes import percent_domain, pixel, scale_of
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.labels import PLOT, beside_marks, label_layer, rule_box
from vlm_report.charts.marks import (
    HEIGHT,
    base_chart,
    colour,
    dressed,
    evidence_words,
    rounded,
    shape_scale,
)
from vlm_report.charts.seeds import Seeds, over_seeds
from vlm_report.charts.sources import Row, Sources, grouped, slug

NAME, TITLE = "params-vs-accuracy", "Parameters against accuracy"


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart for each data set and number of samples."""
    found: list[Chart | NoChart] = [
        _chart(data, samples, marks, sources)
        for data, runs in sources.by_data().items()
        for samples, marks in _by_samples(runs).items()
    ]
    yield from found or [NoChart(NAME, TITLE, "No run says both its number of parameters and its validation accuracy.")]


def _by_samples(runs: Sequence[Row]) -> dict[int, list[Seeds]]:
    sized = [mark for mark in over_seeds(runs) if not isinstance(mark.parameters, Absent)]
    return {samples: grouped(sized, _samples)[samples] for samples in sorted(grouped(sized, _samples))}


def _samples(mark: Seeds) -> int:
    return mark.samples


def _chart(data: str, samples: int, marks: list[Seeds], sources: Sources) -> Chart:
    rows = _placed([_row(mark) for mark in marks])
    return Chart(
        name=slug(NAME, data, str(samples)),
        title=f"{TITLE}: {data}, {samples:,} images",
        caption="Means over seeds, on the validation images; bars reach from the least to the most accurate seed. "
        f"{evidence_words(rows)}",
        spec=dressed(_layers(rows, sources), rows, HEIGHT),
    )


def _row(mark: Seeds) -> dict[str, Any]:
    return {
        "model": mark.series,
        "evidence": mark.evidence,
        "millions": rounded(mark.parameters / 1e6),
        "mean": rounded(mark.validation),
        "low": rounded(mark.low),
        "high": rounded(mark.high),
        "figure": mark.written,
    }


def _scales(rows: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """Of both axes."""
    import altair as alt

    domain = percent_domain([row[name] for row in rows for name in ("low", "high")])
    return scale_of([row["millions"] for row in rows]), alt.Scale(domain=domain, nice=False)


def _placed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the places of their labels."""
    across, up = _scales(rows)
    spots = [(pixel(row["millions"], across, PLOT), HEIGHT - pixel(row["mean"], up, HEIGHT)) for row in rows]
    taken = [
        rule_box(x, HEIGHT - pixel(row["high"], up, HEIGHT), x, HEIGHT - pixel(row["low"], up, HEIGHT))
        for (x, _), row in zip(spots, rows, strict=True)
    ]
    return beside_marks(rows, spots, [row["model"] for row in rows], taken, HEIGHT)


def _layers(rows: Sequence[dict[str, Any]], sources: Sources) -> Any:
    import altair as alt

    across, up = _scales(rows)
    x = alt.X("millions:Q", title="Parameters (millions)", scale=across)
    y, low = (alt.Y(f"{name}:Q", title="Validation accuracy (%)", scale=up) for name in ("mean", "low"))
    base, inks = base_chart(), colour(rows, sources.colours)
    return alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(x=x, y=low, y2="high:Q", color=inks),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x=x,
            y=y,
            color=inks,
            shape=alt.Shape("evidence:N", title=None, scale=shape_scale(rows), legend=alt.Legend(orient="bottom")),
            tooltip=[
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("millions:Q", title="Parameters (millions)"),
                alt.Tooltip("figure:N", title="Validation accuracy"),
                alt.Tooltip("evidence:N", title="Evidence"),
            ],
        ),
        label_layer(base, x, y),
    )
