"""What training took: wall clock, processor time, images and iterations a second, use of the GPU."""

from collections.abc import Iterable
from dataclasses import dataclass

from vlm_contract.codec import Absent
from vlm_report.frames.rows import Spread, joined, part, spread
from vlm_report.frames.run import Run
from vlm_report.frames.seeds import Group, groups_of

SPREAD = ("wall_s", "cpu_s", "images_per_s", "iterations_per_s", "gpu_use_percent")


@dataclass(frozen=True)
class Time:
    """One model in one regime on one device, in one precision; low and high over the seeds."""

    model: str
    variant: str
    series: str
    data: str | Absent
    samples: int | Absent
    device: str | Absent
    precision: str | Absent
    seeds: int
    epochs: int | Absent
    wall_s: float | Absent
    wall_s_low: float | Absent
    wall_s_high: float | Absent
    s_per_epoch: float | Absent
    cpu_s: float | Absent
    cpu_s_low: float | Absent
    cpu_s_high: float | Absent
    images_per_s: float | Absent
    images_per_s_low: float | Absent
    images_per_s_high: float | Absent
    iterations_per_s: float | Absent
    iterations_per_s_low: float | Absent
    iterations_per_s_high: float | Absent
    gpu_use_percent: float | Absent
    gpu_use_percent_low: float | Absent
    gpu_use_percent_high: float | Absent
    peak_rss_bytes: float | Absent
    device_peak_bytes: float | Absent
    approximate: tuple[str, ...]
    evidence: str
    record: str


def time_rows(runs: Iterable[Run]) -> list[Time]:
    """One row for each; runs on unlike devices are never averaged. What is missing has no row here."""
    return [_row(Group(tuple(alike))) for group in groups_of(runs) for alike in _by_machine(group)]


def _by_machine(group: Group) -> Iterable[list[Run]]:
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in group.runs:
        found.setdefault((run.device, _kind(run.precision)), []).append(run)
    return found.values()


def _kind(precision: str | Absent) -> str | Absent:
    """The precision itself; behind it the record says why, in figures that differ from run to run."""
    return precision if isinstance(precision, Absent) else precision.partition(",")[0].partition(":")[0]


def _row(group: Group) -> Time:
    first = group.first
    figures = {name: group.spread(name) for name in SPREAD}
    return Time(
        model=first.model,
        variant=first.variant,
        series=first.series,
        data=first.data,
        samples=first.samples,
        device=first.device,
        precision=_kind(first.precision),
        seeds=len(group.runs),
        epochs=first.epochs if len({run.epochs for run in group.runs}) == 1 else Absent("the runs differ in it"),
        **{
            f"{name}{suffix}": part(found, of)
            for name, found in figures.items()
            for suffix, of in (("", "mean"), ("_low", "low"), ("_high", "high"))
        },
        s_per_epoch=part(spread([_per_epoch(run) for run in group.runs]), "mean"),
        peak_rss_bytes=_most(group.spread("peak_rss_bytes")),
        device_peak_bytes=_most(group.spread("device_peak_bytes")),
        approximate=first.approximate,
        evidence=group.evidence,
        record=joined(group.records),
    )


def _per_epoch(run: Run) -> float | Absent:
    if isinstance(run.wall_s, Absent) or isinstance(run.epochs, Absent):
        return run.wall_s if isinstance(run.wall_s, Absent) else run.epochs
    return run.wall_s / run.epochs


def _most(found: Spread | Absent) -> float | Absent:
    return found if isinstance(found, Absent) else found.high
