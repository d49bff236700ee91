"""Tables in the page: rows that name their records, and cells that name their evidence."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from vlm_contract.console import printable
from vlm_report.cells import Cell, Column, Note, Table
from vlm_report.frames.rows import records_in
from vlm_report.page.references import PROVENANCE, Evidence, References, links_html, mark_html

if TYPE_CHECKING:
    from markupsafe import Markup

NOTES_OPEN = 3  # more of them are folded away
LONG = 40  # characters, from which on a cell of text may be broken anywhere


class Tables:
    """Makes the tables of one page."""

    def __init__(self, references: References, evidence: Evidence) -> None:
        self._references, self._evidence = references, evidence

    def html(self, table: Table, under: str) -> "Markup":
        """Heading, where it says more than the one that the table stands `under`; caption, table and notes."""
        from markupsafe import Markup

        heading = f"<h3>{_print(table.title)}</h3>\n" * (table.title != under)
        heading += f'<p class="caption">{_print(table.caption)}</p>\n' * bool(table.caption)
        shown = self._shown(table)
        if not shown:
            return Markup(f"{heading}<p>Nothing recorded.</p>")
        rows = "\n".join(self._row(table, index) for index in shown)
        return Markup(
            f'{heading}<div class="scroll" id="{_name(table)}" tabindex="0" role="region" '
            f'aria-label="{_print(table.title)}">\n'
            f"<table>\n<thead><tr>{''.join(map(_column, table.columns))}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
            f"</table>\n</div>\n{_more(len(shown), table)}{_notes(table, shown)}"
        )

    def _shown(self, table: Table) -> list[int]:
        """The rows that the page has: the first ones; of the records, those that a row of the page names."""
        every = range(len(table.rows))
        if table.section != PROVENANCE:
            return list(every[: self._references.rows])
        numbered = [(self._references.numbers(table.records[index]), index) for index in every]
        return [index for numbers, index in sorted(numbered) if numbers]

    def _row(self, table: Table, index: int) -> str:
        numbers = self._references.numbers(table.records[index])
        (first, _), *rest = zip(table.rows[index], table.columns, strict=True)
        if table.section == PROVENANCE:
            row, head, links = f' id="r{numbers[0]}"', f"R{numbers[0]} ", ""
        else:
            row, head, links = "", "", links_html(numbers)
        cells = "".join(self._cell(cell, column, table, numbers[:1]) for cell, column in rest)
        return f'<tr{row}><th scope="row">{head}{_text(first)}{links}</th>{cells}</tr>'

    def _cell(self, cell: Cell, column: Column, table: Table, of_row: list[int]) -> str:
        kinds = ["number"] * column.numeric + ["absent"] * bool(cell.note) + ["long"] * (len(cell.text) > LONG)
        attributes = f' class="{" ".join(kinds)}"' if kinds else ""
        if cell.note:
            return f"<td{attributes}>{_text(cell)}</td>"
        numbers = self._references.numbers(records_in(cell.record))
        if table.section != PROVENANCE and numbers and numbers != of_row:
            attributes += f' data-r="{" ".join(map(str, numbers))}"'
        marks = "".join(map(mark_html, self._evidence.of(cell, column)))
        return f"<td{attributes}>{_text(cell)}{marks}</td>"


def _name(table: Table) -> str:
    return _print(f"table-{table.name}")


def _column(column: Column) -> str:
    return f'<th scope="col"{" class=number" if column.numeric else ""}>{_print(column.title)}</th>'


def _text(cell: Cell) -> str:
    return _print(cell.text) + (f"<sup>{cell.note}</sup>" if cell.note else "")


def _more(shown: int, table: Table) -> str:
    if shown == len(table.rows):
        return ""
    which = "those that a row above names" if table.section == PROVENANCE else "the first"
    file = f"tables/{_print(table.section)}.csv"
    return f'<p class="more">{shown} of {len(table.rows)} rows, {which}: {file} beside this page has all.</p>\n'


def _notes(table: Table, shown: Sequence[int]) -> str:
    """Those that a cell of the page refers to."""
    used = sorted({cell.note for index in shown for cell in table.rows[index] if cell.note})
    if not used:
        return ""
    listed = "".join(_note(table, number) for number in used)
    if len(used) <= NOTES_OPEN:
        return f'<ol class="notes">\n{listed}</ol>\n'
    return f'<details><summary>{len(used)} notes</summary>\n<ol class="notes">\n{listed}</ol>\n</details>\n'


def _note(table: Table, number: int) -> str:
    note = table.notes[number - 1]
    return f'<li value="{number}" id="{_name(table)}-{number}">{_print(note.text)}{_command(note)}</li>\n'


def _command(note: Note) -> str:
    return f" → <code>{_print(note.command)}</code>" if note.command else ""


def _print(text: str) -> str:
    return escape(printable(text))
