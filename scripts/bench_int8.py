#!/usr/bin/env python3
"""How fast INT8 is beside FP32 on this CPU, in ONNX Runtime: latency of each backbone, measured in turns.

Weights are those of finished runs where --run names some, calibrated with their training images; else seeded random
ones, calibrated with noise, which serve for speed and say little of accuracy. No image is labelled here: `logits, dB`
is the FP32 logits' power over that of INT8's error, on images that the calibration did not see. Both ratios are of
medians; that of the process's CPU time is hardly changed by other load.
"""

import argparse
import os
import statistics
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import torch

from vlm_contract.card import Backbone, CheckpointCard
from vlm_contract.codec import read_record
from vlm_contract.console import plain_table
from vlm_contract.workspace import CARD_FILE, WEIGHTS_FILE
from vlm_export.graph import INPUT, OUTPUT, Model, onnx_from_module
from vlm_export.int8 import int8_from_fp32
from vlm_export.quantiser import CPU, TENSORRT, Calibration
from vlm_export.quiet import silenced
from vlm_targets.host import device_of
from vlm_train.backbones import backbone_from_timm, module_from_backbone, module_from_checkpoint
from vlm_train.data import normalised, splits_of

MODELS = (
    "mobilenetv3_large_100,tf_efficientnetv2_s,resnet50,convnextv2_tiny,"
    "vit_base_patch16_224,deit_small_patch16_224,swin_tiny_patch4_window7_224"
)
HEADER = ["model", "weights", "FP32, ms", "INT8, ms", "FP32 ÷ INT8", "in CPU time", "logits, dB"]
HEADER += ["FP32, MB", "INT8, MB", "quantised in, s"]
OPSET = 18
SCHEMES = {"cpu": CPU, "tensorrt": TENSORRT}
CALIBRATED, UNSEEN = 32, 64  # images
WARM_UPS = 2  # rounds


@dataclass(frozen=True)
class Subject:
    """One network, and images for it."""

    name: str
    weights: str
    model: Model
    images: Any  # float32 [CALIBRATED + UNSEEN, c, h, w], normalised


def subject_of_model(name: str, image_size: int) -> Subject:
    """Every weight moved away from its start, and batch statistics that fit: a fresh net's residual branches are 0."""
    backbone = backbone_from_timm(name, tuple("0123456789"), image_size, (0.5,) * 3, (0.25,) * 3)
    torch.manual_seed(0)
    images = torch.randn(CALIBRATED + UNSEEN, backbone.channels, image_size, image_size)
    module = module_from_backbone(backbone).train()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.02 if parameter.ndim > 1 else 0.2))
        for first in range(0, CALIBRATED, 8):
            module(images[first : first + 8])
    return Subject(name, "random, seed 0", traced(module, backbone), images.numpy())


def subject_of_run(folder: Path) -> Subject:
    """The weights of a finished run, with training images first and validation images after them."""
    card = read_record(CheckpointCard, folder / CARD_FILE)
    splits = splits_of(card.data)
    pixels = [part.batch(np.arange(n)) for part, n in ((splits.train, CALIBRATED), (splits.validation, UNSEEN))]
    images = normalised(np.concatenate(pixels), card.backbone.mean, card.backbone.std)
    module = module_from_checkpoint(card.backbone, folder / WEIGHTS_FILE)
    return Subject(card.backbone.name, card.run, traced(module, card.backbone), images)


def traced(module: torch.nn.Module, backbone: Backbone) -> Model:
    with silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return onnx_from_module(module.eval(), backbone, OPSET)


class Timed:
    """One graph in ONNX Runtime, and how long its runs took."""

    def __init__(self, model: Model, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        file = model.SerializeToString()
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.megabytes = len(file) / 1e6
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def logits(self, images: Any) -> Any:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        logits = self._session.run([OUTPUT], {INPUT: images})[0]
        self.cpu_ms.append((time.process_time_ns() - cpu) / 1e6)
        self.wall_ms.append((time.perf_counter_ns() - wall) / 1e6)
        return logits


def medians_in_turns(fp32: Timed, int8: Timed, batch: Any, rounds: int) -> tuple[float, float, float, float]:
    """Milliseconds of one batch: those of both by the clock, then those of both in CPU time."""
    for turn in range(WARM_UPS + rounds):
        for timed in (fp32, int8) if turn % 2 else (int8, fp32):
            timed.logits(batch)
    medians = [statistics.median(times[-rounds:]) for times in (fp32.wall_ms, int8.wall_ms, fp32.cpu_ms, int8.cpu_ms)]
    return medians[0], medians[1], medians[2], medians[3]


def compared(subject: Subject, options: argparse.Namespace) -> list[str]:
    calibration = Calibration(subject.images[:CALIBRATED], subject.weights, batch=8)
    began = time.perf_counter()
    quantised, _ = int8_from_fp32(
        subject.model, calibration, lambda model: 0.0, 100.0, lambda text: None, SCHEMES[options.scheme]
    )
    build_s = time.perf_counter() - began
    fp32, int8 = Timed(subject.model, options.threads), Timed(quantised, options.threads)
    unseen = subject.images[CALIBRATED:]
    wanted, found = fp32.logits(unseen), int8.logits(unseen)
    batch = np.resize(unseen, (options.batch, *unseen.shape[1:]))
    wall, other_wall, cpu, other_cpu = medians_in_turns(fp32, int8, batch, options.rounds)
    row = [f"{wall:.2f}", f"{other_wall:.2f}", f"{wall / other_wall:.2f}", f"{cpu / other_cpu:.2f}"]
    row += [f"{decibels(wanted, found):.1f}", f"{fp32.megabytes:.1f}", f"{int8.megabytes:.1f}", f"{build_s:.1f}"]
    return [subject.name, subject.weights, *row]


def decibels(wanted: Any, found: Any) -> float:
    error = wanted.astype(np.float64) - found
    return float(10 * np.log10(np.mean(np.square(wanted, dtype=np.float64)) / np.mean(error**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=MODELS, help="with random weights (default: %(default)s)")
    parser.add_argument("--run", type=Path, nargs="*", default=[], help="folders of finished runs, in their stead")
    parser.add_argument("--image-size", type=int, default=32, help="of --models (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=51, help="of one run each (default: %(default)s)")
    parser.add_argument("--scheme", choices=SCHEMES, default="cpu", help="of quantisation (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    print(f"{device_of().cpu}, load {os.getloadavg()[0]:.1f}, onnxruntime {onnxruntime.__version__}, scheme", end=" ")
    print(f"{options.scheme}, batch {options.batch}, threads {options.threads}, medians of {options.rounds} rounds")
    subjects = (
        (subject_of_run(folder) for folder in options.run)
        if options.run
        else (subject_of_model(name, options.image_size) for name in options.models.split(","))
    )
    print(plain_table(HEADER, [compared(subject, options) for subject in subjects]))


if __name__ == "__main__":
    main()
