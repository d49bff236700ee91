"""What others say of models and of training runs. What they say of speed is a measurement, marked as reported."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent
from vlm_contract.measurement import Verdict

Status = Literal["valid", "invalid"]


@dataclass(frozen=True)
class ReportedModel:
    """The size of a network, as a document says it."""

    # vlm-edge/reported-model/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/reported-model/1"

    model: str  # as the document calls it
    timm: str | Absent  # the timm model that it is taken for
    parameters: int | Absent
    macs: int | Absent  # multiply-accumulates of one image
    flops: int | Absent
    image_size: int | Absent  # pixels, square
    origin: str  # the document, the place in it, and its sha256
    approximate: tuple[str, ...]  # fields that the document gives as about so much
    verdicts: tuple[Verdict, ...]

    @property
    def status(self) -> Status:
        """Only what is `valid` may enter a ranking."""
        return status_of(self.verdicts)


@dataclass(frozen=True)
class ReportedRun:
    """A training run, as a document tells it."""

    # vlm-edge/reported-run/1: first version
    SCHEMA: ClassVar[str] = "vlm-edge/reported-run/1"

    model: str  # as the document calls it
    timm: str | Absent  # the timm model that it is taken for
    data: str | Absent  # name of the data set, as the document writes it
    samples: int | Absent  # labelled images used
    seed: int | Absent
    epochs: int | Absent
    train_accuracy_percent: float | Absent
    validation_accuracy_percent: float | Absent
    test_accuracy_percent: float | Absent
    train_loss: float | Absent  # mean cross-entropy, nats
    validation_loss: float | Absent
    wall_s: float | Absent
    hyperparameters: dict[str, Scalar]
    device: str | Absent
    software: str | Absent
    notes: str | Absent
    origin: str  # the document, the place in it, and its sha256
    approximate: tuple[str, ...]  # fields that the document gives as about so much
    verdicts: tuple[Verdict, ...]
    date: str | Absent  # ISO 8601, of the document where a run has none

    @property
    def status(self) -> Status:
        """Only what is `valid` may enter a ranking."""
        return status_of(self.verdicts)


def status_of(verdicts: Iterable[Verdict]) -> Status:
    return "valid" if all(verdict.level == "warning" for verdict in verdicts) else "invalid"
