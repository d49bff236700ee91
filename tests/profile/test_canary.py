"""The canaries do the same work every time."""

import tracemalloc

import numpy
import pytest

from vlm_profile import canary as kernels
from vlm_profile.canary import canary


def test_each_kernel_is_timed_alone() -> None:
    times = iter([0, 51_000_000, 60_000_000, 62_500_000])
    assert canary(lambda: next(times)) == (51.0, 2.5)


def test_both_kernels_take_time_on_this_machine() -> None:
    assert all(milliseconds > 1 for milliseconds in canary())


def test_the_work_is_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("multiply", "add", "copyto"):
        monkeypatch.setattr(numpy, name, lambda *_, name=name, **__: calls.append(name))
    canary()
    assert calls.count("multiply") == calls.count("add") == kernels.COMPUTE_ROUNDS
    assert calls.count("copyto") == kernels.MEMORY_ROUNDS + 1  # once before the clock starts


def test_what_they_hold_is_given_back() -> None:
    tracemalloc.start()
    canary(iter(range(4)).__next__)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2**20
    assert peak > 2 * kernels.MEMORY_BYTES
