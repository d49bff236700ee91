"""Throughput against batch size: where it stops to grow, and where it falls."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log
from typing import Any

from vlm_contract.codec import Absent
from vlm_profile.sweeps import FALL
from vlm_report.charts.axes import log_domain
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.labels import MOST_ENDS, end_labels, moves_at_ends, room_for
from vlm_report.charts.marks import (
    HEIGHT,
    INK,
    base_chart,
    colour,
    dressed,
    evidence_words,
    rounded,
    shape_scale,
    written,
)
from vlm_report.charts.sources import Row, Sources, grouped, has, named, one_after_the_other, slug

NAME, TITLE = "throughput-vs-batch", "Throughput against batch"
LINES = 24  # of a chart
LARGEST_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart for each target where some artifact has two batches or more."""
    found: list[Chart | NoChart] = [
        _chart(target, lines, sources) for target, rows in sources.by_target().items() if (lines := _lines(rows))
    ]
    yield from found or [
        NoChart(NAME, TITLE, "No artifact has a throughput at two batches or more: vlm-profile --batch 1,8,32.")
    ]


def _lines(rows: Sequence[Row]) -> list[list[Row]]:
    """For each model, precision and evidence the artifact's setup with most batches, in the order of batches."""
    able = [row for row in rows if one_after_the_other(row) and has(row, "batch", "images_per_s")]
    sweeps = grouped(able, lambda row: (row["artifact"], str(row["runtime"]), str(row["threads"]), _kind(row)))
    swept = [sorted(_best_at_each(sweep), key=_batch) for sweep in sweeps.values()]
    several = [sweep for sweep in swept if len(sweep) > 1]
    chosen = grouped(several, lambda sweep: _kind(sweep[0]))
    lines = [max(group, key=lambda line: (len(line), line[-1]["images_per_s"])) for group in chosen.values()]
    return sorted(lines, key=lambda line: -float(line[-1]["images_per_s"]))[:LINES]


def _kind(row: Row) -> tuple[str, str, str]:
    return row["model"], str(row["precision"]), row["evidence"]


def _best_at_each(rows: Sequence[Row]) -> list[Row]:
    return [max(group, key=lambda row: float(row["images_per_s"])) for group in grouped(rows, _batch).values()]


def _batch(row: Row) -> int:
    return int(row["batch"])


def falls(line: Sequence[Row]) -> set[int]:
    """The batches at which throughput is surely under FALL of what it was at the batch before."""
    return {
        _batch(after)
        for before, after in pairwise(line)
        if _bound(after, "high") < FALL * _bound(before, "low")
    }  # fmt: skip


def _bound(row: Row, side: str) -> float:
    bound = row[f"images_per_s_{side}"]
    return float(row["images_per_s"] if isinstance(bound, Absent) else bound)


def _chart(target: str, lines: Sequence[Sequence[Row]], sources: Sources) -> Chart:
    plain = [_row(row, falls(line)) for line in lines for row in line]
    domain = log_domain([row[name] for row in plain for name in ("rate", "low", "high") if row[name] is not None])
    rows = _with_ends(plain, domain)
    cliffs = "A ring marks a cliff: throughput falls by over 10 % from the batch before. " if _any_cliff(rows) else ""
    return Chart(
        name=slug(NAME, target),
        title=f"{TITLE}: {target}",
        caption="By the wall clock over a saturated loop; bars are 95 % intervals. Of each model and precision the "
        f"artifact and setup with most batches. {cliffs}{evidence_words(rows)}",
        spec=dressed(_layers(rows, domain, sources), rows, HEIGHT),
    )


def _any_cliff(rows: Sequence[dict[str, Any]]) -> bool:
    return any(row["cliff"] for row in rows)


def _row(row: Row, cliffs: set[int]) -> dict[str, Any]:
    low, high = row["images_per_s_low"], row["images_per_s_high"]
    half = Absent("no interval") if isinstance(low, Absent) or isinstance(high, Absent) else (high - low) / 2
    return {
        "model": row["model"],
        "line": named(row),
        "precision": "unknown" if isinstance(row["precision"], Absent) else str(row["precision"]),
        "evidence": row["evidence"],
        "batch": row["batch"],
        "rate": rounded(row["images_per_s"], half),
        "low": rounded(low, half),
        "high": rounded(high, half),
        "figure": written(row["images_per_s"], low, high),
        "cliff": int(row["batch"] in cliffs),
    }


def _with_ends(rows: Sequence[dict[str, Any]], domain: Sequence[float]) -> list[dict[str, Any]]:
    ends = {(row["line"], row["evidence"]): index for index, row in enumerate(rows)}
    chosen = list(ends.values()) if len(ends) <= MOST_ENDS else []
    logs = [log(rows[index]["rate"]) for index in chosen]
    moves = dict(zip(chosen, moves_at_ends(logs, [log(bound) for bound in domain], HEIGHT), strict=True))
    return [row | {"dy": moves.get(index)} for index, row in enumerate(rows)]


def _layers(rows: list[dict[str, Any]], domain: list[float], sources: Sources) -> Any:
    import altair as alt

    batches = sorted({row["batch"] for row in rows})
    room = room_for(row["line"] for row in rows if row["dy"] is not None)
    across = log_domain(batches, 1.15, (batches[-1] / batches[0]) ** room)
    x = alt.X(
        "batch:Q",
        title="Batch (images a call)",
        scale=alt.Scale(type="log", base=2, domain=across, nice=False),
        axis=alt.Axis(values=batches, format="d", labelOverlap=True),
    )
    up = alt.Scale(type="log", domain=domain, nice=False)
    y, low = (alt.Y(f"{name}:Q", title="Throughput (images/s)", scale=up) for name in ("rate", "low"))
    precisions = sorted({row["precision"] for row in rows}, key=lambda name: (name != "fp32", name))
    dash = alt.StrokeDash(
        "precision:N",
        title=None,
        scale=alt.Scale(domain=precisions, range=[list(each) for each in LARGEST_DASHES[: len(precisions)]]),
        legend=alt.Legend(orient="bottom", symbolType="stroke", symbolStrokeColor=INK),
    )
    base, inks = base_chart(), colour(rows, sources.colours)
    return alt.layer(
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=inks, strokeDash=dash, detail=["line:N", "evidence:N"]),
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=2)
        .encode(x=x, y=low, y2="high:Q", color=inks),
        base.transform_filter("datum.cliff == 1")
        .mark_point(shape="circle", filled=False, size=260, strokeWidth=2, color=INK, opacity=0.8)
        .encode(x=x, y=y),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=x,
            y=y,
            color=inks,
            shape=alt.Shape("evidence:N", title=None, scale=shape_scale(rows), legend=alt.Legend(orient="bottom")),
            tooltip=[
                alt.Tooltip("line:N", title="Model"),
                alt.Tooltip("batch:Q", title="Batch"),
                alt.Tooltip("figure:N", title="Throughput (images/s)"),
                alt.Tooltip("evidence:N", title="Evidence"),
            ],
        ),
        *end_labels(base, x, y, inks, "line"),
    )
