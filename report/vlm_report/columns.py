"""The columns of each table."""

import re
from collections.abc import Callable, Mapping

from vlm_contract.codec import Absent
from vlm_contract.console import time_left
from vlm_report.cells import Column
from vlm_report.figures import (
    billions,
    decimals,
    interval,
    megabytes,
    millions,
    rate,
    seeds_range,
    supported_by,
)


def _ranged(name: str) -> tuple[str, ...]:
    return name, f"{name}_low", f"{name}_high"


def evidence(word: str, labels: tuple[str, ...] = ()) -> str:
    """`measured (quick, unstable)`."""
    return word + (f" ({', '.join(labels)})" if labels else "")


def duration(seconds: float, approximate: tuple[str, ...] = ()) -> str:
    """`1 h 10 min`; `~50 min` of what is about so much, for its seconds are nobody's."""
    return f"~{roughly(seconds)}" if "wall_s" in approximate else time_left(seconds)


def roughly(seconds: float) -> str:
    """`50 min`, where `50 min 00 s` would say more than is known."""
    return re.sub(" 00 (s|min)$", "", time_left(seconds))


def reported_by(origin: str) -> str:
    """Document, place and the first digits of the sha256; the table of provenance has all of them."""
    return re.sub(r"\b(sha256 [0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", origin)


def durations(middle: float, low: float, high: float, approximate: tuple[str, ...] = ()) -> str:
    """A mean time over seeds, with its range where there are several."""
    text = duration(middle, approximate)
    return text if low == high else f"{text} ({time_left(low)}–{time_left(high)})"


def _3(value: float) -> str:
    """Three digits at least, and never an exponent: 6259.7 is 6260, 0.918 is 0.918."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def rates(middle: float, low: float, high: float) -> str:
    """A mean rate over seeds to three digits, with its range where there are several."""
    return f"{_3(middle)}" if low == high else f"{_3(middle)} ({_3(low)}–{_3(high)})"


def epochs(kept: int | Absent, of: int) -> str:
    return str(of) if isinstance(kept, Absent) else f"{kept} of {of}"


def ties(names: tuple[str, ...], seeds: int) -> str:
    return "; ".join(names) or ("none" if seeds > 1 else "not known, with one seed")


def noted(notes: str, state: str) -> str:
    """Notes, behind the verdict that keeps a row from rankings."""
    return "; ".join(filter(None, ("" if state == "valid" else state, notes))) or "none"


def share(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def significant(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}g}"


def sources(by_source: Mapping[str, int]) -> str:
    """`engine weights 12 MB, activations 3 MB`."""
    largest = sorted(((count, name) for name, count in by_source.items() if count), reverse=True)
    return ", ".join(f"{name.replace('_', ' ')} {megabytes(count)} MB" for count, name in largest)


def yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def verdict(state: str, why: str) -> str:
    return f"{state}: {why}" if why else state


MANIFEST = "manifest_record"
LATENCY = "latency_record"
MODEL = Column("Model", ("model",), numeric=False)
SERIES = Column("Model", ("series",), numeric=False)
DATA = Column("Data", ("data",), numeric=False)
SAMPLES_USED = Column("Samples", ("samples",), "{:,}".format)
SEEDS = Column("Seeds", ("seeds",))
EVIDENCE = Column("Evidence", ("evidence",), numeric=False)
PARAMETERS = Column("Params (M)", ("parameters",), millions, source=MANIFEST)
MACS = Column("MACs (G)", ("macs",), billions, source=MANIFEST)
FLOPS = Column("FLOPs (G)", ("flops",), billions, source=MANIFEST)

BENCHMARK = (
    MODEL,
    Column("Data", ("data",), numeric=False, varied=True),
    Column("Samples", ("samples",), "{:,}".format, varied=True),
    Column("Seed", ("seed",), varied=True),
    Column("Precision", ("precision",), numeric=False),
    Column("Runtime", ("runtime",), numeric=False),
    Column("Batch", ("batch",)),
    Column("Threads", ("threads",), optional=True),
    Column("Accuracy (%)", ("accuracy_percent",), decimals(2), source=MANIFEST),
    Column("Images scored", ("accuracy_images",), "{:,}".format, source=MANIFEST, varied=True),
    Column(
        "Latency p50 (ms)",
        ("latency_ms_p50",),
        interval,
        may=("latency_ms_p50_low", "latency_ms_p50_high"),
        instead="standing",
    ),
    Column(
        "Latency p99 (ms)",
        ("latency_ms_p99",),
        supported_by,
        may=("latency_ms_p50_low", "latency_ms_p50_high", "latency_ms_p50"),
        optional=True,
    ),
    Column("Throughput (img/s)", ("images_per_s",), rate, may=("images_per_s_low", "images_per_s_high")),
    Column("Peak memory (MB)", ("peak_rss_bytes",), megabytes),
    Column("Peak GPU memory (MB)", ("device_peak_bytes",), megabytes, optional=True),
    Column("Model's memory (MB)", ("model_rss_bytes",), megabytes, optional=True),
    Column("Energy (mJ/img)", ("energy_mj_per_image",), significant(3), optional=True),
    Column("Power mode", ("power_mode",), numeric=False, optional=True),
    PARAMETERS,
    MACS,
    FLOPS,
    Column("Evidence", ("evidence",), evidence, numeric=False, may=("labels",)),
    Column("Memory by source", ("memory_by_source",), sources, numeric=False, optional=True),
    Column("Reported by", ("origin",), reported_by, numeric=False, optional=True, silent=True),
)
TRAINING = (
    MODEL,
    Column("Seed", ("seed",)),
    Column("Recipe", ("recipe",), numeric=False, optional=True),
    Column("Train acc. (%)", ("train_accuracy_percent",), decimals(2)),
    Column("Val. acc. (%)", ("validation_accuracy_percent",), decimals(2)),
    Column("Train loss", ("train_loss",), decimals(4)),
    Column("Val. loss", ("validation_loss",), decimals(4)),
    Column("Test acc. (%)", ("test_accuracy_percent",), decimals(2)),
    Column("Overfitting gap (points)", ("overfitting_gap_points",), decimals(2)),
    Column("Training time", ("wall_s",), duration, may=("approximate",)),
    Column("Epochs (kept of run)", ("epochs",), lambda of, kept: epochs(kept, of), may=("epoch",)),
    Column("Notes", ("evidence",), lambda _, notes, state: noted(notes, state), numeric=False, may=("notes", "state")),
    EVIDENCE,
)
SAMPLES = (
    DATA,
    SAMPLES_USED,
    Column("Settings", ("variant",), numeric=False, optional=True),
    SEEDS,
    Column("Train acc. (%)", _ranged("train_accuracy_percent"), seeds_range),
    Column("Val. acc. (%)", _ranged("validation_accuracy_percent"), seeds_range),
    Column("Test acc. (%)", _ranged("test_accuracy_percent"), seeds_range, optional=True),
    Column("Overfitting gap (points)", _ranged("overfitting_gap_points"), seeds_range),
    Column("Training time", _ranged("wall_s"), durations, may=("approximate",)),
    EVIDENCE,
)
EFFICIENCY = (
    SERIES,
    Column("Best val. acc. (%)", ("validation_accuracy_percent",), decimals(2)),
    Column("Params/accuracy", ("parameters_per_accuracy",), decimals(2)),
    Column("Latency/accuracy", ("latency_per_accuracy",), interval,
           may=("latency_per_accuracy_low", "latency_per_accuracy_high"), source=LATENCY, fills=True),
    Column("Overfitting resistance", ("overfitting_resistance", "overfitting_gap_points"),
           lambda word, gap: f"{word} ({gap:.2f} points)", numeric=False),
    Column("Target", ("target",), numeric=False, source=LATENCY, fills=True),
    Column("Artifact", ("artifact",), numeric=False, source=LATENCY, fills=True),
    Column("Runtime", ("runtime",), numeric=False, source=LATENCY, optional=True, fills=True),
    EVIDENCE,
    Column("Evidence of latency", ("latency_evidence",), numeric=False, source=LATENCY, fills=True),
)  # fmt: skip
_RANK = (Column("Rank", ("rank",)), SERIES)
_TIES = (SEEDS, Column("Tied with", ("tied_with",), ties, numeric=False, may=("seeds",)), EVIDENCE)
BY_ACCURACY = (*_RANK, Column("Val. acc. (%)", _ranged("value"), seeds_range), *_TIES)
BY_GAP = (*_RANK, Column("Overfitting gap (points)", _ranged("value"), seeds_range), *_TIES)
FAMILIES = (
    DATA,
    SAMPLES_USED,
    Column("Training began with", ("start",), numeric=False),
    Column("CNNs", ("cnn_models",)),
    Column("CNN val. acc. (%)", _ranged("cnn_accuracy_percent"), seeds_range),
    Column("Transformers", ("transformer_models",)),
    Column("Transformer val. acc. (%)", _ranged("transformer_accuracy_percent"), seeds_range),
    Column("CNNs ahead by (points)", ("difference_points",), decimals(2)),
    Column("Chance", ("chance",), share),
    Column("Ahead", ("ahead",), numeric=False),
    Column("Why", ("why",), numeric=False),
    EVIDENCE,
)
TIMES = (
    SERIES,
    DATA,
    SAMPLES_USED,
    SEEDS,
    Column("Epochs", ("epochs",)),
    Column("Training time", _ranged("wall_s"), durations, may=("approximate",)),
    Column("s/epoch", ("s_per_epoch",), significant(3)),
    Column("CPU time", _ranged("cpu_s"), durations, optional=True),
    Column("Images/s", _ranged("images_per_s"), rates, optional=True),
    Column("Iterations/s", _ranged("iterations_per_s"), rates, optional=True),
    Column("GPU use (%)", _ranged("gpu_use_percent"), rates, optional=True),
    Column("Peak memory (MB)", ("peak_rss_bytes",), megabytes, optional=True),
    Column("Peak GPU memory (MB)", ("device_peak_bytes",), megabytes, optional=True),
    Column("Precision", ("precision",), numeric=False, optional=True),
    Column("Device", ("device",), numeric=False),
    EVIDENCE,
)
EXPORTED = (
    Column("Artifact", ("artifact",), numeric=False),
    Column("Precision", ("precision",), numeric=False),
    Column("Opset", ("opset",), optional=True),
    Column("Size (MB)", ("model_bytes",), lambda count: f"{count / 1e6:.1f}"),
    Column("Max abs. difference", ("max_abs_difference",), significant(2)),
    Column("Yardstick", ("yardstick",), significant(2)),
    Column("Tolerance", ("tolerance",), significant(2)),
    Column("Top-1 agreement (%)", ("top1_agreement_percent",), decimals(2)),
    Column("Inputs", ("parity_samples", "parity_origin"), "{}: {}".format, numeric=False),
    Column("Difference on the device", ("device_max_abs_difference",), significant(2), optional=True),
    Column("Accuracy (%)", ("accuracy_percent",), decimals(2)),
    Column("Drop (points)", ("accuracy_drop_points",), decimals(2)),
    Column("Images", ("accuracy_samples",)),
    Column("Build (s)", ("build_s",), decimals(1)),
    Column("Verdict", ("state", "refused"), verdict, numeric=False),
)
ESTIMATES = (
    MODEL,
    Column("Artifact", ("artifact",), numeric=False),
    Column("Target", ("target",), numeric=False),
    Column("Runtime", ("runtime",), numeric=False),
    Column("Batch", ("batch",)),
    Column("Rung", ("rung",), numeric=False),
    Column("Estimated p50 (ms)", ("estimated_ms_p50",), interval,
           may=("estimated_ms_p50_low", "estimated_ms_p50_high")),
    Column("Measured p50 (ms)", ("measured_ms_p50",), significant(4), source="measured_record"),
    Column("Estimated/measured", ("ratio",), decimals(2)),
    Column("Within the interval", ("within",), yes_or_no, numeric=False),
)  # fmt: skip
PROVENANCE = (
    Column("Record", ("record",), numeric=False),
    Column("Evidence", ("evidence",), numeric=False),
    Column("Machine", ("machine",), numeric=False),
    Column("Software", ("software",), numeric=False),
    Column("Protocol", ("protocol",), numeric=False),
    Column("Date", ("date",), numeric=False),
    Column("Document", ("origin",), numeric=False, optional=True, silent=True),
)
