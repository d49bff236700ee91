"""Frames as tables to be read: cells of text, numbered notes for what is absent, and where each figure stands."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlm_contract.codec import Absent
from vlm_contract.console import printable
from vlm_contract.garbage import uncollected
from vlm_report.frames.rows import records_in, rows_in

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "—"
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """How cells are made from a frame's row. Where one of `needs` is absent, so is the cell, for its reason."""

    title: str
    needs: tuple[str, ...]
    text: Callable[..., str] = str
    numeric: bool = True
    instead: str = ""  # the frame's column whose text stands in the place of an absent figure
    may: tuple[str, ...] = ()  # further columns that `text` is given, absent or not
    source: str = "record"  # the frame's column that names the figure's record
    optional: bool = False  # left out where no row has it
    silent: bool = False  # left out without a word of why
    varied: bool = False  # left out, without a word, where no two rows differ in it
    fills: bool = False  # the row's command makes the figure


@dataclass(frozen=True)
class Cell:
    """What is read; `note` numbers the note that says why it is not there, 0 where it is."""

    text: str
    note: int = 0
    record: str = ""  # path of the record that the figure is from, several with ", " between; empty for none


@dataclass(frozen=True)
class Note:
    """Why something is absent and, where there is one, the command that fills it."""

    text: str
    command: str


@dataclass(frozen=True)
class Table:
    """A table with its notes; note N of a cell is `notes[N - 1]`."""

    name: str  # what a file or a link calls it
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[Note, ...]
    section: str = ""  # the frame that it is made from
    records: tuple[tuple[str, ...], ...] = ()  # a row's, by the paths that the table of provenance has
    evidence: tuple[str, ...] = ()  # a row's: "measured", "estimated" or "reported"; empty where it has no figures


def table_of(
    rows: Iterable[Row], columns: Sequence[Column], section: str, title: str, caption: str, name: str = ""
) -> Table:
    """Rows of a frame as text; each reason for an absence becomes one note."""
    rows = list(rows)
    shown = tuple(column for column in columns if _is_shown(column, rows))
    notes: dict[Note, int] = {}
    cells = tuple(tuple(_cell(row, column, notes) for column in shown) for row in rows)
    told = [column for column in columns if column not in shown and not (column.silent or column.varied)]
    said = [part for part in (caption, _left_out(rows, told)) if part]
    return Table(
        name=name or section,
        title=printable(title),
        caption=printable(" ".join(said)),
        columns=shown,
        rows=cells,
        notes=tuple(notes),
        section=section,
        records=tuple(_records(row, shown) for row in rows),
        evidence=tuple(row["evidence"] if isinstance(row.get("evidence"), str) else "" for row in rows),
    )


def csv_of(frame: "pd.DataFrame") -> str:
    """The frame as CSV: an absent value is an empty cell, and the column `absent` says why."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*map(str, frame.columns), "absent"])
    with uncollected():
        _write_rows(writer, rows_in(frame))
    return text.getvalue()


def _write_rows(writer: Any, rows: Iterable[Row]) -> None:
    for row in rows:
        why = "; ".join(f"{name}: {value.reason}" for name, value in row.items() if isinstance(value, Absent))
        writer.writerow([*map(_plain, row.values()), printable(why)])


def _plain(value: Any) -> Any:
    """What stands in a cell of a file: text without control characters, and several values as JSON."""
    if isinstance(value, Absent):
        return None
    if isinstance(value, (dict, tuple, list)):
        return printable(json.dumps(value, ensure_ascii=False)) if value else ""
    return printable(value) if isinstance(value, str) else value


def _is_shown(column: Column, rows: Sequence[Row]) -> bool:
    able = [row for row in rows if _has(row, column)]
    if column.varied:
        return len({tuple(row[name] for name in column.needs) for row in able}) > 1
    return bool(able) or not column.optional


def _has(row: Row, column: Column) -> bool:
    return not any(isinstance(row[name], Absent) or row[name] == "" for name in column.needs)


def _cell(row: Row, column: Column, notes: dict[Note, int]) -> Cell:
    values = [row[name] for name in column.needs]
    absent = next((value for value in values if isinstance(value, Absent)), None)
    if absent is None:
        source = row.get(column.source) if column.source else ""
        text = column.text(*values, *(row[name] for name in column.may))
        return Cell(printable(text), record=source if isinstance(source, str) else str(row.get("record", "")))
    note = Note(printable(absent.reason), row["to_type"] if column.fills or absent == row.get("evidence") else "")
    return Cell(printable(row[column.instead]) if column.instead else NOTHING, notes.setdefault(note, len(notes) + 1))


def _records(row: Row, columns: Sequence[Column]) -> tuple[str, ...]:
    """Of every column once, the row's own first."""
    sources = dict.fromkeys(("record", *(column.source for column in columns)))
    paths = [path for name in sources for path in _paths(row.get(name))]
    return tuple(dict.fromkeys(paths))


def _paths(record: object) -> tuple[str, ...]:
    return records_in(record) if isinstance(record, str) else ()


def _left_out(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Which columns stand nowhere, and why, as rows that have figures say it."""
    reasons: dict[str, list[str]] = {}
    filled = [row for row in rows if not isinstance(row.get("evidence"), Absent)]
    for column in columns:
        said = (row[name] for row in filled for name in column.needs)
        if absent := next((value for value in said if isinstance(value, Absent)), None):
            reasons.setdefault(absent.reason, []).append(column.title)
    return " ".join(f"No row has {', '.join(titles)}: {reason}." for reason, titles in reasons.items())
