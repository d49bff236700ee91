"""One finding, and the words that findings are made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlm_contract.codec import Absent
from vlm_report.cells import Row
from vlm_report.columns import rates
from vlm_report.figures import counted, seeds_range

Section: TypeAlias = Literal["performance", "families", "models", "times", "export", "general", "next"]
TITLES: Mapping[Section, str] = {
    "performance": "Model performance",
    "families": "CNN against Transformer",
    "models": "Observations by model",
    "times": "Training time",
    "export": "Exported artifacts and estimates",
    "general": "General notes",
    "next": "Next steps",
}


@dataclass(frozen=True)
class Finding:
    """One sentence or two, and what they rest on."""

    section: Section
    subject: str  # the model or the regime that it is about; empty where it is about all
    text: str
    evidence: str  # "measured", "estimated" or "reported"; empty where something is missing
    record: str  # paths of records, ", " between them; empty where something is missing
    command: str = ""  # what fills what is missing


def about(row: Row, section: Section, text: str) -> Finding:
    """A sentence about one row."""
    return Finding(section, row.get("series", ""), text + as_reported(row), row["evidence"], row["record"])


def as_reported(row: Row) -> str:
    """What follows a sentence whose figures nobody here measured."""
    return " This is reported, not measured." if row["evidence"] == "reported" else ""


def figure(row: Row, column: str) -> str:
    """The mean over the seeds, with the digits that their range supports."""
    return seeds_range(row[column], row[f"{column}_low"], row[f"{column}_high"]).partition(" ")[0]


def over_seeds(row: Row, column: str) -> str:
    """In brackets: how many seeds, and their range."""
    if row["seeds"] == 1:
        return " (one run)" if row["evidence"] == "reported" else " (one seed)"
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    shown = seeds_range(row[column], low, high).partition(" ")[2].strip("()") or f"all {row[column]:.2f}"
    return f" ({row['seeds']} seeds: {shown})"


def rates_of(row: Row, column: str) -> str:
    """A mean rate with its range."""
    return rates(row[column], row[f"{column}_low"], row[f"{column}_high"])


def regime(row: Row) -> str:
    """`cifar10 with 5,000 samples`."""
    data = "data that the document does not name" if isinstance(row["data"], Absent) else row["data"]
    return data if isinstance(row["samples"], Absent) else f"{data} with {counted(row['samples'], 'sample')}"


def same_regime(one: Row, other: Row) -> bool:
    """Whether two rows are of the same data and as many samples."""
    names = ("data", "fingerprint", "samples")
    return all(one[name] == other[name] for name in names)


def records_of(rows: Iterable[Row]) -> list[str]:
    """Paths of the rows' records."""
    return [row["record"] for row in rows if isinstance(row["record"], str)]


def distinct(rows: Iterable[Row], *columns: str) -> list[list[Row]]:
    """Rows with the same values in columns, in their order."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[column] for column in columns), []).append(row)
    return list(found.values())
