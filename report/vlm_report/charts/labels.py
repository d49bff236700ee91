"""Where words stand beside marks so that none covers another."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from typing import Any

from vlm_report.charts.chart import WIDTH
from vlm_report.charts.marks import INK, LETTER, NARROW

LINE = 14  # pixels that a line of labels is high
MOST_ROOM = 0.5  # part of an axis for labels beyond it
MOST_LABELS = 60  # beside marks; finding room for one takes longer the more marks there are
MOST_ENDS = 14  # labels at the ends of lines, at most
LABEL_SIZE = 11
PLOT = WIDTH - 70  # pixels, about, that a still plot is wide between its axes


@dataclass(frozen=True)
class Box:
    """Pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two cover a pixel together."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True)
class Place:
    """Where a label stands, from its mark."""

    align: str  # of the text: "left", "right" or "center"
    dx: int
    dy: int


PLACES = (
    Place("left", 9, 4), Place("right", -9, 4), Place("center", 0, -10), Place("center", 0, 18),
    Place("left", 7, -8), Place("left", 7, 16), Place("right", -7, -8), Place("right", -7, 16),
    Place("left", 2, -16), Place("left", 2, 24), Place("right", -2, -16), Place("right", -2, 24),
)  # fmt: skip


def placed(
    marks: Sequence[tuple[float, float, str]], taken: Iterable[Box], width: float, height: float
) -> list[Place | None]:
    """A place for each mark's label, the first marks first; None where there is no room.

    `marks` are (x, y, label) in pixels of a plot of that width and height, `taken` what else may not be covered.
    """
    boxes = [*taken, *(Box(x - 6, y - 6, x + 6, y + 6) for x, y, _ in marks)]
    found: list[Place | None] = []
    for x, y, text in marks:
        if len(found) == MOST_LABELS:
            return found + [None] * (len(marks) - len(found))
        tried = ((place, _box(x, y, text, place)) for place in PLACES)
        inside = ((place, box) for place, box in tried if _inside(box, width, height))
        place, box = next(((p, box) for p, box in inside if not any(map(box.meets, boxes))), (None, None))
        boxes += [box] if box else []
        found.append(place)
    return found


def spread_out(positions: Sequence[float], gap: float) -> list[float]:
    """The positions moved as little apart as leaves `gap` between neighbours; the order stays."""
    clusters: list[list[int]] = []  # members of each, which stand side by side about their mean
    for index in sorted(range(len(positions)), key=lambda index: positions[index]):
        clusters.append([index])
        while len(clusters) > 1 and _first(clusters[-1], positions, gap) < _last(clusters[-2], positions, gap) + gap:
            clusters[-2:] = [clusters[-2] + clusters[-1]]
    moved = list(positions)
    for members in clusters:
        for step, member in enumerate(members):
            moved[member] = _first(members, positions, gap) + gap * step
    return moved


def _first(members: Sequence[int], positions: Sequence[float], gap: float) -> float:
    return sum(positions[member] for member in members) / len(members) - gap * (len(members) - 1) / 2


def _last(members: Sequence[int], positions: Sequence[float], gap: float) -> float:
    return _first(members, positions, gap) + gap * (len(members) - 1)


def moves_at_ends(values: Sequence[float], domain: Sequence[float], height: float) -> list[float]:
    """By how many pixels labels at the ends of lines move down; `values` and `domain` are of the axis upwards."""
    scale = height / (domain[1] - domain[0])
    wanted = [(domain[1] - value) * scale for value in values]
    return [round(to - at, 1) for to, at in zip(spread_out(wanted, LINE), wanted, strict=True)]


def room_for(labels: Iterable[str]) -> float:
    """The part of an axis, of its length up to the last mark, that labels at the ends of lines need beyond it."""
    pixels = 30 + LETTER * max(map(len, labels), default=0)
    return min(MOST_ROOM, pixels / max(1.0, PLOT - pixels))


def end_labels(base: Any, x: Any, y: Any, colour: Any, text: str) -> tuple[Any, Any]:
    """A dot in the colour of the line and a word beside it, where the column `dy` says by how much they move."""
    import altair as alt

    ends = base.transform_filter("isValid(datum.dy)").encode(x=x, y=y)
    common = {"yOffset": alt.expr("datum.dy"), "opacity": alt.expr(f"width < {NARROW} ? 0 : 1")}
    word = {"align": "left", "baseline": "middle", "fontSize": LABEL_SIZE, "color": INK}
    return (
        ends.mark_point(filled=True, shape="circle", size=36, xOffset=16, **common).encode(color=colour),
        ends.mark_text(xOffset=24, **word, **common).encode(text=f"{text}:N"),
    )


def line_boxes(spots: Sequence[tuple[float, float]], step: float = 6.0) -> list[Box]:
    """What a line through these spots covers, in small boxes."""
    boxes = []
    for (x, y), (to_x, to_y) in pairwise(spots):
        pieces = max(1, int(hypot(to_x - x, to_y - y) / step))
        middles = ((x + (to_x - x) * part / pieces, y + (to_y - y) * part / pieces) for part in range(pieces + 1))
        boxes += [Box(left - 3, top - 3, left + 3, top + 3) for left, top in middles]
    return boxes


def rule_box(left: float, top: float, right: float, bottom: float) -> Box:
    """What a bar between two points covers."""
    return Box(left - 1, top - 2, right + 1, bottom + 2)


def beside_marks(
    rows: Sequence[dict[str, Any]],
    spots: Sequence[tuple[float, float]],
    labels: Sequence[str],
    taken: Iterable[Box],
    height: float,
) -> list[dict[str, Any]]:
    """The rows with columns for `label_layer`: a word and where it stands; no word where there is no room.

    `spots` are the rows' marks in pixels from the upper left of a still plot.
    """
    marks = [(x, y, label) for (x, y), label in zip(spots, labels, strict=True)]
    places = placed(marks, taken, PLOT, height)
    return [
        {**row, "label": label if place else None, "align": place.align if place else None}
        | {"dx": place.dx if place else None, "dy": place.dy if place else None}
        for row, label, place in zip(rows, labels, places, strict=True)
    ]


def label_layer(base: Any, x: Any, y: Any) -> Any:
    """The words of `beside_marks`; in a narrow plot there are none."""
    import altair as alt

    return (
        base.transform_filter("isValid(datum.dx)")
        .mark_text(
            fontSize=LABEL_SIZE,
            color=INK,
            align=alt.expr("datum.align"),
            dx=alt.expr("datum.dx"),
            dy=alt.expr("datum.dy"),
            opacity=alt.expr(f"width < {NARROW} ? 0 : 1"),
        )
        .encode(x=x, y=y, text="label:N")
    )


def _box(x: float, y: float, text: str, place: Place) -> Box:
    wide = LETTER * len(text)
    left = x + place.dx - {"left": 0.0, "right": wide, "center": wide / 2}[place.align]
    return Box(left, y + place.dy - LINE + 3, left + wide, y + place.dy + 3)


def _inside(box: Box, width: float, height: float) -> bool:
    return box.left >= 0 and box.top >= 0 and box.right <= width and box.bottom <= height
