"""Energy of one image, where a sensor of power was read."""

from collections.abc import Iterator, Sequence
from typing import Any

from vlm_report.charts.axes import linear_domain
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.marks import INK, ROW_HEIGHT, base_chart, colour, dressed, evidence_words, rounded, shape_scale
from vlm_report.charts.sources import Row, Sources, a_row_a_model, first_reason, has, label_of, slug

NAME, TITLE = "energy-per-image", "Energy per image"


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart for each target with a sensor of power."""
    found: list[Chart | NoChart] = [
        _chart(target, sensed, sources)
        for target, rows in sources.by_target().items()
        if (sensed := a_row_a_model(row for row in rows if has(row, "energy_mj_per_image")))
    ]
    reason = first_reason(sources.benchmark, "energy_mj_per_image", "there is no valid measurement")
    yield from found or [NoChart(NAME, TITLE, f"No valid row has an energy: {reason}.")]


def _chart(target: str, sensed: Sequence[Row], sources: Sources) -> Chart:
    rows = sorted(map(_row, sensed), key=lambda row: float(row["mj"]))
    return Chart(
        name=slug(NAME, target),
        title=f"{TITLE}: {target}",
        caption="Sampled power over the measured loops, minus what the idle machine takes; of each model and precision "
        f"the fastest row of the least batch, the thriftiest first. {evidence_words(rows)}",
        spec=dressed(_layers(rows, sources), rows, max(3, len(rows)) * ROW_HEIGHT),
    )


def _row(row: Row) -> dict[str, Any]:
    energy = row["energy_mj_per_image"]
    return {
        "row": label_of(row) + ("" if (evidence := row["evidence"]) == "measured" else f" ({evidence})"),
        "model": row["model"],
        "evidence": evidence,
        "zero": 0,
        "mj": rounded(energy),
        "figure": f"{energy:.3g}",
    }


def _layers(rows: list[dict[str, Any]], sources: Sources) -> Any:
    import altair as alt

    low, high = linear_domain([row["mj"] for row in rows])
    scale = alt.Scale(domain=[low, round(1.15 * high, 3)], nice=False)
    x, zero = (alt.X(f"{name}:Q", title="Energy (mJ an image)", scale=scale) for name in ("mj", "zero"))
    y = alt.Y("row:N", title=None, sort=None)
    base, inks = base_chart(), colour(rows, sources.colours)
    inks.legend = None
    return alt.layer(
        base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=zero, x2="mj:Q", y=y, color=inks),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            x=x,
            y=y,
            color=inks,
            shape=alt.Shape("evidence:N", title=None, scale=shape_scale(rows), legend=alt.Legend(orient="bottom")),
            tooltip=[
                alt.Tooltip("row:N", title="Row"),
                alt.Tooltip("figure:N", title="mJ an image"),
                alt.Tooltip("evidence:N", title="Evidence"),
            ],
        ),
        base.mark_text(align="left", dx=9, fontSize=11, color=INK).encode(x=x, y=y, text="figure:N"),
    )
