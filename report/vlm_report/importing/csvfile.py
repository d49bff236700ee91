"""A CSV of results: one row a result, its columns named as in `COLUMNS`."""

import csv
import io

from vlm_contract.conditions import nearest_figure
from vlm_contract.errors import VlmError
from vlm_report.importing.columns import COLUMNS
from vlm_report.importing.documents import LIMIT_CELL, Cell, Contents, Row

TEMPLATE = ",".join(COLUMNS)
_HINT = "vlm-report import --template, which prints all columns"


def contents_of_csv(text: str, source: str) -> Contents:
    """Raises VlmError naming the column or the line that is wrong."""
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise VlmError(f"{source} is no CSV: {error}.", hint=_HINT) from None
    header = [name.strip() for name in lines[0]] if lines else []
    check_header(header, source)
    rows = [_row(header, cells, number, source) for number, cells in enumerate(lines[1:], 2) if any(cells)]
    if not any(row.figures for row in rows):
        raise VlmError(f"{source} has a header, and no row with a figure.", hint="fill in at least one")
    return Contents(tuple(rows))


def check_header(header: list[str], source: str) -> None:
    """Raise VlmError unless each column is a known one that stands there once, `model` among them."""
    for name in header:
        if name not in COLUMNS:
            raise VlmError(f"{source} has a column {name[:80]!r}, which is none.", hint=_nearest(name))
        if header.count(name) > 1:
            raise VlmError(f"{source} has the column {name!r} twice.", hint="remove one")
    if "model" not in header:
        raise VlmError(f"{source} has no column 'model'.", hint=_HINT)


def _nearest(name: str) -> str:
    if ";" in name or "\t" in name:
        return "separate the columns by commas"
    nearest = nearest_figure(name.casefold(), COLUMNS)
    return f"call it {nearest}" if nearest else _HINT


def _row(header: list[str], cells: list[str], number: int, source: str) -> Row:
    if len(cells) != len(header):
        raise VlmError(f"Line {number} of {source} has {len(cells)} cells; its header has {len(header)}.", hint=_HINT)
    if any(len(cell) > LIMIT_CELL for cell in cells):
        raise VlmError(f"Line {number} of {source} has a cell of over {LIMIT_CELL} characters.", hint="shorten it")
    named = {name: Cell(cell.strip(), name) for name, cell in zip(header, cells, strict=True)}
    row = Row(f"line {number}", {name: cell for name, cell in named.items() if not cell.empty})
    if row.figures and "model" not in row.cells:
        raise VlmError(f"Line {number} of {source} names no model.", hint="fill in its first column, 'model'")
    return row
