"""What computes a model on a device: the unit of its precision, that unit's peak, and the memory beside it."""

import re
from dataclasses import dataclass, replace

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_targets.catalogue import Hardware, Limits, Target, limits_of

UNITS = ("tensor fp16", "tensor int8", "cuda", "half2", "dp4a", "cpu", "cpu int8")
LANES = ("tensor", "cuda", "cpu")  # units that need work of the same shape
CLASSES = ("gpu", "x86", "arm")
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
PLAIN_INT8 = 2  # of a CPU without dot products, over FP32: half the width, the products widened


@dataclass(frozen=True)
class Processor:
    """One unit of a device, in one power mode."""

    unit: str  # of UNITS
    lane: str  # of LANES
    core: str  # of CLASSES
    peak: float  # operations a second, two a multiply-accumulate
    vector_peak: float  # of the units that depthwise convolutions run on: never the tensor cores
    bandwidth: float  # bytes a second
    element_bytes: int
    sms: int  # multiprocessors, or threads of a CPU
    clock_hz: float
    threads: int  # of a CPU; 1 for a GPU


def processor_of(
    target: Target, precision: str, power_mode: str | None = None, threads: int | None = None
) -> Processor:
    """What computes this precision on a target. Raises VlmError where nothing is known of its hardware, and for
    INT8 on a GPU that has none.

    FP16 that the device has no unit for is computed in FP32: that is what runtimes do.
    """
    hardware = target.hardware
    if isinstance(hardware, Absent):
        raise VlmError(f"No peaks are known of {target.title}: {hardware.reason}.", hint="vlm-profile targets")
    return processor_from(hardware, limits_of(target, power_mode), precision, threads)


def processor_from(hardware: Hardware, limits: Limits, precision: str, threads: int | None = None) -> Processor:
    """The same from data sheets alone."""
    if precision not in BYTES:
        raise VlmError(f"{precision!r} is no precision that is estimated.", hint=f"one of {', '.join(BYTES)}")
    if not has_precision(hardware, precision) and isinstance(hardware.int8_tops, Absent):
        raise VlmError(f"{hardware.chip} computes no INT8: {hardware.int8_tops.reason}.", hint="fp16 or fp32 instead")
    return _gpu(hardware, limits, precision) if hardware.kind == "gpu" else _cpu(hardware, limits, precision, threads)


def has_precision(hardware: Hardware, precision: str) -> bool:
    """Whether a model of this precision runs there at all: no runtime puts FP32 in the place of INT8 on a GPU."""
    return precision != "int8" or hardware.kind == "cpu" or not isinstance(hardware.int8_tops, Absent)


def reference_of(hardware: Hardware, precision: str) -> Processor:
    """The same whatever the power mode and the threads: models are compared by what they take on it."""
    return processor_from(hardware, full_limits(hardware), precision)


def full_limits(hardware: Hardware) -> Limits:
    """The data sheet's own peaks."""
    return Limits(
        power_mode=Absent("no mode is named"),
        sms=hardware.sms,
        clock_mhz=hardware.clock_mhz,
        fp32_tflops=hardware.fp32_tflops,
        fp16_tflops=hardware.fp16_tflops,
        int8_tops=hardware.int8_tops,
        bandwidth_gb_s=hardware.bandwidth_gb_s,
    )


def _gpu(hardware: Hardware, limits: Limits, precision: str) -> Processor:
    fp32 = Processor(
        unit="cuda",
        lane="cuda",
        core="gpu",
        peak=limits.fp32_tflops * 1e12,
        vector_peak=limits.fp32_tflops * 1e12,
        bandwidth=limits.bandwidth_gb_s * 1e9,
        element_bytes=4,
        sms=limits.sms if isinstance(limits.sms, int) else 1,
        clock_hz=limits.clock_mhz * 1e6,
        threads=1,
    )
    is_int8 = precision == "int8"
    peak, named = (limits.int8_tops, hardware.int8_unit) if is_int8 else (limits.fp16_tflops, hardware.fp16_unit)
    if precision == "fp32" or isinstance(peak, Absent):
        return fp32
    on_tensor_cores = has_tensor_cores(named)
    units = ("tensor fp16", "tensor int8") if on_tensor_cores else ("half2", "dp4a")
    return replace(
        fp32,
        unit=units[is_int8],
        lane="tensor" if on_tensor_cores else "cuda",
        peak=peak * 1e12,
        vector_peak=fp32.peak if on_tensor_cores else min(peak * 1e12, 2 * fp32.peak),
        element_bytes=BYTES[precision],
    )


def core_of(hardware: Hardware) -> str:
    """Of CLASSES."""
    if hardware.kind == "gpu":
        return "gpu"
    return "arm" if re.search("cortex|arm|aarch64", hardware.architecture, re.IGNORECASE) else "x86"


def has_tensor_cores(unit: str) -> bool:
    """Whether a data sheet's unit is tensor cores: "no tensor cores" is not."""
    return unit.startswith("tensor cores")


def _cpu(hardware: Hardware, limits: Limits, precision: str, threads: int | None) -> Processor:
    used = min(threads or hardware.cores, hardware.cores)
    share = 1e12 * used / hardware.cores
    fp32 = limits.fp32_tflops * share
    int8 = PLAIN_INT8 * fp32 if isinstance(limits.int8_tops, Absent) else limits.int8_tops * share
    is_int8 = precision == "int8"
    return Processor(
        unit="cpu int8" if is_int8 else "cpu",
        lane="cpu",
        core=core_of(hardware),
        peak=int8 if is_int8 else fp32,
        vector_peak=PLAIN_INT8 * fp32 if is_int8 else fp32,
        bandwidth=limits.bandwidth_gb_s * 1e9,
        element_bytes=1 if is_int8 else 4,
        sms=used,
        clock_hz=limits.clock_mhz * 1e6,
        threads=used,
    )
