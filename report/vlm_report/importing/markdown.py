"""A Markdown document that somebody filled by hand: its tables of models and figures, and what is around them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vlm_contract.errors import VlmError
from vlm_report.importing.columns import COLUMNS, column_of
from vlm_report.importing.documents import LIMIT_CELL, Cell, Contents, Row

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.+?)\s*#*\s*$")
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
_SAID = re.compile(r"\s*\*\*([^*|]{1,60}?):?\*\*\s*:\s*(\S.*?)\s*$")  # **Hardware**: NVIDIA …
_SETTING = re.compile(r"\s*[-*+]\s+([A-Za-z][\w ]{0,40}?)\s*:\s*(\S.*?)\s*$")  # - Batch Size: 128
_SETTINGS = re.compile(r"\s*\*\*Training Configuration:?\*\*:?\s*$", re.IGNORECASE)
_REGIME = re.compile(r"(?P<data>.+?)\s+[-–—:]\s+.*?\(\s*(?P<samples>[~≈]?\s*[\d,]+)\s+(?:samples|images)\s*\)\s*$")
_WHOLE = {"Hardware": "device", "Dataset": "data", "Last Updated": "date", "Framework": "runtime"}  # said of all rows
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass
class Section:
    """What stands under one heading."""

    path: tuple[str, ...]  # headings, outermost first
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """Cells as text; the first row is the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def contents_of_markdown(text: str, source: str) -> Contents:
    """Raises VlmError where no table names a model and a figure."""
    sections = list(sections_of(text))
    said = {name: value for section in sections for name, value in _said(section).items()}
    rows: list[Row] = []
    left_out = []
    for section in sections:
        around = {**_around(said), **_around(_said(section)), **_regime(section)}
        for number, table in enumerate(tables_of(section.lines), 1):
            place = " › ".join(section.path[1:] or section.path or ("the document",)) + f", table {number}" * (
                number > 1
            )
            columns = [column_of(heading) for heading in table.header]
            why = _why_left_out(columns, table)
            unknown = [heading for heading, column in zip(table.header, columns, strict=True) if not column]
            left_out += [f"{place}: {why or f'the columns {unknown}, which mean nothing known'}."] * bool(
                why or unknown
            )
            rows += [] if why else _rows(table, columns, around, place, source)
    if not any(row.figures for row in rows):
        raise VlmError(
            " ".join((f"{source} holds no table with models and figures.", *left_out)),
            hint="a table with headings such as | Model | Latency (ms) | Throughput (img/s) |",
        )
    return Contents(tuple(rows), tuple(left_out), said)


def sections_of(text: str) -> Iterator[Section]:
    """By headings; what stands in fences and comments is no part of the text."""
    section, fence = Section(()), ""
    for line in re.sub(r"<!--.*?(-->|\Z)", "", text, flags=re.DOTALL).splitlines():
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif fence:
            continue
        elif heading := _HEADING.match(line):
            yield section
            section = Section((*section.path[: len(heading[1]) - 1], plain(heading[2])))
        else:
            section.lines.append(line)
    yield section


def tables_of(lines: list[str]) -> Iterator[Table]:
    """The tables, as GitHub reads them: a row with fewer cells than the header has is filled up."""
    index = 0
    while index + 1 < len(lines):
        header = _cells(lines[index]) if "|" in lines[index] else ()
        if not (header and _RULE.match(lines[index + 1]) and len(_cells(lines[index + 1])) == len(header)):
            index += 1
            continue
        end = next((i for i in range(index + 2, len(lines)) if "|" not in lines[i]), len(lines))
        padded = (_cells(line) + ("",) * len(header) for line in lines[index + 2 : end])
        yield Table(header, tuple(cells[: len(header)] for cells in padded))
        index = end


def plain(text: str) -> str:
    """Text without emphasis, code marks and links."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|__|`|~~|(?<!\w)[*_]|[*_](?!\w)", "", text).strip()


def _cells(line: str) -> tuple[str, ...]:
    inner = re.sub(r"(?<!\\)\|\s*$", "", line.strip()).removeprefix("|")
    return tuple(plain(cell.replace(r"\|", "|")) for cell in re.split(r"(?<!\\)\|", inner))


def _said(section: Section) -> dict[str, str]:
    """`**Hardware**: …` and its like; of what is said twice, the last."""
    found = (match for line in section.lines if (match := _SAID.match(line)))
    return {name: plain(match[2]) for match in found if (name := plain(match[1])) in _WHOLE}


def _around(said: Mapping[str, str]) -> dict[str, Cell]:
    """What is said of all rows, as cells."""
    cells = {_WHOLE[word]: Cell(text, word) for word, text in said.items()}
    if version := re.fullmatch(r"(\S.*?)\s+(v?\d\S*)", said.get("Framework", "")):
        cells |= {"runtime": Cell(version[1], "Framework"), "runtime_version": Cell(version[2], "Framework")}
    return cells


def _regime(section: Section) -> dict[str, Cell]:
    """What a heading such as `CIFAR-10 - Small Data Regime (5,000 samples)` and the settings under it say."""
    match = _REGIME.match(section.path[-1]) if section.path else None
    cells = {name: Cell(text.strip(), name) for name, text in (match.groupdict() if match else {}).items()}
    if settings := _settings(section.lines):
        listed = "; ".join(f"{name}={value}" for name, value in settings.items())
        cells["hyperparameters"] = Cell(listed, "hyperparameters")
    if "epochs" in settings:
        cells["epochs"] = Cell(settings["epochs"], "Epochs")
    return cells


def _settings(lines: list[str]) -> dict[str, str]:
    start = next((index for index, line in enumerate(lines) if _SETTINGS.match(line)), len(lines))
    found = (match for line in lines[start:] if (match := _SETTING.match(line)))
    return {match[1].casefold().replace(" ", "_"): plain(match[2]).replace(";", ",") for match in found}


def _why_left_out(columns: list[tuple[str, float | None] | None], table: Table) -> str:
    names = {column[0] for column in columns if column}
    if "model" not in names:
        return f"its columns ({', '.join(table.header)[:120]}) name no model"
    if not any(COLUMNS[name].figure for name in names):
        return f"none of its columns ({', '.join(table.header)[:120]}) is a figure that records hold"
    return ""


def _rows(
    table: Table,
    columns: list[tuple[str, float | None] | None],
    around: Mapping[str, Cell],
    place: str,
    source: str,
) -> Iterator[Row]:
    for number, texts in enumerate(table.rows, 1):
        if any(len(text) > LIMIT_CELL for text in texts):
            raise VlmError(f"{source}, {place}, row {number} has a cell of over {LIMIT_CELL} characters.")
        own = {
            column[0]: Cell(text, heading, column[1])
            for column, text, heading in zip(columns, texts, table.header, strict=True)
            if column
        }
        filled = {name: cell for name, cell in own.items() if not cell.empty}
        if "model" in filled:
            yield Row(f"{place}, row {number}", {**around, **filled})
