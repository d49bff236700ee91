"""Sensor files are sampled by a shell beside a command, and replayed for the sensors of this toolkit."""

import shutil
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vlm_profile.sensors import read_all, sensors
from vlm_targets.mirror import sampled_files
from vlm_targets.reach import Here
from vlm_targets.sampling import readings_from, sampled_beside
from vlm_targets.ssh import Board, Done

Recorded = Callable[..., Path]
ROOT = "VLM_EDGE_ROOT"
ZONE = "sys/class/thermal/thermal_zone0/temp"
VOLTS = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_input"


def test_a_board_is_sampled_while_a_command_runs(
    recorded: Recorded, loopback: Callable[..., Any], tmp_path: Path
) -> None:
    """The board's tree is changed while it is sampled: two temperatures are read."""
    root = recorded("jetson-orin-nano")
    there = loopback(shell=f"env '{ROOT}={root}' sh -c \"$SSH_ORIGINAL_COMMAND\"")
    files = sampled_files(root)
    work = ["sh", "-c", 'sleep 0.6; echo 61000 >"$1"; sleep 0.6; echo worked; exit 3', "sh", str(root / ZONE)]
    with Board(there.address, there.config) as board:
        said = f"{board.folder}/samples"
        done = board.run(sampled_beside(work, files, said), 20)
        board.pull(said, tmp_path / "samples", 2**20)
    assert (done.code, done.out) == (3, "worked\n")
    found = sensors(root)
    readings = readings_from((tmp_path / "samples").read_text(), files, root, lambda: read_all(found))
    temperatures = [reading.values["temperature_c cpu-thermal"] for reading in readings]
    assert len(readings) >= 4
    assert (temperatures[0], temperatures[-1]) == (47.5, 61.0)
    assert readings[0].values["power_w VDD_IN"] == pytest.approx(5.056 * 0.904)
    assert readings[0].values["overcurrent_events oc1"] == 0
    steps = [later.at_s - earlier.at_s for earlier, later in pairwise(readings)]
    assert all(0 <= step < 5 for step in steps)
    assert sum(steps) >= 1.1


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_any_posix_shell_samples(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    root = recorded("rpi4")
    monkeypatch.setenv(ROOT, str(root))
    words = [program, "sh"] if shell == "busybox" else [program]
    arguments = sampled_beside(["sleep", "0.3"], [ZONE, "sys/not/there"], str(tmp_path / "samples"))
    with Here() as here:
        done = here.run([*words, *arguments[1:]], 10)
    assert (done.code, done.err) == (0, "")
    lines = (tmp_path / "samples").read_text().splitlines()
    assert [line.split("|")[1:] for line in lines] == [["48686", ""]] * len(lines)
    assert len(lines) >= 2


def test_the_shortest_command_is_sampled_as_it_begins_and_as_it_ends(recorded: Recorded, tmp_path: Path) -> None:
    """And its sampler has ended with it."""
    said = tmp_path / "samples"
    with Here() as here:
        here.run(["sh", "-c", '"$@"; sleep 0.7', "sh", *sampled_beside(["true"], [ZONE], str(said))], 10)
    assert len(said.read_text().splitlines()) == 2


def test_lines_that_are_not_whole_are_passed_over(recorded: Recorded) -> None:
    root = recorded("rpi4")
    found = sensors(root)
    text = "000\n90.1|5000\nnan|50000\n90.2|50000|7\n1e3|50000\n90.3\n91.5|50000\n92.0|600"
    readings = readings_from(text, [ZONE], root, lambda: read_all(found))
    assert [(one.at_s, one.values["temperature_c cpu-thermal"]) for one in readings] == [(90.1, 5.0), (91.5, 50.0)]


@pytest.mark.parametrize("value", ["", "not a number", "9" * 400, "\x1b[2J", "५०"])
def test_a_sensor_that_says_nonsense_gives_no_value(recorded: Recorded, value: str) -> None:
    root = recorded("jetson-orin-nano")
    found = sensors(root)
    (reading,) = readings_from(f"90.1|{value}|5000\n", [ZONE, VOLTS], root, lambda: read_all(found))
    assert reading.values.get("temperature_c cpu-thermal", 0.05) == 0.05
    assert reading.values["power_w VDD_IN"] == pytest.approx(5.0 * 0.904)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sys/class/thermal/thermal_zone0/../../x"])
def test_samples_are_written_nowhere_but_into_the_tree(tmp_path: Path, name: str) -> None:
    files: Sequence[str] = [name]
    with pytest.raises(ValueError, match="only files of a mirrored tree"):
        readings_from("90.1|1\n", files, tmp_path / "tree", dict)
    assert list(tmp_path.iterdir()) == []


def test_a_done_command_keeps_both_outputs_and_its_code(tmp_path: Path) -> None:
    work = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    with Here() as here:
        absent = here.run(sampled_beside(["no-such-program"], [], str(tmp_path / "samples")), 10)
        assert (absent.code, "no-such-program" in absent.err) == (127, True)
        assert here.run(sampled_beside(work, [], str(tmp_path / "samples")), 10) == Done(7, "out\n", "err\n")


def test_many_empty_lines_take_no_more_memory_than_themselves(tmp_path: Path) -> None:
    text = "\n" * 3_000_000
    tracemalloc.start()
    assert readings_from(text, (), tmp_path, dict) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(text)
