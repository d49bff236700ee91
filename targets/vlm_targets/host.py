"""What this machine says of itself, from /proc and /sys; a recorded tree serves as well."""

import os
import re
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Device
from vlm_targets.catalogue import Target

# Where firmware writes the product's name: boards with a device tree, then PCs.
_PRODUCT = ("proc/device-tree/model", "sys/class/dmi/id/product_name")
# The lines of /proc/cpuinfo that name the processor: x86, then Arm and others.
_PROCESSOR = ("model name", "Hardware", "cpu model", "Model")


def device_of(root: Path = Path("/"), *, affinity: int | None = None, machine: str | None = None) -> Device:
    """The machine whose file system is at `root`.

    `affinity` is the number of CPUs that the caller may run on and `machine` the instruction set; both are asked of
    the running system where they are not given. Raises VlmError where the tree has no /proc.
    """
    cpuinfo = _read(root / "proc/cpuinfo")
    if not cpuinfo:
        raise VlmError(f"{root / 'proc/cpuinfo'} cannot be read; the host is measured on Linux only.")
    machine = machine or os.uname().machine
    cpus = len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))
    cpu = next(filter(None, (_field(cpuinfo, name) for name in _PROCESSOR)), machine)
    return Device(
        name=next(filter(None, (_read(root / path).strip("\0\n ") for path in _PRODUCT)), cpu),
        cpu=cpu,
        cpus=cpus,
        usable_cpus=usable_cpus(root, len(os.sched_getaffinity(0)) if affinity is None else affinity),
        memory_bytes=int(_field(_read(root / "proc/meminfo"), "MemTotal").removesuffix("kB")) * 1024,
        gpu=next(iter([*_gpus(root), *_integrated(root)]), Absent("no NVIDIA driver names one")),
        power_mode=_power_mode(root),
        system=_system(root),
        machine=machine,
    )


def names_of(root: Path = Path("/")) -> tuple[str, ...]:
    """What firmware calls this machine, and the NVIDIA driver its GPUs; empty where neither says anything."""
    return tuple(filter(None, [*(_read(root / path).strip("\0\n ") for path in _PRODUCT), *_gpus(root)]))


def is_here(target: Target, root: Path = Path("/")) -> bool:
    """Whether the machine whose file system is at `root` is the target, by what it and its GPUs are called.

    Compute capabilities would not do: that of the GTX 1660 Ti is the T4's too.
    """
    return target.name == "host" or any(text in name for name in names_of(root) for text in target.recognised_by)


def _gpus(root: Path) -> list[str]:
    files = sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
    return [name for file in files if (name := _field(_read(file), "Model"))]


def _integrated(root: Path) -> list[str]:
    """The GPU of a Jetson, whose driver may list none, by the chip that its device tree says it is part of."""
    chip = re.search(r"nvidia,(tegra\d+)", _read(root / "proc/device-tree/compatible"))
    return [f"integrated in {chip[1]}"] if chip else []


def _power_mode(root: Path) -> str | Absent:
    """Of a Jetson, by the name that nvpmodel gives it: the mode in its status file, the names in its configuration."""
    mode = re.search(r"pmode:0*(\d+)", _read(root / "var/lib/nvpmodel/status"))
    if not mode:
        return Absent("this machine names no power mode")
    name = re.search(rf"<\s*POWER_MODEL\s+ID={mode[1]}\s+NAME=(\S+)", _read(root / "etc/nvpmodel.conf"))
    return name[1] if name else f"mode {mode[1]}"


def usable_cpus(root: Path, affinity: int) -> int:
    """CPUs that the affinity mask and the tightest cgroup quota leave, at least 1."""
    return max(1, min([affinity, *map(int, _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """CPUs granted by each cgroup that holds this process, its ancestors too; none where nothing is limited."""
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, quota_of = root / "sys/fs/cgroup", _quota_v2
        elif "cpu" in controllers.split(","):
            mount, quota_of = root / "sys/fs/cgroup/cpu", _quota_v1
        else:
            continue
        inner = mount / path.lstrip("/")
        folders = [inner, *(folder for folder in inner.parents if folder.is_relative_to(mount))]
        quotas += [quota for folder in folders if (quota := quota_of(folder))]
    return quotas


def _quota_v2(folder: Path) -> float:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() else 0.0


def _quota_v1(folder: Path) -> float:
    quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() else 0.0


def _system(root: Path) -> str:
    release = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read(root / "etc/os-release"), re.MULTILINE)
    kernel = _read(root / "proc/sys/kernel/osrelease").strip()
    return f"{release[1] if release else 'unnamed distribution'}, Linux {kernel}"


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
