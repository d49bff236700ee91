"""A chart is one Vega-Lite definition; the page draws it alive, vl-convert draws it still."""

from dataclasses import dataclass
from typing import Any

WIDTH = 720  # of a still chart in pixels; a live one takes the width that it is given


@dataclass(frozen=True)
class Chart:
    """One plot, its data inside."""

    name: str  # of its files and of its place in a page: small letters, digits and "-"
    title: str
    caption: str
    spec: dict[str, Any]  # Vega-Lite; transparent, text in the colour of what is around it


@dataclass(frozen=True)
class NoChart:
    """A plot that there is nothing to draw for, and why."""

    name: str
    title: str
    reason: str  # a sentence


def svg_of(chart: Chart) -> str:
    """The chart as SVG that takes the colour of the text around it."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(_still(chart)))


def png_of(chart: Chart) -> bytes:
    """The chart as PNG, black on white, two pixels a point."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(_still(chart) | {"background": "white"}, scale=2))


def _still(chart: Chart) -> dict[str, Any]:
    return chart.spec | {"width": WIDTH}
