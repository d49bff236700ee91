"""What of a machine's state spoils a measurement, and the command that mends it; a recorded tree serves as well."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.codec import Absent, known
from vlm_contract.measurement import Device
from vlm_profile.sensors._files import text_of
from vlm_targets.cgroups import usable_cpus
from vlm_targets.host import variant_of
from vlm_targets.jetson import clocks_locked, is_jetson, jetpack_of, l4t_of

MANY_SWAPPED_KB = 64 * 1024
PRESSURE_PERCENT = 5.0  # of the last ten seconds in which some task waited for a CPU
# Where a kernel says whether clocks may rise over their base, and its words for yes and no.
TURBO = (
    ("sys/devices/system/cpu/intel_pstate/no_turbo", "0", "1"),
    ("sys/devices/system/cpu/cpufreq/boost", "1", "0"),
)


@dataclass(frozen=True)
class Fault:
    """Something that spoils figures."""

    seen: str
    remedy: str  # what to type


def fingerprint_of(root: Path = Path("/")) -> dict[str, str]:
    """The state that figures depend on, as a record keeps it; what a machine does not have is left out."""
    found = {
        "governor": _governors(root),
        "turbo": _turbo(root),
        "smt": text_of(root / "sys/devices/system/cpu/smt/control"),
        "hypervisor": "yes" if _is_virtual(root) else "",
        "swapped_kb": str(_swapped_kb(root) or ""),
        "transparent_hugepages": _chosen(text_of(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        **_of_jetson(root),
    }
    return {name: value for name, value in found.items() if value}


def faults_of(device: Device, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Iterator[Fault]:
    """Every fault that can be seen without measuring."""
    yield from _faults_of_clocks(device, root)
    yield from _faults_of_sharing(device, root)
    if "LD_PRELOAD" in environ:
        yield Fault(f"LD_PRELOAD is {environ['LD_PRELOAD']}: it changes every runtime", "unset LD_PRELOAD")
    if "ORT_DISABLE_TELEMETRY" not in environ:
        yield Fault(
            "onnxruntime may run a thread for telemetry: vlm-profile switches it off, other programs do not",
            "export ORT_DISABLE_TELEMETRY=1",
        )


def _faults_of_clocks(device: Device, root: Path) -> Iterator[Fault]:
    governors = _governors(root)
    if governors and governors != "performance":
        yield Fault(
            f"the governor of the CPUs is {governors}: clocks follow the load",
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    for file, on, off in TURBO:
        if text_of(root / file) == on:
            yield Fault("the CPUs' clock may rise over its base while they are cool", f"echo {off} | sudo tee /{file}")
    if isinstance(device.power_mode, str) and not device.power_mode.startswith("MAXN"):
        yield Fault(
            f"the power mode is {device.power_mode}: it caps clocks, and figures hold for it alone",
            "sudo nvpmodel -m ID   # of: grep POWER_MODEL /etc/nvpmodel.conf",
        )
    if clocks_locked(root) is False:
        yield Fault("the GPU's clock follows the load", "sudo jetson_clocks")
    if list(root.glob("proc/driver/nvidia/gpus/*/information")) and not is_jetson(root):
        yield Fault(
            "whether the GPU's clocks are locked, its driver does not say",
            "sudo nvidia-smi --lock-gpu-clocks=MHZ   # of: nvidia-smi -q -d SUPPORTED_CLOCKS",
        )


def _faults_of_sharing(device: Device, root: Path) -> Iterator[Fault]:
    if text_of(root / "sys/devices/system/cpu/smt/control") == "on":
        yield Fault(
            "two hardware threads share a core: a neighbour on the other one halves ours",
            "echo off | sudo tee /sys/devices/system/cpu/smt/control",
        )
    if (swapped := _swapped_kb(root)) > MANY_SWAPPED_KB:
        yield Fault(f"{swapped / 1024:.0f} MiB lie in swap", "sudo swapoff -a   # where memory suffices")
    if (share := _pressure(root)) > PRESSURE_PERCENT:
        yield Fault(
            f"for {share:.0f} % of the last 10 s some task waited for a CPU", "top   # and end what need not run"
        )
    cpus, ours = known(device.cpus), known(device.usable_cpus)
    if (granted := usable_cpus(root, cpus)) < cpus:
        yield Fault(
            f"a quota of the cgroup grants {granted} of {cpus} CPUs, and stops us in bursts beyond it",
            "systemctl set-property --runtime UNIT CPUQuota=   # or docker update --cpus 0 CONTAINER",
        )
    if ours < granted:
        yield Fault(
            f"{ours} of {cpus} CPUs are ours: others share caches, memory and clocks",
            f"taskset --cpu-list --pid 0-{cpus - 1} $$",
        )
    if _is_virtual(root):
        yield Fault(
            "a hypervisor may take CPUs away, and hides clocks: figures hold for this virtual machine",
            "measure on the machine itself, or watch the verdicts for steal",
        )


def _governors(root: Path) -> str:
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({text_of(file) for file in files}))


def _turbo(root: Path) -> str:
    for file, on, off in TURBO:
        if state := {on: "on", off: "off"}.get(text_of(root / file)):
            return state
    return ""


def _of_jetson(root: Path) -> dict[str, str]:
    """Which module it is, its release, and whether its GPU's clock is held; empty for another machine."""
    if not is_jetson(root):
        return {}
    module, release, locked = variant_of(root), l4t_of(root), clocks_locked(root)
    jetpack = release if isinstance(release, Absent) else jetpack_of(release)
    return {
        "module": module.title if module else "",
        "jetson_linux": "" if isinstance(release, Absent) else release,
        "jetpack": "" if isinstance(jetpack, Absent) else jetpack.version,
        "gpu_clock": "" if isinstance(locked, Absent) else "locked" if locked else "follows the load",
    }


def _is_virtual(root: Path) -> bool:
    flags = next((line for line in text_of(root / "proc/cpuinfo").splitlines() if line.startswith("flags")), "")
    return "hypervisor" in flags.split()


def _swapped_kb(root: Path) -> int:
    """Used swap (proc_meminfo(5))."""
    found = re.findall(r"^(Swap\w+):\s*([0-9]{1,15}) kB", text_of(root / "proc/meminfo"), re.MULTILINE)
    sizes = {name: int(kilobytes) for name, kilobytes in found}
    return sizes.get("SwapTotal", 0) - sizes.get("SwapFree", 0)


def _pressure(root: Path) -> float:
    """Percent of the last ten seconds (kernel: psi.rst); 0 where the kernel does not say."""
    some = re.match(r"some avg10=([0-9]{1,3}\.[0-9]+) ", text_of(root / "proc/pressure/cpu"))
    return float(some[1]) if some else 0.0


def _chosen(words: str) -> str:
    """The word in brackets."""
    return words.partition("[")[2].partition("]")[0]
