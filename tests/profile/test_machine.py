"""What would spoil a measurement is named, with what mends it; a machine without faults has none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Device
from vlm_profile.machine import faults_of, fingerprint_of

DEVICE = Device("a board", "a CPU", 4, 4, 2**33, Absent("none"), Absent("none"), "Linux", "x86_64")
CPU = "sys/devices/system/cpu"
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}
DEVFREQ = "sys/class/devfreq/17000000.ga10b"
GOOD = {
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
    f"{CPU}/intel_pstate/no_turbo": "1",
    f"{CPU}/smt/control": "off",
    "proc/meminfo": "SwapTotal: 1000000 kB\nSwapFree: 1000000 kB",
    "proc/pressure/cpu": "some avg10=0.50 avg60=9.00 avg300=9.00 total=1",
    "proc/cpuinfo": "processor : 0\nflags : fpu sse avx2",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
}

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def made(changes: dict[str, str]) -> Path:
        for name, text in {**GOOD, **changes}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")
        return tmp_path

    return made


def test_a_machine_that_is_set_up_has_no_faults(tree: Tree) -> None:
    assert list(faults_of(DEVICE, tree({}), NO_TELEMETRY)) == []


def test_a_machine_that_says_nothing_of_itself_has_none_either(tmp_path: Path) -> None:
    assert list(faults_of(DEVICE, tmp_path, NO_TELEMETRY)) == []
    assert fingerprint_of(tmp_path) == {}


@pytest.mark.parametrize(
    ("changes", "seen", "remedy"),
    [
        ({f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}, "performance, powersave", "scaling_governor"),
        ({f"{CPU}/intel_pstate/no_turbo": "0"}, "may rise over its base", f"echo 1 | sudo tee /{CPU}/intel_pstate"),
        ({f"{CPU}/cpufreq/boost": "1"}, "may rise over its base", f"echo 0 | sudo tee /{CPU}/cpufreq/boost"),
        ({f"{DEVFREQ}/min_freq": "306000000", f"{DEVFREQ}/max_freq": "918000000"}, "GPU's clock", "jetson_clocks"),
        ({"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: T4"}, "GPU's clocks", "--lock-gpu-clocks"),
        ({"proc/self/cgroup": "0::/job", "sys/fs/cgroup/job/cpu.max": "200000 100000"}, "grants 2 of 4", "CPUQuota="),
        ({f"{CPU}/smt/control": "on"}, "share a core", "smt/control"),
        ({"proc/meminfo": "SwapTotal: 1000000 kB\nSwapFree: 897600 kB"}, "100 MiB lie in swap", "swapoff"),
        ({"proc/pressure/cpu": "some avg10=7.00 avg60=0 avg300=0 total=1"}, "for 7 % of the last 10 s", "top"),
        ({"proc/cpuinfo": "flags : fpu hypervisor"}, "a hypervisor", "steal"),
    ],
)
def test_each_fault_has_its_remedy(tree: Tree, changes: dict[str, str], seen: str, remedy: str) -> None:
    (fault,) = faults_of(DEVICE, tree(changes), NO_TELEMETRY)
    assert seen in fault.seen
    assert remedy in fault.remedy


def test_cpus_that_are_not_ours_are_a_fault(tree: Tree) -> None:
    (shared,) = faults_of(replace(DEVICE, usable_cpus=2), tree({}), NO_TELEMETRY)
    assert shared.seen.startswith("2 of 4 CPUs are ours")
    assert shared.remedy.startswith("taskset --cpu-list --pid 0-3 ")


@pytest.mark.parametrize(("mode", "faults"), [("15W", 1), ("MODE_30W_ALL", 1), ("MAXN", 0), ("MAXN_SUPER", 0)])
def test_a_power_mode_that_caps_clocks_is_a_fault(tree: Tree, mode: str, faults: int) -> None:
    found = list(faults_of(replace(DEVICE, power_mode=mode), tree({}), NO_TELEMETRY))
    assert len(found) == faults
    assert all(mode in fault.seen and "nvpmodel" in fault.remedy for fault in found)


def test_a_jetson_with_its_clocks_locked_has_no_fault(tree: Tree) -> None:
    locked = {f"{DEVFREQ}/min_freq": "918000000", f"{DEVFREQ}/max_freq": "918000000"}
    other = {"sys/class/devfreq/13e40000.host1x/min_freq": "1", "sys/class/devfreq/13e40000.host1x/max_freq": "2"}
    driver = {"proc/driver/nvidia/gpus/0/information": "Model: Orin", "proc/device-tree/compatible": "nvidia,tegra234"}
    assert list(faults_of(DEVICE, tree(locked | other | driver), NO_TELEMETRY)) == []


def test_the_environment_may_spoil_figures(tree: Tree) -> None:
    (preloaded,) = faults_of(DEVICE, tree({}), NO_TELEMETRY | {"LD_PRELOAD": "libjemalloc.so"})
    assert (preloaded.remedy, "libjemalloc.so" in preloaded.seen) == ("unset LD_PRELOAD", True)
    (telemetry,) = faults_of(DEVICE, tree({}), {})
    assert telemetry.remedy == "export ORT_DISABLE_TELEMETRY=1"


def test_the_fingerprint_keeps_what_figures_depend_on(tree: Tree) -> None:
    found = fingerprint_of(tree({"proc/cpuinfo": "flags : hypervisor"}))
    assert found == {
        "governor": "performance",
        "turbo": "off",
        "smt": "off",
        "hypervisor": "yes",
        "transparent_hugepages": "madvise",
    }
