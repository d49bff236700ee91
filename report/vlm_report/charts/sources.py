"""What charts are drawn from: the rows of the report's frames that may be drawn, and a colour a model."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from vlm_contract.codec import Absent
from vlm_report.charts.marks import EVIDENCE, colours_of
from vlm_report.frames.rows import rows_in
from vlm_report.records import Records

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
T = TypeVar("T")
K = TypeVar("K")
REFUSED = "refused by the export"  # in the column `labels`
LISTED = 24  # rows of a chart that lists rows


@dataclass(frozen=True)
class Sources:
    """The records and their frames."""

    records: Records
    frames: "Mapping[str, pd.DataFrame]"

    @cached_property
    def runs(self) -> list[Row]:
        """Training runs that may be compared."""
        rows = rows_in(self.frames["training"])
        return [row for row in rows if row["evidence"] in EVIDENCE and row["state"] == "valid"]

    @cached_property
    def benchmark(self) -> list[Row]:
        """Measurements, estimates and reported figures that are valid, of what the export did not refuse."""
        rows = rows_in(self.frames["benchmark"])
        return [row for row in rows if row["evidence"] in EVIDENCE and REFUSED not in row["labels"]]

    @cached_property
    def told(self) -> list[Row]:
        """Models whose latency and accuracy both come from a document, as rows like those of the benchmark."""
        rows = rows_in(self.frames["efficiency"])
        return [
            {**row, "accuracy_percent": row["validation_accuracy_percent"], "evidence": "reported", "labels": ()}
            for row in rows
            if (row["evidence"], row["latency_evidence"]) == ("reported", "reported")
        ]

    @cached_property
    def colours(self) -> dict[str, str]:
        """By the names of models and of series; a document's word for a model has the colour of that model."""
        floors = {row["series"] for row in self.runs if row["floor"]}
        named = {row["series"]: row["series"] for row in self.runs}
        named |= {row["model"]: row["model"] for row in self.benchmark}
        told = [row for row in self.runs if row["evidence"] == "reported" and row["timm"] in named]
        named |= {row["series"]: row["timm"] for row in told}
        colours = colours_of(named.values(), floors)
        return {name: colours[model] for name, model in named.items()}

    def by_data(self) -> dict[str, list[Row]]:
        """The runs by the data that they were trained on."""
        groups = grouped(self.runs, lambda row: row["fingerprint"] or str(row["data"]))
        return {_name_of_data(rows): rows for rows in groups.values()}

    def by_target(self) -> dict[str, list[Row]]:
        """The rows of the benchmark by target."""
        return grouped(self.benchmark, lambda row: str(row["target"]))


def grouped(rows: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Rows by a key, in the order in which the keys appear."""
    groups: dict[K, list[T]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def has(row: Row, *names: str) -> bool:
    """Whether a row has all these figures."""
    return not any(isinstance(row[name], Absent) for name in names)


def one_after_the_other(row: Row) -> bool:
    """Whether it is of one call after the other: frames at a rate of their own and calls at a time wait for others."""
    return isinstance(row["fps"], Absent) and (isinstance(row["streams"], Absent) or row["streams"] == 1)


def a_row_a_model(rows: Iterable[Row]) -> list[Row]:
    """For each model, precision and evidence the row of the least batch, of these the fastest; the fastest LISTED."""
    able = [row for row in rows if one_after_the_other(row) and has(row, "latency_ms_p50")]
    groups = grouped(able, lambda row: (row["model"], str(row["precision"]), row["evidence"]))
    chosen = [min(group, key=lambda row: (_batch(row), row["latency_ms_p50"])) for group in groups.values()]
    return sorted(chosen, key=lambda row: float(row["latency_ms_p50"]))[:LISTED]


def label_of(row: Row) -> str:
    """What a row of the benchmark is called beside a mark."""
    batch = "" if row["batch"] == 1 or isinstance(row["batch"], Absent) else f", batch {row['batch']}"
    return named(row) + batch


def named(row: Row) -> str:
    """The model with its precision, where that is known."""
    return str(row["model"]) + ("" if isinstance(row["precision"], Absent) else f" {row['precision']}")


def slug(*words: str) -> str:
    """Words as a chart's name."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def first_reason(rows: Iterable[Row], name: str, otherwise: str) -> str:
    """Why most rows lack a figure; `otherwise` where there is no row."""
    reasons = [row[name].reason for row in rows if isinstance(row[name], Absent)]
    return Counter(reasons).most_common(1)[0][0] if reasons else otherwise


def _batch(row: Row) -> int:
    return row["batch"] if isinstance(row["batch"], int) else 0


def _name_of_data(rows: Iterable[Row]) -> str:
    """As the workspace's own runs call it, else as a document does."""
    return str(min(rows, key=lambda row: EVIDENCE.index(row["evidence"]))["data"])
