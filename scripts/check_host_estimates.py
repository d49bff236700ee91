#!/usr/bin/env python3
"""What each rung would have said of models that were measured on this machine: with 0, 1 and 3 anchors.

The measurements are those of a workspace, made on a quiet machine by, say,
`vlm-profile --target host --runtime onnxruntime --batch 1,8`. Anchors are of other architectures than the model that is
estimated, each of one of its own, in the same precision and with the same number of threads.
"""

import argparse
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import plain_table
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Latency, Measurement
from vlm_contract.workspace import Workspace, default_workspace
from vlm_profile.estimates.fitted import stored_fit
from vlm_profile.estimates.here import target_here
from vlm_profile.estimates.ladder import ladder_of
from vlm_profile.estimates.record import models_of
from vlm_profile.estimates.recorded import Models, anchor_of_record, is_evidence
from vlm_profile.graph.precision import precision_of
from vlm_targets.catalogue import target_named

ANCHORS = (0, 1, 3)
DRAWS = 20
HEADER = ["model", "batch", "measured, ms", *(f"{number} anchors, ms" for number in ANCHORS)]

Records = Mapping[Path, Measurement]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=default_workspace(), help="with measurements of the host")
    parser.add_argument("--runtime", default="onnxruntime", help="that the records are of (default: onnxruntime)")
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    models = models_of(workspace)
    records = _records(workspace, options.runtime, models)
    if not records:
        raise SystemExit(f"{workspace.root} has no valid measurement of this machine by {options.runtime}.")
    lines, errors = [], {number: list[float]() for number in ANCHORS}
    for path, record in records.items():
        said = {number: _said(path, records, number, models, options.runtime) for number in ANCHORS}
        measured = _milliseconds(record)
        for number, found in said.items():
            errors[number] += [100 * (math.exp(abs(math.log(each / measured))) - 1) for each in found]
        figures = (f"{statistics.median(found):.3g}" if found else "—" for found in said.values())
        lines.append([record.artifact.name, str(record.setup.batch), f"{measured:.3g}", *figures])
    print(plain_table(HEADER, lines))
    for number, found in errors.items():
        if found:
            print(f"{number} anchors: median error {statistics.median(found):.1f} %, over {len(records)} rows")


def _records(workspace: Workspace, runtime: str, models: Models) -> Records:
    return {
        path: record
        for path, record in workspace.measurements().records.items()
        if record.target == "host"
        and record.runtime.name == runtime
        and is_evidence(record)
        and isinstance(record.latency, Latency)
        and models(record.artifact) is not None
    }


def _said(path: Path, records: Records, number: int, models: Models, runtime: str) -> Sequence[float]:
    """Milliseconds that are estimated with so many anchors; one figure a draw."""
    record = records[path]
    others = _of_other_architectures(record, records, models)
    if len(others) < number:
        return ()
    draw = random.Random(f"{path.name} {number}")
    model, batch = models(record.artifact), record.setup.batch
    threads = None if isinstance(record.setup.threads, Absent) else record.setup.threads
    if model is None or not isinstance(batch, int):
        raise VlmError(f"{path} names no model or batch.")
    precision, found = precision_of(model, record.artifact), []
    for _ in range(DRAWS if number else 1):
        paths = [draw.choice(others[name]) for name in draw.sample(sorted(others), number)]
        chosen = {each: records[each] for each in paths}
        ladder = ladder_of(target_named("host"), runtime, None, threads, chosen, models)
        found.append(ladder.stand(model, precision, batch).seconds * 1e3)
    return found


def _of_other_architectures(
    record: Measurement, records: Records, models: Models
) -> Mapping[tuple[float, ...], Sequence[Path]]:
    """Records that may be its anchors, by their architecture: those of one would tell the same twice."""
    found: dict[tuple[float, ...], list[Path]] = defaultdict(list)
    own = _architecture(record, models)
    for path, other in records.items():
        is_alike = (other.setup.threads, other.artifact.precision) == (record.setup.threads, record.artifact.precision)
        if is_alike and (architecture := _architecture(other, models)) != own:
            found[architecture].append(path)
    return found


def _architecture(record: Measurement, models: Models) -> tuple[float, ...]:
    """Empty where the model cannot be counted: such a record is no anchor."""
    model, host = models(record.artifact), target_here(target_named("host"))
    anchor = model and anchor_of_record("", record, host, model, stored_fit().constants, elsewhere=False)
    return anchor.architecture if anchor else ()


def _milliseconds(record: Measurement) -> float:
    assert isinstance(record.latency, Latency)
    return record.latency.latency_ms_p50


if __name__ == "__main__":
    main()
