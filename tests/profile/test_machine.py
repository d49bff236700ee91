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
    assert list(faults_of(DEVICE, tree({}), {})) == []


def test_a_machine_that_says_nothing_of_itself_has_none_either(tmp_path: Path) -> None:
    assert list(faults_of(DEVICE, tmp_path, {})) == []
    assert fingerprint_of(tmp_path) == {}


@pytest.mark.parametrize(
    ("changes", "seen", "remedy"),
    [
        ({f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}, "performance, powersave", "scaling_governor"),
        ({f"{CPU}/intel_pstate/no_turbo": "0"}, "may rise over its base", "no_turbo"),
        ({f"{CPU}/smt/control": "on"}, "share a core", "smt/control"),
        ({"proc/meminfo": "SwapTotal: 1000000 kB\nSwapFree: 897600 kB"}, "100 MiB lie in swap", "swapoff"),
        ({"proc/pressure/cpu": "some avg10=7.00 avg60=0 avg300=0 total=1"}, "for 7 % of the last 10 s", "top"),
        ({"proc/cpuinfo": "flags : fpu hypervisor"}, "a hypervisor", "steal"),
    ],
)
def test_each_fault_has_its_remedy(tree: Tree, changes: dict[str, str], seen: str, remedy: str) -> None:
    (fault,) = faults_of(DEVICE, tree(changes), {})
    assert seen in fault.seen
    assert remedy in fault.remedy


def test_cpus_that_are_not_ours_and_a_preloaded_library_are_faults(tree: Tree) -> None:
    (shared,) = faults_of(replace(DEVICE, usable_cpus=2), tree({}), {})
    (preloaded,) = faults_of(DEVICE, tree({}), {"LD_PRELOAD": "libjemalloc.so"})
    assert shared.seen.startswith("2 of 4 CPUs are ours")
    assert (preloaded.remedy, "libjemalloc.so" in preloaded.seen) == ("unset LD_PRELOAD", True)


def test_the_fingerprint_keeps_what_figures_depend_on(tree: Tree) -> None:
    found = fingerprint_of(tree({"proc/cpuinfo": "flags : hypervisor"}))
    assert found == {
        "governor": "performance",
        "turbo": "off",
        "smt": "off",
        "hypervisor": "yes",
        "transparent_hugepages": "madvise",
    }
