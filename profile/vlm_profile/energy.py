"""Energy and temperature from what the sensors said."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf

from vlm_contract.codec import Absent, known
from vlm_contract.measurement import Energy, Repetition, Setup, Temperature

SECONDS_MIN = 10.0  # of measured loops; shorter integrals say little
GAP_S_MAX = 1.0  # between two readings; over a longer one nobody knows what was taken
POWER, TEMPERATURE = "power_w ", "temperature_c "

Points = Sequence[tuple[float, float]]  # seconds, watts


def energy_of(repetitions: Sequence[Repetition], setup: Setup, idle_w: Mapping[str, float] | Absent) -> Energy | Absent:
    """The trapezoidal integral of sampled power over the measured loops, minus what the idle machine takes.

    One sensor counts for all loops, against its own idle power (`idle_w`: watts by the readings' keys): of several the
    one that rose most, as the nearest to what the model took.
    """
    joules = _joules_by_sensor(repetitions)
    if not joules:
        return Absent("no power sensor was read throughout the loops")
    if isinstance(idle_w, Absent):
        return Absent(f"what the idle machine takes is not known: {idle_w.reason}")
    seconds = sum(repetition.measure_s for repetition in repetitions)
    if seconds < SECONDS_MIN:
        return Absent(f"power was read over {seconds:.1f} s of loops, under {SECONDS_MIN:g} s: --soak 1m")
    above = {key: total - idle_w[key] * seconds for key, total in joules.items() if key in idle_w}
    if not above:
        return Absent("what the idle machine takes is not known: that sensor gave nothing before")
    key = max(above, key=above.__getitem__)
    power_w = joules[key] / seconds
    if above[key] <= 0:
        return Absent(f"the mean of {power_w:.2f} W is not above the {idle_w[key]:.2f} W of the idle machine")
    images = known(setup.batch) * sum(len(repetition.samples_ns) for repetition in repetitions)
    return Energy(1e3 * above[key] / images, power_w, idle_w[key], key.removeprefix(POWER), seconds)


def temperature_of(repetitions: Sequence[Repetition]) -> Temperature | Absent:
    """Of the sensor that got hottest."""
    readings = [reading for repetition in repetitions for reading in repetition.readings]
    seen = [(v, name) for reading in readings for name, v in reading.values.items() if name.startswith(TEMPERATURE)]
    if not seen:
        return Absent("no temperature sensor was read")
    hottest, name = max(seen)
    first = next(reading.values[name] for reading in readings if name in reading.values)
    return Temperature(name.removeprefix(TEMPERATURE), first, hottest)


def _joules_by_sensor(repetitions: Sequence[Repetition]) -> dict[str, float]:
    """Of the sensors that were read throughout every loop."""
    keys = {key for r in repetitions for reading in r.readings for key in reading.values if key.startswith(POWER)}
    found = {}
    for key in sorted(keys):
        parts = [joules for repetition in repetitions if (joules := _joules(repetition, key)) is not None]
        if len(parts) == len(repetitions):
            found[key] = sum(parts)
    return found


def _joules(repetition: Repetition, key: str) -> float | None:
    """Of one loop, from its first moment to its last: between readings, power is taken to change evenly."""
    begin_s, end_s = repetition.began_s, repetition.began_s + repetition.measure_s
    points = sorted((r.at_s, r.values[key]) for r in repetition.readings if key in r.values)
    inside = [point for point in points if begin_s < point[0] < end_s]
    if not inside:
        return None
    line = [(begin_s, _at(points, begin_s)), *inside, (end_s, _at(points, end_s))]
    if max(b_s - a_s for (a_s, _), (b_s, _) in pairwise(line)) > GAP_S_MAX:
        return None
    return sum((b_s - a_s) * (a_w + b_w) / 2 for (a_s, a_w), (b_s, b_w) in pairwise(line))


def _at(points: Points, at_s: float) -> float:
    """Watts at a time between readings; before the first and after the last, theirs."""
    after = bisect_right(points, (at_s, inf))
    if after in (0, len(points)):
        return points[min(after, len(points) - 1)][1]
    (a_s, a_w), (b_s, b_w) = points[after - 1 : after + 1]
    return a_w + (b_w - a_w) * (at_s - a_s) / (b_s - a_s)
