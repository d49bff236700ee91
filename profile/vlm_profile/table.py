"""Measurements as a table, and their verdicts as sentences."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from vlm_contract.codec import Absent, known
from vlm_contract.console import plain_table, printable
from vlm_contract.evidence import why_no_evidence
from vlm_contract.measurement import Estimate, Latency, Measurement, Pacing, Sustained, Throughput, Verdict
from vlm_profile.rows import HOST, how_it_ran, row_in_words

HEADER = ("artifact", "runtime", "batch", "threads", "p50 ms", "±", "p99 ms", "img/s", "peak MB", "verdict")
PACED = ("artifact", "batch", "frames/s", "p50 ms", "p99 ms", "deadline ms", "late", "dropped")
ESTIMATED = ("artifact", "batch", "≈ p50 ms", "80 % within", "≈ img/s", "memory MB")
SUSTAINED = ("artifact", "batch", "first ms", "settled ms", "after s", "MHz first", "MHz last", "°C last")
NOTHING = "—"
ROWS_NAMED = 3  # of those that one verdict concerns; the table marks all


def tables_of(measurements: Iterable[Measurement], *, show_invalid: bool = False) -> list[str]:
    """One row each; then what became of frames, and of sustained runs, where there are any; estimates stand apart.

    What is measured here is under no title; all else is under one that says where, and how figures were come by.
    """
    records = list(measurements)
    rows = [m for m in records if m.evidence != "estimated"]
    estimates = [m for m in records if m.evidence == "estimated"]
    paced = [m for m in rows if isinstance(m.pacing, Pacing)]
    sustained = [m for m in rows if isinstance(m.sustained, Sustained)]
    tables = [_measured(rows, show_invalid, titled=bool(estimates))] if rows else []
    tables += [_estimates(estimates)] if estimates else []
    tables += [plain_table(PACED, [_paced(m, show_invalid) for m in paced])] if paced else []
    return tables + ([plain_table(SUSTAINED, [_sustained(m, show_invalid) for m in sustained])] if sustained else [])


def warnings_of(measurements: Iterable[Measurement]) -> list[str]:
    """Of rows that look like any other and are none, as an emulator's are: a sentence for each target."""
    found = dict.fromkeys((measurement.target, why_no_evidence(measurement)) for measurement in measurements)
    return [
        f"{target}: {printable(why)}: no report, comparison or estimate takes these rows."
        for target, why in found
        if why
    ]


def sentences_of(measurements: Iterable[Measurement]) -> list[str]:
    """What was seen, the limit and the next step of every verdict: one sentence for all rows with the same one."""
    alike: defaultdict[tuple[str, ...], list[tuple[Measurement, Verdict]]] = defaultdict(list)
    for measurement in measurements:
        for verdict in measurement.verdicts:
            alike[verdict.code, verdict.level, verdict.limit, verdict.next_step].append((measurement, verdict))
    return [
        f"{_rows_and_seen(found, f'{code} ({level})')}; limit: {limit}. {next_step}"
        for (code, level, limit, next_step), found in alike.items()
    ]


def _rows_and_seen(found: Sequence[tuple[Measurement, Verdict]], name: str) -> str:
    """The rows that a verdict concerns and what was seen there, said once where it is the same."""
    named, more = found[:ROWS_NAMED], len(found) - ROWS_NAMED
    rest = f"; and {more} more" if more > 0 else ""
    rows = [printable(row_in_words(measurement)) for measurement, _ in named]
    seen = [printable(verdict.seen) for _, verdict in named]
    if len({verdict.seen for _, verdict in found}) == 1:
        return f"{'; '.join(rows)}{rest}: {name}: {seen[0]}"
    each = "; ".join(f"{row}: {what}" for row, what in zip(rows, seen, strict=True))
    return f"{len(found)} rows: {name}: {each}{rest}"


def kept_sentences(kept: Mapping[Path, Measurement], out_of_reach: Collection[Path] = ()) -> list[str]:
    """What stood there already: a sentence for all rows of one folder and one status.

    Those whose device is out of reach are measured anew by nothing that could be typed here.
    """
    alike: defaultdict[tuple[Path, str, bool], list[Path]] = defaultdict(list)
    for path in sorted(kept):
        alike[path.parent, kept[path].status, path in out_of_reach].append(path)
    return [_kept(folder, paths, status, far=far) for (folder, status, far), paths in alike.items()]


def _kept(folder: Path, paths: Sequence[Path], status: str, *, far: bool) -> str:
    which, them = (paths[0], "it") if len(paths) == 1 else (f"{len(paths)} rows in {folder}", "them")
    return f"kept: {which} ({status}; {'measured before' if far else f'--again measures {them} anew'})"


def supported(value: float, half: float) -> str:
    """`value` to the digit where its interval begins: 4.5678 ± 0.034 is 4.57, 1234 ± 56 is 1230.

    One digit at least, however wide the interval: 4.5678 ± 12 is 5, and not 0.
    """
    digits = -math.floor(math.log10(half)) if half > 0 else 3
    if half > abs(value) > 0:
        digits = -math.floor(math.log10(abs(value)))
    return f"{round(value, digits):.{max(0, digits)}f}"


def _measured(rows: Sequence[Measurement], show_invalid: bool, *, titled: bool) -> str:
    cells = [_row(measurement, show_invalid) for measurement in rows]
    if not titled and {measurement.target for measurement in rows} == {HOST}:
        return plain_table(HEADER, cells)
    return _placed("Measured", [_place(measurement) for measurement in rows], HEADER, cells)


def _estimates(rows: Sequence[Measurement]) -> str:
    places = [{**_place(row), "rung": row.estimate.rung} for row in rows if isinstance(row.estimate, Estimate)]
    return _placed("Estimated, not measured", places, ESTIMATED, [_estimated(row) for row in rows])


def _place(measurement: Measurement) -> dict[str, str]:
    mode = measurement.device.power_mode
    return {"target": measurement.target, "power mode": mode if isinstance(mode, str) else NOTHING}


def _placed(
    title: str, places: Sequence[Mapping[str, str]], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """A table whose title says what all rows have in common of their places; what they have not are columns."""
    values = {name: list(dict.fromkeys(place[name] for place in places)) for name in places[0]}
    several = [name for name, found in values.items() if len(found) > 1]
    same = [f"{name} {found[0]}" for name, found in values.items() if len(found) == 1 and found[0] != NOTHING]
    cells = [(*(place[name] for name in several), *row) for place, row in zip(places, rows, strict=True)]
    line = printable(f"{title}: {', '.join(same)}" if same else title)
    return f"{line}\n\n{plain_table((*several, *header), cells)}"


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


def two_digits(value: float) -> str:
    """287.4 is 290, 2.04 is 2.0, 0.01234 is 0.012."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:.{max(0, 1 - math.floor(math.log10(rounded)))}f}"


def _estimated(measurement: Measurement) -> tuple[str, ...]:
    """A figure with two digits: no estimate supports more."""
    latency, throughput = measurement.latency, measurement.throughput
    assert isinstance(latency, Latency) and isinstance(throughput, Throughput)
    peaks = (measurement.memory.device_peak_bytes, measurement.memory.model_rss_bytes)
    memory = next((peak for peak in peaks if not isinstance(peak, Absent)), None)
    return (
        measurement.artifact.name,
        str(measurement.setup.batch),
        two_digits(latency.latency_ms_p50),
        f"{two_digits(known(latency.latency_ms_p50_low))} to {two_digits(known(latency.latency_ms_p50_high))}",
        two_digits(throughput.images_per_s),
        NOTHING if memory is None else f"{memory / 1e6:.0f}",
    )


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
