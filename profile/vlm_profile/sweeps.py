"""Which batches to measure, and what a sweep over batches or threads comes to."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import ClassVar

from vlm_contract.codec import Absent, known, read_record, write_record
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Device, Measurement, Setup
from vlm_profile.rows import Row, described

GAIN = 1.05  # of throughput, below which larger batches are not worth their latency
FALL = 0.9  # of throughput from one batch to the next, below which there is a cliff
LARGEST_BATCH = 1024

Rate = Callable[[int], float | None]  # images a second at a batch; None where it does not run, as when memory ends


@dataclass(frozen=True)
class Chosen:
    """The batches that a look found worth measuring. Another look may find others: a run that goes on keeps these."""

    # vlm-edge/batches/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/batches/1"

    sha256: str  # of the model
    runtime: str
    version: str  # of the runtime
    device: Device
    setup: Setup  # of the look, at batch 1
    batches: tuple[int, ...]


def rows_worth_measuring(
    rows_at: Callable[[Sequence[int]], Iterable[Row]], batches_for: Callable[[Row], Sequence[int]]
) -> Iterator[Row]:
    """The rows of one artifact, with each runtime at batches of its own.

    `rows_at` makes the rows of all runtimes at some batches; `batches_for` is asked once for each runtime, with its row
    of most threads at batch 1.
    """
    scouts: dict[str, Row] = {}
    for row in rows_at((1,)):
        best = scouts.setdefault(row.runtime.name, row)
        if known(row.setup.threads) > known(best.setup.threads):
            scouts[row.runtime.name] = row
    for name, scout in scouts.items():
        yield from (row for row in rows_at(batches_for(scout)) if row.runtime.name == name)


def kept_batches(
    scout: Row, version: str, device: Device, look: Callable[[], tuple[int, ...]], *, again: bool = False
) -> tuple[int, ...]:
    """What an earlier look at this row chose, else what `look` chooses, which is stored beside the row's record.

    Batch 1 where not even that runs in a look; measuring it will say why. `again` looks whatever is stored.
    """
    path = scout.path.with_name(f".{scout.path.stem}.batches.json")  # hidden: no measurement
    chosen = Chosen(known(scout.subject.used.sha256), scout.runtime.name, version, device, scout.setup, ())
    with suppress(VlmError):
        stored = read_record(Chosen, path)
        if stored.batches and replace(stored, batches=()) == chosen and not again:
            return stored.batches
    batches = look()
    if batches:
        write_record(replace(chosen, batches=batches), path)
    return batches or (1,)


def batches_worth_measuring(rate: Rate) -> tuple[int, ...]:
    """Doubled until throughput gains less than 5 % or memory ends; where it falls on the way, the batches beside the
    cliff too.

    `rate` is a quick look, not a result: what is chosen is measured afterwards.
    """
    rates: dict[int, float] = {}
    batch = 1
    while batch <= LARGEST_BATCH and (found := rate(batch)) is not None:
        gained = not rates or found >= GAIN * rates[batch // 2]
        rates[batch] = found
        if not gained:
            break
        batch *= 2
    *_, before, last = [0, *rates] if len(rates) == 1 else [*rates] or [0, 0]
    if before and rates[last] < FALL * rates[before]:
        rates |= _beside_the_cliff(before, last, rates[before], rate)
    return tuple(sorted(rates))


def _beside_the_cliff(high: int, low: int, rate_before: float, rate: Rate) -> dict[int, float]:
    """The last batch before throughput falls and the first after it, between one that is fast and one that is slow."""
    found: dict[int, float] = {}
    while low - high > 1:
        middle = (high + low) // 2
        at_middle = rate(middle)
        if at_middle is None:
            return found
        found[middle] = at_middle
        high, low = (high, middle) if at_middle < FALL * rate_before else (middle, low)
    return {batch: found[batch] for batch in (high, low) if batch in found}


def cliffs(measurements: Iterable[Measurement]) -> Iterator[str]:
    """A sentence for each pair of neighbouring batches of one artifact between which throughput falls."""
    rows = list(measurements)
    for group in _alike_but_for(rows, "batch"):
        valid = [measurement for measurement in group if measurement.status == "valid"]
        for smaller, larger in pairwise(sorted(valid, key=lambda m: known(m.setup.batch))):
            a, b = smaller.throughput, larger.throughput
            if (
                isinstance(a, Absent)
                or isinstance(b, Absent)
                or known(b.images_per_s_high) >= FALL * known(a.images_per_s_low)
            ):
                continue
            yield (
                f"{_named(smaller, rows)}: a cliff between batch {a.batch} ({a.images_per_s:.0f} img/s) and batch "
                f"{b.batch} ({b.images_per_s:.0f} img/s): do not go beyond {a.batch}."
            )


def best_threads(measurements: Iterable[Measurement]) -> Iterator[str]:
    """For each artifact, runtime and batch that was measured with several numbers of threads, what to set."""
    rows = list(measurements)
    for group in _alike_but_for(rows, "threads"):
        if len(set(map(_threads, group))) < 2:
            continue
        row = f"{_named(group[0], rows)} b{group[0].setup.batch}"
        timed = [(m, m.latency) for m in group if not isinstance(m.latency, Absent) and m.status == "valid"]
        if len(timed) < 2:
            yield f"{row}: too few valid rows to say what threads to set."
            continue
        (best, latency), *others = sorted(timed, key=lambda pair: pair[1].latency_ms_p50)
        ties = [m for m, other in others if known(other.latency_ms_p50_low) <= known(latency.latency_ms_p50_high)]
        also = f"; within its interval: {'; '.join(map(_threads, ties))}" if ties else ""
        unknown = f"; {len(group) - len(timed)} of {len(group)} rows are not valid" if len(timed) < len(group) else ""
        typed = f" In your program: {_in_a_program(best)}." if best.runtime.name == "onnxruntime" else ""
        yield f"{row}: set {_threads(best)} ({latency.latency_ms_p50:.3g} ms){also}{unknown}.{typed}"


def _in_a_program(best: Measurement) -> str:
    """What to set of ONNX Runtime."""
    setup = best.setup
    words = [f"SessionOptions.intra_op_num_threads = {setup.threads}"]
    if "spinning" in setup.options:
        words.append(f"session.intra_op.allow_spinning = {int(bool(setup.options['spinning']))}")
    words += [f"taskset -c {setup.options['cpus']}"] if "cpus" in setup.options else []
    return ", ".join(words)


def best_batch(measurements: Iterable[Measurement]) -> Iterator[str]:
    """For each artifact and runtime that was measured at several batches, which of the valid rows gives most."""
    rows = list(measurements)
    for group in _alike_but_for(rows, "batch and threads"):
        rates = [(m, m.throughput) for m in group if m.status == "valid" and not isinstance(m.throughput, Absent)]
        name, unknown = _named(group[0], rows), len(group) - len(rates)
        rest = f"; {unknown} of {len(group)} rows are not valid" if unknown else ""
        if not rates:
            yield f"{name}: no batch can be named{rest}."
            continue
        best, rate = max(rates, key=lambda pair: pair[1].images_per_s)
        how = f" and {_threads(best)}" if len(set(map(_threads, group))) > 1 else ""
        yield f"{name}: most comes of batch {best.setup.batch}{how} ({rate.images_per_s:.0f} img/s){rest}."


def _named(measurement: Measurement, among: Iterable[Measurement]) -> str:
    """The artifact, and its runtime where others ran it too."""
    name = measurement.artifact.name
    runtimes = {m.runtime.name for m in among if m.artifact.sha256 == measurement.artifact.sha256}
    return f"{name} {measurement.runtime.name}" if len(runtimes) > 1 else name


def _threads(measurement: Measurement) -> str:
    options = described(measurement.setup.options)
    return f"threads {measurement.setup.threads}" + (f" with {options}" if options else "")


def _alike_but_for(measurements: Iterable[Measurement], what: str) -> Iterator[list[Measurement]]:
    """Rows of one artifact and runtime that differ in this alone, a key of `ways`; options go with threads."""

    def key(m: Measurement) -> tuple[str, ...]:
        setup = m.setup
        ways = {"batch": [_threads(m)], "threads": [str(setup.batch)], "batch and threads": []}
        return (known(m.artifact.sha256), known(m.runtime.name), str(setup.streams), str(setup.fps), *ways[what])

    for _, group in groupby(sorted(measurements, key=key), key=key):
        yield list(group)
