"""Loss and accuracy by epoch, on training and validation images: how training converged."""

from collections.abc import Iterator, Sequence
from typing import Any

from vlm_report.charts.axes import linear_domain, percent_domain
from vlm_report.charts.chart import Chart, NoChart
from vlm_report.charts.labels import MOST_ENDS, end_labels, moves_at_ends, room_for
from vlm_report.charts.marks import HEIGHT, INK, base_chart, colour, dressed, rounded
from vlm_report.charts.sources import Row, Sources, grouped, slug
from vlm_report.frames.rows import rows_in

NAME = "training-curves"
MOST_EPOCHS = 60  # of a line; of longer runs every second, third … epoch
FAR = 0.9  # of the longest run: lines that end before have no label, which others would cross
KINDS = {
    "loss": ("loss", "Training curves, loss", "Cross-entropy (nats)"),
    "accuracy": ("accuracy_percent", "Training curves, accuracy", "Accuracy (%)"),
}


def charts(sources: Sources) -> Iterator[Chart | NoChart]:
    """Loss and accuracy for each data set and number of samples."""
    epochs = rows_in(sources.frames["curves"])
    if not epochs:
        yield NoChart(NAME, "Training curves", "No run has a history of its epochs beside its card.")
    for (data, samples), rows in sorted(grouped(epochs, lambda row: (row["data"], row["samples"])).items()):
        for kind in KINDS:
            yield _chart(kind, data, samples, rows, sources)


def _chart(kind: str, data: str, samples: int, epochs: Sequence[Row], sources: Sources) -> Chart:
    column, title, axis = KINDS[kind]
    step = 1 + max(row["epoch"] for row in epochs) // (MOST_EPOCHS + 1)
    plain = _rows(epochs, column, step)
    domain = _domain(plain, percent=kind == "accuracy")
    rows = _with_ends(plain, domain)
    seeds = "Lines are means over seeds, bands reach from the least to the largest. " if _bands(rows) else ""
    thinned = f"Every {step} epochs are drawn. " if step > 1 else ""
    return Chart(
        name=slug(NAME, kind, data, str(samples)),
        title=f"{title}: {data}, {samples:,} images",
        caption=f"Solid lines are validation, dashed ones training images. {seeds}{thinned}Measured.",
        spec=dressed(_layers(rows, axis, domain, sources), rows, HEIGHT),
    )


def _rows(epochs: Sequence[Row], column: str, step: int) -> list[dict[str, Any]]:
    """A row for each series and epoch, with the mean, least and largest over seeds of both kinds of images."""
    last = {run: max(row["epoch"] for row in rows) for run, rows in grouped(epochs, lambda row: row["run"]).items()}
    kept = [row for row in epochs if row["epoch"] % step == 0 or row["epoch"] in (1, last[row["run"]])]
    groups = grouped(kept, lambda row: (row["series"], row["epoch"]))
    return [
        {
            "model": series,
            "epoch": epoch,
            **_over_seeds("t", [row[f"train_{column}"] for row in rows]),
            **_over_seeds("v", [row[f"validation_{column}"] for row in rows]),
        }
        for (series, epoch), rows in sorted(groups.items())
    ]


def _over_seeds(name: str, values: Sequence[float]) -> dict[str, float | None]:
    bands = len(values) > 1
    return {
        name: rounded(sum(values) / len(values)),
        f"{name}_low": rounded(min(values)) if bands else None,
        f"{name}_high": rounded(max(values)) if bands else None,
    }


def _bands(rows: Sequence[dict[str, Any]]) -> bool:
    return any(row["v_low"] is not None for row in rows)


def _domain(rows: Sequence[dict[str, Any]], percent: bool) -> list[float]:
    names = ("t", "v", "t_low", "v_low", "t_high", "v_high")
    values = [row[name] for row in rows for name in names if row[name] is not None]
    return percent_domain(values) if percent else linear_domain(values)


def _with_ends(rows: Sequence[dict[str, Any]], domain: Sequence[float]) -> list[dict[str, Any]]:
    """The rows with the column `dy` where a label stands: at the ends of validation lines, of long ones."""
    ends = {row["model"]: index for index, row in enumerate(rows)}
    last = max(row["epoch"] for row in rows)
    far = [index for index in ends.values() if rows[index]["epoch"] >= FAR * last]
    chosen = far if len(far) <= MOST_ENDS else []
    moves = dict(zip(chosen, moves_at_ends([rows[index]["v"] for index in chosen], domain, HEIGHT), strict=True))
    return [row | {"dy": moves.get(index)} for index, row in enumerate(rows)]


def _layers(rows: list[dict[str, Any]], axis: str, domain: Sequence[float], sources: Sources) -> Any:
    import altair as alt

    last = max(row["epoch"] for row in rows)
    room = room_for(row["model"] for row in rows if row["dy"] is not None)
    scale = alt.Scale(domain=[0, round((1 + room) * last, 1)], nice=False)
    axis_x = alt.Axis(tickMinStep=1, labelExpr=f"datum.value > {last} ? '' : datum.label")
    x = alt.X("epoch:Q", title="Epoch", scale=scale, axis=axis_x)
    up = alt.Scale(domain=list(domain), nice=False)
    dashes = alt.Scale(domain=["validation", "training"], range=[[1, 0], [4, 3]])
    legend = alt.Legend(orient="bottom", symbolType="stroke", symbolStrokeColor=INK)
    base, inks = base_chart(), colour(rows, sources.colours)
    layers = []
    for name, kind, wide in (("t", "training", 1.2), ("v", "validation", 2)):
        y, low = (alt.Y(f"{field}:Q", title=axis, scale=up) for field in (name, f"{name}_low"))
        band = base.transform_filter(f"isValid(datum.{name}_low)").mark_area(opacity=0.13)
        layers += [band.encode(x=x, y=low, y2=f"{name}_high:Q", color=inks)] if _bands(rows) else []
        points = {"size": 40} if last == 1 else False
        line = base.transform_calculate(images=f"'{kind}'").mark_line(strokeWidth=wide, point=points)
        dash = alt.StrokeDash("images:N", title=None, scale=dashes, legend=legend)
        tooltip = [alt.Tooltip("model:N", title="Model"), alt.Tooltip("epoch:Q", title="Epoch")]
        figure = alt.Tooltip(f"{name}:Q", title=f"{axis}, {kind}")
        layers.append(line.encode(x=x, y=y, color=inks, strokeDash=dash, tooltip=[*tooltip, figure]))
    return alt.layer(*layers, *end_labels(base, x, y, inks, "model"))
