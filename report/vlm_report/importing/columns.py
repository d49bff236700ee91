"""What a row may say: the columns of a CSV, and the headings of a document's tables that mean the same."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vlm_contract.conditions import BARE, BYTES, MILLISECONDS, RATE, Units
from vlm_report.figures import COUNT, PERCENT

TIME: Units = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
Record = Literal["speed", "model", "run"]
Range = Literal["positive", "not negative", "percent"]
EVERY: tuple[Record, ...] = ("speed", "model", "run")


@dataclass(frozen=True)
class Column:
    """One thing that a row may say; its name carries its unit, as the fields of records do."""

    records: tuple[Record, ...]  # that it goes into
    figure: bool = True  # a row with no figure is no result
    kind: Literal["text", "number", "whole"] = "number"
    range: Range = "positive"
    units: Units = field(default_factory=dict)  # that may stand in a heading or behind the number


def _text(*records: Record) -> Column:
    return Column(records, figure=False, kind="text")


def _whole(*records: Record) -> Column:
    return Column(records, figure=False, kind="whole")


_LATENCY = Column(("speed",), units=MILLISECONDS)
_MEMORY = Column(("speed",), kind="whole", units=BYTES)
_SIZE = Column(("model",), kind="whole", units=COUNT)
_ACCURACY = Column(("run",), range="percent", units=PERCENT)
_LOSS = Column(("run",), range="not negative")

COLUMNS: Mapping[str, Column] = {
    "model": _text(*EVERY),
    "device": _text("speed", "run"),
    "runtime": _text("speed", "run"),
    "runtime_version": _text("speed", "run"),
    "precision": _text("speed"),
    "batch": _whole("speed"),
    "throughput_batch": _whole("speed"),
    "threads": _whole("speed"),
    "streams": _whole("speed"),
    "latency_ms_p50": _LATENCY,
    "latency_ms_p50_low": _LATENCY,
    "latency_ms_p50_high": _LATENCY,
    "latency_ms_p90": _LATENCY,
    "latency_ms_p99": _LATENCY,
    "images_per_s": Column(("speed",), units=RATE),
    "peak_rss_bytes": _MEMORY,
    "device_peak_bytes": _MEMORY,
    "peak_memory_bytes": _MEMORY,
    "parameters": _SIZE,
    "macs": _SIZE,
    "flops": _SIZE,
    "image_size": _whole("model"),
    "data": _text("run"),
    "samples": _whole("run"),
    "seed": Column(("run",), figure=False, kind="whole", range="not negative"),
    "epochs": _whole("run"),
    "train_accuracy_percent": _ACCURACY,
    "validation_accuracy_percent": _ACCURACY,
    "test_accuracy_percent": _ACCURACY,
    "train_loss": _LOSS,
    "validation_loss": _LOSS,
    "wall_s": Column(("run",), units=TIME),
    "hyperparameters": _text("run"),
    "date": _text("speed", "run"),
    "notes": _text("run"),
}

# Of the tables of a Markdown document, without their units, in lower case.
_HEADINGS: Mapping[str, str] = {
    **dict.fromkeys(("model", "backbone", "architecture"), "model"),
    **dict.fromkeys(("params", "parameters", "# params"), "parameters"),
    "macs": "macs",
    "flops": "flops",
    **dict.fromkeys(("latency", "latency p50", "median latency"), "latency_ms_p50"),
    "latency p90": "latency_ms_p90",
    "latency p99": "latency_ms_p99",
    "throughput": "images_per_s",
    **dict.fromkeys(("peak memory", "memory"), "peak_memory_bytes"),
    **dict.fromkeys(("batch", "batch size"), "batch"),
    "threads": "threads",
    "precision": "precision",
    **dict.fromkeys(("runtime", "framework"), "runtime"),
    **dict.fromkeys(("device", "hardware"), "device"),
    **dict.fromkeys(("train acc", "train acc.", "train accuracy"), "train_accuracy_percent"),
    **dict.fromkeys(("val acc", "val. acc.", "val accuracy", "validation accuracy"), "validation_accuracy_percent"),
    **dict.fromkeys(("test acc", "test acc.", "test accuracy"), "test_accuracy_percent"),
    **dict.fromkeys(("train loss", "training loss"), "train_loss"),
    **dict.fromkeys(("val loss", "val. loss", "validation loss"), "validation_loss"),
    "training time": "wall_s",
    "epochs": "epochs",
    "seed": "seed",
    "samples": "samples",
    **dict.fromkeys(("data", "dataset"), "data"),
    "notes": "notes",
}
_UNIT_NEEDED = (BYTES, TIME, MILLISECONDS)  # a bare number of these says nothing


def column_of(heading: str) -> tuple[str, float | None] | None:
    """The column that a heading such as `Params (M)` means, and what one of its unit is in ours.

    None for the unit where it must stand in the cells; None where the heading means nothing known.
    """
    words, _, unit = re.sub(r"\s+", " ", heading).strip().partition("(")
    name, unit = _HEADINGS.get(words.strip().casefold(), ""), unit.rstrip(") ")
    if not name:
        return None
    units = COLUMNS[name].units
    if unit:
        scale = {**units, "": 1.0}.get(unit)
        return None if scale is None and units is not BARE else (name, scale)
    return name, None if units in _UNIT_NEEDED else 1.0
