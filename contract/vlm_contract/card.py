"""The checkpoint card: what a training run hands on (`checkpoint.json`, beside `model.safetensors`)."""

from dataclasses import dataclass
from typing import ClassVar

from vlm_contract.codec import Absent

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Backbone:
    """The network, complete enough to be built again."""

    name: str  # timm model name, or one of the floors' (`pixels`, `resnet9`)
    adapt: str  # how it meets small images: "stock", "small" or "upsample:N", N pixels
    arguments: dict[str, Scalar]  # constructor arguments beside the number of classes and of channels
    classes: tuple[str, ...]  # label names, in the order of the outputs
    image_size: int  # pixels, square, of the image that the network is given; "upsample" enlarges it inside
    channels: int  # of the input image
    mean: tuple[float, ...]  # by channel, of pixels scaled to 0..1
    std: tuple[float, ...]  # by channel, of pixels scaled to 0..1
    parameters: int  # trainable scalars
    macs: int | Absent  # multiply-accumulates of one image; FLOPs are twice as many

    @property
    def label(self) -> str:
        """The name in tables: the adaptation follows where there is one."""
        return self.name if self.adapt == "stock" else f"{self.name} ({self.adapt})"


@dataclass(frozen=True)
class Data:
    """The images that the run saw, and which of them chose the epoch."""

    name: str
    source: str  # what opens it again: a data set's name, or "imagefolder:" and the folder
    fingerprint: str  # sha256 of all images and labels
    subset_fingerprint: str  # sha256 of the indices trained on and validated
    samples: int  # labelled images used: trained on and, where the source has no validation part, validated
    train_samples: int  # images trained on
    validation_samples: int  # images that choose the epoch
    validation_origin: str  # which images those are
    test_samples: int  # images scored once, at the end
    test_origin: str  # which images those are
    damaged: int  # files of the source that hold no readable image, and were left out
    seed: int  # of the split and the subset


@dataclass(frozen=True)
class Scores:
    """One epoch, scored in evaluation mode and without augmentation."""

    epoch: int  # from 1
    train_scored: int  # training images scored: all of them, or a stratified part
    train_accuracy_percent: float
    train_loss: float  # mean cross-entropy, nats
    validation_accuracy_percent: float
    validation_loss: float


@dataclass(frozen=True)
class Effort:
    """What the training cost. Times are of all sessions of a resumed run together, the rest of the last one."""

    wall_s: float  # from the request to the card, data and scoring included
    cpu_s: float  # of the process and its threads, in that time
    images_per_s: float  # trained images over the seconds spent in training steps
    iterations_per_s: float  # steps over the same seconds
    peak_rss_bytes: int | Absent  # VmHWM of the process
    device_peak_bytes: int | Absent  # of torch's allocator on the GPU
    gpu_use_percent: float | Absent  # mean share of time in which the GPU computed


@dataclass(frozen=True)
class CheckpointCard:
    """One finished training run."""

    # vlm-edge/checkpoint/1: first version
    # vlm-edge/checkpoint/2: adaptation, start, recipe, precision, effort; validation is part of the samples
    SCHEMA: ClassVar[str] = "vlm-edge/checkpoint/2"

    run: str  # the run's folder name
    backbone: Backbone
    start: str  # where the first weights came from
    data: Data
    recipe: str  # its name
    hyperparameters: dict[str, Scalar]
    precision: str  # what the steps were computed in, and why
    best: Scores  # the epoch whose weights were kept, on all training images
    last: Scores  # as in the history
    test_accuracy_percent: float | Absent  # of the best epoch, scored once
    effort: Effort
    weights_sha256: str  # of model.safetensors
    device: str  # where it was trained
    versions: dict[str, str]  # of the libraries that shaped the result
    finished_utc: str  # ISO 8601
