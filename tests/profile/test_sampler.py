"""Sensors are read by a process of their own, and by none where there are none."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
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


PARENT = """
import time
from vlm_profile import sampler
sampler.any_sensor = lambda: True
with sampler.sampled():
    children = open(f"/proc/self/task/{__import__('os').getpid()}/children").read()
    print(children, flush=True)
    time.sleep(60)
"""


def test_the_process_dies_with_its_parent_however_that_dies() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = Path("/proc") / parent.stdout.readline().decode().split()[0]
    time.sleep(0.5)  # so that it is past its own start
    os.kill(int(child.name), signal.SIGSTOP)  # as if it hung in a sensor, and could not see its stdin close
    parent.kill()
    parent.communicate()
    try:
        assert ended(child)
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(child.name), signal.SIGKILL)


def ended(process: Path) -> bool:
    """Whether it is gone, or a zombie that nobody has waited for, within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if not process.exists() or "(zombie)" in (process / "status").read_text():
            return True
        time.sleep(0.02)
    return False


def test_a_module_of_the_current_folder_does_not_stand_in_for_a_librarys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sampler, "any_sensor", lambda: True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tempfile.py").write_text("open('imported', 'w')")
    with sampled() as readings:
        time.sleep(1.0)
    assert (tmp_path / "imported").exists() is (sys.version_info < (3, 11))  # which cannot be told to keep it out
    assert readings or sys.version_info < (3, 11)
