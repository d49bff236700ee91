"""Sensors are read by a process of their own, and by none where there are none."""

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from vlm_profile import sampler
from vlm_profile.sampler import sampled


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


def test_without_a_sensor_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "any_sensor", lambda: False)
    before = children()
    with sampled() as readings:
        assert children() == before
    assert readings == []


def test_readings_come_every_200_ms_and_the_process_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "any_sensor", lambda: True)  # this machine may have none: the readings are then empty
    before = children()
    began = time.time()
    with sampled() as readings:
        assert len(children()) == len(before) + 1
        time.sleep(2.0)
        assert readings == []
    assert children() == before
    assert 2 <= len(readings) <= 11
    assert all(began < reading.at_s <= time.time() for reading in readings)
    assert all(b.at_s - a.at_s > 0.15 for a, b in pairwise(readings))


def test_an_error_in_the_block_ends_the_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "any_sensor", lambda: True)
    before = children()
    with pytest.raises(KeyboardInterrupt), sampled():
        raise KeyboardInterrupt
    assert children() == before
