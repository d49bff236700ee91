"""Records as pandas frames, and frames as tables to be read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_contract.card import CheckpointCard
from vlm_contract.codec import Absent, known
from vlm_contract.console import printable, time_left
from vlm_contract.floors import NotTrained, below_pixels_sentence, is_floor, model_of, not_trained, regime_of
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Device, Measurement
from vlm_profile.rows import how_it_ran
from vlm_report.figures import FIGURES, figure_of, interval, rate
from vlm_report.records import Entry, Records

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "—"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """How cells are made from a frame's row. Where one of `needs` is absent, so is the cell, for its reason."""

    title: str
    needs: tuple[str, ...]
    text: Callable[..., str] = str
    numeric: bool = True
    instead: str = ""  # the frame's column whose text stands in the place of an absent figure


@dataclass(frozen=True)
class Cell:
    """What is read; `note` numbers the note that says why it is not there, 0 where it is."""

    text: str
    note: int = 0


@dataclass(frozen=True)
class Note:
    """Why something is absent and, where there is one, the command that fills it."""

    text: str
    command: str


@dataclass(frozen=True)
class Table:
    """A table with its notes; note N of a cell is `notes[N - 1]`."""

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[Note, ...]


def millions(count: float) -> str:
    return f"{count / 1e6:.2f}"


def billions(count: float) -> str:
    return f"{count / 1e9:.3f}"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.0f}"


def decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


BENCHMARK = (
    Column("Model", ("model",), numeric=False),
    Column("Precision", ("precision",), numeric=False),
    Column("Runtime", ("runtime",), numeric=False),
    Column("Batch", ("batch",)),
    Column("Threads", ("threads",)),
    Column("Params (M)", ("parameters",), millions),
    Column("MACs (G)", ("macs",), billions),
    Column("FLOPs (G)", ("flops",), billions),
    Column(
        "Latency p50 (ms)",
        ("latency_ms_p50", "latency_ms_p50_low", "latency_ms_p50_high"),
        interval,
        instead="standing",
    ),
    Column("Throughput (img/s)", ("images_per_s", "images_per_s_low", "images_per_s_high"), rate),
    Column("Peak memory (MB)", ("peak_rss_bytes",), megabytes),
    Column("Accuracy (%)", ("accuracy_percent",), decimals(2)),
    Column("Evidence", ("evidence",), numeric=False),
)
TRAINING = (
    Column("Model", ("model",), numeric=False),
    Column("Data", ("data",), numeric=False),
    Column("Samples", ("samples",)),
    Column("Seed", ("seed",)),
    Column("Recipe", ("recipe",), numeric=False),
    Column("Train acc. (%)", ("train_accuracy_percent",), decimals(2)),
    Column("Val. acc. (%)", ("validation_accuracy_percent",), decimals(2)),
    Column("Train loss", ("train_loss",), decimals(4)),
    Column("Val. loss", ("validation_loss",), decimals(4)),
    Column("Test acc. (%)", ("test_accuracy_percent",), decimals(2)),
    Column("Overfitting gap (points)", ("overfitting_gap_points",), decimals(2)),
    Column("Training time", ("wall_s",), time_left),
    Column("Images/s", ("images_per_s",), decimals(0)),
    Column("Epochs (kept of run)", ("epoch", "epochs"), "{} of {}".format),
)
PROVENANCE = (
    Column("Record", ("record",), numeric=False),
    Column("Machine", ("machine",), numeric=False),
    Column("Software", ("software",), numeric=False),
    Column("Protocol", ("protocol",), numeric=False),
    Column("Date", ("date",), numeric=False),
)


def tables_of(records: Records, frames: "Mapping[str, pd.DataFrame]") -> tuple[Table, ...]:
    """The tables of the report, from the records' frames of the same names."""
    return (
        table_of(
            frames["benchmark"],
            BENCHMARK,
            "Benchmark",
            "One row is one measurement. Latency is for one call, a whole batch, with its 95 % interval between fresh "
            "processes; throughput is by the wall clock at the row's batch. One multiply-accumulate is two FLOPs. "
            "Accuracy is the exported artifact's on the validation images.",
        ),
        table_of(
            frames["training"],
            TRAINING,
            "Training",
            "At the epoch that was kept. Samples are labelled images, for training and validation. The gap is training "
            "minus validation accuracy; lower is better. The floors are logistic regression on pixels and a small "
            f"reference network. {below_pixels_sentence(tuple(records.cards.values()))}".rstrip(),
        ),
        table_of(frames["provenance"], PROVENANCE, "Provenance", "Where each figure comes from."),
    )


def frames_of(records: Records) -> "dict[str, pd.DataFrame]":
    """One frame a table, with raw values in the units of the columns' names; what is absent is an Absent."""
    return {
        "benchmark": _frame(_benchmark_row(records, entry) for entry in records.entries()),
        "training": _frame(_training_rows(records)),
        "provenance": _frame(_provenance_rows(records)),
    }


def table_of(frame: "pd.DataFrame", columns: tuple[Column, ...], title: str, caption: str) -> Table:
    """A frame's rows as text; each reason for an absence becomes one note."""
    notes: dict[Note, int] = {}
    rows = tuple(tuple(_cell(row, column, notes) for column in columns) for row in _rows(frame))
    return Table(title.lower(), title, caption, columns, rows, tuple(notes))


def csv_of(frame: "pd.DataFrame") -> str:
    """The frame as CSV: an absent value is an empty cell, and the column `absent` says why."""
    absent = [
        "; ".join(f"{name}: {value.reason}" for name, value in row.items() if isinstance(value, Absent))
        for row in _rows(frame)
    ]
    plain = frame.map(lambda value: None if isinstance(value, Absent) else value)
    printed = plain.assign(absent=absent).map(lambda value: printable(value) if isinstance(value, str) else value)
    return printed.to_csv(index=False, lineterminator="\n")


def _frame(rows: Iterable[Row]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows), dtype=object)


def _rows(frame: "pd.DataFrame") -> Iterable[Row]:
    return ({str(name): value for name, value in row.items()} for row in frame.to_dict("records"))


def _cell(row: Row, column: Column, notes: dict[Note, int]) -> Cell:
    values = [row[name] for name in column.needs]
    absent = next((value for value in values if isinstance(value, Absent)), None)
    if absent is None:
        return Cell(printable(column.text(*values)))
    note = Note(printable(absent.reason), row["to_type"] if absent == row.get("evidence") else "")
    return Cell(printable(row[column.instead]) if column.instead else NOTHING, notes.setdefault(note, len(notes) + 1))


def _benchmark_row(records: Records, entry: Entry) -> Row:
    measured = entry.measured
    unmeasured = measured if isinstance(measured, Absent) else None
    return {
        "artifact": entry.name,
        **_identity(entry),
        **{name: figure_of(entry, name) for name in FIGURES},
        "evidence": unmeasured or _evidence(entry),
        "standing": entry.standing,
        "to_type": records.next_command(entry) if unmeasured else "",
        "record": _within(entry.record, records),
    }


def _identity(entry: Entry) -> Row:
    manifest, measurement = entry.manifest, entry.measurement
    row = {"model": entry.model, "precision": Absent("unknown"), "target": entry.measured}
    if isinstance(manifest, ArtifactManifest):
        row |= {"precision": manifest.precision}
    if isinstance(measurement, Measurement):
        row |= {"precision": measurement.artifact.precision, "target": measurement.target}
        setup = measurement.setup
        return row | {"runtime": how_it_ran(measurement), "batch": setup.batch, "threads": setup.threads}
    return row | {"runtime": measurement, "batch": measurement, "threads": measurement}


def _evidence(entry: Entry) -> str:
    assert isinstance(entry.measurement, Measurement)
    mode = entry.measurement.settings.get("mode", "full")
    labels = [str(mode)] * (mode != "full") + [verdict.code for verdict in entry.measurement.verdicts]
    labels += ["refused by the export"] * bool(entry.refused)
    return entry.measurement.evidence + (f" ({', '.join(labels)})" if labels else "")


def _training_rows(records: Records) -> Iterable[Row]:
    """The runs by regime; in each, the floors stand first."""
    missing = not_trained(records.cards.values(), records.workspace)
    cards = sorted(records.cards.values(), key=lambda card: (regime_of(card.data), not is_floor(card)))
    for regime, group in groupby(cards, lambda card: regime_of(card.data)):
        yield from (_row_of_missing(floor) for floor in missing if regime_of(floor.data) == regime)
        yield from map(_training_row, group)


def _row_of_missing(floor: NotTrained) -> Row:
    data = floor.data
    absent = Absent(f"the floor {floor.model} was not trained on {data.name}, {data.samples} samples")
    nothing = dict.fromkeys(("run", *(name for column in TRAINING for name in column.needs), "evidence"), absent)
    named = {"model": f"{floor.model} (floor)", "data": data.name, "samples": data.samples}
    return nothing | named | {"to_type": floor.command}


def _training_row(card: CheckpointCard) -> Row:
    best = card.best
    return {
        "run": card.run,
        "model": model_of(card),
        "data": card.data.name,
        "samples": card.data.samples,
        "seed": card.data.seed,
        "recipe": card.recipe,
        "train_accuracy_percent": best.train_accuracy_percent,
        "validation_accuracy_percent": best.validation_accuracy_percent,
        "train_loss": best.train_loss,
        "validation_loss": best.validation_loss,
        "test_accuracy_percent": card.test_accuracy_percent,
        "overfitting_gap_points": best.train_accuracy_percent - best.validation_accuracy_percent,
        "wall_s": card.effort.wall_s,
        "images_per_s": card.effort.images_per_s,
        "epoch": best.epoch,
        "epochs": card.last.epoch,
        "evidence": "measured",
        "to_type": "",
    }


def _provenance_rows(records: Records) -> Iterable[Row]:
    for path, card in records.cards.items():
        yield _provenance(path, records, card.device, _listed(card.versions), card.finished_utc)
    for path, manifest in records.manifests.items():
        reason = Absent("a manifest names no machine")
        yield _provenance(path, records, reason, _listed(manifest.versions), manifest.made_utc)
    for path, m in records.measurements.items():
        software = f"{m.runtime.name} {m.runtime.version}, {m.runtime.provider}"
        yield {**_provenance(path, records, _machine(m.device), software, m.measured_utc), "protocol": m.protocol}


def _provenance(path: Path, records: Records, machine: str | Absent, software: str, date: str) -> dict[str, Any]:
    protocol = Absent("the protocol is that of measurements")
    return {
        "record": _within(path, records),
        "machine": machine,
        "software": software,
        "protocol": protocol,
        "date": date,
    }


def _machine(device: Device) -> str:
    cpus = f"{device.usable_cpus} of {device.cpus} CPUs"
    name = device.cpu if device.cpu == device.name else f"{device.name}: {device.cpu}"
    return f"{name}, {cpus}, {known(device.memory_bytes) / 1e9:.0f} GB, {device.system}"


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _within(path: Path, records: Records) -> str:
    return str(path.relative_to(records.workspace.root))
