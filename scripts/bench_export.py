#!/usr/bin/env python3
"""What exports of finished runs give and cost: --run makes a table of artifacts, --beside-bare compares processes.

The table is of real exports into a workspace that is thrown away, from their manifests; both graphs of a speed ratio
were timed in turns in this session. The processes are `vlm-export --precision fp32,fp16` with all its checks, and a
bare script that loads the same weights and has torch write one dynamic FP32 graph to a file; they take turns, so that
other load meets both alike. CPU time is that of the whole process, and hardly changed by other load.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_int8 import Timed, medians_in_turns

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
import torch

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine, plain_table
from vlm_contract.workspace import Workspace
from vlm_export import Exported, Wanted, export_checkpoint
from vlm_targets.host import device_of

HEADER = ["model", "precision", "", "build, s", "bytes", "max abs difference", "yardstick", "top-1 agreement, %"]
HEADER += ["accuracy, %", "drop", "p", "FP32 ÷ it", "in CPU time"]
BARE = """
import json, sys
import timm, torch
from safetensors.torch import load_file
from vlm_train.adaptations import adapt_module

run, file = sys.argv[1:]
backbone = json.load(open(f"{run}/checkpoint.json"))["backbone"]
name, classes, channels, size = backbone["name"], backbone["classes"], backbone["channels"], backbone["image_size"]
module = timm.create_model(name, num_classes=len(classes), in_chans=channels, **backbone["arguments"])
adapt_module(module, name, backbone["adapt"])
module.load_state_dict(load_file(f"{run}/model.safetensors"))
images = torch.zeros(2, channels, size, size)
shapes = ({0: torch.export.Dim("batch")},)
torch.onnx.export(module.eval(), (images,), file, dynamo=True, opset_version=18, dynamic_shapes=shapes)
"""


@dataclass(frozen=True)
class Took:
    """What one process took, or how many times another's."""

    wall_s: float
    cpu_s: float


def rows_of(run: Path, options: argparse.Namespace) -> list[list[str]]:
    """Export one run; a row for each precision."""
    with tempfile.TemporaryDirectory() as folder:
        exported = export_checkpoint(run, Workspace(Path(folder)), Wanted(options.precision), LiveLine())
        speeds = speed_ratios(exported, options)
        return [[*figures(each), *speeds.get(each.manifest.precision, ["", ""])] for each in exported]


def figures(exported: Exported) -> list[str]:
    """Parity on validation images, accuracy and agreement on the whole validation set."""
    manifest = exported.manifest
    parity, accuracy = manifest.parity[0], manifest.accuracy
    row = [manifest.backbone, manifest.precision, "refused" if manifest.refused else "passed"]
    row += [f"{manifest.build_s:.1f}", str(manifest.files[0].bytes)]
    row += [f"{parity.max_abs_difference:.2g}", f"{parity.yardstick:.2g}"]
    if isinstance(accuracy, Absent):
        return row + ["—"] * 4
    row += [f"{accuracy.agreement_percent:.2f}", f"{accuracy.artifact_percent:.2f}"]
    return [*row, f"{accuracy.drop_points:+.2f}", f"{accuracy.p_value:.2g}"]


def speed_ratios(exported: Sequence[Exported], options: argparse.Namespace) -> dict[str, list[str]]:
    """Of INT8, where it was made beside FP32: by the clock, and in CPU time."""
    made = {each.manifest.precision: each for each in exported}
    if not {"fp32", "int8"} <= made.keys():
        return {}
    graphs = (onnx.load(made[precision].folder / "model.onnx") for precision in ("fp32", "int8"))
    fp32, int8 = (Timed(graph, options.threads) for graph in graphs)
    shape = made["fp32"].manifest.inputs[0].shape[1:]
    batch = np.random.default_rng(0).standard_normal((options.batch, *map(int, shape)), np.float32)
    wall, other_wall, cpu, other_cpu = medians_in_turns(fp32, int8, batch, options.timings)
    return {"int8": [f"{wall / other_wall:.2f}", f"{cpu / other_cpu:.2f}"]}


def beside_bare(run: Path, rounds: int) -> str:
    """Whole processes, in turns."""
    ours: list[Took] = []
    bare: list[Took] = []
    for turn in range(rounds):
        for times in (ours, bare) if turn % 2 else (bare, ours):
            with tempfile.TemporaryDirectory() as folder:
                words = ["-m", "vlm_export", "--ckpt", str(run), "--precision", "fp32,fp16", "--workspace", folder]
                times.append(took(words if times is ours else ["-c", BARE, str(run), f"{folder}/model.onnx"]))
    ratios = [Took(a.wall_s / b.wall_s, a.cpu_s / b.cpu_s) for a, b in zip(ours, bare, strict=True)]
    named = {"vlm-export --precision fp32,fp16": ours, "bare torch.onnx.export": bare, "ratio": ratios}
    rows = [
        [name, *spread([each.wall_s for each in times]), *spread([each.cpu_s for each in times])]
        for name, times in named.items()
    ]
    return plain_table([f"{run.name}, seconds", "clock: min", "median", "max", "CPU: min", "median", "max"], rows)


def took(words: Sequence[str]) -> Took:
    """Run one process of Python to its end."""
    began, before = time.perf_counter(), cpu_s_of_children()
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{' '.join(words)[:300]} ended with {ran.returncode}:\n{ran.stderr}")
    return Took(time.perf_counter() - began, cpu_s_of_children() - before)


def cpu_s_of_children() -> float:
    """Of all that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spread(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in (min(values), statistics.median(values), max(values))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, nargs="*", default=[], help="folders of finished runs, for the table")
    parser.add_argument("--precision", type=lambda text: tuple(text.split(",")), default=("fp32", "fp16", "int8"))
    for name, default in (("batch", 1), ("threads", 1), ("timings", 51)):
        parser.add_argument(f"--{name}", type=int, default=default, help="of the speed ratio (default: %(default)s)")
    parser.add_argument("--beside-bare", type=Path, nargs="*", default=[], help="folders of finished runs")
    parser.add_argument("--rounds", type=int, default=3, help="of two processes each (default: %(default)s)")
    options = parser.parse_args()

    print(f"{device_of().cpu}, processors {len(os.sched_getaffinity(0))}, load {os.getloadavg()[0]:.1f}, ", end="")
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    if options.run:
        print(plain_table(HEADER, [row for run in options.run for row in rows_of(run, options)]))
    for run in options.beside_bare:
        print(beside_bare(run, options.rounds))


if __name__ == "__main__":
    main()
