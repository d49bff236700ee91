"""The graph of each precision, made from one traced FP32 graph, with what making it showed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vlm_contract.card import Backbone
from vlm_contract.codec import Absent
from vlm_contract.manifest import Quantisation, RangeScan
from vlm_export.checkpoint import Checkpoint
from vlm_export.gates import Gate
from vlm_export.graph import Model, describe, onnx_from_module
from vlm_export.legacy_exporter import onnx_by_legacy_exporter
from vlm_export.proof import BATCH, prove
from vlm_export.wanted import CALIBRATION_IMAGES, Wanted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from vlm_export.proof import Oracle
    from vlm_export.quantiser import Calibration


NOT_SCANNED = Absent("only FP16 graphs are scanned")
NOT_QUANTISED = Absent("only INT8 graphs are quantised")


@dataclass(frozen=True)
class Draft:
    """One ONNX graph."""

    model: Model
    build_s: float  # tracing included, checks not
    range_scan: RangeScan | Absent = NOT_SCANNED
    quantisation: Quantisation | Absent = NOT_QUANTISED
    refused: tuple[str, ...] = ()  # why it is not what was asked for


@dataclass(frozen=True)
class Bench:
    """What the drafts are made and judged by."""

    checkpoint: Checkpoint
    wanted: Wanted
    gate: Gate
    oracle: "Oracle"
    tell: Callable[[str], None]


def traced(module: "torch.nn.Module", bench: Bench) -> Draft:
    """The FP32 graph that the others come from."""
    began = time.perf_counter()
    exporter = onnx_by_legacy_exporter if bench.gate.exporter == "legacy" else onnx_from_module
    model = exporter(module, bench.checkpoint.backbone, bench.gate.opset, bench.wanted.fixed_batch)
    build_s = time.perf_counter() - began
    describe(model, bench.checkpoint, "fp32")
    return Draft(model, build_s)


def proven(fp32: Draft, bench: Bench) -> Draft:
    """The same with what is wrong with it, which the others inherit: INT8 hides a weight that is off by 5 %."""
    findings = prove(fp32.model.SerializeToString(), "fp32", replace(bench.oracle, seen=None))
    return faulted(fp32, findings.refused)


def faulted(fp32: Draft, reasons: Sequence[str]) -> Draft:
    return replace(fp32, refused=tuple(f"the FP32 graph that it comes from: {reason}" for reason in reasons))


def draft_in(precision: str, fp32: Draft, bench: Bench) -> Draft:
    """The graph in a precision; its seconds are those of the FP32 graph and its own."""
    began = time.perf_counter()
    if precision == "fp32":
        return replace(fp32, refused=())  # its own proof is still to come
    draft = {"fp16": fp16_draft, "int8": int8_draft}[precision](fp32, bench)
    return replace(draft, build_s=fp32.build_s + time.perf_counter() - began, refused=fp32.refused + draft.refused)


def fp16_draft(fp32: Draft, bench: Bench) -> Draft:
    """Scan the activations of real images where there are any, and convert what fits."""
    from vlm_export.half import fp16_from_fp32, range_scan

    pixels, origin = bench.oracle.scanned
    size = bench.wanted.fixed_batch or len(pixels)
    images = normalised_images(in_whole_batches(pixels, size), bench.checkpoint.backbone)
    scan = range_scan(fp32.model, (images[i : i + size] for i in range(0, len(images), size)), origin)
    found = replace(scan.found, images=min(len(images), len(pixels)))  # without those repeated to fill a batch
    return replace(fp32, model=fp16_from_fp32(fp32.model, scan, half_io=bench.wanted.half_io), range_scan=found)


def int8_draft(fp32: Draft, bench: Bench) -> Draft:
    """Quantise with training images, judged by the accuracy on all images that judge."""
    from vlm_export.int8 import int8_from_fp32, refusal_of
    from vlm_export.quantiser import CPU, TENSORRT

    model, quantisation = int8_from_fp32(
        fp32.model,
        calibration_of(bench),
        bench.oracle.drop_points,
        bench.wanted.max_drop_points,
        bench.tell,
        TENSORRT if bench.gate.symmetric_int8 else CPU,
    )
    return replace(fp32, model=model, quantisation=quantisation, refused=refusal_of(quantisation))


def calibration_of(bench: Bench) -> "Calibration":
    """Training images, never those that judge. Raises VlmError where the checkpoint's data are not known."""
    from vlm_export.quantiser import Calibration

    checkpoint, batch = bench.checkpoint, bench.wanted.fixed_batch or BATCH
    pixels = checkpoint.splits.train.pixels[:CALIBRATION_IMAGES]
    if bench.wanted.fixed_batch:
        pixels = in_whole_batches(pixels, batch)
    assert checkpoint.data is not None
    origin = f"training images of {checkpoint.data.name}"
    return Calibration(normalised_images(pixels, checkpoint.backbone), origin, batch)


def in_whole_batches(pixels: "npt.NDArray[np.uint8]", batch: int) -> "npt.NDArray[np.uint8]":
    """As many of the images as fill whole batches; where they do not fill one, they are repeated."""
    import numpy as np

    return np.resize(pixels, (max(len(pixels) // batch, 1) * batch, *pixels.shape[1:]))


def normalised_images(pixels: "npt.NDArray[np.uint8]", backbone: Backbone) -> "npt.NDArray[np.float32]":
    """[n, c, h, w], from [n, h, w, c]."""
    from vlm_train.data import normalised

    return normalised(pixels, backbone.mean, backbone.std)
