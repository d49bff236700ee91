"""Memory by source: what the process holds before the model, what the model adds, what the runtime counts on a GPU."""

from collections.abc import Iterator, Sequence
from typing import Any

from vlm_contract.codec import Absent
from vlm_report.charts.axes import linear_domain
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.marks import (
    GREYS,
    INK,
    PALETTE,
    ROW_HEIGHT,
    base_chart,
    columns_for,
    dressed,
    evidence_words,
    rounded,
    shape_scale,
)
from vlm_report.charts.sources import Row, Sources, a_row_a_model, first_reason, has, label_of, slug

NAME, TITLE = "memory-breakdown", "Memory by source"
BEFORE, MODEL, WHOLE, REST = "process before the model", "model in the process", "process", "rest of the GPU's"


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart a target."""
    found: list[Chart | NoChart] = [
        _chart(target, bars)
        for target, rows in sources.by_target().items()
        if (bars := [bar for row in a_row_a_model(rows) for bar in _bars(row)])
    ]
    reason = first_reason(sources.benchmark, "peak_rss_bytes", "there is no valid measurement")
    yield from found or [NoChart(NAME, TITLE, f"No valid row says how much memory it took: {reason}.")]


def _bars(row: Row) -> Iterator[dict[str, Any]]:
    """The parts of a bar for the process and, where a GPU was used, of one for the GPU."""
    for place, parts in ((", process", of_process(row)), (", GPU", of_device(row))):
        start = 0.0
        for source, size in parts.items():
            yield {
                "row": label_of(row) + place,
                "source": source.replace("_", " "),
                "evidence": row["evidence"],
                "start": rounded(start),
                "end": rounded(start + size / 1e6),
                "mb": rounded(size / 1e6),
                "last": int(source == list(parts)[-1]),
            }
            start += size / 1e6


def of_process(row: Row) -> dict[str, int]:
    """The peak of the process in bytes, parted where it is known what the model added."""
    peak, model = row["peak_rss_bytes"], row["model_rss_bytes"]
    if isinstance(peak, Absent):
        return {}
    if isinstance(model, Absent) or model > peak:
        return {WHOLE: peak}
    return {BEFORE: peak - model, MODEL: model}


def of_device(row: Row) -> dict[str, int]:
    """What the runtime counts on the GPU, in bytes, and the rest of the GPU's peak."""
    counted = dict(row["memory_by_source"]) if has(row, "memory_by_source") else {}
    peak = row["device_peak_bytes"]
    rest = 0 if isinstance(peak, Absent) else peak - sum(counted.values())
    return counted | ({REST: rest} if rest > 0 else {})


def _chart(target: str, bars: Sequence[dict[str, Any]]) -> Chart:
    rows = len({bar["row"] for bar in bars})
    return Chart(
        name=slug(NAME, target),
        title=f"{TITLE}: {target}",
        caption="Peaks in MB (millions of bytes), of each model and precision the fastest row of the least batch. "
        f"{evidence_words(bars)}",
        spec=dressed(_layers(bars), bars, max(3, rows) * ROW_HEIGHT),
    )


def _layers(bars: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    sources = list(dict.fromkeys(bar["source"] for bar in bars))
    scale = alt.Scale(domain=sources, range=_colours(sources))
    legend = alt.Legend(symbolType="square", symbolStrokeWidth=0, columns=columns_for(sources))
    inks = alt.Color("source:N", title=None, scale=scale, legend=legend)
    across = alt.Scale(domain=linear_domain([bar["end"] for bar in bars]), nice=False)
    start, end = (alt.X(f"{name}:Q", title="Memory (MB)", scale=across) for name in ("start", "end"))
    y = alt.Y("row:N", title=None, sort=None)
    base = base_chart()
    return alt.layer(
        base.mark_bar(size=0.65 * ROW_HEIGHT).encode(
            x=start,
            x2="end:Q",
            y=y,
            color=inks,
            tooltip=[
                alt.Tooltip("row:N", title="Row"),
                alt.Tooltip("source:N", title="Source"),
                alt.Tooltip("mb:Q", title="MB"),
                alt.Tooltip("evidence:N", title="Evidence"),
            ],
        ),
        base.transform_filter("datum.last == 1")
        .mark_point(filled=True, size=60, color=INK, opacity=1)
        .encode(
            x=end,
            y=y,
            shape=alt.Shape("evidence:N", title=None, scale=shape_scale(bars), legend=alt.Legend(orient="bottom")),
        ),
    )


def _colours(sources: Sequence[str]) -> list[str]:
    fixed = {BEFORE: GREYS[1], WHOLE: GREYS[1], REST: GREYS[0], MODEL: PALETTE[0]}
    rest = iter(PALETTE[1:])
    return [fixed.get(source) or next(rest, GREYS[0]) for source in sources]
