"""The tables of the report, each from a frame."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vlm_contract.codec import Absent
from vlm_contract.floors import below_pixels_sentence
from vlm_contract.garbage import uncollected
from vlm_contract.workspace import safe_name
from vlm_report import columns as of
from vlm_report.cells import Cell, Column, Note, Row, Table, csv_of, table_of
from vlm_report.figures import counted, from_to
from vlm_report.frames import frames_of
from vlm_report.frames.histories import HIGH_GAP, LOW_GAP
from vlm_report.frames.rows import rows_in
from vlm_report.records import HOST, Records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "Column", "Note", "Table", "csv_of", "frames_of", "tables_of"]

EVIDENCE = (
    "What is estimated or reported is marked so in its row: it was not measured, and stands in no order with what was."
)
SETTINGS = {  # what a training configuration is told by
    "optimizer": "optimizer",
    "batch_size": "batch size",
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "epochs": "epochs",
    "recipe": "recipe",
    "weights": "first weights",
}


def tables_of(records: Records, frames: "Mapping[str, pd.DataFrame]") -> tuple[Table, ...]:
    """Every table, in the order of the report; a section without rows has one empty table."""
    with uncollected():
        return _tables({name: rows_in(frame) for name, frame in frames.items()}, records)


def _tables(rows: Mapping[str, Sequence[Row]], records: Records) -> tuple[Table, ...]:
    return (
        *benchmark_tables(rows["benchmark"]),
        *training_tables(rows["training"], below_pixels_sentence(tuple(records.cards.values()))),
        *sample_tables(rows["samples"]),
        *efficiency_tables(rows["efficiency"]),
        *ranking_tables(rows["rankings"]),
        table_of(
            rows["families"],
            of.FAMILIES,
            "families",
            "CNN against Transformer",
            "A model counts once, by the mean validation accuracy over its seeds, of its best settings; ranges are "
            "from the least to the most accurate model of a family. Chance is that of the exact one-sided test of "
            "Mann and Whitney over models. Hybrids and floors are left out.",
        ),
        table_of(
            rows["times"],
            of.TIMES,
            "times",
            "Training time",
            "Means over the seeds with their range. Images and iterations are counted over the seconds spent in "
            "training steps; the time is from the request to the card, data and scoring included.",
        ),
        table_of(
            rows["exported"],
            of.EXPORTED,
            "exported",
            "Exported artifacts",
            "Outputs of the artifact beside the checkpoint's in FP64, on the inputs that came nearest to the "
            "tolerance. The yardstick is the difference that rounding alone makes in this precision. Accuracy is on "
            "the validation images; the drop is in points below the checkpoint's.",
        ),
        *estimate_tables(rows["estimates"]),
        table_of(rows["provenance"], of.PROVENANCE, "provenance", "Provenance", "Where each figure comes from."),
    )


def benchmark_tables(rows: Sequence[Row]) -> list[Table]:
    """One for each target, this host first. What was measured nowhere has its own, where there are several targets."""
    by_target: dict[str, list[Row]] = {}
    for row in rows:
        by_target.setdefault(row["target"] if isinstance(row["target"], str) else NOWHERE, []).append(row)
    several = len(by_target.keys() - {NOWHERE}) > 1
    ordered = sorted(by_target.items(), key=lambda item: (item[0] == NOWHERE, item[0] != HOST, item[0]))
    tables = []
    for target, own in ordered if several else [("", list(rows))]:
        tables.append(
            table_of(
                own,
                of.BENCHMARK,
                "benchmark",
                f"Benchmark: {target}" if several else "Benchmark",
                " ".join([*_captions(own), *[EVIDENCE] * _mixed(own), _hardware(own)]).rstrip(),
                f"benchmark-{safe_name(target)}" if several else "benchmark",
            )
        )
    return tables


NOWHERE = "measured nowhere"
BENCHMARK = (
    "One row is one record. Latency is for one call, a whole batch. One multiply-accumulate is two FLOPs; both are of "
    "one image. Accuracy is the exported artifact's on the validation images."
)
MEASURED = (
    "A measured latency has its 95 % interval between fresh processes; its throughput is by the wall clock at the "
    "row's batch."
)
ESTIMATED = "An estimate is of what never ran there; its range is to hold the truth in {} % of cases."
REPORTED = "What is reported stands as the document has it."


def _captions(rows: Sequence[Row]) -> Iterator[str]:
    """What the figures of a benchmark mean, for each kind of evidence that it has."""
    yield BENCHMARK
    kinds = {row["evidence"] for row in rows if isinstance(row["evidence"], str)}
    if "measured" in kinds:
        yield MEASURED
    if "estimated" in kinds:
        yield ESTIMATED.format(from_to(r["coverage_percent"] for r in rows if r["evidence"] == "estimated"))
    if "reported" in kinds:
        yield REPORTED


def training_tables(rows: Sequence[Row], below: str) -> list[Table]:
    """One for each regime: a data set and a number of samples."""
    caption = (
        "At the epoch that was kept. Samples are labelled images, for training and validation. The gap is training "
        "minus validation accuracy; lower is better."
    )
    regimes = list(_by_regime(rows))
    if not regimes:
        return [table_of([], of.TRAINING, "training", "Training", caption)]
    floors = "The floors are logistic regression on pixels and a small reference network."
    return [
        table_of(
            own,
            of.TRAINING,
            "training",
            f"Training: {regime}",
            " ".join(filter(None, (caption, floors if _has_floor(own) else "", configuration(own), below))),
            name,
        )
        for (name, regime, own), below in zip(_named("training", regimes), _first(below, len(regimes)), strict=True)
    ]


def configuration(rows: Iterable[Row]) -> str:
    """What the runs of a regime were trained with: what they share, and what they differ in; floors have their own."""
    found = [r["settings"] for r in rows if r["settings"] and not r["floor"]]
    if not found:
        return ""
    shared, different = [], []
    for name, word in SETTINGS.items():
        values = {str(settings[name]) for settings in found if name in settings}
        if len(values) == 1 and all(name in settings for settings in found):
            shared.append(f"{word} {values.pop()}")
        elif values:
            different.append(word)
    parts = [
        f"All with {', '.join(shared)}." if shared else "",
        f"They differ in {', '.join(different)}." if different else "",
    ]
    return " ".join(filter(None, parts))


def sample_tables(rows: Sequence[Row]) -> list[Table]:
    """One for each model, floors aside."""
    caption = "Means over the seeds with their range. The gap is training minus validation accuracy."
    models = list(dict.fromkeys(row["model"] for row in rows if not row["floor"]))
    if not models:
        return [table_of([], of.SAMPLES, "samples", "Sample efficiency", caption)]
    own = {model: [row for row in rows if row["model"] == model] for model in models}
    return [
        table_of(own[m], of.SAMPLES, "samples", f"Sample efficiency: {m}", caption, f"samples-{safe_name(m)}")
        for m in models
    ]


def efficiency_tables(rows: Sequence[Row]) -> list[Table]:
    """One for each regime."""
    caption = (
        "The best validation accuracy over the seeds, and what it costs: millions of parameters, and milliseconds at "
        "batch 1 of the model's fastest artifact on each target, over the accuracy as a fraction; lower is better. "
        f"Resistance to overfitting is low where the gap is over {HIGH_GAP:g} points, high where it is at most "
        f"{LOW_GAP:g}."
    )
    regimes = list(_by_regime(rows))
    if not regimes:
        return [table_of([], of.EFFICIENCY, "efficiency", "Efficiency", caption)]
    return [
        table_of(own, of.EFFICIENCY, "efficiency", f"Efficiency: {regime}", caption, name)
        for name, regime, own in _named("efficiency", regimes)
    ]


def ranking_tables(rows: Sequence[Row]) -> list[Table]:
    """Two for each regime: by validation accuracy, and by resistance to overfitting."""
    caption = "Models whose {} overlap are tied. With one seed alone a small difference may be chance."
    blurred = {"validation accuracy": "seeds' ranges, or 95 % intervals for so many validation images,"}
    if not rows:
        return [table_of([], of.BY_ACCURACY, "rankings", "Rankings", caption.format("seeds' ranges"))]
    tables = []
    for by, group in groupby(rows, lambda row: row["by"]):
        columns = of.BY_ACCURACY if by == "validation accuracy" else of.BY_GAP
        for name, regime, own in _named(f"rankings-{safe_name(by).replace('_', '-')}", list(_by_regime(list(group)))):
            said = [caption.format(blurred.get(by, "seeds' ranges")), *[EVIDENCE] * _mixed(own)]
            tables.append(table_of(own, columns, "rankings", f"By {by}: {regime}", " ".join(said), name))
    return tables


def estimate_tables(rows: Sequence[Row]) -> list[Table]:
    """How good the estimates were that a measurement has superseded; none where there are none."""
    caption = "Estimates that a measurement of the same artifact, target, runtime and batch has superseded."
    return [table_of(rows, of.ESTIMATES, "estimates", "Estimates beside measurements", caption)] if rows else []


def _by_regime(rows: Sequence[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Rows by data and samples, in their order; what names no regime comes last."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row["data"], row["fingerprint"], row["samples"]), []).append(row)
    return ((regime_in_words(data, samples), own) for (data, _, samples), own in found.items())


def regime_in_words(data: str | Absent, samples: int | Absent) -> str:
    """`cifar10, 5,000 samples`."""
    words = ["data not said" if isinstance(data, Absent) else data]
    return ", ".join(
        words + (["all samples, or not said"] if isinstance(samples, Absent) else [counted(samples, "sample")])
    )


def _named(section: str, regimes: Sequence[tuple[str, list[Row]]]) -> Iterable[tuple[str, str, list[Row]]]:
    """Regimes with a name for each that no other has."""
    names: dict[str, int] = {}
    for regime, own in regimes:
        name = f"{section}-{safe_name(regime.replace(',', '').replace(' ', '-').lower())}"
        names[name] = names.get(name, 0) + 1
        yield (name if names[name] == 1 else f"{name}-{names[name]}"), regime, own


def _first(text: str, count: int) -> list[str]:
    """A sentence about all tables stands with the first."""
    return [text, *[""] * (count - 1)]


def _has_floor(rows: Iterable[Row]) -> bool:
    return any(row["floor"] for row in rows)


def _mixed(rows: Iterable[Row]) -> bool:
    return len({row["evidence"] for row in rows if isinstance(row["evidence"], str)}) > 1


def _hardware(rows: Iterable[Row]) -> str:
    devices = dict.fromkeys(row["device"] for row in rows if isinstance(row["device"], str))
    return f"Hardware: {'; '.join(devices)}." if devices else ""
