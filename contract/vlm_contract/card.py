"""The checkpoint card: what a training run hands on (`checkpoint.json`, beside `model.safetensors`)."""

from dataclasses import dataclass
from typing import ClassVar

from vlm_contract.codec import Absent

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Backbone:
    """The network, complete enough to be built again."""

    name: str  # timm model name
    arguments: dict[str, Scalar]  # constructor arguments beside the number of classes and of channels
    classes: tuple[str, ...]  # label names, in the order of the outputs
    image_size: int  # pixels, square
    channels: int  # of the input image
    mean: tuple[float, ...]  # by channel, of pixels scaled to 0..1
    std: tuple[float, ...]  # by channel, of pixels scaled to 0..1
    parameters: int  # trainable scalars
    macs: int | Absent  # multiply-accumulates of one image; FLOPs are twice as many


@dataclass(frozen=True)
class Data:
    """The images that the run saw, and which of them chose the epoch."""

    name: str
    fingerprint: str  # sha256 of all images and labels
    subset_fingerprint: str  # sha256 of the indices trained on
    samples: int  # images trained on
    validation_samples: int  # images that choose the epoch; taken out of the training part
    test_samples: int  # images scored once, at the end; 0 where the data has no such part
    seed: int  # of the split and the subset


@dataclass(frozen=True)
class Scores:
    """One epoch, scored in evaluation mode and without augmentation."""

    epoch: int  # from 1
    train_accuracy_percent: float
    train_loss: float  # mean cross-entropy, nats
    validation_accuracy_percent: float
    validation_loss: float


@dataclass(frozen=True)
class CheckpointCard:
    """One finished training run."""

    # vlm-edge/checkpoint/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/checkpoint/1"

    run: str  # the run's folder name
    backbone: Backbone
    data: Data
    hyperparameters: dict[str, Scalar]
    best: Scores  # the epoch whose weights were kept
    last: Scores
    test_accuracy_percent: float | Absent  # of the best epoch, scored once
    wall_s: float  # of training, all sessions of a resumed run together
    images_per_s: float  # trained images over the seconds spent in training steps
    weights_sha256: str  # of model.safetensors
    device: str  # where it was trained
    versions: dict[str, str]  # of the libraries that shaped the result
    finished_utc: str  # ISO 8601
