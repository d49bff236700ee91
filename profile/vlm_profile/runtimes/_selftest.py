"""Runtimes whose truth is known, for the self-test alone: none of them reads the model that it is given."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vlm_contract.card import Scalar
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import RuntimeUsed
from vlm_profile.runtimes._base import CPUS, Base

SLEEP_MS = 5.0
STALL_BASE_MS = 1.0
STALL_MS = 100.0
STALL_EVERY = 50  # calls
DRIFT_BASE_MS = 2.0
DRIFT_A_SECOND = 0.2  # of the base
HELD_BYTES = 256 * 2**20
HELD_S = 0.001
HELD_EVERY = 10  # calls
COUNTED = 100_000  # whole numbers added up in one call

INPUTS = (TensorSpec("x", (1, 4), "float32"),)
_AHEAD_S = 3e-4  # the system wakes a sleeper late; from here on the clock is watched


def wait_ms(ms: float) -> None:
    """Sleep, and be back to the microsecond."""
    until = time.perf_counter_ns() + round(ms * 1e6)
    time.sleep(max(0.0, ms / 1e3 - _AHEAD_S))
    while time.perf_counter_ns() < until:
        pass


class Known(Base):
    """Answers with twice its input; what a call costs, the others say."""

    name: ClassVar[str] = "selftest:none"
    distribution: ClassVar[str] = "numpy"
    extra: ClassVar[str] = "ort"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        import numpy

        self.inputs = INPUTS
        self.outputs = (TensorSpec("y", (1, 4), "float32"),)
        self.used = RuntimeUsed(self.name, numpy.__version__, "none", dict(options))
        self.calls = 0

    @staticmethod
    def import_library() -> None:
        import numpy  # noqa: F401

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        self.calls += 1
        self.cost()
        return [feed["x"] * 2]

    def cost(self) -> None:
        """Nothing."""


class Sleep(Known):
    """Sleeps for 5 ms."""

    name: ClassVar[str] = "selftest:sleep"

    def cost(self) -> None:
        wait_ms(SLEEP_MS)


class Stall(Known):
    """Sleeps for 1 ms, and one call in 50 for 100 ms."""

    name: ClassVar[str] = "selftest:stall"

    def cost(self) -> None:
        wait_ms(STALL_BASE_MS if self.calls % STALL_EVERY else STALL_MS)


class Drift(Known):
    """Sleeps for 2 ms, and for a fifth of that longer with each second."""

    name: ClassVar[str] = "selftest:drift"

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        super().__init__(model, threads, options)
        self.begin = time.perf_counter()

    def cost(self) -> None:
        wait_ms(DRIFT_BASE_MS * (1 + DRIFT_A_SECOND * (time.perf_counter() - self.begin)))


class Busy(Known):
    """Computes, the same at each call, on one CPU: the first that may be used."""

    name: ClassVar[str] = "selftest:busy"
    variants: ClassVar[tuple[Mapping[str, Scalar], ...]] = ({CPUS: str(min(os.sched_getaffinity(0)))},)

    def cost(self) -> None:
        sum(range(COUNTED))


class Stale(Known):
    """Gives at each call the answer to the call before."""

    name: ClassVar[str] = "selftest:stale"

    def __init__(self, model: Path, threads: int, options: Mapping[str, Scalar]) -> None:
        super().__init__(model, threads, options)
        self.last: list[Any] = []

    def run(self, feed: Mapping[str, Any]) -> list[Any]:
        wait_ms(STALL_BASE_MS)
        answer = super().run(feed)
        answer, self.last = self.last or answer, answer
        return answer


class Holding(Known):
    """Holds 256 MB for 1 ms, at one call in 10."""

    name: ClassVar[str] = "selftest:holding"

    def cost(self) -> None:
        size = 0 if self.calls % HELD_EVERY else HELD_BYTES
        held = b"\1" * size  # not zeros: those are no memory until they are used
        time.sleep(HELD_S)
        del held


RUNTIMES: tuple[type[Known], ...] = (Sleep, Stall, Drift, Busy, Stale, Holding)
