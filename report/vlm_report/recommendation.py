"""Which artifact to deploy on this host, by a stated rule, from valid measurements alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlm_contract.codec import Absent, known
from vlm_contract.conditions import Condition
from vlm_contract.manifest import Accuracy, ArtifactManifest
from vlm_contract.measurement import Latency, Measurement
from vlm_report.records import HOST, Entry, Records
from vlm_report.requirements import failures

BATCH = 1
ACCURACY_REACH_POINTS = 1.0  # how much accuracy speed may cost
CLAIM_PERCENT = 5.0  # a claim of being faster on a shared machine needs more (protocol vlm-1, comparisons)
RULE = (
    f"the fastest artifact at batch {BATCH} whose accuracy is within {ACCURACY_REACH_POINTS} point "
    "of the best feasible one"
)


@dataclass(frozen=True)
class Candidate:
    """An entry that has all that a ranking needs."""

    entry: Entry
    manifest: ArtifactManifest
    measurement: Measurement
    latency: Latency
    accuracy: Accuracy

    @property
    def rank(self) -> tuple[float, float, str]:
        """Fastest first; of two as fast, the more accurate."""
        return self.latency.latency_ms_p50, -self.accuracy.artifact_percent, str(self.entry.record)


@dataclass(frozen=True)
class LeftOut:
    """An entry that cannot be picked, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True)
class Recommendation:
    """The pick, what it was picked from, and what stood beside it."""

    requirements: tuple[Condition, ...]
    candidates: tuple[Candidate, ...]  # comparable with each other; fastest first
    feasible: tuple[Candidate, ...]  # candidates that meet every requirement; fastest first
    front: tuple[Candidate, ...]  # feasible and not dominated; fastest first
    pick: Candidate | Absent
    runner_up: Candidate | Absent  # the pick of the same rule, were the pick not there
    ties: tuple[Candidate, ...]  # within reach in accuracy, and not told from the pick in latency
    left_out: tuple[LeftOut, ...]
    to_type: str  # the command that comes next where nothing could be picked; else empty


def recommend(records: Records, requirements: Sequence[Condition] = ()) -> Recommendation:
    """Recommend an artifact for this host at batch 1.

    Candidates are accepted artifacts with an accuracy and a valid, comparable measurement, all on one machine: that of
    the newest. RULE picks among those that meet every requirement.
    """
    entries = [entry for entry in records.entries() if _asked_about(entry)]
    able, left_out = _split([(entry, why_not(entry)) for entry in entries])
    candidates, elsewhere = _split([(entry, _unlike(entry, able)) for entry in able])
    feasible, short = _split([(entry, failures(requirements, entry)) for entry in candidates])
    ranked = _ranked(feasible)
    pick = _pick(ranked)
    return Recommendation(
        requirements=tuple(requirements),
        candidates=_ranked(candidates),
        feasible=ranked,
        front=pareto_front(ranked),
        pick=pick or Absent(_why_none(entries, candidates, left_out + elsewhere)),
        runner_up=_pick([c for c in ranked if c != pick]) or Absent("no other artifact is feasible"),
        ties=tuple(c for c in _within_reach(ranked) if pick and c != pick and same_latency(pick.latency, c.latency)),
        left_out=(*left_out, *elsewhere, *short),
        to_type="" if pick else _next_command(records, entries, candidates),
    )


def why_not(entry: Entry) -> str:
    """Why an entry may not be ranked, whatever is required; empty where it may."""
    measured, manifest = entry.measured, entry.manifest
    if entry.refused:
        return f"refused by the export: {entry.refused}"
    if isinstance(measured, Absent):
        return measured.reason
    if measured.evidence != "measured":
        return f"{measured.evidence}, not measured"
    if any(verdict.code == "few" for verdict in measured.verdicts):
        return "too few samples or processes to be compared"
    absent = (measured.latency, manifest, manifest if isinstance(manifest, Absent) else manifest.accuracy)
    return next((part.reason for part in absent if isinstance(part, Absent)), "")


def pareto_front(ranked: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Those that no other beats in latency and accuracy at once; takes and gives the fastest first."""
    front: list[Candidate] = []
    for candidate in ranked:
        if not front or candidate.accuracy.artifact_percent > front[-1].accuracy.artifact_percent:
            front.append(candidate)
    return tuple(front)


def same_latency(one: Latency, other: Latency) -> bool:
    """Whether neither may be called faster: the intervals overlap, or the difference is too small for a claim."""
    fast, slow = sorted((one, other), key=lambda latency: latency.latency_ms_p50)
    overlap = known(fast.latency_ms_p50_high) >= known(slow.latency_ms_p50_low)
    return overlap or slow.latency_ms_p50 <= fast.latency_ms_p50 * (1 + CLAIM_PERCENT / 100)


def _asked_about(entry: Entry) -> bool:
    """About rows of this host at the batch, one call after the other: frames at a rate of their own wait for others."""
    m = entry.measurement
    return isinstance(m, Absent) or ((m.target, m.setup.batch) == (HOST, BATCH) and isinstance(m.setup.fps, Absent))


def _split(judged: Iterable[tuple[Entry, str]]) -> tuple[list[Entry], list[LeftOut]]:
    pairs = list(judged)
    return [entry for entry, reason in pairs if not reason], [LeftOut(e, reason) for e, reason in pairs if reason]


def _unlike(entry: Entry, others: Sequence[Entry]) -> str:
    """Why an entry cannot be compared with the newest of the others; empty where it can."""
    measurements = [other.measurement for other in others if isinstance(other.measurement, Measurement)]
    newest = max(measurements, key=lambda measurement: measurement.measured_utc)
    assert isinstance(entry.measurement, Measurement)
    same = _conditions(entry.measurement) == _conditions(newest)
    return "" if same else "measured under other conditions (machine, power mode, streams or scope) than the newest"


def _conditions(measurement: Measurement) -> tuple[object, ...]:
    device, setup = measurement.device, measurement.setup
    machine = (device.cpu, device.usable_cpus, device.memory_bytes, device.gpu, device.power_mode)
    return *machine, setup.streams, setup.scope


def _ranked(entries: Iterable[Entry]) -> tuple[Candidate, ...]:
    return tuple(sorted(map(_candidate, entries), key=lambda candidate: candidate.rank))


def _candidate(entry: Entry) -> Candidate:
    manifest, measurement = entry.manifest, entry.measurement
    assert isinstance(manifest, ArtifactManifest) and isinstance(measurement, Measurement)
    latency, accuracy = measurement.latency, manifest.accuracy
    assert isinstance(latency, Latency) and isinstance(accuracy, Accuracy)
    return Candidate(entry, manifest, measurement, latency, accuracy)


def _within_reach(ranked: Sequence[Candidate]) -> list[Candidate]:
    best = max((c.accuracy.artifact_percent for c in ranked), default=0.0)
    return [c for c in ranked if c.accuracy.artifact_percent >= best - ACCURACY_REACH_POINTS]


def _pick(ranked: Sequence[Candidate]) -> Candidate | None:
    return next(iter(_within_reach(ranked)), None)


def _why_none(entries: Sequence[Entry], candidates: Sequence[Entry], left_out: Sequence[LeftOut]) -> str:
    if not entries:
        return "no artifact was exported or measured"
    if candidates:
        return "no artifact meets all requirements"
    standings = Counter(out.reason if out.entry.standing == "valid" else out.entry.standing for out in left_out)
    return "no artifact has a valid measurement and an accuracy: " + "; ".join(
        f"{count} × {standing}" for standing, count in standings.items()
    )


def _next_command(records: Records, entries: Sequence[Entry], candidates: Sequence[Entry]) -> str:
    if candidates:
        return "vlm-report, with a requirement relaxed"
    exported = any(isinstance(entry.manifest, ArtifactManifest) and not entry.refused for entry in entries)
    command = f"vlm-profile --target {HOST}" if exported else "vlm-export --fmt onnx --precision fp32,fp16"
    return " ".join([command, *records.workspace_option()])
