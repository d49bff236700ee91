#!/usr/bin/env python3
"""Hold the estimate of memory against ONNX Runtime's real peaks on this machine; with --fit, refit its constants too.

Each backbone is exported untrained, or taken from --models as NAME-PIXELS.onnx. What a fresh process that opens and
runs it grows by (VmHWM, over the imported runtime) stands beside the estimate. Needs the extra `export`; with the
exports some ten minutes. Exits with 1 where an estimate is off by more than --within.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm_contract.console import plain_table
from vlm_export.graph import onnx_from_module
from vlm_profile.estimates.memory.peak import BYTES, input_bytes, memory_of, weights_of
from vlm_profile.graph.steps import steps_of
from vlm_profile.onnxfile.check import model_of
from vlm_profile.process import worker_variables
from vlm_train.backbones import backbone_from_timm, module_from_backbone

BACKBONES = ["resnet50", "mobilenetv3_large_100", "tf_efficientnetv2_s", "convnextv2_tiny"]
BACKBONES += ["vit_base_patch16_224", "deit_small_patch16_224", "swin_tiny_patch4_window7_224"]
OPSET = 18
HEADER = ["model", "pixels", "batch", "predicted, MB", "measured, MB", "ratio"]
# Two feeds in turns, as the worker has more than one; from the second run on the runtime plans one block for all.
MEASURED = """
import json, sys
from pathlib import Path
import numpy
from vlm_profile.kernel import reset_peak, rss_bytes
from vlm_profile.runtimes import runtimes

model, name, shape = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
kind = runtimes()["onnxruntime"]
kind.import_library()
feeds = [{name: numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32)} for seed in range(2)]
assert reset_peak(), "the kernel does not let the peak begin anew"
before = rss_bytes("VmRSS")
runtime = kind(model, 1, {})
loaded = rss_bytes("VmHWM") - before
for turn in range(4):
    runtime.run(feeds[turn % 2])
print(json.dumps([loaded, rss_bytes("VmHWM") - before]))
"""


@dataclass(frozen=True)
class Peaks:
    """What one process grew by."""

    model: Path
    pixels: int
    batch: int
    loaded_bytes: int
    ran_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder with NAME-PIXELS.onnx (default: exported, and gone after)")
    parser.add_argument("--pixels", type=_numbers, default=[32, 224], help="image sizes (default: 32,224)")
    parser.add_argument("--batch", type=_numbers, default=[1, 32], help="batches (default: 1,32)")
    parser.add_argument("--within", type=float, default=25.0, help="percent that an estimate may be off (default: 25)")
    parser.add_argument("--fit", action="store_true", help="print what memory.py would hold if it were fitted here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = options.models or Path(folder)
        peaks = [peak for name in BACKBONES for peak in _peaks(models, name, options.pixels, options.batch)]
        ratios = [_predicted(peak) / peak.ran_bytes for peak in peaks]
        print(plain_table(HEADER, [_row(peak, ratio) for peak, ratio in zip(peaks, ratios, strict=True)]))
        if options.fit:
            print(_fitted(peaks))
    worst = max(abs(ratio - 1) for ratio in ratios) * 100
    print(f"The worst is off by {worst:.0f} %.")
    return int(worst > options.within)


def _peaks(models: Path, name: str, pixels: Sequence[int], batches: Sequence[int]) -> Iterator[Peaks]:
    for size in pixels:
        path = models / f"{name}-{size}.onnx"
        if not path.exists():
            _export(name, size, path)
        yield from (_measured(path, size, batch) for batch in batches)


def _export(name: str, pixels: int, path: Path) -> None:
    """An untrained model with ten classes."""
    backbone = backbone_from_timm(name, tuple("0123456789"), pixels, (0.5,) * 3, (0.5,) * 3)
    path.write_bytes(onnx_from_module(module_from_backbone(backbone), backbone, OPSET).SerializeToString())
    print(f"exported {path.name}", file=sys.stderr, flush=True)


def _measured(path: Path, pixels: int, batch: int) -> Peaks:
    declared = model_of(path).graph.inputs[0]
    shape = [batch, *declared.shape[1:]]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path, declared.name, json.dumps(shape)],
        env={**os.environ, **worker_variables(threads=1)},
        stdout=subprocess.PIPE,
        check=True,
    )
    loaded, ran = json.loads(done.stdout)
    return Peaks(path, pixels, batch, loaded, ran)


def _predicted(peak: Peaks) -> int:
    """Without the images: they are there before the runtime loads."""
    return sum(memory_of(peak.model, peak.batch, "fp32").values()) - input_bytes(peak.model, peak.batch)


def _row(peak: Peaks, ratio: float) -> list[str]:
    name, _, pixels = peak.model.stem.rpartition("-")
    predicted, measured = ratio * peak.ran_bytes / 1e6, peak.ran_bytes / 1e6
    return [name, pixels, str(peak.batch), f"{predicted:.1f}", f"{measured:.1f}", f"{ratio:.2f}"]


def _fitted(peaks: Sequence[Peaks]) -> str:
    """The context, and how often each kind of weights is held: least squares of the relative error after loading."""
    bytes_of_weights = [[BYTES["fp32"] * count for count in weights_of(steps_of(model_of(p.model)))] for p in peaks]
    measured = np.array([peak.loaded_bytes for peak in peaks], float)
    terms = np.array([[1, *weights] for weights in bytes_of_weights], float) / measured[:, None]
    (context, convolutions, others), *_ = np.linalg.lstsq(terms, np.ones(len(peaks)), rcond=None)
    off = np.abs(terms @ [context, convolutions, others] - 1).max() * 100
    return (
        f"Fitted to {len(peaks)} loads, of which the worst is off by {off:.0f} %: context {context / 1e6:.1f} MB, "
        f"weights of convolutions {convolutions:.2f} times, others {others:.2f} times."
    )


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
