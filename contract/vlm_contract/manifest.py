"""The artifact manifest: what an export hands on (`manifest.json`, beside the model file)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the model."""

    name: str
    shape: tuple[int | str, ...]  # a name where the dimension is dynamic
    dtype: str  # numpy's name


@dataclass(frozen=True)
class FileEntry:
    """One file of the artifact."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Parity:
    """The artifact's outputs beside the truth for the same inputs.

    The truth of logits is the checkpoint computed in FP64; that of probabilities is the graph that a file with its
    preprocessing inside embeds, given the same images prepared outside.
    """

    origin: str  # which inputs
    compared: Literal["logits", "probabilities"]
    samples: int
    max_abs_difference: float
    mean_abs_difference: float
    cosine: float  # least over the samples
    top1_agreement_percent: float
    yardstick: float  # the difference that rounding alone makes: of the network in this precision, or of grey levels
    tolerance: float  # the stated limit of max_abs_difference
    passed: bool


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy on the images that judge, which the first parity names: the artifact's and the checkpoint's."""

    samples: int
    artifact_percent: float
    checkpoint_percent: float
    agreement_percent: float  # images on which both name the same class
    lost: int  # images that the checkpoint alone gets right
    gained: int  # images that the artifact alone gets right
    p_value: float  # of McNemar's exact test: how likely chance alone makes lost and gained as unlike as they are

    @property
    def drop_points(self) -> float:
        """Percentage points lost by the export; negative where it gained."""
        return self.checkpoint_percent - self.artifact_percent


@dataclass(frozen=True)
class LayerRange:
    """The largest number that one layer gave out, over the images of a scan."""

    layer: str
    operator: str
    max_abs: float


@dataclass(frozen=True)
class RangeScan:
    """Whether the activations of the FP32 graph fit into FP16, whose largest number is 65504."""

    images: int
    origin: str  # which images
    largest: tuple[LayerRange, ...]  # the five largest, in falling order
    overflowing: tuple[LayerRange, ...]  # beyond FP16's range, in the graph's order
    kept_fp32: tuple[str, ...]  # layers kept FP32 in the FP16 graph: sums of squares, and what leaves FP16's range


@dataclass(frozen=True)
class QuantisationAttempt:
    """One way of quantising that was built and judged on the whole validation set."""

    method: str  # of calibration: "minmax" or "percentile"
    float_layers: int  # layers left in float
    drop_points: float


@dataclass(frozen=True)
class Quantisation:
    """How an INT8 graph came by its scales, and which layers stayed float."""

    images: int  # of the calibration
    origin: str  # which images
    method: str  # of calibration: "minmax" or "percentile"
    max_drop_points: float  # the loss of accuracy that was allowed
    quantised_layers: int
    float_layers: tuple[str, ...]  # quantisable, and left in float as the most sensitive ones
    attempts: tuple[QuantisationAttempt, ...]


@dataclass(frozen=True)
class Engine:
    """What a TensorRT engine is for, and what its builds showed."""

    flavor: Literal["tensorrt", "rtx"]
    built_by: str  # "python" or "trtexec"
    device: str | Absent  # name of the GPU that built it; none for an engine built ahead of time
    weights_bytes: int | Absent
    activation_bytes: int | Absent  # device memory of one execution context
    workspace_limit_bytes: int | Absent
    timing_cache: (
        str | Absent
    )  # the file that tactics' timings were written to, and read from unless built several times
    build_s: tuple[float, ...]  # of each build
    latency_ms: tuple[float, ...] | Absent  # median of each build, when built several times
    output_spread: float | Absent  # largest difference of a logit between builds
    chosen: int  # the build that was kept, from 0


@dataclass(frozen=True)
class ArtifactManifest:
    """One exported model, with the proof that it is the checkpoint's."""

    # vlm-edge/artifact/1: first version
    # vlm-edge/artifact/2: preprocessing, yardsticks, range scan, quantisation, engine, check on the device, McNemar
    SCHEMA: ClassVar[str] = "vlm-edge/artifact/2"

    artifact: str  # the artifact's folder name
    run: str  # the training run that it comes from
    checkpoint_sha256: str
    backbone: str  # timm model name
    format: Literal["onnx", "trt"]
    precision: Literal["fp32", "fp16", "int8"]
    opset: int | Absent  # of the ONNX graph, as found in the file
    runtime: str | Absent  # the runtime and version that an engine is for
    compute_capability: str | Absent  # of the GPU that an engine is for
    preprocess: Literal["outside", "embedded"]  # embedded: resizing, normalisation and softmax are in the graph
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_min: int
    batch_max: int | Absent
    files: tuple[FileEntry, ...]  # the model file first
    parameters: int
    macs: int | Absent  # multiply-accumulates of one image
    flops: int | Absent  # twice the MACs
    parity: tuple[Parity, ...]  # on ONNX Runtime's CPU: proves the graph, not that FP16 or INT8 hardware bears it
    device_parity: tuple[Parity, ...] | Absent  # in the runtime and on the device that the artifact is for
    range_scan: RangeScan | Absent
    quantisation: Quantisation | Absent
    engine: Engine | Absent
    accuracy: Accuracy | Absent
    refused: tuple[str, ...]  # why the artifact must not be used; empty where it passed every check
    options: dict[str, Scalar]  # of the export
    not_reproducible: tuple[str, ...]  # files whose bytes another export may not give again, and why
    build_s: float
    versions: dict[str, str]
    made_utc: str  # ISO 8601
