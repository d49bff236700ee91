"""Counters are read from recorded trees of /proc, and from this kernel."""

import mmap
import os
import threading
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_profile.kernel import Counters, cpu_mhz, read_counters, reset_peak, rss_bytes, thread_cpu_s

TICK = os.sysconf("SC_CLK_TCK")


def recorded(root: Path) -> Path:
    for task, text in {"101": "5000000000 30000000 900\n", "102": "4000000000 70000000 800\n"}.items():
        (root / "self/task" / task).mkdir(parents=True)
        (root / "self/task" / task / "schedstat").write_text(text)
    (root / "self/status").write_text("Name:\tpython\nVmHWM:\t  123456 kB\nVmRSS:\t   98765 kB\n")
    (root / "stat").write_text(
        f"cpu  {TICK} {TICK} {TICK} 999 999 {TICK} {TICK} {2 * TICK} 7 0\n"
        f"cpu0 {TICK} 0 0 9 9 0 0 {TICK} 0 0\ncpu1 {TICK} {TICK} 0 9 9 0 0 {TICK} 0 0\n"
        f"cpu2 0 {TICK} 0 9 9 0 {TICK} 0 0 0\n"
    )
    (root / "cpuinfo").write_text("cpu MHz\t: 1000.0\ncpu MHz\t: 3000.0\n")
    return root


def test_run_queue_wait_is_that_of_all_threads(tmp_path: Path) -> None:
    assert read_counters(recorded(tmp_path)).run_queue_wait_s == pytest.approx(0.1)


def test_idle_and_waiting_for_disks_are_not_busy(tmp_path: Path) -> None:
    counters = read_counters(recorded(tmp_path))
    assert (counters.machine_busy_s, counters.steal_s) == (5.0, 2.0)


def test_our_cpus_are_those_of_the_affinity_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2})
    assert read_counters(recorded(tmp_path)).our_cpus_busy_s == 4.0
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    assert read_counters(tmp_path).our_cpus_busy_s == 1.0


def test_the_clock_is_cpufreqs_where_there_is_one_else_that_of_cpuinfo(tmp_path: Path) -> None:
    proc, sys = recorded(tmp_path / "proc"), tmp_path / "sys"
    assert cpu_mhz({0, 1}, proc, sys) == 3000.0
    assert cpu_mhz({0}, proc, sys) == 1000.0
    (sys / "devices/system/cpu/cpu1/cpufreq").mkdir(parents=True)
    (sys / "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq").write_text("1500000\n")
    assert cpu_mhz({1}, proc, sys) == 1500.0
    assert cpu_mhz({0, 1}, proc, sys) == 3000.0
    (proc / "cpuinfo").write_text("BogoMIPS\t: 108.00\n")
    assert isinstance(cpu_mhz({0}, proc, sys), Absent)


def test_each_thread_has_its_own_cpu_time(tmp_path: Path) -> None:
    assert thread_cpu_s(recorded(tmp_path)) == {101: 5.0, 102: 4.0}


def test_a_thread_that_ended_is_passed_over(tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "self/task/102/schedstat").unlink()
    assert read_counters(tmp_path).run_queue_wait_s == pytest.approx(0.03)


def test_a_kernel_without_scheduler_statistics_is_no_quiet_one(tmp_path: Path) -> None:
    recorded(tmp_path)
    for schedstat in tmp_path.glob("self/task/*/schedstat"):
        schedstat.unlink()
    with pytest.raises(FileNotFoundError):
        read_counters(tmp_path)


def test_a_wait_that_went_with_its_thread_is_never_negative() -> None:
    earlier, later = Counters(5.0, 1.0, 1, 1.0, 0.0, 1.0, 2000.0), Counters(4.0, 2.0, 3, 4.0, 0.5, 3.5, 1800.0)
    context = later.since(earlier, 0.2)
    assert (context.run_queue_wait_s, context.cpu_s, context.involuntary_switches) == (0.0, 1.0, 2)
    assert (context.machine_busy_s, context.steal_s) == (3.0, 0.5)
    assert (context.our_cpus_busy_s, context.cpu_mhz) == (2.5, 1800.0)


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    assert rss_bytes("VmHWM", recorded(tmp_path)) == 123456 * 1024


def test_missing_memory_counters_say_why(tmp_path: Path) -> None:
    assert isinstance(rss_bytes("VmHWM", tmp_path), Absent)
    assert rss_bytes("VmSwap", recorded(tmp_path)) == Absent("this kernel does not report VmSwap")


def test_the_peak_of_a_buffer_is_seen_and_can_be_reset() -> None:
    reset_peak()
    before = rss_bytes("VmHWM")
    with mmap.mmap(-1, 64 * 2**20) as fresh:  # pages that no earlier test has left to this process
        fresh.write(b"\1" * len(fresh))
    peak = rss_bytes("VmHWM")
    assert isinstance(before, int)
    assert isinstance(peak, int)
    assert peak - before > 50 * 2**20


def test_this_kernel_counts_our_cpu_time() -> None:
    earlier = read_counters()
    spinning = threading.Thread(target=lambda: sum(range(2_000_000)))
    spinning.start()
    spinning.join()
    assert read_counters().since(earlier, 1.0).cpu_s > 0
