"""Measurements as a table, and their verdicts as sentences."""

import math
from collections.abc import Iterable

from vlm_contract.codec import Absent
from vlm_contract.console import plain_table, printable
from vlm_contract.measurement import Measurement

HEADER = ("artifact", "precision", "batch", "threads", "p50 ms", "±", "p99 ms", "img/s", "peak MB", "verdict")
NOTHING = "—"


def table_of(measurements: Iterable[Measurement], *, show_invalid: bool = False) -> str:
    """One row each; figures of what is not valid only where asked for."""
    return plain_table(HEADER, [_row(measurement, show_invalid) for measurement in measurements])


def sentences_of(measurements: Iterable[Measurement]) -> list[str]:
    """Every verdict: what was seen, the limit, the next step."""
    return [
        f"{_name(measurement)}: {verdict.code} ({verdict.level}): {printable(verdict.seen)}; "
        f"limit: {verdict.limit}. {verdict.next_step}"
        for measurement in measurements
        for verdict in measurement.verdicts
    ]


def supported(value: float, half: float) -> str:
    """`value` to the digit where its interval begins: 4.5678 ± 0.034 is 4.57, 1234 ± 56 is 1230."""
    digits = -math.floor(math.log10(half)) if half > 0 else 3
    return f"{round(value, digits):.{max(0, digits)}f}"


def _row(measurement: Measurement, show_invalid: bool) -> tuple[str, ...]:
    shown = show_invalid or measurement.status == "valid"
    setup = measurement.setup
    return (
        measurement.artifact.name,
        measurement.artifact.precision,
        str(setup.batch),
        str(setup.threads),
        *(_figures(measurement) if shown else (NOTHING,) * 5),
        _verdict(measurement),
    )


def _figures(measurement: Measurement) -> tuple[str, ...]:
    latency, throughput, peak = measurement.latency, measurement.throughput, measurement.memory.peak_rss_bytes
    if isinstance(latency, Absent) or isinstance(throughput, Absent):
        return (NOTHING,) * 5
    half = latency.latency_ms_p50_high - latency.latency_ms_p50
    p99 = latency.latency_ms_p99
    return (
        supported(latency.latency_ms_p50, half),
        supported(half, half),
        NOTHING if isinstance(p99, Absent) else supported(p99, half),
        supported(throughput.images_per_s, throughput.images_per_s_high - throughput.images_per_s),
        NOTHING if isinstance(peak, Absent) else f"{peak / 1e6:.0f}",
    )


def _verdict(measurement: Measurement) -> str:
    codes = ", ".join(verdict.code for verdict in measurement.verdicts)
    mode = "" if measurement.settings["mode"] == "full" else f" ({measurement.settings['mode']})"
    return f"{measurement.status}{mode}" + (f": {codes}" if codes else "")


def _name(measurement: Measurement) -> str:
    return f"{printable(measurement.artifact.name)} b{measurement.setup.batch} t{measurement.setup.threads}"
