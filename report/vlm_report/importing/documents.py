"""A document of results: what it is called, what it is made of, and the rows in it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file, what_it_is
from vlm_report.importing.columns import COLUMNS

LIMIT_BYTES = 4 << 20
LIMIT_ROWS = 10_000
LIMIT_CELL = 1000  # characters
_NOTHING = frozenset(("", "-", "--", "–", "—", "n/a", "na", "none", "null", "tbd", "todo", "?", "..."))


@dataclass(frozen=True)
class Cell:
    """What stands in the document under a heading."""

    text: str  # without emphasis
    heading: str
    scale: float | None = 1.0  # what 1 of the heading's unit is in ours; None where the cell must name its unit

    @property
    def empty(self) -> bool:
        return self.text.casefold() in _NOTHING


@dataclass(frozen=True)
class Row:
    """One row, with what the document says of all rows around it."""

    place: str  # in words: which table, which row
    cells: Mapping[str, Cell]  # by the name of a column

    @property
    def figures(self) -> tuple[str, ...]:
        """The columns of figures that are filled."""
        return tuple(name for name, cell in self.cells.items() if COLUMNS[name].figure and not cell.empty)


@dataclass(frozen=True)
class Contents:
    """What was found in a document."""

    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()  # a sentence for each table that was not taken
    said: Mapping[str, str] = field(default_factory=dict)  # of the whole document, by its own words


@dataclass(frozen=True)
class Document:
    """A file that somebody filled."""

    name: str
    sha256: str
    contents: Contents


def document_at(path: Path, name: str) -> Document:
    """Read a CSV or a Markdown document. Raises VlmError where it is something else, or holds nothing to take."""
    from vlm_report.importing.csvfile import contents_of_csv
    from vlm_report.importing.markdown import contents_of_markdown

    readers = {".csv": contents_of_csv, ".md": contents_of_markdown, ".markdown": contents_of_markdown}
    data = read_regular_file(path, limit_bytes=LIMIT_BYTES)
    if kind := what_it_is(path):
        raise VlmError(f"{path} is {kind}; expected a CSV or a Markdown document.", hint="vlm-report import --template")
    if path.suffix.lower() not in readers:
        raise VlmError(
            f"{path} is called neither .csv nor .md, so it is not known how to read it.",
            hint=f"name it {path.with_suffix('.csv').name} or {path.with_suffix('.md').name}",
        )
    contents = readers[path.suffix.lower()](_text(data, path), str(path))
    if len(contents.rows) > LIMIT_ROWS:
        raise VlmError(f"{path} has {len(contents.rows)} rows; expected at most {LIMIT_ROWS}.", hint="split it")
    return Document(name, hashlib.sha256(data).hexdigest(), contents)


def _text(data: bytes, path: Path) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VlmError(
            f"{path} is no text in UTF-8: byte {error.start} fits nothing.", hint="save it as UTF-8"
        ) from None
    if "\0" in text:
        raise VlmError(f"{path} is a binary file; expected a CSV or a Markdown document.")
    return text
