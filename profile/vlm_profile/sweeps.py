"""Which batches to measure, and what a sweep over batches or threads comes to."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise

from vlm_contract.codec import Absent, known
from vlm_contract.measurement import Measurement
from vlm_profile.rows import described

GAIN = 1.05  # of throughput, below which larger batches are not worth their latency
FALL = 0.9  # of throughput from one batch to the next, below which there is a cliff
LARGEST_BATCH = 1024

Rate = Callable[[int], float | None]  # images a second at a batch; None where it does not run, as when memory ends


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
    for group in _alike_but_for(measurements, "batch"):
        valid = [measurement for measurement in group if measurement.status == "valid"]
        for smaller, larger in pairwise(sorted(valid, key=lambda m: m.setup.batch)):
            a, b = smaller.throughput, larger.throughput
            if (
                isinstance(a, Absent)
                or isinstance(b, Absent)
                or known(b.images_per_s_high) >= FALL * known(a.images_per_s_low)
            ):
                continue
            yield (
                f"{smaller.artifact.name}: a cliff between batch {a.batch} ({a.images_per_s:.0f} img/s) and batch "
                f"{b.batch} ({b.images_per_s:.0f} img/s): do not go beyond {a.batch}."
            )


def best_threads(measurements: Iterable[Measurement]) -> Iterator[str]:
    """For each artifact and batch that was measured with several numbers of threads, what to set."""
    for group in _alike_but_for(measurements, "threads"):
        if len({(m.setup.threads, described(m.setup.options)) for m in group}) < 2:
            continue
        timed = [(m, m.latency) for m in group if not isinstance(m.latency, Absent) and m.status == "valid"]
        if len(timed) < 2:
            yield f"{group[0].artifact.name} b{group[0].setup.batch}: too few valid rows to say what threads to set."
            continue
        (best, latency), *others = sorted(timed, key=lambda pair: pair[1].latency_ms_p50)
        ties = [m for m, other in others if known(other.latency_ms_p50_low) <= known(latency.latency_ms_p50_high)]
        setting = f"threads {best.setup.threads}" + _with(best)
        also = (
            f"; within its interval: {'; '.join(f'threads {m.setup.threads}{_with(m)}' for m in ties)}" if ties else ""
        )
        unknown = f"; {len(group) - len(timed)} of {len(group)} rows are not valid" if len(timed) < len(group) else ""
        row = f"{best.artifact.name} b{best.setup.batch}"
        typed = f" In your program: {_in_a_program(best)}." if best.runtime.name == "onnxruntime" else ""
        yield f"{row}: set {setting} ({latency.latency_ms_p50:.3g} ms){also}{unknown}.{typed}"


def _in_a_program(best: Measurement) -> str:
    """What to set of ONNX Runtime."""
    setup = best.setup
    words = [f"SessionOptions.intra_op_num_threads = {setup.threads}"]
    if "spinning" in setup.options:
        words.append(f"session.intra_op.allow_spinning = {int(bool(setup.options['spinning']))}")
    words += [f"taskset -c {setup.options['cpus']}"] if "cpus" in setup.options else []
    return ", ".join(words)


def best_batch(measurements: Iterable[Measurement]) -> Iterator[str]:
    """For each artifact that was measured at several batches, which of the valid ones gives most."""
    for group in _alike_but_for(measurements, "batch"):
        rates = [(m, m.throughput) for m in group if m.status == "valid" and not isinstance(m.throughput, Absent)]
        name, unknown = group[0].artifact.name, len(group) - len(rates)
        rest = f"; {unknown} of {len(group)} batches are not valid" if unknown else ""
        if not rates:
            yield f"{name}: no batch can be named{rest}."
            continue
        best, rate = max(rates, key=lambda pair: pair[1].images_per_s)
        yield f"{name}: most comes of batch {best.setup.batch} ({rate.images_per_s:.0f} img/s){rest}."


def _with(measurement: Measurement) -> str:
    options = described(measurement.setup.options)
    return f" with {options}" if options else ""


def _alike_but_for(measurements: Iterable[Measurement], what: str) -> Iterator[list[Measurement]]:
    """Rows of one artifact and runtime that differ in this alone; options go with threads."""

    def key(m: Measurement) -> tuple[str, ...]:
        setup = m.setup
        rest = [setup.threads, described(setup.options)] if what == "batch" else [setup.batch]
        return (m.artifact.sha256, m.runtime.name, str(setup.streams), str(setup.fps), *map(str, rest))

    for _, group in groupby(sorted(measurements, key=key), key=key):
        yield list(group)
