"""How long the report takes to load and to write N measurements.

The records are made here, in a temporary folder that is gone afterwards: nothing measured them, and they say so.
Their size is that of real ones, raw samples included.

    python scripts/bench_report.py [--measurements 10000] [--samples 2000]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from vlm_contract.card import Backbone, CheckpointCard, Data, Effort, Scores
from vlm_contract.codec import Absent, json_from_record
from vlm_contract.manifest import Accuracy, ArtifactManifest, FileEntry, TensorSpec
from vlm_contract.measurement import (
    ArtifactUsed,
    Canary,
    ColdStart,
    Context,
    Device,
    Latency,
    Measurement,
    Memory,
    Repetition,
    RuntimeUsed,
    Setup,
    Throughput,
)
from vlm_contract.workspace import CARD_FILE, MANIFEST_FILE, Workspace
from vlm_report.findings import findings_of
from vlm_report.frames import frames_of
from vlm_report.records import records_of
from vlm_report.tables import csv_of, tables_of

MADE = Absent("made by scripts/bench_report.py: nothing was measured")
ROWS_PER_ARTIFACT = 20  # batches × threads
PROCESSES = 5
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measurements", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=2000, help="raw samples of one record, over its processes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        timed("write the records (not the report's)", lambda: fill(workspace, options.measurements, options.samples))
        size = sum(path.stat().st_size for path in workspace.root.glob("measurements/*/*.json"))
        print(f"{options.measurements} measurements, {size / options.measurements / 1e3:.1f} kB each")
        records = timed("load", lambda: records_of(workspace))
        timed("entries", records.entries)
        frames = timed("frames", lambda: frames_of(records))
        tables = timed("tables", lambda: tables_of(records, frames))
        timed("findings", lambda: findings_of(frames))
        timed("csv", lambda: [csv_of(frame) for frame in frames.values()])
        print(f"{len(tables)} tables, {sum(len(table.rows) for table in tables)} rows")


def timed(what: str, work: Callable[[], T]) -> T:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    result = work()
    print(f"{what}: {time.perf_counter() - wall_s:.2f} s, {time.process_time() - cpu_s:.2f} s of CPU", flush=True)
    return result


def fill(workspace: Workspace, count: int, samples: int) -> None:
    """Runs, artifacts and measurements, so many of the last."""
    row = a_measurement(samples)
    for index in range(-(-count // ROWS_PER_ARTIFACT)):
        name = f"made_{index % 7}-s{index}"
        card, manifest = a_card(name, index), a_manifest(name)
        write(workspace.run(name) / CARD_FILE, json_from_record(card))
        write(workspace.artifact(manifest.artifact) / MANIFEST_FILE, json_from_record(manifest))
        used = replace(row.artifact, name=manifest.artifact, sha256=manifest.files[0].sha256)
        # one text with the place of what differs: encoding every record anew takes longer than all that is timed
        text = json_from_record(replace(row, artifact=used, setup=replace(row.setup, batch=0)))
        for batch in range(1, 1 + min(ROWS_PER_ARTIFACT, count - index * ROWS_PER_ARTIFACT)):
            path = workspace.measurement("host", f"{manifest.artifact}-b{batch}")
            write(path, text.replace('"setup":{"batch":0', f'"setup":{{"batch":{batch}', 1))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def a_card(name: str, index: int) -> CheckpointCard:
    samples = (5000, 10_000, 50_000)[index % 3]
    data = Data("made", "made", "d" * 64, "e" * 64, samples, samples, 500, "made", 1000, "made", 0, index)
    backbone = Backbone(f"made_{index % 7}", "stock", {}, ("0", "1"), 32, 3, (0.5,), (0.5,), 4_210_000, 7_000_000)
    best = Scores(38, samples, 90.0, 0.3, 60.0, 1.5)
    effort = Effort(121.4, 240.2, 812.3, 6.4, 500_000_000, MADE, MADE)
    weights = f"{index:064x}"
    settings = {"epochs": 40, "weights": "random"}
    return CheckpointCard(
        run=name,
        backbone=backbone,
        start="made",
        data=data,
        recipe="made",
        hyperparameters=settings,
        precision="FP32",
        best=best,
        last=replace(best, epoch=40),
        test_accuracy_percent=59.0,
        effort=effort,
        weights_sha256=weights,
        device="made",
        versions={},
        finished_utc="2001-01-01",
    )


def a_manifest(name: str) -> ArtifactManifest:
    tensor = TensorSpec("images", ("batch", 3, 32, 32), "float32")
    return ArtifactManifest(
        artifact=f"{name}.onnx-fp32",
        run=name,
        checkpoint_sha256=f"{int(name.rpartition('s')[2]):064x}",
        backbone=name.partition("-")[0],
        format="onnx",
        precision="fp32",
        opset=18,
        runtime=MADE,
        compute_capability=MADE,
        preprocess="outside",
        inputs=(tensor,),
        outputs=(tensor,),
        batch_min=1,
        batch_max=MADE,
        files=(FileEntry("model.onnx", 17_000_000, name.encode().hex()[:64].ljust(64, "0")),),
        parameters=4_210_000,
        macs=7_000_000,
        flops=14_000_000,
        parity=(),
        device_parity=MADE,
        range_scan=MADE,
        quantisation=MADE,
        engine=MADE,
        accuracy=Accuracy(500, 60.0, 60.0, 100.0, 0, 0, 1.0),
        refused=(),
        options={},
        not_reproducible=(),
        build_s=3.0,
        versions={},
        made_utc="2001-01-01",
    )


def a_measurement(samples: int) -> Measurement:
    device = Device("made", "made", 2, 2, 8_000_000_000, MADE, MADE, "made", "made")
    return Measurement(
        target="host",
        evidence="measured",
        protocol="made",
        settings={"mode": "full"},
        device=device,
        runtime=RuntimeUsed("made", "0", "made", {}),
        artifact=ArtifactUsed("", "model.onnx", "", 17_000_000, "onnx", "fp32"),
        setup=Setup(1, 2, 1, "made", MADE, {}),
        latency=a_latency(samples),
        throughput=Throughput(222.0, 220.0, 224.0, 1, 1, 2, "made"),
        memory=Memory(181_000_000, 90_000_000, MADE, {}, "made"),
        cold_start=ColdStart(0.1, 0.2, 0.009),
        pacing=MADE,
        sustained=MADE,
        energy=MADE,
        temperature=MADE,
        estimate=MADE,
        origin=MADE,
        verdicts=(),
        repetitions=tuple(a_repetition(order, samples // PROCESSES) for order in range(PROCESSES)),
        environment={},
        measured_utc="2001-01-01T00:02:00+00:00",
    )


def a_latency(samples: int) -> Latency:
    return Latency(
        4.5, 4.47, 4.53, 4.1, 4.9, 5.2, 6.1, 4.6, 0.1, 0.1, 3.9, 9.0, 3, samples, PROCESSES, 9.0, 4.5, MADE
    )  # fmt: skip


def a_repetition(order: int, samples: int) -> Repetition:
    context = tuple(Context(index / 5, 0.0, 0.4, 0, 0.4, 0.4, 0.0, 2400.0) for index in range(10))
    return Repetition(
        order=order,
        attempt=1,
        phases_s={"import": 0.1, "load": 0.2, "first": 0.01, "warmup": 0.3, "measure": 2.0, "teardown": 0.1},
        warmup_ns=tuple(4_600_000 + index for index in range(samples // 4)),
        samples_ns=tuple(4_500_000 + index for index in range(samples)),
        device_ns=(),
        repeated_ns=(),
        measure_s=2.0,
        began_s=0.0,
        frames=0,
        dropped=0,
        context=context,
        readings=(),
        canary=Canary(1.0, 1.0, 1.0, 1.0),
        baseline_rss_bytes=90_000_000,
        peak_rss_bytes=181_000_000,
        device_peak_bytes=MADE,
        by_source={},
        unlike=(),
        nonfinite=(),
        fallback="",
        threads_seen=2,
        cpus=(0, 1),
    )


if __name__ == "__main__":
    main()
