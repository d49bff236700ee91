"""The raw samples behind each latency, each fresh process on its own: tails, modes, and processes that differ."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from vlm_contract.console import printable
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Repetition
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.marks import INK, base_chart, dressed
from vlm_report.charts.sources import Row, Sources, a_row_a_model, label_of, slug

NAME, TITLE = "latency-distribution", "Distribution of latencies"
STRIPS = 12  # rows of a chart
PROCESSES = 8  # of a row
TICKS = 24  # samples of a process
REACH = (0.01, 0.955)  # quantiles of all ticks, between which the axis reaches
STRIP_HEIGHT = 44


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart a target."""
    drawn = False
    for target, rows in sources.by_target().items():
        measured = [row for row in rows if row["evidence"] == "measured"]
        strips = [(row, found) for row in a_row_a_model(measured)[:STRIPS] if (found := _repetitions(row, sources))]
        if strips:
            drawn = True
            yield _chart(target, strips, sources)
    if not drawn:
        yield NoChart(NAME, TITLE, "No valid measurement keeps its raw samples.")


def _repetitions(row: Row, sources: Sources) -> list[Repetition]:
    try:
        whole = sources.records.whole(sources.records.workspace.root / row["record"])
    except VlmError:
        return []
    return [repetition for repetition in whole.repetitions if repetition.samples_ns][:PROCESSES]


def _chart(target: str, strips: Sequence[tuple[Row, list[Repetition]]], sources: Sources) -> Chart:
    ticks = [tick for strip in range(len(strips)) for tick in _ticks(strip, *strips[strip])]
    domain = _domain([tick["percent"] for tick in ticks])
    beyond = sum(not domain[0] <= tick["percent"] <= domain[1] for tick in ticks)
    outside = f" {beyond} of the {len(ticks)} ticks lie beyond the axis and stand at its ends." if beyond else ""
    return Chart(
        name=slug(NAME, target),
        title=f"{TITLE}: {target}",
        caption="Measured samples in percent of the row's p50, a line a fresh process, its median in full height. "
        f"Of each process at most {TICKS} order statistics at even ranks and both extremes; of each model and "
        f"precision the fastest row of the least batch, {STRIPS} rows at most.{outside}",
        spec=dressed(_layers(strips, domain, sources), ticks, len(strips) * STRIP_HEIGHT),
    )


def _ticks(strip: int, row: Row, repetitions: Sequence[Repetition]) -> Iterator[dict[str, Any]]:
    unit = row["latency_ms_p50"] * 1e4  # nanoseconds that are one percent
    for process, repetition in enumerate(repetitions):
        samples = sorted(repetition.samples_ns)
        middle = samples[len(samples) // 2]
        for sample in sorted({*sampled(samples), middle}):
            yield {
                "strip": strip,
                "process": process,
                "percent": round(sample / unit, 1),
                "median": int(sample == middle),
            }


def sampled(samples: Sequence[int]) -> list[int]:
    """Of sorted samples at most TICKS at even ranks, and both extremes."""
    step = max(1.0, len(samples) / TICKS)
    ranks = {int((index + 0.5) * step) for index in range(TICKS) if (index + 0.5) * step < len(samples)}
    return [samples[rank] for rank in sorted({0, *ranks, len(samples) - 1})]


def _domain(percents: Sequence[float]) -> list[float]:
    ordered = sorted(percents)
    low, high = (ordered[int(quantile * (len(ordered) - 1))] for quantile in REACH)
    return [min(95.0, round(low - 1)), max(105.0, round(high + 1))]


def _layers(strips: Sequence[tuple[Row, Any]], domain: list[float], sources: Sources) -> Any:
    import altair as alt

    names = [printable(f"{label_of(row)}, {row['latency_ms_p50']:.3g} ms") for row, _ in strips]
    order = list(range(len(strips)))
    axis = alt.Axis(labelExpr=f"{json.dumps(names)}[datum.value]", title=None, grid=False, ticks=False)
    y = alt.Y("strip:O", axis=axis, scale=alt.Scale(domain=order, paddingInner=0.25))
    within = alt.YOffset("process:O", scale=alt.Scale(paddingInner=0))
    scale = alt.Scale(domain=domain, clamp=True, nice=False)
    x = alt.X("percent:Q", title="Latency (% of the row's p50)", scale=scale)
    inks = alt.Color(
        "strip:O",
        legend=None,
        scale=alt.Scale(domain=order, range=[sources.colours[row["model"]] for row, _ in strips]),
    )
    base = base_chart().encode(x=x, y=y, yOffset=within, color=inks)
    most = max(len(repetitions) for _, repetitions in strips)
    high = max(2.0, STRIP_HEIGHT * 0.75 / most - 1)
    tooltip = [alt.Tooltip("percent:Q", title="% of p50"), alt.Tooltip("process:O", title="Process")]
    return alt.layer(
        alt.Chart(alt.InlineData(values=[{"percent": 100}])).mark_rule(color=INK, opacity=0.35).encode(x=x),
        base.transform_filter("datum.median == 0")
        .mark_tick(size=max(2.0, 0.7 * high), thickness=1, opacity=0.9, aria=False)
        .encode(tooltip=tooltip),
        base.transform_filter("datum.median == 1")
        .mark_tick(size=high + 1, thickness=3, opacity=1, aria=False)
        .encode(tooltip=tooltip),
    )
