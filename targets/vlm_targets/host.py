"""What a machine says of itself, from /proc and /sys, and which target that is; a recorded tree serves as well."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.codec import Absent
from vlm_contract.console import printable
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Device
from vlm_targets._files import SAID, field, number_in, text_of
from vlm_targets.catalogue import Target, known_targets
from vlm_targets.cgroups import usable_cpus
from vlm_targets.jetson import SUPER_MODES, chip_of, is_super, modules_of, power_mode_of
from vlm_targets.variants import MODULES, ORIN_NANO, ORIN_NANO_SUPER, VARIANTS, Variant

if TYPE_CHECKING:
    from vlm_targets.reach import Machine

# Where firmware writes the product's name: boards with a device tree, then PCs.
_PRODUCT = ("proc/device-tree/model", "sys/class/dmi/id/product_name")
# The lines of /proc/cpuinfo that name the processor: x86, then Arm and others.
_PROCESSOR = ("model name", "Hardware", "cpu model", "Model")
_NAME_CHARACTERS = 200


def device_of(root: Path = Path("/"), *, affinity: int | None = None, machine: str | None = None) -> Device:
    """The machine whose file system is at `root`.

    `affinity` is the number of CPUs that the caller may run on and `machine` the instruction set; where they are not
    given, a mirrored tree says them, or else the running system. Raises VlmError where the tree has no /proc.
    """
    cpuinfo = text_of(root / "proc/cpuinfo")
    if not cpuinfo:
        raise VlmError(f"{root / 'proc/cpuinfo'} cannot be read; a machine is measured on Linux only.")
    machine = machine or text_of(root / SAID / "uname-m")[:_NAME_CHARACTERS] or os.uname().machine
    cpus = len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))
    cpu = _processor(cpuinfo) or machine
    return Device(
        name=next(iter(_products(root)), cpu),
        cpu=cpu,
        cpus=cpus,
        usable_cpus=usable_cpus(root, _affinity(root) if affinity is None else affinity),
        memory_bytes=_memory_bytes(root),
        gpu=next(iter([*_gpus(root), *_integrated(root)]), Absent("no NVIDIA driver names one")),
        power_mode=power_mode_of(root),
        system=_system(root),
        machine=machine,
    )


def names_of(root: Path = Path("/")) -> tuple[str, ...]:
    """What firmware calls this machine, and the NVIDIA driver its GPUs; empty where neither says anything."""
    return (*_products(root), *_gpus(root))


def variant_of(root: Path = Path("/")) -> Variant | None:
    """Which of several machines of one name this is, by its module's part number, or else by a card's PCI id."""
    codes = {variant.code: variant for variant in VARIANTS}
    return next((codes[code] for code in [*modules_of(root), *_pci_ids(root)] if code in codes), None)


def is_here(target: Target, root: Path = Path("/")) -> bool:
    """Whether the machine whose file system is at `root` has the target's hardware.

    Compute capabilities would not do: that of the GTX 1660 Ti is the T4's too.
    """
    return target.name == "host" or (bool(target.recognised_by) and not _other_hardware(target, root))


def why_not(target: Target, root: Path = Path("/")) -> str:
    """Why figures measured on this machine may not be filed under the target, in a sentence; empty where they may.

    Of a target that nothing recognises, its user says where it is.
    """
    return (_other_hardware(target, root) or _other_power(target, root)) if target.recognised_by else ""


def why_not_here(target: Target, root: Path = Path("/")) -> str:
    """The same of a target that is not this machine: one that nothing recognises is not, for that reason."""
    return why_not(target, root) or f"Nothing is said of how {target.title} is recognised, so it is not this machine."


def check_is_target(machine: "Machine", target: Target, tree: Path) -> None:
    """Raise VlmError where a machine, whose mirrored tree that is, is another than the target, saying which."""
    if target.name == "host":
        raise VlmError(f"'host' is this machine, and {machine.address} another one.", hint="--target jetson")
    if why := why_not(target, tree):
        raise VlmError(
            f"{machine.address} is not taken for {target.name}. {printable(why)}",
            hint="--target with the name of that board, or --host with the address of another",
        )


def _other_hardware(target: Target, root: Path) -> str:
    family = _family(target)
    variant = variant_of(root) or _variant_by_memory(target, root)
    if variant and any(family & {*one.targets} for one in VARIANTS):
        if not family & {*variant.targets}:
            return f"This is {_described(root, variant)}, not {target.title}."
        if variant.differs:
            return f"This is the {variant.title}, which is not {target.title}: {variant.differs}."
    elif not _is_named(target, root):
        return f"This is {_described(root, variant)}, not {target.title}."
    if ORIN_NANO_SUPER in family and not is_super(root):
        return f"This is {_described(root, variant)}, not set up as a Super: it has no power mode MAXN_SUPER."
    return ""


def _family(target: Target) -> set[str]:
    """Its name, and that of the known target that a user's own is like."""
    return {target.name, *(one.name for one in known_targets() if one.recognised_by == target.recognised_by)}


def _other_power(target: Target, root: Path) -> str:
    """A module that is sold with more power has another name then."""
    mode = power_mode_of(root)
    if ORIN_NANO not in _family(target) or mode not in SUPER_MODES:
        return ""
    return f"The power mode of this machine is {mode}: {target.title} has none, {ORIN_NANO_SUPER} has."


def _is_named(target: Target, root: Path) -> bool:
    """By whole words: a Raspberry Pi 400 is no Raspberry Pi 4."""
    words = [re.compile(rf"(?<!\w){re.escape(text)}(?!\w)") for text in target.recognised_by]
    return any(word.search(name) for name in names_of(root) for word in words)


def _variant_by_memory(target: Target, root: Path) -> Variant | None:
    """Of modules by the target's name, the least that holds what the kernel found, where no part number tells."""
    memory = _memory_bytes(root)
    if isinstance(memory, Absent) or not _is_named(target, root):
        return None
    kin = [one for one in MODULES if _family(target) & {*one.targets} and memory <= one.memory_gb * 2**30]
    return min(kin, key=lambda one: (one.memory_gb, bool(one.differs)), default=None)


def _described(root: Path, variant: Variant | None) -> str:
    names = [*names_of(root), *([f"a {variant.title}"] if variant else [])]
    if names:
        return " with ".join(names)
    cpu = _processor(text_of(root / "proc/cpuinfo"))
    return f"a machine with the processor {cpu}" if cpu else "a machine without a name"


def _processor(cpuinfo: str) -> str:
    return next(filter(None, (field(cpuinfo, name)[:_NAME_CHARACTERS] for name in _PROCESSOR)), "")


def _affinity(root: Path) -> int:
    return number_in(text_of(root / SAID / "nproc")) or len(os.sched_getaffinity(0))


def _memory_bytes(root: Path) -> int | Absent:
    total_kb = number_in(field(text_of(root / "proc/meminfo"), "MemTotal").removesuffix("kB").strip())
    return total_kb * 1024 if total_kb else Absent("/proc/meminfo does not say")


def _products(root: Path) -> list[str]:
    return [name for path in _PRODUCT if (name := text_of(root / path)[:_NAME_CHARACTERS])]


def _gpus(root: Path) -> list[str]:
    files = sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
    return [name for file in files if (name := field(text_of(file), "Model")[:_NAME_CHARACTERS])]


def _integrated(root: Path) -> list[str]:
    """The GPU of a Jetson, whose driver may list none, by the chip that its device tree says it is part of."""
    chip = chip_of(root)
    return [f"integrated in {chip}"] if chip else []


def _pci_ids(root: Path) -> list[str]:
    """Vendor and device of every card, as `lspci -n` writes them."""
    folders = sorted(file.parent for file in root.glob("sys/bus/pci/devices/*/vendor"))
    pairs = ([text_of(folder / name).removeprefix("0x") for name in ("vendor", "device")] for folder in folders)
    return [":".join(pair) for pair in pairs]


def _system(root: Path) -> str:
    release = re.search(r'^PRETTY_NAME="?([^"\n]+)', text_of(root / "etc/os-release"), re.MULTILINE)
    kernel = text_of(root / "proc/sys/kernel/osrelease")
    return f"{release[1] if release else 'unnamed distribution'}, Linux {kernel}"[:_NAME_CHARACTERS]
