"""What is asked of an export."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vlm_contract.errors import VlmError
from vlm_targets.catalogue import target_named

PRECISIONS = ("fp32", "fp16", "int8")
CALIBRATION_IMAGES = 256
LARGEST_BATCH = 4096


@dataclass(frozen=True)
class Wanted:
    """What to make of a checkpoint. Raises VlmError where it contradicts itself."""

    precisions: tuple[str, ...] = ("fp32", "fp16")
    target: str = "host"
    batches: tuple[int, ...] = (1, 8, 32)  # several: any batch, and an engine's profile; one: that batch only
    half_io: bool = False  # FP16 graphs take and give FP16
    embed: bool = False  # resizing, normalisation and softmax inside
    max_drop_points: float = 1.0  # of accuracy, that INT8 may lose
    engines: bool = False  # TensorRT engines too, from the ONNX files
    flavor: Literal["tensorrt", "rtx"] = "tensorrt"
    compute_capabilities: tuple[str, ...] = ()  # that a TensorRT-RTX engine is for, "75" for SM75; none: its default
    builds: int = 1  # of each engine, the fastest kept
    workspace_mib: int | None = None  # that an engine may use; None: no limit
    host: str | None = None  # the board that builds engines, as ssh names it

    def __post_init__(self) -> None:
        check_precisions(self.precisions)
        for wrong, what, hint in self._faults():
            if wrong:
                raise VlmError(what, hint=hint)

    def _faults(self) -> Iterator[tuple[bool, str, str]]:
        """Whether it is so, what is wrong, what to type."""
        rtx, board, numbers = self.flavor == "rtx", self.host is not None, self.batches
        at_home = target_named(self.target).name == "host"
        elsewhere = "TensorRT-RTX engines are for RTX cards alone, and are built here, ahead of time."
        yield (
            not numbers or min(numbers) < 1 or max(numbers) > LARGEST_BATCH or sorted({*numbers}) != [*numbers],
            f"Batches are whole numbers from 1 to {LARGEST_BATCH}, rising, not {numbers}.",
            "--batch 1,8,32",
        )
        yield (
            not 0 <= self.max_drop_points <= 100,
            f"An accuracy drops by 0 to 100 points, not {self.max_drop_points}.",
            "--max-drop 1",
        )
        yield self.builds < 1, f"Engines are built once or more, not {self.builds} times.", "--builds 3"
        yield (self.workspace_mib or 1) < 1, "A workspace takes 1 MiB or more.", "--workspace-mib 1024"
        yield self.flavor not in ("tensorrt", "rtx"), f"{self.flavor!r} is no flavor of TensorRT.", "--flavor rtx"
        for number in self.compute_capabilities:
            yield (
                not re.fullmatch(r"\d{2,3}", number),
                f"{number!r} is no compute capability, such as 86 for SM86.",
                "--sm 75,86,120",
            )
        yield rtx and (board or not at_home), elsewhere, "--flavor rtx --sm 86, without --host and --target"
        yield (
            bool(self.compute_capabilities) and not rtx,
            "TensorRT builds for the GPU that it runs on alone.",
            "--flavor rtx, or no --sm",
        )
        yield (
            self.builds > 1 and (rtx or board),
            "Several builds are compared on a GPU of this machine.",
            "--builds 1",
        )
        yield (
            board and at_home,
            f"--host names {self.host}, and nothing says what it is.",
            "--target jetson, or another of them",
        )
        yield self.embed and self.half_io, "A graph that prepares its images takes bytes, not FP16.", "--io fp32"
        yield (
            self.embed and self.engines,
            "An engine takes images of one size, prepared outside.",
            "--preprocess outside",
        )

    @property
    def fixed_batch(self) -> int | None:
        """The only batch that the artifacts take; None where they take any."""
        return self.batches[0] if len(self.batches) == 1 else None

    @property
    def profile(self) -> tuple[int, int, int]:
        """The least batch of an engine, the one to optimise it for, and the largest."""
        return self.batches[0], self.batches[len(self.batches) // 2], self.batches[-1]


def check_precisions(precisions: Sequence[str]) -> None:
    """Raise VlmError naming the nearest precision unless there are some, and all are known."""
    if not precisions:
        raise VlmError("No precision is asked for.", hint=f"--precision {','.join(PRECISIONS)}")
    for precision in precisions:
        if precision not in PRECISIONS:
            nearest = difflib.get_close_matches(precision, PRECISIONS, n=1, cutoff=0.5) or PRECISIONS
            raise VlmError(
                f"Unknown precision {precision!r}; known: {', '.join(PRECISIONS)}.", hint=f"--precision {nearest[0]}"
            )
