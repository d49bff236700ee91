"""Measurements as a table, and their verdicts as sentences."""

import math
from collections.abc import Iterable

from vlm_contract.codec import Absent, known
from vlm_contract.console import plain_table, printable
from vlm_contract.measurement import Measurement, Pacing, Sustained, Throughput
from vlm_profile.rows import how_it_ran, row_in_words

HEADER = ("artifact", "runtime", "batch", "threads", "p50 ms", "±", "p99 ms", "img/s", "peak MB", "verdict")
PACED = ("artifact", "batch", "frames/s", "p50 ms", "p99 ms", "deadline ms", "late", "dropped")
SUSTAINED = ("artifact", "batch", "first ms", "settled ms", "after s", "MHz first", "MHz last", "°C last")
NOTHING = "—"


def tables_of(measurements: Iterable[Measurement], *, show_invalid: bool = False) -> list[str]:
    """One row each; then what became of frames, and of sustained runs, where there are any."""
    rows = list(measurements)
    paced = [m for m in rows if isinstance(m.pacing, Pacing)]
    sustained = [m for m in rows if isinstance(m.sustained, Sustained)]
    tables = [plain_table(HEADER, [_row(measurement, show_invalid) for measurement in rows])]
    tables += [plain_table(PACED, [_paced(m, show_invalid) for m in paced])] if paced else []
    return tables + ([plain_table(SUSTAINED, [_sustained(m, show_invalid) for m in sustained])] if sustained else [])


def sentences_of(measurements: Iterable[Measurement]) -> list[str]:
    """Every verdict: what was seen, the limit, the next step."""
    return [
        f"{printable(row_in_words(measurement))}: {verdict.code} ({verdict.level}): {printable(verdict.seen)}; "
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
        how_it_ran(measurement),
        str(setup.batch),
        str(setup.threads),
        *(_figures(measurement) if shown else (NOTHING,) * 5),
        _verdict(measurement),
    )


def _figures(measurement: Measurement) -> tuple[str, ...]:
    latency, throughput, peak = measurement.latency, measurement.throughput, measurement.memory.peak_rss_bytes
    megabytes = NOTHING if isinstance(peak, Absent) else f"{peak / 1e6:.0f}"
    if isinstance(latency, Absent):
        return *(NOTHING,) * 4, megabytes
    half = known(latency.latency_ms_p50_high) - latency.latency_ms_p50
    p99 = latency.latency_ms_p99
    return (
        supported(latency.latency_ms_p50, half),
        supported(half, half),
        NOTHING if isinstance(p99, Absent) else supported(p99, half),
        NOTHING if isinstance(throughput, Absent) else _rate(throughput),
        megabytes,
    )


def _rate(throughput: Throughput) -> str:
    return supported(throughput.images_per_s, known(throughput.images_per_s_high) - throughput.images_per_s)


def _paced(measurement: Measurement, show_invalid: bool) -> tuple[str, ...]:
    pacing, latency, setup = measurement.pacing, measurement.latency, measurement.setup
    assert isinstance(pacing, Pacing)
    shown = (show_invalid or measurement.status == "valid") and not isinstance(latency, Absent)
    figures = [NOTHING] * 5
    if shown and not isinstance(latency, Absent):
        half = known(latency.latency_ms_p50_high) - latency.latency_ms_p50
        p99 = latency.latency_ms_p99
        figures = [
            supported(latency.latency_ms_p50, half),
            NOTHING if isinstance(p99, Absent) else supported(p99, half),
            f"{pacing.deadline_ms:.1f}",
            f"{pacing.late} of {pacing.frames - pacing.dropped}",
            f"{pacing.dropped} of {pacing.frames}",
        ]
    return measurement.artifact.name, str(setup.batch), f"{setup.fps:g}", *figures


def _sustained(measurement: Measurement, show_invalid: bool) -> tuple[str, ...]:
    sustained = measurement.sustained
    assert isinstance(sustained, Sustained)
    name = measurement.artifact.name, str(measurement.setup.batch)
    if not sustained.windows or not (show_invalid or measurement.status == "valid"):
        return (*name, *(NOTHING,) * 6)
    first, last = sustained.windows[0], sustained.windows[-1]
    figures = (
        (first.latency_ms_p50, ".3g"),
        (sustained.settled_ms, ".3g"),
        (sustained.settled_after_s, ".0f"),
        (first.cpu_mhz, ".0f"),
        (last.cpu_mhz, ".0f"),
        (last.temperature_c, ".1f"),
    )
    return *name, *(NOTHING if isinstance(value, Absent) else format(value, digits) for value, digits in figures)


def _verdict(measurement: Measurement) -> str:
    codes = ", ".join(verdict.code for verdict in measurement.verdicts)
    mode = "" if measurement.settings["mode"] == "full" else f" ({measurement.settings['mode']})"
    return f"{measurement.status}{mode}" + (f": {codes}" if codes else "")
