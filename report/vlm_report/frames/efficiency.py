"""What accuracy costs: parameters and latency for each unit of it, and the resistance to overfitting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm_contract.codec import Absent, known
from vlm_report.frames.histories import resistance
from vlm_report.frames.run import Run
from vlm_report.frames.seeds import Group, by_regime
from vlm_report.records import Records

BATCH = 1
NO_LATENCY = Absent(f"no latency at batch {BATCH} of an artifact of this model")
WHERE = ("target", "artifact", "precision", "runtime")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Efficiency:
    """One model in one regime, by its best seed, with its fastest valid artifact at batch 1 on one target.

    A ratio is a cost over the accuracy as a fraction: 27.87 M parameters at 51.58 % are 54.03.
    """

    model: str
    series: str
    floor: bool
    data: str
    fingerprint: str
    samples: int
    seeds: int
    validation_accuracy_percent: float  # best over the seeds
    parameters: int | Absent
    parameters_per_accuracy: float | Absent  # millions over the fraction
    target: str | Absent
    artifact: str | Absent  # whose latency it is
    precision: str | Absent
    runtime: str | Absent
    latency_ms_p50: float | Absent
    latency_ms_p50_low: float | Absent
    latency_ms_p50_high: float | Absent
    latency_per_accuracy: float | Absent  # milliseconds over the fraction
    latency_per_accuracy_low: float | Absent
    latency_per_accuracy_high: float | Absent
    overfitting_gap_points: float | Absent  # of the same run
    overfitting_resistance: str | Absent  # "Low", "Medium" or "High"
    evidence: str  # of the accuracy
    latency_evidence: str | Absent
    to_type: str  # the command that gives it a latency, where it has none
    record: str
    latency_record: str  # empty where there is no latency


def efficiency_rows(groups: Iterable[Group], benchmark: Sequence[Row], records: Records) -> list[Efficiency]:
    """One row for each model of a regime and each target that an artifact of it has a latency on."""
    fastest = _fastest(benchmark)
    return [
        _row(group, latency, "" if latency else _to_type(group, benchmark, records))
        for rivals in by_regime(list(groups)).values()
        for group in rivals
        if not isinstance(group.spread("validation_accuracy_percent"), Absent)
        for latency in _latencies(group, fastest) or [{}]
    ]


def _fastest(benchmark: Sequence[Row]) -> dict[tuple[str, object, str], list[Row]]:
    """Rows at batch 1 by model, data and kind of evidence: of each target the fastest, what is measured first."""
    found: dict[tuple[str, object, str], dict[str, Row]] = {}
    able = [row for row in benchmark if _is_able(row)]
    for row in sorted(able, key=lambda row: (row["evidence"] != "measured", row["latency_ms_p50"])):
        kind = "reported" if row["evidence"] == "reported" else "own"
        data = "" if kind == "reported" else row["data"]
        found.setdefault((row["model"], data, kind), {}).setdefault(row["target"], row)
    return {key: [rows[target] for target in sorted(rows)] for key, rows in found.items()}


def _is_able(row: Row) -> bool:
    batch, streams = row["batch"], row["streams"]
    one = batch == BATCH or (isinstance(batch, Absent) and row["evidence"] == "reported")
    alone = isinstance(row["fps"], Absent) and not (isinstance(streams, int) and streams > 1)
    accepted = row["standing"] == "valid" and "refused by the export" not in row["labels"]
    return one and alone and accepted and not isinstance(row["latency_ms_p50"], Absent)


def _latencies(group: Group, fastest: Mapping[tuple[str, object, str], list[Row]]) -> list[Row]:
    reported = group.evidence == "reported"
    return fastest.get((group.model, "" if reported else group.first.data, "reported" if reported else "own"), [])


def _to_type(group: Group, benchmark: Sequence[Row], records: Records) -> str:
    """What measures an artifact of the model, or exports one; floors are not exported."""
    if group.evidence == "reported" or group.first.floor:
        return ""
    run = str(group.first.run)
    accepted = [row["artifact"] for row in benchmark if row["run"] == run and row["standing"] != "refused"]
    return records.profile_command(accepted[0]) if accepted else records.export_command(run)


def _row(group: Group, latency: Row, to_type: str) -> Efficiency:
    best = max(group.runs, key=lambda run: known(run.validation_accuracy_percent))
    percent, gap = known(best.validation_accuracy_percent), best.overfitting_gap_points
    figures = ("latency_ms_p50", "latency_ms_p50_low", "latency_ms_p50_high")
    low_middle_high: dict[str, Any] = {name: latency.get(name, NO_LATENCY) for name in figures}
    where: dict[str, Any] = {name: latency.get(name, NO_LATENCY) for name in WHERE}
    ratios: dict[str, Any] = {
        name.replace("ms_p50", "per_accuracy"): per_accuracy(value, percent) for name, value in low_middle_high.items()
    }
    return Efficiency(
        model=group.model,
        series=group.series,
        floor=best.floor,
        **_regime(best),
        seeds=len(group.runs),
        validation_accuracy_percent=percent,
        parameters=best.parameters,
        parameters_per_accuracy=per_accuracy(_millions(best.parameters), percent),
        **where,
        **low_middle_high,
        **ratios,
        overfitting_gap_points=gap,
        overfitting_resistance=gap if isinstance(gap, Absent) else resistance(gap),
        evidence=group.evidence,
        latency_evidence=latency.get("evidence", NO_LATENCY),
        record=str(best.record),
        to_type=to_type,
        latency_record=latency.get("record", ""),
    )


def per_accuracy(cost: float | Absent, percent: float) -> float | Absent:
    """A cost over the accuracy as a fraction."""
    if isinstance(cost, Absent):
        return cost
    return cost / (percent / 100) if percent else Absent("no image was right")


def _regime(run: Run) -> dict[str, Any]:
    return {"data": run.data, "fingerprint": run.fingerprint, "samples": run.samples}


def _millions(count: int | Absent) -> float | Absent:
    return count if isinstance(count, Absent) else count / 1e6
