"""Energy and temperature from what the sensors said."""

from collections.abc import Sequence
from itertools import pairwise

from vlm_contract.codec import Absent
from vlm_contract.measurement import Energy, Repetition, Setup, Temperature

SECONDS_MIN = 10.0  # of measured loops; shorter integrals say little
POWER, TEMPERATURE = "power_w ", "temperature_c "


def energy_of(repetitions: Sequence[Repetition], setup: Setup, idle_w: float | Absent) -> Energy | Absent:
    """The trapezoidal integral of sampled power over the measured loops, minus what the idle machine takes.

    Of several sensors the one that took most counts: it is the nearest to the whole.
    """
    totals = [total for repetition in repetitions if (total := _integral(repetition))]
    if not totals:
        return Absent("no power sensor was read while the loops ran")
    if isinstance(idle_w, Absent):
        return Absent(f"what the idle machine takes is not known: {idle_w.reason}")
    joules, seconds = sum(j for _, j, _ in totals), sum(s for _, _, s in totals)
    if seconds < SECONDS_MIN:
        return Absent(f"power was read over {seconds:.1f} s of loops, under {SECONDS_MIN:g} s: --soak 1m")
    images = setup.batch * sum(len(repetition.samples_ns) for repetition in repetitions)
    if joules <= idle_w * seconds:
        return Absent(f"the mean of {joules / seconds:.2f} W is not above the {idle_w:.2f} W of the idle machine")
    return Energy(1e3 * (joules - idle_w * seconds) / images, joules / seconds, idle_w, totals[0][0], seconds)


def temperature_of(repetitions: Sequence[Repetition]) -> Temperature | Absent:
    """Of the sensor that got hottest."""
    readings = [reading for repetition in repetitions for reading in repetition.readings]
    seen = [(v, name) for reading in readings for name, v in reading.values.items() if name.startswith(TEMPERATURE)]
    if not seen:
        return Absent("no temperature sensor was read")
    hottest, name = max(seen)
    first = next(reading.values[name] for reading in readings if name in reading.values)
    return Temperature(name.removeprefix(TEMPERATURE), first, hottest)


def _integral(repetition: Repetition) -> tuple[str, float, float] | None:
    """The sensor, joules and seconds of the measured loop; None without two readings of power inside it."""
    end_s = repetition.began_s + repetition.measure_s
    inside = [r for r in repetition.readings if repetition.began_s <= r.at_s <= end_s]
    names = sorted({name for r in inside for name in r.values if name.startswith(POWER)})
    found = []
    for name in names:
        points = [(r.at_s, r.values[name]) for r in inside if name in r.values]
        if len(points) > 1:
            joules = sum((b_s - a_s) * (a_w + b_w) / 2 for (a_s, a_w), (b_s, b_w) in pairwise(points))
            found.append((joules, points[-1][0] - points[0][0], name.removeprefix(POWER)))
    if not found:
        return None
    joules, seconds, name = max(found)
    return name, joules, seconds
