"""What a cell says: a text, a number in our unit, or nothing; and what is wrong with it by itself."""

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from vlm_contract.codec import Absent
from vlm_contract.conditions import BYTES
from vlm_contract.measurement import Verdict
from vlm_report.importing.columns import COLUMNS, TIME, Column, Record
from vlm_report.importing.documents import Cell, Row

NOT_SAID = Absent("the document does not say")
Value: TypeAlias = str | float | Absent
_ABOUT = re.compile(r"^(?:~|≈|∼|about |ca\.? |approx\.? )\s*", re.IGNORECASE)
_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?"
_PART = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z%/]*)\s*")
_NOT_FINITE = frozenset(("nan", "inf", "infinity"))
_LARGEST = 1e15  # no figure of a record is larger


@dataclass(frozen=True)
class Finding:
    """What a rule says of a row."""

    verdict: Verdict
    records: tuple[Record, ...]  # that it goes into
    withdrawn: dict[str, str] = field(default_factory=dict)  # why a figure does not stand, by its column
    taken: dict[str, float] = field(default_factory=dict)  # figures that stand under another column instead


@dataclass(frozen=True)
class Told:
    """A row as values; what it does not say is not in `values`."""

    values: dict[str, Value]
    approximate: tuple[str, ...]
    findings: tuple[Finding, ...]

    def number(self, name: str) -> float | None:
        value = self.values.get(name)
        return value if isinstance(value, float) else None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return value if isinstance(value, str) else ""


def told_by(row: Row) -> Told:
    """Every cell of a row by itself."""
    values: dict[str, Value] = {}
    findings = []
    for name, cell in row.cells.items():
        values[name], finding = value_of(name, cell)
        findings += [finding] if finding else []
    about = tuple(name for name, cell in row.cells.items() if COLUMNS[name].kind != "text" and _ABOUT.match(cell.text))
    return Told(values, about, tuple(findings))


def value_of(name: str, cell: Cell) -> tuple[Value, Finding | None]:
    """A cell's value in the unit of its column; absent, with the finding that says why, where it cannot be right."""
    column = COLUMNS[name]
    if column.kind == "text":
        return cell.text, None
    finding = check_finite(name, cell) or check_readable(name, cell)
    number = 0.0 if finding else _number(column, cell)
    finding = finding or check_range(name, cell, number)
    if finding:
        return Absent(finding.withdrawn[name]), finding
    return number, None


def verdicts_of(told: Told, record: Record) -> tuple[Verdict, ...]:
    """What stands against that record of a row."""
    return tuple(finding.verdict for finding in told.findings if record in finding.records)


def text_of(told: Told, name: str) -> str | Absent:
    """What a row says under a column of text."""
    return told.text(name) or NOT_SAID


def date_of(told: Told) -> str | Absent:
    """As ISO 8601 begins."""
    text = told.text("date")
    if not text or re.match(r"\d{4}-\d\d-\d\d", text):
        return text or NOT_SAID
    return Absent(f"the document says {text}; expected a date such as 2025-11-27")


def number_of(told: Told, name: str) -> float | Absent:
    """What a row says under a column of numbers; absent, with the reason, where it says none or none that stands."""
    value = told.values.get(name, NOT_SAID)
    return NOT_SAID if isinstance(value, str) else value


def whole_of(told: Told, name: str) -> int | Absent:
    """As `number_of`, of a count."""
    value = number_of(told, name)
    return value if isinstance(value, Absent) else round(value)


def check_finite(name: str, cell: Cell) -> Finding | None:
    """`nonfinite`: NaN or infinity. What gave it gave other figures of the row, too."""
    if cell.text.casefold().lstrip("+-") not in _NOT_FINITE:
        return None
    return _refused(
        name,
        Verdict(
            code="nonfinite",
            level="invalid",
            seen=f"{cell.heading}: {cell.text}",
            limit="a finite number: NaN is what is left when a network overflows",
            next_step="Score the network again in FP32; that the other figures of the row are right is not known.",
        ),
        cell,
    )


def check_readable(name: str, cell: Cell) -> Finding | None:
    """`unreadable`: no number, or none with a unit that is known; the other figures stand."""
    column = COLUMNS[name]
    number = _number(column, cell)
    whole = column.kind == "number" or abs(number - round(number)) < 1e-6 * max(1.0, abs(number))
    if abs(number) < _LARGEST and whole:
        return None
    units = f" with a unit ({', '.join(column.units)})" if cell.scale is None else ""
    return _refused(
        name,
        Verdict(
            code="unreadable",
            level="warning",
            seen=f"{cell.heading}: {cell.text}",
            limit=f"a {'whole ' * (column.kind == 'whole')}number{units}",
            next_step="Write it with a decimal point, such as 9.89; nothing else belongs into the cell.",
        ),
        cell,
    )


def check_range(name: str, cell: Cell, number: float) -> Finding | None:
    """`percent`, `negative`, `nonpositive`, `zero_memory`: a figure that nothing can have."""
    allowed = COLUMNS[name].range
    holds = {"percent": 0 <= number <= 100, "not negative": number >= 0, "positive": number > 0}
    if holds[allowed]:
        return None
    if COLUMNS[name].units is BYTES:
        return _refused(name, _zero_memory(cell), cell)
    code, limit = {
        "percent": ("percent", "0 to 100 %"),
        "not negative": ("negative", "0 or more"),
        "positive": ("nonpositive", "over 0"),
    }[allowed]
    verdict = Verdict(code, "invalid", f"{cell.heading}: {cell.text}", limit, "Look up what was computed.")
    return _refused(name, verdict, cell)


def _zero_memory(cell: Cell) -> Verdict:
    return Verdict(
        code="zero_memory",
        level="warning",
        seen=f"{cell.heading}: {cell.text}",
        limit="over 0: what runs takes memory",
        next_step="Measure the peak: a counter that reads 0 counts nothing on that device. The other figures stand.",
    )


def _refused(name: str, verdict: Verdict, cell: Cell) -> Finding:
    return Finding(verdict, COLUMNS[name].records, {name: f"the document says {cell.text}; expected {verdict.limit}"})


def _number(column: Column, cell: Cell) -> float:
    """In our unit; infinite where the text is none."""
    text = _ABOUT.sub("", cell.text)
    parts = _PART.findall(text)
    if _PART.sub("", text) or not parts or (len(parts) > 1 and column.units is not TIME):
        return float("inf")
    scales = [column.units.get(unit) if unit else cell.scale for _, unit in parts]
    known = [scale for scale in scales if scale is not None]
    if len(known) < len(parts):
        return float("inf")
    return sum(float(number.replace(",", "")) * scale for (number, _), scale in zip(parts, known, strict=True))
