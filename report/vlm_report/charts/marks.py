"""What the marks of all charts have in common: colours, shapes by evidence, numbers, and the dress of a chart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlm_contract.codec import Absent
from vlm_contract.console import printable
from vlm_report.charts.chart import WIDTH
from vlm_report.figures import interval

ROWS = "rows"  # name of a definition's data
INK = "currentColor"  # the reader's text colour, light or dark
HEIGHT = 340  # pixels of a plot whose rows are no list
ROW_HEIGHT = 24  # pixels of a row of a list
LETTER = 6.4  # pixels that a letter of a label is wide, on average
# Pixels around a drawing: it is laid out by one font, and read in another that may be wider.
SPARE = {"left": 28, "right": 5, "top": 5, "bottom": 5}
LEGEND_LIMIT = 240  # pixels of a label in a legend
NARROW = 480  # pixels; in a plot that is narrower there are no labels beside marks

# Of at least 3:1 on white and on near-black, and chosen so that the least distance (OKLab) between any two is as large
# as may be for full colour vision and, by the matrices of Machado, Oliveira and Fernandes (2009), without it.
PALETTE = ("#3c96ff", "#e1002d", "#007800", "#e1784b", "#9600ff", "#ff3ce1", "#963cb4", "#9669a5")
GREYS = ("#696969", "#879696")  # of the floors

Corners = Sequence[tuple[float, float]]
OUTLINES: Mapping[str, Corners] = {
    "circle": [(math.cos(turn * math.tau / 20), math.sin(turn * math.tau / 20)) for turn in range(20)],
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "triangle": [(0, -1.15), (1.15, 0.85), (-1.15, 0.85)],
    "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
}
OUTLINE_OF = {"fp32": "circle", "fp16": "square", "int8": "triangle"}
CROSS = "M-1,-.7L-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0Z"
EVIDENCE = ("measured", "estimated", "reported")


def shape(evidence: str, outline: str = "circle") -> str:
    """The SVG path of a mark: filled where measured, hollow where estimated, a cross where reported."""
    corners = OUTLINES[outline]
    if evidence == "reported":
        return CROSS
    return _path(corners) + (_path([(0.58 * x, 0.58 * y) for x, y in reversed(corners)]) * (evidence == "estimated"))


def shape_scale(rows: Iterable[Mapping[str, Any]]) -> Any:
    """The shapes of the evidence that the rows have, for a legend that names these alone."""
    import altair as alt

    seen = {row["evidence"] for row in rows}
    domain = [evidence for evidence in EVIDENCE if evidence in seen]
    return alt.Scale(domain=domain, range=[shape(evidence) for evidence in domain])


def colours_of(models: Iterable[str], floors: Iterable[str]) -> dict[str, str]:
    """A colour a model, the same in every chart of a report; floors are grey. After eight models they come again."""
    grey = sorted(set(floors))
    bright = sorted(set(models) - set(grey))
    pairs = [(name, PALETTE[index % len(PALETTE)]) for index, name in enumerate(bright)]
    return dict(pairs + [(name, GREYS[index % len(GREYS)]) for index, name in enumerate(grey)])


def base_chart() -> Any:
    """What layers are made of: a chart of the rows that `dressed` is given."""
    import altair as alt

    return alt.Chart(alt.NamedData(ROWS))


def rounded(value: float | Absent, half: float | Absent | None = None) -> float | None:
    """To four significant digits, or to a tenth of `half` an interval where that is finer; None where absent."""
    if isinstance(value, Absent):
        return None
    digits = 3 - (math.floor(math.log10(abs(value))) if value else 0)
    if isinstance(half, float) and half > 0:
        digits = max(digits, 1 - math.floor(math.log10(half)))
    return round(value, digits)


def written(value: float, low: float | Absent, high: float | Absent) -> str:
    """A figure as tables write it: with its interval, where it has one."""
    if isinstance(low, Absent) or isinstance(high, Absent):
        return f"{value:.4g}"
    return interval(value, low, high)


def colour(rows: Iterable[Mapping[str, Any]], colours: Mapping[str, str]) -> Any:
    """The channel of colour by the rows' `model`, with a legend of the models that are there."""
    import altair as alt

    models = sorted({row["model"] for row in rows})
    scale = alt.Scale(domain=[printable(model) for model in models], range=[colours[model] for model in models])
    return alt.Color("model:N", title=None, scale=scale, legend=alt.Legend(columns=columns_for(models)))


def columns_for(labels: Iterable[str]) -> Any:
    """As many columns of a legend as there is room for.

    By the container's width, not the plot's, which the layout of the legend itself changes: rows would be cut off.
    """
    import altair as alt

    pixels = 16 + min(LEGEND_LIMIT, 30 + LETTER * max(map(len, labels)))
    room = f"(isFinite(containerSize()[0]) ? containerSize()[0] : {WIDTH})"
    return alt.expr(f"max(1, floor({room} / {pixels:.0f}))")


def evidence_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """A sentence that says which marks stand for what, of the evidence that the rows have."""
    marks = {"measured": "filled", "estimated": "hollow", "reported": "crosses"}
    seen = {row["evidence"] for row in rows}
    said = [f"{marks[evidence]} are {evidence}" for evidence in EVIDENCE if evidence in seen]
    return f"Marks: {', '.join(said)}."


def dressed(chart: Any, rows: Iterable[Mapping[str, Any]], height: int) -> dict[str, Any]:
    """The Vega-Lite definition of a chart of rows, in the reader's ink on no ground, as wide as it is given room.

    The rows are put in last: Altair would check each against its schema, which takes longer than all the rest. In them
    None is left out, and text is printed without control characters.
    """
    import altair as alt

    ink = dict.fromkeys(("labelColor", "titleColor"), INK)
    axis = alt.AxisConfig(
        **ink, domainColor=INK, tickColor=INK, gridColor=INK, gridOpacity=0.12, labelFontSize=11, titleFontSize=12,
        titleFontWeight="normal", labelLimit=200,
    )  # fmt: skip
    ticks = alt.AxisConfig(tickCount=alt.expr("max(3, floor(width / 80))"))
    legend = alt.LegendConfig(
        **ink, orient="top", symbolFillColor=INK, symbolStrokeColor=INK, labelFontSize=11, labelLimit=LEGEND_LIMIT,
        symbolLimit=40, symbolOpacity=1, columnPadding=24,
    )  # fmt: skip
    spec = (
        chart.properties(width="container", height=height, background="transparent")
        .configure(
            view=alt.ViewConfig(stroke=None), axis=axis, axisX=ticks, legend=legend, font="system-ui, sans-serif",
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), padding=SPARE,
        )
        .to_dict()
    )  # fmt: skip
    return {**spec, "datasets": {ROWS: [_plain(row) for row in rows]}}


def _path(corners: Corners) -> str:
    return "M" + "L".join(f"{x:.3g},{y:.3g}" for x, y in corners) + "Z"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in row.items() if value is not None}
    return {name: printable(value) if isinstance(value, str) else value for name, value in known.items()}
