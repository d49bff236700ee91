"""Two measurements, or two sets of them, beside each other: faster, slower, same or ambiguous."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Literal

from vlm_contract.codec import Absent, read_record
from vlm_contract.errors import VlmError
from vlm_contract.evidence import why_no_evidence
from vlm_contract.measurement import Canary, Measurement
from vlm_profile.comparing.intervals import COMPARABLE, LARGER_IS_BETTER, Estimate, estimate_of, told_apart
from vlm_profile.protocol import FULL
from vlm_profile.rows import row_in_words, setup_in_words

# A claim needs disjoint intervals and a difference over this (protocol vlm-1, comparisons).
CLAIM_PERCENT = 2.0
CLAIM_PERCENT_SHARED = 5.0

Outcome = Literal["faster", "slower", "smaller", "larger", "same", "ambiguous"]
WORSE: Set[Outcome] = {"slower", "larger"}


@dataclass(frozen=True)
class Difference:
    """What makes two results unlike."""

    what: str  # a key of UNLIKE
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.what}: {self.old or 'none'} → {self.new or 'none'}"


@dataclass(frozen=True)
class Change:
    """One figure of two results. Where either has none, nothing is said of it."""

    old: Estimate | Absent
    new: Estimate | Absent
    percent: float | Absent  # of the old value
    outcome: Outcome
    why: str  # it is ambiguous; empty where it is not


@dataclass(frozen=True)
class Pair:
    """The same row of two sets."""

    name: str
    old: Measurement
    new: Measurement
    unlike: tuple[Difference, ...]
    refused: str  # why no figure of them may be compared; empty where they may
    shared: str  # how the machine shows that others use it too; empty where it does not
    claim_percent: float  # the difference over which a claim is made
    changes: Mapping[str, Change]  # by figure; none where they are refused


@dataclass(frozen=True)
class Comparison:
    """Two sets: their common rows, and the names of the others."""

    pairs: tuple[Pair, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def _device(m: Measurement) -> str:
    device, memory = m.device, m.device.memory_bytes
    cpus = [] if isinstance(device.cpus, Absent) else [f"{device.usable_cpus} of {device.cpus} CPUs"]
    gib = [] if isinstance(memory, Absent) else [f"{memory / 2**30:.0f} GiB"]
    parts = (device.cpu, device.machine, *cpus, *gib, device.gpu)
    return f"{device.name}: {', '.join(part for part in parts if not isinstance(part, Absent))}"


# What must not differ, and how it is told.
UNLIKE: Mapping[str, Callable[[Measurement], str]] = {
    "device": _device,
    "power": lambda m: "none" if isinstance(m.device.power_mode, Absent) else m.device.power_mode,
    "runtime": lambda m: f"{m.runtime.name} {m.runtime.version}, {m.runtime.provider}",
    "model": lambda m: "not said" if isinstance(m.artifact.sha256, Absent) else m.artifact.sha256[:12],
    "scope": lambda m: m.setup.scope,
    "setup": setup_in_words,
    "inputs": lambda m: str(m.settings.get("input_shapes", "")),
    "protocol": lambda m: m.protocol,
}


def measurements_at(path: Path) -> dict[Path, Measurement]:
    """A measurement's file, a folder of them, or a workspace. Raises VlmError where one cannot be read."""
    if not path.is_dir():
        return {path: read_record(Measurement, path)}
    root = path / "measurements" if (path / "measurements").is_dir() else path
    files = sorted(file for file in [*root.glob("*.json"), *root.glob("*/*.json")] if not file.name.startswith("."))
    if not files:
        raise VlmError(f"{path} holds no measurement.", hint=f"vlm-profile --workspace {path}, which measures")
    return {file: read_record(Measurement, file) for file in files}


def compare(
    old: Measurement | Sequence[Measurement],
    new: Measurement | Sequence[Measurement],
    may_differ: Set[str] = frozenset(),
) -> Comparison:
    """Compare two measurements whatever they are, or the rows that two sets have in common.

    Rows are the same by artifact, precision, batch, threads, streams, frame rate, scope, options and runtime. Of a pair
    that differs in what is not in `may_differ` (keys of UNLIKE), or of which one is not valid, nothing is compared.
    Raises VlmError where a set has one row twice, or the two have none in common.
    """
    if isinstance(old, Measurement) and isinstance(new, Measurement):
        return Comparison((pair_of(old, new, may_differ),), (), ())
    olds, news = (_by_row([each] if isinstance(each, Measurement) else each) for each in (old, new))
    common = [row for row in olds if row in news]
    if not common:
        rows = "; ".join(
            f"{side} has {', '.join(map(row_in_words, s.values()))}" for side, s in (("OLD", olds), ("NEW", news))
        )
        raise VlmError(f"The two sets have no row in common: {rows}.", hint="measure both with the same options")
    return Comparison(
        tuple(pair_of(olds[row], news[row], may_differ) for row in common),
        tuple(row_in_words(m) for row, m in olds.items() if row not in news),
        tuple(row_in_words(m) for row, m in news.items() if row not in olds),
    )


def pair_of(old: Measurement, new: Measurement, may_differ: Set[str] = frozenset()) -> Pair:
    """One row of two sets, judged."""
    unlike = tuple(Difference(what, told(old), told(new)) for what, told in UNLIKE.items() if told(old) != told(new))
    refused = why_not(old, "the old") or why_not(new, "the new") or _not_allowed(unlike, may_differ)
    others = shared(old) or shared(new)
    claim = CLAIM_PERCENT_SHARED if others else CLAIM_PERCENT
    changes = {} if refused else {name: change_of(old, new, name, claim) for name in COMPARABLE}
    was = "" if old.artifact.name == new.artifact.name else f"{old.artifact.name} → "
    return Pair(was + row_in_words(new), old, new, unlike, refused, others, claim, changes)


def why_not(measurement: Measurement, which: str) -> str:
    """Why a result may be compared with no other; empty where it may."""
    codes = [verdict.code for verdict in measurement.verdicts if verdict.level == measurement.status]
    if measurement.status != "valid":
        return f"{which} result is {measurement.status}: {', '.join(codes)}"
    if measurement.evidence != "measured":
        return f"{which} result is {measurement.evidence}, not measured"
    if why := why_no_evidence(measurement):
        return f"{which} result is no evidence: {why}"
    few = next((verdict for verdict in measurement.verdicts if verdict.code == "few"), None)
    return f"{which} result is of too little: {few.seen}" if few else ""


def shared(measurement: Measurement) -> str:
    """How a record shows that others use the machine: stolen time, CPUs that are not ours, or busy neighbours.

    A virtual machine that nothing was taken from while the clock ran, and that is ours alone, is no shared one.
    """
    device = measurement.device
    stolen = sum(window.steal_s for repetition in measurement.repetitions for window in repetition.context)
    if stolen > 0:
        return f"the hypervisor took {stolen:.2g} s"
    if any(verdict.code == "neighbours" for verdict in measurement.verdicts):
        return "others used it meanwhile"
    usable, cpus = device.usable_cpus, device.cpus
    if isinstance(usable, Absent) or isinstance(cpus, Absent) or usable == cpus:
        return ""
    return f"{usable} of its {cpus} CPUs are ours"


def change_of(old: Measurement, new: Measurement, name: str, claim_percent: float) -> Change:
    """The outcome for one figure.

    A claim needs disjoint intervals and a difference over `claim_percent`; `same` needs a difference within it between
    intervals that the protocol calls steady. All else is ambiguous.
    """
    a, b = estimate_of(old, name), estimate_of(new, name)
    if isinstance(a, Absent) or isinstance(b, Absent):
        missing = a if isinstance(a, Absent) else b
        assert isinstance(missing, Absent)
        return Change(a, b, missing, "ambiguous", missing.reason)
    if not a.value:
        return Change(a, b, Absent("the old value is 0"), "ambiguous", "the old value is 0")
    percent = 100 * (b.value - a.value) / a.value
    disjoint = a.high < b.low or b.high < a.low
    if disjoint and abs(percent) > claim_percent:
        return Change(a, b, percent, _outcome(name, percent), "")
    if abs(percent) > claim_percent:
        return Change(a, b, percent, "ambiguous", "the intervals overlap, so it may be chance")
    widest, steady = max(a.half_percent, b.half_percent), FULL.interval_percent
    if widest > steady:
        why = f"an interval of ±{told_apart(widest, steady)} % is too wide to say that nothing changed"
        return Change(a, b, percent, "ambiguous", why)
    return Change(a, b, percent, "same", "")


def canary_percents(pair: Pair) -> dict[str, float]:
    """By how much longer the machine's own kernels took in the new result, where both ran them."""
    kernels = {"compute": ("compute_before_ms", "compute_after_ms"), "memory": ("memory_before_ms", "memory_after_ms")}
    old, new = ([r.canary for r in m.repetitions if isinstance(r.canary, Canary)] for m in (pair.old, pair.new))
    if not old or not new:
        return {}
    times = {k: [median(fmean(getattr(c, end) for end in ends) for c in each) for each in (old, new)]
             for k, ends in kernels.items()}  # fmt: skip
    return {kernel: 100 * (b - a) / a for kernel, (a, b) in times.items()}


def _outcome(name: str, percent: float) -> Outcome:
    if name.endswith("_bytes"):
        return "larger" if percent > 0 else "smaller"
    return "faster" if (percent > 0) == (name in LARGER_IS_BETTER) else "slower"


def _not_allowed(unlike: Sequence[Difference], may_differ: Set[str]) -> str:
    refused = [str(difference) for difference in unlike if difference.what not in may_differ]
    return f"they are unlike: {'; '.join(refused)}" if refused else ""


def _by_row(measurements: Sequence[Measurement]) -> dict[tuple[str, ...], Measurement]:
    rows: dict[tuple[str, ...], Measurement] = {}
    for measurement in measurements:
        row = (measurement.target, row_in_words(measurement), measurement.setup.scope)
        if row in rows:
            raise VlmError(f"One set has two results of {row_in_words(measurement)}.", hint="name one file of each")
        rows[row] = measurement
    return rows
