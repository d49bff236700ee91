"""Did the machine slow down while it was measured?"""

from collections.abc import Sequence
from statistics import median

from vlm_contract.measurement import Context, Reading
from vlm_profile.sensors.nvml import IDLE, POWER_CAP, SET_BY_USER, THERMAL
from vlm_profile.sensors.pi import KEY as PI_BITS
from vlm_profile.sensors.pi import NOW as PI_NOW

GPU_CLOCK_PERCENT = 75.0  # of its default or, as of a GeForce, which has none, of its highest
GPU_SAMPLES_PERCENT = 10.0  # of readings, from which on a GPU is throttled
CPU_CLOCK_PERCENT = 90.0  # of its start
# An idle GPU is slow because nobody asks for more, and none reaches its highest clock under a limit that was set.
NOT_ITS_HIGHEST = IDLE | POWER_CAP | SET_BY_USER
_PI_BITS = ("under-voltage", "its frequency capped", "throttled", "at the soft temperature limit")


def throttled(readings: Sequence[Reading], *, gpu: bool) -> str:
    """What sensors show of clocks that fell, in words; empty where nothing does. `gpu`: whether a GPU computed."""
    return _pi(readings) or (_gpu(readings) if gpu else "")


def cpu_clock_fell(context: Sequence[Context]) -> str:
    """In words, by how much the CPUs' clock fell over a loop; empty where it held."""
    clocks = [window.cpu_mhz for window in context if isinstance(window.cpu_mhz, float)]
    if len(clocks) < 2:
        return ""
    quarter = max(1, len(clocks) // 4)
    first, last = median(clocks[:quarter]), median(clocks[-quarter:])
    if last >= first * CPU_CLOCK_PERCENT / 100:
        return ""
    return f"the CPUs' clock fell from {first:.0f} to {last:.0f} MHz"


def power_capped(readings: Sequence[Reading]) -> bool:
    """Whether the driver's power limit held a GPU back: usual on a laptop, and no fault."""
    return any(int(bits) & POWER_CAP for bits in _values(readings, "gpu_throttle_bits "))


def _pi(readings: Sequence[Reading]) -> str:
    bits = 0
    for word in _values(readings, PI_BITS):
        bits |= int(word) & PI_NOW
    named = [name for i, name in enumerate(_PI_BITS) if bits >> i & 1]
    return f"the Pi was {', '.join(named)}" if named else ""


def _gpu(readings: Sequence[Reading]) -> str:
    if any(int(bits) & THERMAL for bits in _values(readings, "gpu_throttle_bits ")):
        return "the GPU slowed down for heat or for its power supply"
    return _slow_clock(readings, "default", excused=IDLE) or _slow_clock(readings, "highest", excused=NOT_ITS_HIGHEST)


def _slow_clock(readings: Sequence[Reading], kind: str, *, excused: int) -> str:
    """How often the clock was far under the GPU's own of this kind; readings with one of the bits `excused` aside."""
    pairs = [
        (clock, usual)
        for reading in readings
        for key, clock in reading.values.items()
        if key.startswith("gpu_mhz ") and (usual := _usual(reading, key.removeprefix("gpu_mhz "), kind, excused))
    ]
    slow = sum(clock < usual * GPU_CLOCK_PERCENT / 100 for clock, usual in pairs)
    if not pairs or slow <= len(pairs) * GPU_SAMPLES_PERCENT / 100:
        return ""
    named = f"{kind}, {pairs[0][1]:.0f} MHz,"
    return f"the GPU's clock was under {GPU_CLOCK_PERCENT:g} % of its {named} in {slow} of {len(pairs)} readings"


def _usual(reading: Reading, index: str, kind: str, excused: int) -> float:
    """The clock that a GPU is measured by; 0 where it names none of the kind, or the driver says why it is lower.

    A GPU that has a default is held to that: its highest clock is not promised.
    """
    if int(reading.values.get(f"gpu_throttle_bits {index}", 0)) & excused:
        return 0.0
    if kind == "highest" and f"gpu_mhz_default {index}" in reading.values:
        return 0.0
    return reading.values.get(f"gpu_mhz_{kind} {index}", 0.0)


def _values(readings: Sequence[Reading], begins: str) -> list[float]:
    return [value for reading in readings for key, value in reading.values.items() if key.startswith(begins)]
