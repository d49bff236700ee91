"""Runs that differ in the seed alone, as one group."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent
from vlm_report.frames.backbones import Family
from vlm_report.frames.rows import Spread, spread
from vlm_report.frames.run import Run

Place: TypeAlias = tuple[str, str, int]  # a regime: name of the data, its fingerprint, samples


@dataclass(frozen=True)
class Group:
    """What is said of a model, with one set of settings, in one regime: over its seeds."""

    runs: tuple[Run, ...]  # all of one evidence; what a document tells stands alone

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def place(self) -> Place | Absent:
        """The regime; absent where a document does not say which."""
        data, samples = self.first.data, self.first.samples
        if isinstance(data, Absent):
            return data
        return samples if isinstance(samples, Absent) else (data, self.first.fingerprint, samples)

    @property
    def model(self) -> str:
        return self.first.model

    @property
    def series(self) -> str:
        return self.first.series

    @property
    def family(self) -> Family | Absent:
        return self.first.family

    @property
    def settings(self) -> dict[str, Scalar]:
        return self.first.settings

    @property
    def evidence(self) -> str:
        return str(self.first.evidence)

    @property
    def records(self) -> tuple[str, ...]:
        return tuple(str(run.record) for run in self.runs)

    def spread(self, column: str) -> Spread | Absent:
        """A column of Run over the seeds."""
        return spread([getattr(run, column) for run in self.runs])


def groups_of(runs: Iterable[Run]) -> tuple[Group, ...]:
    """The runs that are there and valid, by regime and series, in the runs' order."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        if run.ranks:
            alone = run.record if run.evidence == "reported" else ""
            found.setdefault((run.data, run.fingerprint, run.samples, run.series, run.evidence, alone), []).append(run)
    return tuple(Group(tuple(group)) for group in found.values())


def by_regime(groups: Sequence[Group]) -> dict[Place, list[Group]]:
    """Groups whose regime is known, by it, in their order."""
    found: dict[Place, list[Group]] = {}
    for group in groups:
        if not isinstance(group.place, Absent):
            found.setdefault(group.place, []).append(group)
    return found
