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
    """The artifact's outputs beside the checkpoint's, on the same inputs."""

    origin: str  # "validation images" or "random input"
    samples: int
    max_abs_difference: float  # of logits
    mean_abs_difference: float
    cosine: float  # least over the samples
    top1_agreement_percent: float
    tolerance: float  # the stated limit of max_abs_difference
    passed: bool


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy on the validation set: the artifact's, run in its own runtime, beside the checkpoint's."""

    samples: int
    artifact_percent: float
    checkpoint_percent: float

    @property
    def drop_points(self) -> float:
        """Percentage points lost by the export; negative where it gained."""
        return self.checkpoint_percent - self.artifact_percent


@dataclass(frozen=True)
class ArtifactManifest:
    """One exported model, with the proof that it is the checkpoint's."""

    # vlm-edge/artifact/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/artifact/1"

    artifact: str  # the artifact's folder name
    run: str  # the training run that it comes from
    checkpoint_sha256: str
    backbone: str  # timm model name
    format: Literal["onnx", "trt"]
    precision: Literal["fp32", "fp16", "int8"]
    opset: int | Absent  # of the ONNX graph, as found in the file
    runtime: str | Absent  # the runtime and version that an engine is for
    compute_capability: str | Absent  # of the GPU that an engine is for
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_min: int
    batch_max: int | Absent
    files: tuple[FileEntry, ...]  # the model file first
    parameters: int
    macs: int | Absent  # multiply-accumulates of one image
    flops: int | Absent  # twice the MACs
    parity: tuple[Parity, ...]
    accuracy: Accuracy | Absent
    refused: tuple[str, ...]  # why the artifact must not be used; empty where it passed every check
    options: dict[str, Scalar]  # of the export
    build_s: float
    versions: dict[str, str]
    made_utc: str  # ISO 8601
