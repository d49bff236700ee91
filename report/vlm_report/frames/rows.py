"""Rows as pandas frames: one documented dataclass a frame, whose fields are the columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from vlm_contract.codec import Absent
from vlm_contract.garbage import uncollected

if TYPE_CHECKING:
    import pandas as pd

BETWEEN_RECORDS = ", "  # in a column `record` whose figure follows from several


@dataclass(frozen=True)
class Spread:
    """A figure over runs that differ in the seed."""

    mean: float
    low: float  # least
    high: float  # largest
    deviation: float | Absent  # sample standard deviation, n - 1


def frame_of(kind: type, rows: Iterable[object]) -> "pd.DataFrame":
    """The rows, dataclasses of `kind`, as a frame; it has its columns where there is no row, too."""
    import pandas as pd

    names = [field.name for field in fields(kind)]
    return pd.DataFrame([[getattr(row, name) for name in names] for row in rows], columns=names, dtype=object)


def rows_in(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """A frame's rows, values by the names of its columns."""
    names = [str(name) for name in frame.columns]
    with uncollected():
        return [dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False, name=None)]


def spread(values: Sequence[float | Absent]) -> Spread | Absent:
    """Of one run or more; absent, for its reason, where one run has no such figure."""
    absent = next((value for value in values if isinstance(value, Absent)), None)
    if absent is not None:
        return absent
    known = [value for value in values if not isinstance(value, Absent)]
    deviation = stdev(known) if len(known) > 1 else Absent("one seed has no deviation")
    return Spread(mean(known), min(known), max(known), deviation)


def part(spread: Spread | Absent, name: str) -> Any:
    """A spread's figure by name, absent where the spread is."""
    return spread if isinstance(spread, Absent) else getattr(spread, name)


def joined(records: Iterable[str]) -> str:
    """The column `record` of a row that several records make."""
    return BETWEEN_RECORDS.join(dict.fromkeys(records))


def records_in(record: str) -> tuple[str, ...]:
    """The paths in a column `record`."""
    return tuple(record.split(BETWEEN_RECORDS)) if record else ()
