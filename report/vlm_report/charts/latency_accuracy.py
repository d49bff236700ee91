"""Accuracy of the exported artifact against its latency, with the Pareto front: the trade that a deployment makes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vlm_contract.codec import Absent
from vlm_report.charts.axes import percent_domain, pixel, scale_of
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.labels import PLOT, beside_marks, label_layer, line_boxes, rule_box
from vlm_report.charts.marks import (
    EVIDENCE,
    HEIGHT,
    INK,
    OUTLINE_OF,
    base_chart,
    colour,
    dressed,
    evidence_words,
    rounded,
    shape,
    written,
)
from vlm_report.charts.sources import Row, Sources, grouped, has, named, one_after_the_other, slug

NAME, TITLE = "latency-vs-accuracy", "Latency against accuracy"
BATCH = 1
MOST = 300  # marks of a chart


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """One chart a target."""
    points = grouped(_points(sources.benchmark, sources.told), lambda row: str(row["target"]))
    for target, rows in points.items():
        yield _chart(target, rows, sources)
    if not points:
        yield NoChart(
            NAME, TITLE, f"No valid row at batch {BATCH} has both a latency and the accuracy of what was run."
        )


def _points(benchmark: Iterable[Row], told: Iterable[Row]) -> list[Row]:
    """Of each artifact, target and evidence the fastest row, and what documents tell; the fastest first."""
    able = [row for row in benchmark if has(row, "latency_ms_p50", "accuracy_percent") and _at_batch(row)]
    groups = grouped(able, lambda row: (row["artifact"], row["target"], row["evidence"]))
    return sorted([*(min(group, key=_latency) for group in groups.values()), *told], key=_latency)


def _at_batch(row: Row) -> bool:
    return one_after_the_other(row) and bool(row["batch"] == BATCH)


def _latency(row: Row) -> float:
    return float(row["latency_ms_p50"])


def front_of(points: Sequence[Row]) -> list[Row]:
    """Of the best evidence that there is, the points that no faster one equals in accuracy; `points` fastest first."""
    best = min((EVIDENCE.index(row["evidence"]) for row in points), default=0)
    front: list[Row] = []
    for row in points:
        better = not front or row["accuracy_percent"] > front[-1]["accuracy_percent"]
        if row["evidence"] == EVIDENCE[best] and better:
            front.append(row)
    return front


def _chart(target: str, points: list[Row], sources: Sources) -> Chart:
    front = front_of(points)
    fronted = {id(row) for row in front}
    kept = front + [row for row in points if id(row) not in fronted][: MOST - len(front)]
    rows = _placed([_row(row, id(row) in fronted) for row in kept])
    return Chart(
        name=slug(NAME, target),
        title=f"{TITLE}: {target}",
        caption=_caption(points, rows, front[0]["evidence"]),
        spec=dressed(_layers(rows, sources), rows, HEIGHT),
    )


def _caption(points: Sequence[Row], rows: Sequence[dict[str, Any]], of_front: str) -> str:
    told = any(row["evidence"] == "reported" for row in points)
    sentences = [
        f"Of each artifact the fastest row, batch {BATCH}. Horizontal bars are intervals: 95 % between processes "
        f"where measured, the estimate's own where estimated. "
        f"The dashed line is the Pareto front of what was {of_front}.",
        evidence_words(rows),
        "What is reported stands at the validation accuracy that its document gives." if told else "",
        f"Left out: the {len(points) - len(rows)} slowest off the front." if len(points) > len(rows) else "",
    ]
    return " ".join(filter(None, sentences))


def _row(row: Row, on_front: bool) -> dict[str, Any]:
    low, high = row["latency_ms_p50_low"], row["latency_ms_p50_high"]
    half = Absent("no interval") if isinstance(low, Absent) or isinstance(high, Absent) else (high - low) / 2
    precision = "" if isinstance(row["precision"], Absent) else str(row["precision"])
    evidence = row["evidence"]
    return {
        "model": row["model"],
        "artifact": row["artifact"],
        "evidence": evidence,
        "mark": f"{precision}, {evidence}".lstrip(", "),
        "outline": OUTLINE_OF.get(precision, "diamond"),
        "ms": rounded(row["latency_ms_p50"], half),
        "low": rounded(low, half),
        "high": rounded(high, half),
        "accuracy": rounded(row["accuracy_percent"]),
        "latency": written(row["latency_ms_p50"], low, high),
        "how": ", ".join([*([row["runtime"]] if has(row, "runtime") else []), *row["labels"]]),
        "front": int(on_front),
        "label": named(row),
    }


def _shapes(rows: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    shapes = {row["mark"]: shape(row["evidence"], row["outline"]) for row in rows}
    domain = sorted(shapes, key=lambda mark: (EVIDENCE.index(mark.split(", ")[-1]), mark))
    return alt.Scale(domain=domain, range=[shapes[mark] for mark in domain])


def _scales(rows: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """Of both axes."""
    import altair as alt

    across = scale_of([row[name] for row in rows for name in ("ms", "low", "high") if row[name] is not None])
    return across, alt.Scale(domain=percent_domain([row["accuracy"] for row in rows]), nice=False)


def _placed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the places of their labels."""
    across, up = _scales(rows)
    spots = [(pixel(row["ms"], across, PLOT), HEIGHT - pixel(row["accuracy"], up, HEIGHT)) for row in rows]
    taken = [
        rule_box(pixel(row["low"], across, PLOT), y, pixel(row["high"], across, PLOT), y)
        for (_, y), row in zip(spots, rows, strict=True)
        if row["low"] is not None and row["high"] is not None
    ]
    taken += line_boxes([spot for spot, row in zip(spots, rows, strict=True) if row["front"]])
    return beside_marks(rows, spots, [row["label"] for row in rows], taken, HEIGHT)


def _layers(rows: Sequence[dict[str, Any]], sources: Sources) -> Any:
    import altair as alt

    across, up = _scales(rows)
    title = f"Latency p50 (ms), batch {BATCH}"
    x, low = (alt.X(f"{name}:Q", title=title, scale=across) for name in ("ms", "low"))
    y = alt.Y("accuracy:Q", title="Accuracy of the artifact (%)", scale=up)
    base, inks = base_chart(), colour(rows, sources.colours)
    return alt.layer(
        base.transform_filter("datum.front == 1")
        .mark_line(color=INK, opacity=0.6, strokeWidth=1.5, strokeDash=[5, 3])
        .encode(x=x, y=y, order="ms:Q"),
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=2)
        .encode(x=low, x2="high:Q", y=y, color=inks),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x=x,
            y=y,
            color=inks,
            shape=alt.Shape("mark:N", title=None, scale=_shapes(rows), legend=alt.Legend(orient="bottom")),
            tooltip=[
                alt.Tooltip("artifact:N", title="Artifact"),
                alt.Tooltip("latency:N", title="Latency p50 (ms)"),
                alt.Tooltip("accuracy:Q", title="Accuracy (%)"),
                alt.Tooltip("how:N", title="Runtime"),
                alt.Tooltip("evidence:N", title="Evidence"),
            ],
        ),
        label_layer(base, x, y),
    )
