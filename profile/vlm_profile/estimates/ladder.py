"""Which grounds an estimate stands on: the best of those that there are for a model on a target.

The rungs, best first: "measured" there; "calibrated" by other models that were measured there; by a device of the
"family", with the same runtime and precision; by "published" rows of the same device; from "specifications" alone.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vlm_contract.codec import Absent, known
from vlm_contract.errors import VlmError
from vlm_contract.measurement import ArtifactUsed, Measurement
from vlm_profile.estimates.anchors import Anchor, correction_for, shares_of
from vlm_profile.estimates.families import Family, family_of, usual_runtime
from vlm_profile.estimates.fitted import Fit, stored_fit
from vlm_profile.estimates.here import target_here
from vlm_profile.estimates.judging import sighted
from vlm_profile.estimates.kinship import why_not_kin
from vlm_profile.estimates.processors import Processor, processor_of, reference_of
from vlm_profile.estimates.published import (
    Row,
    family_of_row,
    hardware_of_device,
    processor_of_row,
    target_of_device,
    usable_rows,
)
from vlm_profile.estimates.recorded import Models, anchor_of_record, counted, family_of_record, is_evidence, is_plain
from vlm_profile.estimates.roofline import CHARACTER_BATCH, kernels_of, least_seconds, seconds_by_group
from vlm_profile.graph.precision import precision_of
from vlm_profile.inputs import Shapes
from vlm_profile.runtimes import runtimes
from vlm_targets.catalogue import Hardware, Target, limits_of, target_named

RUNGS = ("measured", "calibrated", "family", "published", "specifications")


@dataclass(frozen=True)
class Standing:
    """One estimate, and what it stands on."""

    rung: str  # of RUNGS
    seconds: float  # of a call, the whole batch
    least_seconds: float  # that no runtime undercuts
    half_width: float  # of the interval, as a logarithm
    anchors: tuple[str, ...]


@dataclass(frozen=True)
class Ladder:
    """All that can be said of one target with one runtime; made by `ladder_of`."""

    target: Target  # one whose hardware is known
    hardware: Hardware
    runtime: str
    family: Family
    power_mode: str | None
    threads: int | None
    records: Mapping[Path, Measurement]
    models: Models
    fit: Fit
    _grounds: dict[str, tuple[str, tuple[Anchor, ...]]] = field(default_factory=dict)

    @cached_property
    def mode(self) -> str | Absent:
        """The power mode that it holds for, by name. Raises VlmError for an unknown one."""
        return limits_of(self.target, self.power_mode).power_mode

    def processor(self, precision: str) -> Processor:
        """What computes it. Raises VlmError for an unknown precision or power mode."""
        return processor_of(self.target, precision, self.power_mode, self.threads)

    def measured(self, artifact: ArtifactUsed, batch: int) -> Measurement | None:
        """The record of this very model here, run in this very way; the newest of several."""
        found = [
            record
            for record in self._own.values()
            if record.artifact.sha256 == artifact.sha256
            and (record.setup.batch, record.runtime.name) == (batch, self.runtime)
            and self.threads in (None, record.setup.threads)
            and is_plain(record)
        ]
        return max(found, key=lambda record: known(record.measured_utc), default=None)

    def stand(self, model: Path, precision: str, batch: int, shapes: Shapes | None = None) -> Standing:
        """The best rung below "measured". Raises VlmError where the model cannot be counted.

        What anchors say of a model depends on no power mode, or a faster one might make it slower.
        """
        operations, processor = counted(model, shapes).operations, self.processor(precision)
        kernels = kernels_of(operations, batch, processor, self.family)
        alike = kernels_of(operations, CHARACTER_BATCH, reference_of(self.hardware, precision), self.family)
        rung, anchors = self.grounds(precision)
        correction = correction_for(shares_of(seconds_by_group(alike, self.fit.constants)), anchors)
        least = least_seconds(kernels)
        return Standing(
            rung=rung,
            seconds=max(correction.applied(seconds_by_group(kernels, self.fit.constants)), least),
            least_seconds=least,
            half_width=self.fit.half_width(rung, len({anchor.architecture for anchor in anchors})),
            anchors=tuple(anchor.name for anchor in anchors),
        )

    def grounds(self, precision: str) -> tuple[str, tuple[Anchor, ...]]:
        """The best rung that has rows for this precision, and those rows."""
        if precision not in self._grounds:
            self._grounds[precision] = self._find_grounds(precision)
        return self._grounds[precision]

    def _find_grounds(self, precision: str) -> tuple[str, tuple[Anchor, ...]]:
        if own := self._recorded(self._own, precision, elsewhere=False):
            return "calibrated", own
        kin = {path: record for path, record in self._evidence.items() if self._is_kin(record, precision)}
        if related := (*self._recorded(kin, precision, elsewhere=True), *self._published(precision, own=False)):
            return "family", related
        if published := self._published(precision, own=True):
            return "published", published
        return "specifications", ()

    @cached_property
    def _evidence(self) -> dict[Path, Measurement]:
        return {path: record for path, record in self.records.items() if is_evidence(record)}

    @cached_property
    def _own(self) -> dict[Path, Measurement]:
        """Of this target, in the power mode and with the threads that are asked for."""
        return {
            path: record
            for path, record in self._evidence.items()
            if record.target == self.target.name
            and (isinstance(self.mode, Absent) or record.device.power_mode == self.mode)
            and self._same_threads(record)
        }

    def _same_threads(self, record: Measurement) -> bool:
        """Of a CPU; more threads than cores share these."""
        threads, cores = record.setup.threads, self.hardware.cores
        if self.hardware.kind == "gpu":
            return True
        return isinstance(threads, int) and min(threads, cores) == min(self.threads or cores, cores)

    def _is_kin(self, record: Measurement, precision: str) -> bool:
        if record.target in (self.target.name, "host"):
            return False
        target = _target_of(record)
        hardware = None if target is None else target.hardware
        return isinstance(hardware, Hardware) and not why_not_kin(hardware, self.hardware, precision)

    def _recorded(self, records: Mapping[Path, Measurement], precision: str, elsewhere: bool) -> tuple[Anchor, ...]:
        """Those of the same precision and of the same runtime, whose models are at hand; one a model and batch."""
        found: dict[tuple[object, ...], Anchor] = {}
        for path, record in sorted(records.items(), key=lambda item: known(item[1].measured_utc)):
            target = _target_of(record) if elsewhere else self.target
            model = self.models(record.artifact)
            if target is None or model is None or not self._same_runtime(record, target):
                continue
            if not _has_precision(record, model, precision):
                continue
            anchor = anchor_of_record(path.stem, record, target, model, self.fit.constants, elsewhere)
            if anchor is not None:
                found[record.target, record.artifact.sha256, record.setup.batch, record.runtime.name] = anchor
        return tuple(found.values())

    def _same_runtime(self, record: Measurement, target: Target) -> bool:
        """Whether it ran there on the same kind of processor, by the same program or the same engine."""
        hardware = target.hardware
        family = family_of_record(record, hardware) if isinstance(hardware, Hardware) else None
        if family is None or family.runtime != self.family.runtime:
            return False
        return family.is_one_engine or record.runtime.name == self.runtime

    def _published(self, precision: str, own: bool) -> tuple[Anchor, ...]:
        """Published rows of this device, or of others of its family with this runtime; computed by the same unit."""
        unit = self.processor(precision).unit
        rows = (self._is_own_row(row) if own else self._is_kin_row(row, precision) for row in usable_rows())
        return tuple(
            sighted(row, self.fit.constants, elsewhere=True).anchor
            for row, fits in zip(usable_rows(), rows, strict=True)
            if fits and processor_of_row(row).unit == unit
        )

    def _is_own_row(self, row: Row) -> bool:
        return target_of_device(row.device) == self.target.name

    def _is_kin_row(self, row: Row, precision: str) -> bool:
        return (
            not self._is_own_row(row)
            and family_of_row(row).runtime == self.family.runtime
            and not why_not_kin(hardware_of_device(row.device), self.hardware, precision)
        )


def ladder_of(
    target: Target,
    runtime: str = "auto",
    power_mode: str | None = None,
    threads: int | None = None,
    records: Mapping[Path, Measurement] | None = None,
    models: Models = lambda _: None,
) -> Ladder:
    """What there is to stand on; of `host`, this machine's CPU. Raises VlmError where nothing is known of it."""
    if target.name == "host":
        target = target_here(target)
    hardware = target.hardware
    if isinstance(hardware, Absent):
        raise VlmError(f"Nothing is known of {target.title}: {hardware.reason}.", hint="vlm-profile targets")
    runtime = usual_runtime(hardware) if runtime == "auto" else runtime
    family = family_of(runtime, hardware)
    if family is None:
        covered = [name for name in runtimes() if family_of(name, hardware)]
        nearest = difflib.get_close_matches(runtime, covered, n=1) or covered
        raise VlmError(
            f"No estimate covers {runtime!r} on {target.title}: it covers {', '.join(covered)}.",
            hint=f"--runtime {' or '.join(nearest)}",
        )
    check_threads(threads, target.title, hardware)
    return Ladder(target, hardware, runtime, family, power_mode, threads, records or {}, models, stored_fit())


def check_threads(threads: int | None, title: str, hardware: Hardware) -> None:
    """Raise VlmError where a GPU computes, and where there are not so many cores."""
    if threads is not None and hardware.kind == "gpu":
        raise VlmError(f"--threads {threads}: a GPU computes on {title}.", hint="the same without --threads")
    if threads is not None and not 1 <= threads <= hardware.cores:
        raise VlmError(
            f"--threads {threads}: {title} has {hardware.cores} cores.", hint=f"--threads {hardware.cores} or fewer"
        )


def _has_precision(record: Measurement, model: Path, precision: str) -> bool:
    try:
        return precision_of(model, record.artifact) == precision
    except VlmError:
        return False


def _target_of(record: Measurement) -> Target | None:
    """None where a record is filed under a name that no file describes any more."""
    try:
        return target_named(record.target)
    except VlmError:
        return None
