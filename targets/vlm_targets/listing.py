"""The known targets as text for a terminal of 100 columns: all of them in tables, or one with all of its figures."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import groupby
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_contract.console import plain_table, printable
from vlm_targets.catalogue import (
    Hardware,
    JetPack,
    Target,
    all_targets,
    limits_of,
    target_named,
)
from vlm_targets.host import is_here, why_not

WIDTH = 100
NOTHING = "—"
DERIVED, DISPUTED = "*", "?"
_LABEL_WIDTH = 16
_PEAKS = ("fp32_tflops", "fp16_tflops", "int8_tops", "bandwidth_gb_s")
_PEAK_HEADER = ("FP32", "FP16", "INT8", "GB/s")
# Figures of the hardware: label and unit.
_FIGURES = {
    "clock_mhz": ("clock", "MHz"),
    "fp32_tflops": ("FP32", "TFLOPS"),
    "fp16_tflops": ("FP16", "TFLOPS"),
    "int8_tops": ("INT8", "TOPS"),
    "memory_gb": ("memory", "GB"),
    "bandwidth_gb_s": ("bandwidth", "GB/s"),
    "l2_mb": ("L2 cache", "MB"),
    "tdp_w": ("power limit", "W"),
}
_PEAKS_ARE = "FP32 and FP16 in TFLOPS, INT8 in TOPS, all dense"
_MARKS_ARE = f"{DERIVED} computed from other figures, or inferred"


def targets_table(files: Iterable[Path] = (), root: Path = Path("/")) -> str:
    """Every target: what it is, how figures of it are come by on this machine, and its peaks in the default mode."""
    targets = all_targets(files)
    whats = [(t.name, ", ".join(t.aliases) or NOTHING, _what(t), _memory(t), _short_state(t, root)) for t in targets]
    peaks = [_peak_row(target) for target in targets]
    notes = [
        *_absent_lines(targets),
        _paragraph(f"{_MARKS_ARE}; {DISPUTED} sources disagree; see `vlm-profile targets show NAME`."),
    ]
    parts = [
        plain_table(("target", "aliases", "what it is", "memory", "figures"), whats),
        f"Peaks in the power mode that it starts in: {_PEAKS_ARE}.",
        plain_table(("target", "power mode", *_PEAK_HEADER, "JetPack", "TensorRT"), peaks),
        "\n".join(notes),
    ]
    return "\n\n".join(parts)


def target_sheet(name: str, files: Iterable[Path] = (), root: Path = Path("/")) -> str:
    """One target with every figure, its unit and what is to be said of it. Raises VlmError for an unknown name."""
    target = target_named(name, files, typed="vlm-profile targets show")
    parts = [
        f"{printable(target.name)}: {printable(target.title)}",
        "\n".join(_identity_lines(target, root)),
        "\n".join(_hardware_lines(target.hardware)),
        _modes(target),
        _jetpacks(target.jetpacks),
        _listed("Notes", target.notes),
        _listed("Sources", target.sources),
    ]
    return "\n\n".join(filter(None, parts))


def state_of(target: Target, root: Path = Path("/")) -> str:
    """How figures of a target are come by on this machine, and why: measured here or over SSH, estimated, or none."""
    why_none = why_not(target, root) or "nothing is said of how to recognise it"
    if is_here(target, root) and not why_not(target, root):
        return "measured here: this machine is one"
    if isinstance(target.address, str):
        return f"measured over SSH at {target.address}"
    state = "none" if isinstance(target.hardware, Absent) else "estimated"
    why = f"{why_none[0].lower()}{why_none[1:].rstrip('.')}"
    return f"{state}: {why}; {target.address.reason} (--host USER@BOARD does)"


def _short_state(target: Target, root: Path) -> str:
    return state_of(target, root).partition(":")[0]


def _what(target: Target) -> str:
    hardware = target.hardware
    if isinstance(hardware, Absent):
        return NOTHING
    unit = "CUDA cores" if hardware.kind == "gpu" else "cores"
    return f"{hardware.kind.upper()} {hardware.chip}, {hardware.cores} {unit}"


def _memory(target: Target) -> str:
    return NOTHING if isinstance(target.hardware, Absent) else f"{_number(target.hardware.memory_gb)} GB"


def _peak_row(target: Target) -> tuple[str, ...]:
    hardware = target.hardware
    if isinstance(hardware, Absent):
        return (target.name, *[NOTHING] * 7)
    limits = limits_of(target)
    figures = (_rounded(getattr(limits, name)) + _marks(hardware, name) for name in _PEAKS)
    tensorrt = NOTHING if isinstance(target.tensorrt, Absent) else target.tensorrt
    return (target.name, _or_nothing(limits.power_mode), *figures, _majors(target), tensorrt)


def _absent_lines(targets: Iterable[Target]) -> Iterator[str]:
    """Why there is no figure, one line a reason."""
    reasons: dict[str, list[str]] = {}
    for target in targets:
        hardware = target.hardware
        if isinstance(hardware, Absent):
            reasons.setdefault(hardware.reason, []).append(target.name)
            continue
        for name in ("fp16_tflops", "int8_tops"):
            if isinstance(value := getattr(hardware, name), Absent):
                reasons.setdefault(value.reason, []).append(f"{target.name} {_FIGURES[name][0]}")
    for reason, names in reasons.items():
        yield _paragraph(f"{NOTHING} {', '.join(names)}: {reason}.")


def _identity_lines(target: Target, root: Path) -> Iterator[str]:
    yield _entry("also called", ", ".join(target.aliases) or NOTHING)
    yield _entry("recognised by", ", ".join(target.recognised_by) or NOTHING)
    yield _entry("figures of it", state_of(target, root))
    yield _entry("capability", _capability(target))
    yield _entry("TensorRT", _or_reason(target.tensorrt))


def _capability(target: Target) -> str:
    if isinstance(target.tensor_cores, Absent):
        return _or_reason(target.compute_capability)
    return f"{_or_reason(target.compute_capability)}, {'with' if target.tensor_cores else 'without'} tensor cores"


def _hardware_lines(hardware: Hardware | Absent) -> Iterator[str]:
    yield "Hardware"
    if isinstance(hardware, Absent):
        yield _entry("", f"{NOTHING} ({hardware.reason})")
        return
    yield _entry(hardware.kind.upper(), _processor(hardware))
    for name, (label, unit) in _FIGURES.items():
        yield _entry(label, _figure(hardware, name, unit))
    if hardware.derived:
        yield f"  {_MARKS_ARE}"
    for name, said in hardware.disputed.items():
        yield _entry(DISPUTED, f"{_FIGURES[name][0] if name in _FIGURES else name}: {said}")


def _processor(hardware: Hardware) -> str:
    if isinstance(hardware.sms, Absent):
        return f"{hardware.chip}, {hardware.cores} cores of {hardware.architecture}"
    return f"{hardware.chip}, {hardware.architecture}, {hardware.sms} SMs, {hardware.cores} CUDA cores"


def _figure(hardware: Hardware, name: str, unit: str) -> str:
    """A figure with its unit, its marks, and what it needs beside it."""
    value = getattr(hardware, name)
    if isinstance(value, Absent):
        return _or_reason(value)
    shared = ", shared by CPU and GPU" if hardware.shared_memory and hardware.kind == "gpu" else ""
    remarks = {
        "fp16_tflops": f", {hardware.fp16_unit}",
        "int8_tops": f", {hardware.int8_unit}",
        "memory_gb": f", {hardware.memory_type}, {hardware.bus_bits} bits{shared}",
    }
    return f"{_number(value)} {unit}{_marks(hardware, name)}{remarks.get(name, '')}"


def _marks(hardware: Hardware, name: str) -> str:
    if isinstance(getattr(hardware, name), Absent):
        return ""
    return DERIVED * (name in hardware.derived) + DISPUTED * (name in hardware.disputed)


def _modes(target: Target) -> str:
    if not target.power_modes:
        return ""
    rows = []
    for mode in target.power_modes:
        limits = limits_of(target, mode.name)
        name = f"{mode.name} (default)" if mode.default else mode.name
        clocks = (_or_nothing(mode.cpus), _or_nothing(mode.cpu_mhz), _number(mode.gpu_mhz), _number(mode.memory_mhz))
        peaks = [_rounded(getattr(limits, peak)) for peak in _PEAKS]
        rows.append((str(mode.id), name, *clocks, str(mode.sms), *peaks))
    header = ("id", "power mode", "CPUs", "CPU MHz", "GPU MHz", "memory MHz", "SMs", *_PEAK_HEADER)
    return f"Power modes ({_PEAKS_ARE}; {NOTHING} no limit of the mode)\n\n{plain_table(header, rows)}"


def _jetpacks(jetpacks: tuple[JetPack, ...]) -> str:
    """A table with one row for the JetPacks that follow each other and install the same."""
    if not jetpacks:
        return ""
    names = [field.name for field in fields(JetPack)][2:]
    rows = []
    for stack, group in groupby(jetpacks, key=lambda jetpack: [getattr(jetpack, name) for name in names]):
        same = list(group)
        versions, releases = [jetpack.version for jetpack in same], [jetpack.l4t for jetpack in same]
        rows.append((_range(versions), _range(releases), *map(_or_nothing, stack)))
    return plain_table(("JetPack", "Jetson Linux", "Ubuntu", "Python", "CUDA", "cuDNN", "TensorRT"), rows)


def _majors(target: Target) -> str:
    return ", ".join(dict.fromkeys(jetpack.version.partition(".")[0] for jetpack in target.jetpacks)) or NOTHING


def _range(words: list[str]) -> str:
    return " to ".join(dict.fromkeys((words[0], words[-1])))


def _listed(title: str, lines: Iterable[str]) -> str:
    entries = [_wrapped(line, "  ", "    ") for line in lines]
    return "\n".join([title, *entries]) if entries else ""


def _entry(label: str, text: str) -> str:
    return _wrapped(text, f"  {label:<{_LABEL_WIDTH}}", " " * (_LABEL_WIDTH + 2))


def _paragraph(text: str) -> str:
    return _wrapped(text, "", "  ")


def _wrapped(text: str, first: str, rest: str) -> str:
    return textwrap.fill(printable(text), WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _or_reason(value: str | Absent) -> str:
    return value if isinstance(value, str) else f"{NOTHING} ({value.reason})"


def _or_nothing(value: float | str | Absent) -> str:
    return NOTHING if isinstance(value, Absent) else _number(value)


def _rounded(value: float | Absent) -> str:
    """Three digits: what a peak is good for."""
    return NOTHING if isinstance(value, Absent) else f"{value:#.3g}".rstrip(".")


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
