"""The firmware of a Raspberry Pi is asked by its program, and by the kernel's file where that does not answer."""

from pathlib import Path

import pytest

from vlm_profile.sensors import pi, read_all
from vlm_profile.sensors.pi import KEY, Asked, found


def program(folder: Path, says: str) -> Path:
    """A script that stands in for vcgencmd."""
    path = folder / "vcgencmd"
    path.write_text(f'#!/bin/sh\n[ "$1" = get_throttled ] || exit 1\n{says}\n')
    path.chmod(0o755)
    return path


def test_the_program_is_asked_each_time(tmp_path: Path) -> None:
    sensor = Asked(program(tmp_path, "echo throttled=0x50005"))
    assert sensor.read() == {KEY: 0x50005}
    program(tmp_path, "echo throttled=0x0")
    assert sensor.read() == {KEY: 0}


@pytest.mark.parametrize("says", ["echo 'VCHI initialization failed' ; exit 255", "exit 0", "exec sleep 9"])
def test_a_program_that_does_not_answer_gives_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setattr(pi, "ANSWER_S", 0.2)
    assert read_all([Asked(program(tmp_path, says))]) == {}


@pytest.mark.parametrize(("says", "programs"), [("echo throttled=0x4", 1), ("echo 'access denied'; exit 1", 0)])
def test_only_a_program_that_answers_is_a_sensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, programs: int
) -> None:
    monkeypatch.setattr(pi, "PROGRAMS", (tmp_path / "nowhere", program(tmp_path, says)))
    assert sum(isinstance(sensor, Asked) for sensor in found(Path("/"))) == programs


def test_nothing_that_stands_in_a_recorded_tree_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi, "PROGRAMS", (program(tmp_path, "touch $(dirname $0)/was_run; echo throttled=0x0"),))
    assert found(tmp_path) == []
    assert not (tmp_path / "was_run").exists()
