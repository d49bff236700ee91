"""The clock of a Jetson's GPU, as its kernel shows it."""

from pathlib import Path

import pytest

from vlm_contract.measurement import Reading
from vlm_profile.sensors import read_all
from vlm_profile.sensors.tegra import found
from vlm_profile.throttling import throttled


def clock_of(root: Path, name: str, text: str) -> Path:
    folder = root / "sys/class/devfreq" / name
    folder.mkdir(parents=True)
    (folder / "cur_freq").write_text(text)
    return root


@pytest.mark.parametrize("name", ["17000000.gpu", "57000000.gpu", "17000000.gv11b", "gpu-gpc-0"])
def test_the_gpus_clock_is_read_under_each_name_of_it(tmp_path: Path, name: str) -> None:
    root = clock_of(tmp_path, name, "624750000\n")
    assert read_all(found(root)) == {f"gpu_mhz {name}": pytest.approx(624.75)}


@pytest.mark.parametrize(("name", "text"), [("15340000.vic", "601600000\n"), ("17000000.gpu", "")])
def test_another_engine_and_a_clock_that_cannot_be_read_are_left_out(tmp_path: Path, name: str, text: str) -> None:
    assert found(clock_of(tmp_path, name, text)) == []


@pytest.mark.parametrize(("least", "throttled_at_300"), [("624750000\n", True), ("306000000\n", False)])
def test_a_held_clock_that_falls_is_throttled_and_one_that_follows_the_load_is_not(
    tmp_path: Path, least: str, throttled_at_300: bool
) -> None:
    root = clock_of(tmp_path, "17000000.gpu", "300000000\n")
    for name, text in (("min_freq", least), ("max_freq", "624750000\n")):
        (root / "sys/class/devfreq/17000000.gpu" / name).write_text(text)
    readings = [Reading(float(second), read_all(found(root))) for second in range(5)]
    assert bool(throttled(readings, gpu=True)) == throttled_at_300
