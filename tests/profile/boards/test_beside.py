"""What a board's sensors and counters said while a command ran, and whether the board was quiet."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Reading
from vlm_profile.boards.beside import Counters, Watched, context_of, counters_in, watched
from vlm_profile.boards.quiet import preflight_of
from vlm_targets.reach import Here
from vlm_targets.ssh import Done

STAT = """1234.56 9876.54 1700000000.25
0m0.010s 0m0.020s
1m2.500s 0m1,250s
cpu  1000 20 300 90000 50 6 7 40 0 0
cpu0 500 10 150 45000 25 3 3 20 0 0
cpu1 500 10 150 45000 25 3 4 20 0 0
MemAvailable:    2048 kB
/proc/pressure/cpu:some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000
/sys/class/devfreq/15340000.vic/device/load:999
/sys/class/devfreq/17000000.gpu/device/load:985
"""
QUIET = Counters(100.0, 1000.0, 0.0, 50.0, 0.0, 6, {"cpu": 1.0}, 2**30, 0.0)


def seen(after: Counters, before: Counters = QUIET, *readings: Reading) -> Watched:
    return Watched(Done(0, "", ""), readings, before, after, None)


# Counters


def test_the_kernels_counters_are_read() -> None:
    assert counters_in(STAT) == Counters(1234.56, 1700000000.25, 63.75, 13.33, 0.4, 2, {"cpu": 2.5}, 2048 * 1024, 98.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no numbers",
        "1.5 2.5 3.5\n",
        "1.5 2.5 3.5\ncpu 1 2 3\n",
        "1.5 2.5 3.5\ncpu -1 2 3 4 5 6 7 8",
        "1.5 2.5 3.5\ncpu  1 2 3 4 5 6 7 8\n",
    ],
)
def test_what_are_no_counters_are_none(text: str) -> None:
    assert counters_in(text) is None


def test_a_command_is_watched_and_its_code_is_its_own(small_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small_tree / "sys/class/devfreq/17000000.gpu/cur_freq").write_text("624750000\n")
    (small_tree / "proc").mkdir()
    (small_tree / "proc/meminfo").write_text("MemTotal: 8 kB\nMemAvailable: 4096 kB\n")
    (small_tree / "proc/stat").write_text(STAT.partition("\n")[2])
    monkeypatch.setenv("VLM_EDGE_ROOT", str(small_tree))
    falls = f"sleep 0.5; echo 'MemAvailable: 1024 kB' >'{small_tree}/proc/meminfo'; sleep 0.5; exit 3"
    with Here() as machine:
        came = watched(machine, small_tree, ["sh", "-c", falls], 20)
        later = watched(machine, small_tree, ["sleep", "0.1"], 20)
    assert came.done.code == 3
    assert came.before
    assert came.before.available_bytes == 4096 * 1024
    assert came.least_available_bytes == 1024 * 1024
    assert len(came.readings) >= 3
    assert later.readings[0].at_s >= came.readings[-1].at_s - 0.1
    assert came.before.epoch_s - 0.1 <= came.readings[0].at_s < came.readings[-1].at_s <= time.time() + 0.1
    assert came.readings[0].values["gpu_mhz 17000000.gpu"] == pytest.approx(624.75)


def test_where_nothing_can_be_written_the_command_still_ends_well(small_tree: Path, tmp_path: Path) -> None:
    with Here() as machine:
        private, machine.folder = machine.folder, str(tmp_path / "no such folder")  # as on a disk that is full
        came = watched(machine, small_tree, ["sh", "-c", "exit 3"], 20)
        machine.folder = private
    assert (came.done.code, came.readings, came.before, came.after) == (3, (), None, None)


def test_a_command_that_takes_too_long_takes_its_watchers_along(small_tree: Path) -> None:
    with Here() as machine:
        with pytest.raises(VlmError, match="took more than"):
            watched(machine, small_tree, ["sleep", "60"], 0.5)
        (samples,) = Path(machine.folder).glob("*.samples")
        size = samples.stat().st_size
        time.sleep(0.5)
        assert samples.stat().st_size == size


def test_what_the_command_took_of_the_cpus_is_told_from_what_others_took(small_tree: Path) -> None:
    spins = ["python3", "-c", "import time\nwhile time.process_time() < 0.5: pass"]
    with Here() as machine:
        (window,) = context_of(watched(machine, small_tree, spins, 20))
    assert 0.5 <= window.cpu_s < 1.5
    assert window.machine_busy_s >= 0.4


def test_without_counters_there_is_no_window() -> None:
    assert context_of(Watched(Done(0, "", ""), (), QUIET, None, None)) == ()


# Quiet


def test_an_idle_board_is_quiet_and_its_power_is_the_baseline(small_tree: Path) -> None:
    readings = [Reading(100.0 + i, {"power_w VDD_IN": 4.0 + i, "temperature_c gpu": 40.0}) for i in range(3)]
    found = preflight_of(seen(replace(QUIET, uptime_s=101.0, busy_s=50.1), QUIET, *readings), small_tree)
    assert found.quiet
    assert found.idle_w == {"power_w VDD_IN": 5.0}
    assert found.fingerprint["hottest_c"] == "40.0 (gpu)"


@pytest.mark.parametrize(
    ("changes", "before", "sentence"),
    [
        ({"busy_s": 53.0}, {}, "others use 50 % of the board's CPUs (limit: 10)"),
        ({"steal_s": 0.6}, {}, "the hypervisor takes 10 % of the board (limit: 2)"),
        ({"waited_s": {"cpu": 1.3}}, {}, "for 30 % of the time some task waited for cpu (limit: 5)"),
        ({}, {"gpu_load_percent": 35.0}, "others use 35 % of the GPU (limit: 10)"),
    ],
)
def test_what_others_do_is_told(small_tree: Path, changes: Any, before: Any, sentence: str) -> None:
    after = replace(QUIET, **{"uptime_s": 101.0, **changes})
    found = preflight_of(seen(after, replace(QUIET, **before), Reading(1.0, {"power_w VDD_IN": 9.0})), small_tree)
    assert found.sentences == (sentence,)
    assert isinstance(found.idle_w, Absent)


def test_a_board_without_counters_is_not_called_quiet(small_tree: Path) -> None:
    found = preflight_of(Watched(Done(0, "", ""), (), None, None, None), small_tree)
    assert found.sentences == ("the board's counters cannot be read",)
