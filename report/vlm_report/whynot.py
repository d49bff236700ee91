"""Why a model was not picked: what it failed first, by how much, and the cheapest change that would admit it."""

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from vlm_contract.codec import Absent
from vlm_contract.conditions import COMPARISONS, Condition
from vlm_contract.manifest import ArtifactManifest
from vlm_contract.measurement import Measurement
from vlm_profile.rows import setup_in_words
from vlm_report.decision.candidates import ACCURACY, LATENCY, Candidate, LeftOut
from vlm_report.decision.choices import Choice, Fastest
from vlm_report.decision.fronts import lacking
from vlm_report.decision.limits import relaxed, typed
from vlm_report.decision.models import Model, Trainings, names_of
from vlm_report.figures import figure_of
from vlm_report.records import HOST, Entry, Records

T = TypeVar("T")
PRECISIONS = ("int8", "fp16", "fp32")  # the smallest first
_QUANTISABLE = ("latency", "images_per_s", "bytes", "energy", "settled", "temperature", "inference")


@dataclass(frozen=True)
class Standing:
    """Who stands where before a rule, of all that may be compared."""

    target: str  # empty where the device does not matter
    choice: Choice
    limits: tuple[Condition, ...]
    candidates: tuple[Candidate, ...]
    feasible: tuple[Candidate, ...]
    short: tuple[LeftOut, ...]  # candidates that miss a limit, or lack a figure
    left_out: tuple[LeftOut, ...]  # what is no candidate
    pick: Candidate | None
    entries: tuple[Entry, ...]  # all rows of the target, at any batch


@dataclass(frozen=True)
class WhyNot:
    """One model that was not picked."""

    model: str  # its name, as `names_of` tells it from others
    name: str  # of its artifact that came nearest
    reason: str  # the first thing that it failed, and by how much
    change: str  # the cheapest that would admit it, as far as records tell; else empty
    command: str  # that may change it; else empty


def why_nots(standing: Standing, records: Records) -> tuple[WhyNot, ...]:
    """One line for each model but the pick's, in the order of how near they came."""
    models = dict.fromkeys(
        [c.model for c in standing.feasible] + [out.model for out in (*standing.short, *standing.left_out)]
    )
    names = names_of(models)
    mine = standing.pick.model if standing.pick else None
    ways = _Ways(standing, records)
    return tuple(ways.of(model, names[model]) for model in models if model != mine)


def nearest_to(limits: Sequence[Condition], candidates: Sequence[Candidate]) -> Candidate:
    """Of candidates that miss limits, the one that misses fewest, and the first by the least share of it."""

    def distance(candidate: Candidate) -> tuple[int, float, tuple[float, float, str]]:
        missed = [limit for limit in limits if candidate.failure(limit)]
        value = candidate.figure(missed[0].figure)
        share = math.inf if isinstance(value, Absent) else abs(value - missed[0].limit) / (abs(missed[0].limit) or 1.0)
        return len(missed), share, candidate.rank

    return min(candidates, key=distance)


def relaxation(standing: Standing) -> list[Condition]:
    """The limits as they would have to be for the nearest candidate, where none keeps them; empty where none tells."""
    short = [c for c in standing.candidates if any(c.failure(limit) for limit in standing.limits)]
    if standing.pick or not short:
        return []
    nearest = nearest_to(standing.limits, short)
    missed = [limit for limit in standing.limits if nearest.failure(limit)]
    moved = [relaxed(limit, nearest) for limit in missed]
    return [each for each in moved if each] if None not in moved else []


class _Ways:
    """Finds what a model failed and what would admit it."""

    def __init__(self, standing: Standing, records: Records) -> None:
        self.standing, self.records = standing, records
        kept = {id(candidate) for candidate in standing.feasible}
        self.feasible = _by_model((c.model, c) for c in standing.feasible)
        self.short = _by_model((c.model, c) for c in standing.candidates if id(c) not in kept)
        self.left_out = _by_model((out.model, out) for out in standing.left_out)
        self.exported: dict[str, set[str]] = {}
        for manifest in records.manifests.values():
            self.exported.setdefault(manifest.run, set()).add(manifest.precision)

    @cached_property
    def rows(self) -> dict[Model, list[Entry]]:
        """All rows of the target, at any batch."""
        trainings = Trainings(self.records)
        return _by_model((trainings.model_of(entry), entry) for entry in self.standing.entries)

    def of(self, model: Model, name: str) -> WhyNot:
        if model in self.feasible and self.standing.pick:
            return self._behind(name, self.standing.choice.pick(self.feasible[model]), self.standing.pick)
        if model in self.short:
            return self._missed(name, self.short[model])
        outs = self.left_out[model]
        out = next((each for each in outs if not each.refused), outs[0])
        return WhyNot(name, out.name, out.brief, out.to_correct, self._next(out))

    def _behind(self, name: str, nearest: Candidate, pick: Candidate) -> WhyNot:
        """Feasible, and not what the rule takes."""
        reason = self.standing.choice.behind(nearest, pick, self.standing.feasible)
        if change := self._requirement_for(nearest):
            return WhyNot(name, nearest.name, reason, change, "")
        needs = self.standing.choice.needs(nearest, pick, self.standing.feasible)
        command = self._another_precision(self.feasible[nearest.model], LATENCY) if "latency" in needs else ""
        return WhyNot(name, name if isinstance(nearest.entry, Absent) else nearest.name, reason, needs, command)

    def _missed(self, name: str, short: Sequence[Candidate]) -> WhyNot:
        """Of the rows that miss a limit, the one that misses the first by least."""
        for candidate in short:
            if lack := lacking(candidate, self.standing.choice.axes):
                return WhyNot(name, candidate.name, lack, "", "")
        nearest = nearest_to(self.standing.limits, short)
        limit = self._first_missed(nearest)
        change = self._another_row(nearest) or self._relaxing(nearest)
        return WhyNot(name, nearest.name, nearest.failure(limit), change, self._another_precision(short, limit.figure))

    def _first_missed(self, candidate: Candidate) -> Condition:
        return next(limit for limit in self.standing.limits if candidate.failure(limit))

    def _another_row(self, nearest: Candidate) -> str:
        """A row of the same model that was measured otherwise, at another batch above all, and keeps every limit."""
        for entry in self.rows.get(nearest.model, ()):
            m = entry.measured
            if isinstance(m, Measurement) and self._keeps(entry):
                return f"{entry.name} meets all as {m.runtime.name} {setup_in_words(m)}, {m.evidence}"
        return ""

    def _keeps(self, entry: Entry) -> bool:
        values = [(limit, figure_of(entry, limit.figure)) for limit in self.standing.limits]
        return not entry.refused and all(not limit.failure(value) for limit, value in values)

    def _relaxing(self, nearest: Candidate) -> str:
        """What the limits that it misses would have to be."""
        missed = [limit for limit in self.standing.limits if nearest.failure(limit)]
        moved = [relaxed(limit, nearest) for limit in missed]
        return "" if None in moved else " ".join(f"--require '{typed(each)}'" for each in moved if each) + " admits it"

    def _requirement_for(self, nearest: Candidate) -> str:
        """A requirement under which the fastest within reach is this very model; empty where there is none."""
        value = math.floor(100 * nearest.figures[ACCURACY].value) / 100
        least = nearest.figures.get(LATENCY)
        if least is None:
            return ""
        most = math.ceil(100 * least.value) / 100
        for text, figure, comparison, limit in (
            (f"accuracy_percent>={value:.2f}", ACCURACY, ">=", value),
            (f"latency_ms_p50<={most:.2f}", LATENCY, "<=", most),
        ):
            kept = [c for c in self.standing.feasible if COMPARISONS[comparison](c.figures[figure].value, limit)]
            if Fastest().pick(kept).model == nearest.model:
                return f"--require '{text}' picks it"
        return ""

    def _another_precision(self, rows: Sequence[Candidate], figure: str) -> str:
        """Exports, or measures, a precision of the same model that no row has."""
        entry = rows[0].entry
        if isinstance(entry, Absent) or not isinstance(entry.manifest, ArtifactManifest):
            return ""
        if not any(part in figure for part in _QUANTISABLE):
            return ""
        run, ranked = entry.manifest.run, _precisions(rows)
        for precision in PRECISIONS:
            if precision in self.exported.get(run, set()) or precision in ranked:
                continue
            words = ["vlm-export", "--ckpt", run, "--fmt", entry.manifest.format, "--precision", precision]
            return shlex.join(words + self.records.workspace_option())
        return ""

    def _next(self, out: LeftOut) -> str:
        """What to type for a figure of something that is no candidate."""
        if isinstance(out.entry, Absent):
            return ""
        command = self.records.next_command(out.entry)
        bare = isinstance(out.entry.measurement, Absent) and not out.entry.refused
        return command.replace(f"--target {HOST}", f"--target {self.standing.target}", 1) if bare else command


def _by_model(pairs: Iterable[tuple[Model, T]]) -> dict[Model, list[T]]:
    groups: dict[Model, list[T]] = {}
    for model, each in pairs:
        groups.setdefault(model, []).append(each)
    return groups


def _precisions(rows: Iterable[Candidate]) -> set[str]:
    manifests = [row.entry.manifest for row in rows if isinstance(row.entry, Entry)]
    return {manifest.precision for manifest in manifests if isinstance(manifest, ArtifactManifest)}
