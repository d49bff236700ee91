"""Energy is an integral of what was sampled, exact on powers that are known."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Energy, Reading, Repetition, Setup, Temperature
from vlm_profile.energy import energy_of, temperature_of

Made = Callable[..., Repetition]
SETUP = Setup(8, 1, 1, "all", Absent("back to back"), {})
RAIL, PACKAGE = "power_w VDD_IN", "power_w package-0"


def powered(repetition: Made, watts: Callable[[float], float], seconds: float = 12.0, **values: Any) -> Repetition:
    """A loop with a reading every half second, from two seconds before it until two after."""
    plain = repetition(measure_s=seconds)
    times = [plain.began_s - 2 + i / 2 for i in range(round(2 * seconds) + 9)]
    readings = tuple(Reading(at, {RAIL: watts(at - plain.began_s), **values}) for at in times)
    return replace(plain, readings=readings)


def test_energy_is_what_is_taken_beyond_the_idle_machine(repetition: Made) -> None:
    found = energy_of([powered(repetition, lambda at: 7.0 if 0 <= at <= 12 else 99.0)], SETUP, {RAIL: 2.0})
    assert isinstance(found, Energy)
    assert found.energy_mj_per_image == pytest.approx(1e3 * 5.0 * 12 / (8 * 100))
    assert (found.power_w, found.idle_w, found.sensor, found.seconds) == (7.0, 2.0, "VDD_IN", 12.0)


def test_a_rising_power_is_integrated_by_trapezes(repetition: Made) -> None:
    found = energy_of([powered(repetition, lambda at: 4.0 + at)], SETUP, {RAIL: 0.0})
    assert isinstance(found, Energy)
    assert found.power_w == pytest.approx(10.0)


def test_a_loop_counts_from_its_first_moment_to_its_last(repetition: Made) -> None:
    plain = repetition(measure_s=12.0)
    times = [-0.4, *(0.1 + 0.5 * i for i in range(24)), 12.1]  # no reading at the loop's ends, and power rises
    readings = tuple(Reading(plain.began_s + at, {RAIL: 4.0 + at}) for at in times)
    found = energy_of([replace(plain, readings=readings)], SETUP, {RAIL: 0.0})
    assert isinstance(found, Energy)
    assert (found.power_w, found.seconds) == (pytest.approx(10.0), 12.0)


def test_without_a_reading_before_or_after_the_loop_the_nearest_holds(repetition: Made) -> None:
    plain = powered(repetition, lambda at: 4.0 + at)
    end = plain.began_s + 12
    inside = tuple(reading for reading in plain.readings if plain.began_s < reading.at_s < end)
    found = energy_of([replace(plain, readings=inside)], SETUP, {RAIL: 0.0})
    assert isinstance(found, Energy)
    assert found.power_w == pytest.approx(10.0)


def test_of_several_sensors_the_one_that_rose_most_counts_against_its_own_idle_power(repetition: Made) -> None:
    loaded = powered(repetition, lambda at: 5.0, **{PACKAGE: 30.0})  # the package takes more, and always does
    found = energy_of([loaded], SETUP, {RAIL: 1.0, PACKAGE: 29.0})
    assert isinstance(found, Energy)
    assert (found.sensor, found.power_w, found.idle_w) == ("VDD_IN", pytest.approx(5.0), 1.0)


def test_one_sensor_counts_for_all_loops(repetition: Made) -> None:
    both, one = powered(repetition, lambda at: 3.0, **{PACKAGE: 90.0}), powered(repetition, lambda at: 5.0)
    found = energy_of([both, one], SETUP, {RAIL: 1.0, PACKAGE: 1.0})
    assert isinstance(found, Energy)
    assert (found.sensor, found.power_w, found.seconds) == ("VDD_IN", pytest.approx(4.0), 24.0)


def test_a_sensor_that_fell_silent_in_the_loop_counts_nothing(repetition: Made) -> None:
    plain = powered(repetition, lambda at: 7.0)
    silent = tuple(r for r in plain.readings if not 3 < r.at_s - plain.began_s < 5)
    found = energy_of([replace(plain, readings=silent)], SETUP, {RAIL: 1.0})
    assert found == Absent("no power sensor was read throughout the loops")


@pytest.mark.parametrize(
    ("seconds", "idle_w", "reason"),
    [
        (9.0, {RAIL: 1.0}, "under 10 s"),
        (12.0, {RAIL: 7.0}, "not above"),
        (12.0, {PACKAGE: 1.0}, "gave nothing before"),
        (12.0, Absent("no sensor then"), "no sensor then"),
    ],
)
def test_what_cannot_be_said_is_absent(
    repetition: Made, seconds: float, idle_w: dict[str, float] | Absent, reason: str
) -> None:
    found = energy_of([powered(repetition, lambda at: 7.0, seconds)], SETUP, idle_w)
    assert isinstance(found, Absent)
    assert reason in found.reason


def test_without_a_sensor_energy_and_temperature_are_absent(repetition: Made) -> None:
    assert isinstance(energy_of([repetition()], SETUP, {RAIL: 1.0}), Absent)
    assert temperature_of([repetition()]) == Absent("no temperature sensor was read")


def test_the_temperature_is_that_of_the_sensor_that_got_hottest(repetition: Made) -> None:
    readings = (
        Reading(0.0, {"temperature_c cpu": 50.0, "temperature_c gpu": 45.0}),
        Reading(1.0, {"temperature_c cpu": 60.0, "temperature_c gpu": 75.0}),
        Reading(2.0, {"temperature_c cpu": 61.0, "temperature_c gpu": 70.0}),
    )
    assert temperature_of([repetition(readings=readings)]) == Temperature("gpu", 45.0, 75.0)
