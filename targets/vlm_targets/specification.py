"""What is said of a target: its hardware, its power modes, the JetPacks that run on it; and what it can do at most."""

import math
import re
from dataclasses import dataclass, fields
from typing import Literal

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError


@dataclass(frozen=True)
class PowerMode:
    """A budget that a board runs within, as nvpmodel names it."""

    id: int  # nvpmodel -m ID
    name: str  # as `nvpmodel -q` prints it, "MODE_30W"
    default: bool  # which a board starts in
    cpus: int | Absent  # CPU cores online
    cpu_mhz: float | Absent  # absent where the mode sets no limit
    gpu_mhz: float  # the highest clock of the GPU
    capped: bool  # whether that is the mode's doing, rather than the GPU's own limit
    sms: int  # streaming multiprocessors that are powered
    bandwidth_gb_s: float  # derived from the memory clock: transfers at both edges, over the whole bus
    source: str
    memory_mhz: float  # clock of the memory

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True)
class JetPack:
    """What NVIDIA installs on a Jetson."""

    version: str  # "6.2.1"
    l4t: str  # release of Jetson Linux, from /etc/nv_tegra_release: "36.4.4"
    ubuntu: str
    python: str
    cuda: str
    cudnn: str | Absent
    tensorrt: str


@dataclass(frozen=True)
class Hardware:
    """What a device can do at the most, by its data sheet. Peaks are dense: what sparsity would add is not counted."""

    kind: Literal["gpu", "cpu"]  # which of them computes
    chip: str
    architecture: str
    sms: int | Absent  # streaming multiprocessors
    cores: int  # CUDA cores, or cores of the CPU
    clock_mhz: float  # at which the peaks hold
    fp32_tflops: float
    fp16_tflops: float | Absent  # of fp16_unit
    fp16_unit: str  # what computes FP16; units differ in how near to their peak they come
    int8_tops: float | Absent  # of int8_unit
    int8_unit: str
    memory_gb: float | str  # a range, "1-8", where it is sold with several
    memory_type: str
    bus_bits: int
    bandwidth_gb_s: float
    l2_mb: float | Absent
    tdp_w: float | Absent
    shared_memory: bool  # whether GPU and CPU use the same memory
    derived: tuple[str, ...]  # fields that no source states: computed from others, or inferred
    disputed: dict[str, str]  # field: what each source says, and which was taken

    def __post_init__(self) -> None:
        _check_numbers(self)
        names = {field.name for field in fields(self)}
        for name in (*self.derived, *self.disputed):
            if name not in names:
                raise ValueError(f"{name!r}, said to be derived or disputed, is no field of it")
        if self.kind == "gpu" and isinstance(self.sms, Absent):
            raise ValueError("a GPU has a number of sms")


@dataclass(frozen=True)
class Target:
    """A device that figures are filed under."""

    name: str
    title: str  # as a sentence names it
    aliases: tuple[str, ...]
    recognised_by: tuple[str, ...]  # one of these is in the name that firmware gives it, or the driver its GPU
    compute_capability: str | Absent  # of its GPU, "8.7"
    tensor_cores: bool | Absent
    tensorrt: str | Absent  # the version that graphs for it must suit, "10.3.0"
    hardware: Hardware | Absent
    power_modes: tuple[PowerMode, ...]  # none where it has one only
    jetpacks: tuple[JetPack, ...]  # that run on it, oldest first; a file names their versions
    notes: tuple[str, ...]
    address: str | Absent  # what ssh takes, from a user's own file
    sources: tuple[str, ...]  # where the figures are from

    def __post_init__(self) -> None:
        for word in (self.name, *self.aliases):
            if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", word):  # a folder of measurements is called so
                raise ValueError(f"{word!r} is no name: small letters, digits, '-' and '.', such as \"my-board\"")
        for number in (self.compute_capability, self.tensorrt):
            if isinstance(number, str) and not re.fullmatch(r"\d+(\.\d+)+", number):
                raise ValueError(f'{number!r} is no version, such as "8.7"')
        if self.name == "host" and isinstance(self.address, str):
            raise ValueError("host is this machine, and has no address; give the file a name of its own")
        self._check_modes()

    def _check_modes(self) -> None:
        names = [mode.name for mode in self.power_modes]
        if len(set(names)) < len(names) or (names and sum(mode.default for mode in self.power_modes) != 1):
            raise ValueError("power_modes have each a name of their own, and one of them is the default")
        hardware = self.hardware
        if not names:
            return
        if isinstance(hardware, Absent) or isinstance(hardware.sms, Absent):
            raise ValueError("power_modes scale the peaks of a GPU, and hardware describes none")
        if any(mode.sms > hardware.sms for mode in self.power_modes):
            raise ValueError(f"power_modes have at most the {hardware.sms} sms of hardware")


@dataclass(frozen=True)
class Limits:
    """What a target can do at the most in one power mode."""

    power_mode: str | Absent
    sms: int | Absent
    clock_mhz: float
    fp32_tflops: float
    fp16_tflops: float | Absent
    int8_tops: float | Absent
    bandwidth_gb_s: float


def limits_of(target: Target, power_mode: str | None = None) -> Limits:
    """The peaks of a power mode, the default one where none is named: in proportion to powered SMs and clock.

    Raises VlmError where the mode is unknown, naming those that are, and where nothing is known of the hardware.
    """
    hardware = target.hardware
    if isinstance(hardware, Absent):
        raise VlmError(f"No peaks are known of {target.title}: {hardware.reason}.", hint="vlm-profile targets")
    mode = _mode_named(target, power_mode)
    if mode is None:
        only, sms, clock, share = Absent("no power modes are known of it"), hardware.sms, hardware.clock_mhz, 1.0
        return _limits(hardware, only, sms, clock, share, hardware.bandwidth_gb_s)
    assert isinstance(hardware.sms, int)  # or the target would have no modes
    share = mode.sms * mode.gpu_mhz / (hardware.sms * hardware.clock_mhz)
    return _limits(hardware, mode.name, mode.sms, mode.gpu_mhz, share, mode.bandwidth_gb_s)


def _mode_named(target: Target, name: str | None) -> PowerMode | None:
    """None where the target has one mode only, and no other is asked for."""
    modes = {mode.name: mode for mode in target.power_modes}
    if name is None:
        return next((mode for mode in modes.values() if mode.default), None)
    if name not in modes:
        known = f"it has {', '.join(modes)}" if modes else "none are known of it"
        like = [mode for mode in modes if mode.casefold() == name.casefold()]
        hint = f"--power-mode {like[0]}" if like else f"vlm-profile targets show {target.name}"
        title = f"{target.title[:1].upper()}{target.title[1:]}"
        raise VlmError(f"{title} has no power mode {name!r}; {known}.", hint=hint)
    return modes[name]


def _limits(
    hardware: Hardware, mode: str | Absent, sms: int | Absent, clock_mhz: float, share: float, bandwidth: float
) -> Limits:
    def scaled(peak: float | Absent) -> float | Absent:
        return peak if isinstance(peak, Absent) else peak * share

    fp16, int8 = scaled(hardware.fp16_tflops), scaled(hardware.int8_tops)
    return Limits(mode, sms, clock_mhz, hardware.fp32_tflops * share, fp16, int8, bandwidth)


def _check_numbers(record: PowerMode | Hardware) -> None:
    """Raise ValueError unless every number is positive and finite; the id of a power mode may be 0."""
    for field in fields(record):
        value = getattr(record, field.name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and field.name != "id"
        if is_number and not 0 < value < math.inf:
            raise ValueError(f"{field.name} is {value}; expected a number above 0")
