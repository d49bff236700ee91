"""Numbers for the records that a page names, links to them, and the marks of what was not measured."""

from collections.abc import Iterable, Iterator, Sequence

from vlm_report.cells import Cell, Column, Table
from vlm_report.frames.rows import records_in
from vlm_report.page.document import Document, Part, Text

PROVENANCE = "provenance"  # the frame whose rows are records
LINKS = 6  # that stand in one place; a sentence about all runs rests on more
MARKS = {"estimated": "≈ est.", "reported": "† rep."}
# Columns of numbers that say what was run, and how often: no evidence makes them more or less sure.
NO_FIGURES = {"batch", "threads", "seed", "seeds", "samples", "rank", "epochs", "cnn_models", "transformer_models"}
IN_WORDS = {"memory_by_source", "overfitting_resistance"}  # columns of text that hold figures


class References:
    """Each record that the page names has one number throughout, from 1, in the order in which they are named.

    Of each table the page has `rows` at most.
    """

    def __init__(self, document: Document, rows: int) -> None:
        self.rows = rows
        named = (path for section in document.sections for part in section.parts for path in _named(part, rows))
        self._numbers = {path: number for number, path in enumerate(dict.fromkeys(named), start=1)}

    def numbers(self, paths: Iterable[str]) -> list[int]:
        """Of those that the page names."""
        return [self._numbers[path] for path in paths if path in self._numbers]


class Evidence:
    """What each figure of a page rests on, as its record says."""

    def __init__(self, document: Document) -> None:
        parts = (part for section in document.sections for part in section.parts)
        self._kinds = {
            paths[0]: evidence
            for table in parts
            if isinstance(table, Table) and table.section == PROVENANCE
            for paths, evidence in zip(table.records, table.evidence, strict=True)
        }

    def of(self, cell: Cell, column: Column) -> list[str]:
        """Of a cell that holds a figure, each kind once; none of one that is absent, or holds none."""
        if cell.note or not _is_figure(column):
            return []
        return sorted({self._kinds.get(path, "") for path in records_in(cell.record)})


def _is_figure(column: Column) -> bool:
    return (column.numeric and not NO_FIGURES.issuperset(column.needs)) or not IN_WORDS.isdisjoint(column.needs)


def links_html(numbers: Sequence[int]) -> str:
    """Links to rows of the table of provenance."""
    more = f" and {len(numbers) - LINKS} more" if len(numbers) > LINKS else ""
    return "".join(f' <a class="source" href="#r{number}">R{number}</a>' for number in numbers[:LINKS]) + more


def mark_html(evidence: str) -> str:
    """The mark and the word of evidence that is not measured; nothing where it is."""
    return f' <span class="mark {evidence}">{MARKS[evidence]}</span>' if evidence in MARKS else ""


def _named(part: Part, rows: int) -> Iterator[str]:
    if isinstance(part, Table) and part.section != PROVENANCE:
        yield from (path for paths in part.records[:rows] for path in paths)
    if isinstance(part, Text):
        leads = (part.lead,) if part.lead else ()
        yield from (path for line in (*leads, *part.lines, *part.folded) for path in line.records[:LINKS])
