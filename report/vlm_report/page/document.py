"""What the report's pages say and in which order, before it is given a form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_report.cells import Table


@dataclass(frozen=True)
class Line:
    """A sentence or two, with what they rest on."""

    text: str
    command: str = ""  # what fills what is missing
    records: tuple[str, ...] = ()  # by the paths that the table of provenance has
    evidence: str = ""  # "measured", "estimated" or "reported"; empty where the sentence says it


@dataclass(frozen=True)
class Text:
    """Sentences under a heading: one that leads, others that follow, and those that may be folded away."""

    name: str  # what links to it call it
    title: str
    lead: Line | None
    lines: Sequence[Line]
    folded: Sequence[Line] = ()
    folded_title: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart as it is drawn."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]  # Vega-Lite
    svg: str


Part = Text | Figure | Table


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; `nothing` says so where there is nothing."""

    name: str
    title: str
    parts: tuple[Part, ...]
    intro: str = ""
    nothing: str = "Nothing recorded."


@dataclass(frozen=True)
class Pick:
    """The answer to one question, short enough to be kept in sight."""

    name: str  # of the artifact or the model; "none" where nothing was picked
    figures: str  # or why nothing was
    evidence: str  # "measured", "estimated", "reported"; empty where nothing was picked
    link: str  # the name of the Text that gives the reasons


@dataclass(frozen=True)
class Picks:
    """All answers: one row a target, one column a question; a row may be one answer to a question of its own."""

    questions: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Pick, ...]], ...]


@dataclass(frozen=True)
class Document:
    """The whole page."""

    title: str
    made_of: str  # the records, counted
    picks: Picks
    problems: tuple[str, ...]
    sections: tuple[Section, ...]
