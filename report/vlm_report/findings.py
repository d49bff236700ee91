"""Sentences that follow from frames. None stands without the records behind it, and each names its evidence."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from vlm_contract.codec import Absent
from vlm_contract.console import time_left
from vlm_report.cells import Row
from vlm_report.columns import roughly
from vlm_report.figures import counted, from_to
from vlm_report.finding import (
    TITLES,
    Finding,
    Section,
    about,
    as_reported,
    distinct,
    figure,
    over_seeds,
    rates_of,
    records_of,
    regime,
    same_regime,
)
from vlm_report.frames.families import hypotheses
from vlm_report.frames.histories import FITTED_PERCENT, HIGH_GAP, LOW_GAP, PLATEAU_POINTS, overfitting
from vlm_report.frames.rows import joined, rows_in
from vlm_report.tables import configuration

if TYPE_CHECKING:
    import pandas as pd

FEW = 3  # artifacts that lack a row are named one by one, with a command each

__all__ = ["TITLES", "Finding", "Section", "findings_of"]


def findings_of(frames: "Mapping[str, pd.DataFrame]") -> tuple[Finding, ...]:
    """Every finding, by section in the order of TITLES."""
    rows = {name: rows_in(frame) for name, frame in frames.items()}
    trained = [row for row in rows["samples"] if not isinstance(row["evidence"], Absent)]
    valid = [run for run in rows["training"] if isinstance(run["evidence"], str) and run["state"] == "valid"]
    found = (
        *_best(rows["rankings"]),
        *_reached(trained),
        *_families(rows["families"]),
        *_overfitting(trained),
        *_growth(trained),
        *_courses(valid),
        *_times(rows["times"]),
        *_exports(rows["exported"]),
        *_estimates(rows["estimates"]),
        *_settings(valid),
        *_trained_on(valid),
        *_doubted(rows["training"], rows["benchmark"]),
        *_next(rows),
    )
    order = list(TITLES)
    return tuple(sorted(found, key=lambda finding: order.index(finding.section)))


def _best(rankings: Sequence[Row]) -> Iterator[Finding]:
    """The best performer of each regime, and who cannot be told from it; of what is reported, by itself."""
    for row in rankings:
        alike = [each for each in rankings if each["by"] == row["by"] and each["evidence"] == row["evidence"]]
        rivals = [each for each in alike if same_regime(each, row)]
        if row["by"] != "validation accuracy" or row["rank"] > 1 or len(rivals) < 2:
            continue
        ties = f", and is tied with {', '.join(row['tied_with'])}" if row["tied_with"] else ""
        text = (
            f"On {regime(row)}, {row['series']} is the best of {len(rivals)}: "
            f"{figure(row, 'value')} % validation accuracy{over_seeds(row, 'value')}{ties}.{_alone(rivals)}"
        )
        yield Finding("performance", regime(row), text + as_reported(row), row["evidence"], joined(records_of(rivals)))


def _alone(rivals: Sequence[Row]) -> str:
    single = sum(row["seeds"] == 1 for row in rivals)
    if not single:
        return ""
    have = "All have" if single == len(rivals) else f"{single} of them {'has' if single == 1 else 'have'}"
    return f" {have} one seed: a small difference may be chance."


def _reached(trained: Sequence[Row]) -> Iterator[Finding]:
    """What each model reaches with so many samples: on the test images where they were scored."""
    for row in trained:
        name = "validation" if isinstance(row["test_accuracy_percent"], Absent) else "test"
        column = f"{name}_accuracy_percent"
        if isinstance(row[column], Absent):
            continue
        reached = f"{figure(row, column)} % {name} accuracy on {regime(row)}{over_seeds(row, column)}"
        yield about(row, "performance", f"{row['series']} reaches {reached}.")


def _overfitting(trained: Sequence[Row]) -> Iterator[Finding]:
    for row in trained:
        gap = row["overfitting_gap_points"]
        if isinstance(gap, Absent) or gap <= LOW_GAP:
            continue
        text = (
            f"{overfitting(gap).capitalize()} overfitting on {regime(row)}: "
            f"{figure(row, 'train_accuracy_percent')} % training against "
            f"{figure(row, 'validation_accuracy_percent')} % validation accuracy, "
            f"{figure(row, 'overfitting_gap_points')} points{over_seeds(row, 'overfitting_gap_points')}."
        )
        more = " Stronger regularisation or more data has room to help." if gap > HIGH_GAP else ""
        yield about(row, "models", text + more)


def _growth(trained: Sequence[Row]) -> Iterator[Finding]:
    """What more samples bring, from each size to the next."""
    for series in distinct(trained, "series", "data", "fingerprint", "evidence"):
        sizes = [row for row in series if isinstance(row["samples"], int)]
        for fewer, more in pairwise(sizes):
            columns = ("validation_accuracy_percent", "overfitting_gap_points")
            if fewer["samples"] == more["samples"] or any(
                isinstance(r[c], Absent) for r in (fewer, more) for c in columns
            ):
                continue
            gained = more[columns[0]] - fewer[columns[0]]
            overlap = fewer[f"{columns[0]}_high"] >= more[f"{columns[0]}_low"] and gained > 0
            gains = f"{'gains' if gained >= 0 else 'loses'} {abs(gained):.1f} points"
            text = (
                f"From {fewer['samples']:,} to {counted(more['samples'], 'sample')} of {more['data']}, validation "
                f"accuracy {gains}{', though the seeds overlap' * overlap}; the overfitting gap goes from "
                f"{fewer[columns[1]]:.1f} to {more[columns[1]]:.1f} points."
            )
            records = joined((fewer["record"], more["record"]))
            yield Finding("models", more["series"], text + as_reported(more), more["evidence"], records)


def _courses(runs: Sequence[Row]) -> Iterator[Finding]:
    """How training went, from the histories."""
    for group in distinct(runs, "series", "data", "fingerprint", "samples", "evidence"):
        able = [run for run in group if isinstance(run["plateau_epoch"], int) and run["epochs"] > 1]
        if not able or able[0]["floor"]:
            continue
        fitted = [run["fitted_epoch"] for run in able if isinstance(run["fitted_epoch"], int)]
        parts = [
            f"on {regime(able[0])}, validation accuracy came within {PLATEAU_POINTS:g} point of its best by epoch "
            f"{from_to([run['plateau_epoch'] for run in able])} of {from_to([run['epochs'] for run in able])}"
        ]
        if len(fitted) == len(able):
            parts.append(f"training accuracy reached {FITTED_PERCENT:g} % by epoch {from_to(fitted)}")
        if last := sum(run["epoch"] == run["epochs"] for run in able):
            where = "" if len(able) == 1 else f" in {last} of {counted(len(able), 'run')}"
            parts.append(f"the last epoch was the best{where}: more may gain")
        unstable = [run["run"] for run in able if run["stable"] is False]
        parts.append(
            f"the training loss rose again in {', '.join(unstable)}"
            if unstable
            else "training was stable, with no divergence"
        )
        text = "; ".join(parts)
        yield Finding(
            "models", able[0]["series"], f"{text[0].upper()}{text[1:]}.", "measured", joined(records_of(able))
        )


def _families(families: Sequence[Row]) -> Iterator[Finding]:
    for answer in hypotheses(families):
        yield Finding("families", "", answer.text, answer.evidence, answer.record)


def _times(times: Sequence[Row]) -> Iterator[Finding]:
    for row in times:
        if isinstance(row["wall_s"], Absent):
            continue
        about_so_much = "wall_s" in row["approximate"]
        took = f"about {roughly(row['wall_s'])}" if about_so_much else time_left(row["wall_s"])
        of = "" if isinstance(row["epochs"], Absent) else f" for {counted(row['epochs'], 'epoch')}"
        speed = (
            ""
            if isinstance(row["iterations_per_s"], Absent)
            else f" at {rates_of(row, 'iterations_per_s')} iterations/s"
        )
        images = "" if isinstance(row["images_per_s"], Absent) else f", {rates_of(row, 'images_per_s')} images/s"
        gpu = (
            ""
            if isinstance(row["gpu_use_percent"], Absent)
            else f", the GPU computing {row['gpu_use_percent']:.0f} % of the time"
        )
        device = "" if isinstance(row["device"], Absent) else f" ({row['device']})"
        text = f"{row['series']} took {took}{of} on {regime(row)}{speed}{images}{gpu}{device}."
        yield about(row, "times", text)


def _exports(exported: Sequence[Row]) -> Iterator[Finding]:
    if not exported:
        return
    accepted = [row for row in exported if row["state"] == "accepted"]
    drops = [row for row in accepted if not isinstance(row["accuracy_drop_points"], Absent)]
    text = f"{len(accepted)} of {counted(len(exported), 'exported artifact')} passed every check"
    if drops:
        worst = max(drops, key=lambda row: row["accuracy_drop_points"])
        least = min(drops, key=lambda row: row["accuracy_drop_points"])
        drop = worst["accuracy_drop_points"]
        text += (
            f"; the largest loss of accuracy is {drop:.2f} points, {worst['artifact']}'s"
            if drop > 0
            else f"; none lost accuracy (from {drop:+.2f} to {least['accuracy_drop_points']:+.2f} points of drop)"
            if drop != least["accuracy_drop_points"]
            else "; none lost accuracy"
        )
    yield Finding("export", "", f"{text}.", "measured", joined(records_of(exported)))
    for row in exported:
        if row["state"] == "refused":
            yield Finding(
                "export", row["model"], f"{row['artifact']} was refused: {row['refused']}.", "measured", row["record"]
            )


def _estimates(judged: Sequence[Row]) -> Iterator[Finding]:
    sure = [row for row in judged if isinstance(row["within"], bool)]
    if not sure:
        return
    held = sum(row["within"] for row in sure)
    coverage = from_to([row["coverage_percent"] for row in sure])
    text = (
        f"Of {counted(len(sure), 'estimate')} that a measurement superseded, {held} had it within the interval, which "
        f"is to cover {coverage} %; the ratios to what was measured go from {min(r['ratio'] for r in sure):.2f} to "
        f"{max(r['ratio'] for r in sure):.2f}."
    )
    yield Finding(
        "export", "", text, "estimated", joined([p for r in sure for p in (r["record"], r["measured_record"])])
    )


def _settings(runs: Sequence[Row]) -> Iterator[Finding]:
    """Whether the models of a regime are compared under the same settings."""
    for group in distinct(runs, "data", "fingerprint", "samples", "evidence"):
        models = [run for run in group if not run["floor"]]
        said = configuration(models)
        if said and len({run["model"] for run in models}) > 1:
            yield Finding(
                "general",
                regime(group[0]),
                f"On {regime(group[0])}: {said}{as_reported(group[0])}",
                group[0]["evidence"],
                joined(records_of(models)),
            )


def _trained_on(runs: Sequence[Row]) -> Iterator[Finding]:
    for group in distinct([run for run in runs if isinstance(run["device"], str)], "device", "evidence"):
        kinds = sorted(
            {run["precision"].partition(",")[0].partition(":")[0] for run in group if isinstance(run["precision"], str)}
        )
        computed = f" in {', '.join(kinds)}" if kinds else ""
        text = f"{counted(len(group), 'run')} on {group[0]['device']}{computed}."
        yield Finding("general", "", text + as_reported(group[0]), group[0]["evidence"], joined(records_of(group)))


def _doubted(runs: Sequence[Row], benchmark: Sequence[Row]) -> Iterator[Finding]:
    """What documents say that cannot be, or cannot be compared."""
    for run in runs:
        if run["evidence"] == "reported" and run["state"] != "valid":
            yield about(
                run, "general", f"{run['model']} on {regime(run)} is in no ranking: {run['state']}; {run['notes']}."
            )
    for row in benchmark:
        if isinstance(row["origin"], str) and isinstance(row["evidence"], Absent):
            text = f"What a document says of the speed of {row['model']} on {row['target']} is {row['standing']}."
            yield Finding("general", row["model"], text, "reported", row["record"])


def _next(rows: Mapping[str, Sequence[Row]]) -> Iterator[Finding]:
    """What is missing, with the command that fills it: training first, then exports, then measurements."""
    for run in rows["training"]:
        if isinstance(run["evidence"], Absent) and run["to_type"]:
            yield _missing(run["model"], f"Train {run['model']} on {regime(run)}.", run["to_type"])
    said = set()
    for row in rows["efficiency"]:
        if row["to_type"] and row["model"] not in said:
            said.add(row["model"])
            yield _missing(row["model"], f"{row['model']} has no latency at batch 1 on any target.", row["to_type"])
    unmeasured = [row for row in rows["benchmark"] if row["standing"] == "not measured"]
    if len(unmeasured) > FEW:
        yield _missing_together(unmeasured)
        said |= {row["to_type"] for row in unmeasured}
    for row in rows["benchmark"]:
        if row["to_type"] and row["to_type"] not in said and not isinstance(row["origin"], str):
            where = "" if isinstance(row["target"], Absent) else f" on {row['target']}, batch {row['batch']}"
            said.add(row["to_type"])
            yield _missing(row["model"], f"{row['artifact']}{where}: {row['standing']}.", row["to_type"])
    for row in rows["benchmark"]:
        if row["evidence"] == "estimated" and isinstance(row["improved_by"], str):
            yield _missing(
                row["model"], f"{row['artifact']} is estimated on {row['target']}: {row['improved_by']}.", ""
            )


def _missing_together(rows: Sequence[Row]) -> Finding:
    """One command without the name of an artifact measures all."""
    words = shlex.split(rows[0]["to_type"])
    at = words.index("--artifact")
    named = ", ".join(row["artifact"] for row in rows[:FEW])
    text = f"{len(rows)} artifacts are measured nowhere: {named} and {len(rows) - FEW} more."
    return _missing("", text, shlex.join(words[:at] + words[at + 2 :]))


def _missing(subject: str, text: str, command: str) -> Finding:
    return Finding("next", subject, text, "", "", command)
