"""What the CPU of a machine can do, from its own files: the peaks of a target that no data sheet describes."""

import os
import re
from dataclasses import replace
from pathlib import Path

from vlm_contract.codec import Absent, known
from vlm_contract.errors import VlmError
from vlm_profile.affinity import cores_of
from vlm_targets.catalogue import Hardware, Target
from vlm_targets.host import device_of

# FP32 operations a clock and core, by what /proc/cpuinfo says of a core. Two vector units, each a multiply-add a clock:
# so have all cores with AVX-512 that are sold for servers and workstations, those with AVX2 since 2013, and the
# Cortex-A76 and later, which have the dot product; the Cortex-A72 has half of that.
_OPERATIONS = (("avx512f", 64, "AVX-512"), ("avx2", 32, "AVX2"), ("avx", 16, "AVX"), ("asimddp", 16, "Cortex, Armv8.2"))
_LEAST = (8, "128-bit vectors")
_DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "asimddp")  # INT8 at four times FP32
ASSUMED_MHZ, ASSUMED_GB_S = 2500.0, 40.0  # where a machine does not say: a clock, and the memory's share of a core


def target_here(target: Target, root: Path = Path("/")) -> Target:
    """The target with what is read of the machine at `root` as its hardware. Raises VlmError where it has no /proc."""
    return replace(target, hardware=hardware_of(root))


def hardware_of(root: Path = Path("/"), *, affinity: int | None = None) -> Hardware:
    """The CPU, as far as we may use it. What no file says is assumed: `derived` names it, and `disputed` says how.

    Two hardware threads of a core share its vector units: peaks are those of cores.
    """
    device = device_of(root, affinity=affinity)
    if isinstance(device.usable_cpus, Absent):
        raise VlmError(f"How many CPUs may be used is not known: {device.usable_cpus.reason}.")
    text = (root / "proc/cpuinfo").read_text(errors="replace")
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    operations, vectors = next(((n, name) for flag, n, name in _OPERATIONS if flag in flags), _LEAST)
    cores = min(device.usable_cpus, len(cores_of(_cpus(text, root), root)))
    clock = _clock_mhz(text, root)
    tflops = cores * operations * (clock or ASSUMED_MHZ) * 1e-6
    assumed = {"bandwidth_gb_s": f"assumed, {ASSUMED_GB_S:g} GB/s a core: no file says it"}
    return Hardware(
        kind="cpu",
        chip=str(known(device.cpu)),
        architecture=f"{known(device.machine)}, {vectors}",
        sms=Absent("a CPU has none"),
        cores=cores,
        clock_mhz=clock or ASSUMED_MHZ,
        fp32_tflops=tflops,
        fp16_tflops=Absent("computed in FP32"),
        fp16_unit="none",
        int8_tops=4 * tflops if flags & set(_DOT_PRODUCTS) else Absent("no dot product"),
        int8_unit="dot products",
        memory_gb=round(known(device.memory_bytes) / 2**30, 1),
        memory_type="not stated",
        bus_bits=64,
        bandwidth_gb_s=ASSUMED_GB_S * cores,
        l2_mb=Absent("not read"),
        tdp_w=Absent("not stated"),
        shared_memory=True,
        derived=("fp32_tflops", "int8_tops", "bandwidth_gb_s", "bus_bits", *([] if clock else ["clock_mhz"])),
        disputed=assumed if clock else {**assumed, "clock_mhz": "assumed: no file says it"},
    )


def _cpus(cpuinfo: str, root: Path) -> list[int]:
    """Those that we may run on; of a tree that was copied, all."""
    if root == Path("/"):
        return sorted(os.sched_getaffinity(0))
    return [int(number) for number in re.findall(r"^processor\s*:\s*(\d+)", cpuinfo, re.MULTILINE)]


def _clock_mhz(cpuinfo: str, root: Path) -> float:
    """The highest of cpufreq, else what /proc/cpuinfo says of any core; 0 where neither does."""
    path = root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"
    if path.is_file() and (text := path.read_text().strip()).isdigit():
        return int(text) / 1000
    clocks = [float(word) for word in re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", cpuinfo, re.MULTILINE)]
    return max(clocks, default=0.0)
