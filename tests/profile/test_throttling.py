"""A clock that falls is named; one that does not is not."""

from dataclasses import replace

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Context, Reading
from vlm_profile.throttling import cpu_clock_fell, power_capped, throttled

WINDOW = Context(1.0, 0.0, 1.0, 0, 1.0, 1.0, 0.0, 2000.0)


def readings(*values: dict[str, float]) -> list[Reading]:
    return [Reading(float(i), each) for i, each in enumerate(values)]


def clocks(*mhz: float) -> list[Context]:
    return [replace(WINDOW, cpu_mhz=each) for each in mhz]


@pytest.mark.parametrize(("last", "slow"), [(1801.0, False), (1799.0, True)])
def test_the_cpus_clock_may_fall_by_a_tenth(last: float, slow: bool) -> None:
    found = cpu_clock_fell(clocks(*[2000.0] * 4, *[1900.0] * 8, *[last] * 4))
    assert bool(found) is slow
    assert not slow or found == "the CPUs' clock fell from 2000 to 1799 MHz"


def test_one_slow_window_is_no_throttling() -> None:
    assert cpu_clock_fell(clocks(*[2000.0] * 15, 800.0)) == ""


def test_a_clock_that_nobody_reads_is_not_judged() -> None:
    assert cpu_clock_fell([replace(WINDOW, cpu_mhz=Absent("no clock"))] * 8) == ""


@pytest.mark.parametrize(("slow", "found"), [(1, False), (2, True)])
def test_a_gpu_may_be_slow_in_a_tenth_of_the_readings(slow: int, found: bool) -> None:
    usual = {"gpu_mhz_default 0": 1500.0}
    seen = readings(*[{"gpu_mhz 0": 1100.0, **usual}] * slow, *[{"gpu_mhz 0": 1126.0, **usual}] * (10 - slow))
    assert bool(throttled(seen, gpu=True)) is found


@pytest.mark.parametrize(("mhz", "slow"), [(1590.0, False), (1570.0, True)])
def test_a_gpu_without_a_default_clock_is_held_to_its_highest(mhz: float, slow: bool) -> None:
    said = throttled(readings(*[{"gpu_mhz 0": mhz, "gpu_mhz_highest 0": 2100.0}] * 4), gpu=True)
    assert said == ("the GPU's clock was under 75 % of its highest, 2100 MHz, in 4 of 4 readings" if slow else "")


def test_a_gpu_that_has_a_default_clock_need_not_reach_its_highest() -> None:
    clocks_of_it = {"gpu_mhz_default 0": 1500.0, "gpu_mhz_highest 0": 2100.0}
    assert throttled(readings({"gpu_mhz 0": 1200.0, **clocks_of_it}), gpu=True) == ""
    assert "its default, 1500 MHz," in throttled(readings({"gpu_mhz 0": 1100.0, **clocks_of_it}), gpu=True)


@pytest.mark.parametrize("bits", [0x02, 0x04])
def test_under_a_limit_that_was_set_the_highest_clock_says_nothing_and_the_default_does(bits: int) -> None:
    slow = {"gpu_mhz 0": 900.0, "gpu_throttle_bits 0": float(bits)}
    assert throttled(readings({**slow, "gpu_mhz_highest 0": 2100.0}), gpu=True) == ""
    assert "its default" in throttled(readings({**slow, "gpu_mhz_default 0": 1500.0}), gpu=True)


def test_an_idle_gpu_is_slow_because_nobody_asks_for_more() -> None:
    idle = {"gpu_mhz 0": 300.0, "gpu_mhz_default 0": 1500.0, "gpu_throttle_bits 0": 1.0}
    at_work = {"gpu_mhz 1": 300.0, "gpu_mhz_default 1": 1500.0, "gpu_throttle_bits 1": 0.0}
    assert throttled(readings(*[idle] * 10), gpu=True) == ""
    assert throttled(readings(*[{**idle, **at_work}] * 10), gpu=True).endswith("in 10 of 10 readings")


@pytest.mark.parametrize("bits", [0x08, 0x20, 0x40])
def test_heat_and_the_hardware_slow_a_gpu_down(bits: int) -> None:
    assert "heat" in throttled(readings({"gpu_throttle_bits 0": float(bits)}), gpu=True)


def test_a_power_limit_is_told_apart() -> None:
    capped = readings({"gpu_throttle_bits 0": 4.0})
    assert throttled(capped, gpu=True) == ""
    assert power_capped(capped)
    assert not power_capped(readings({"gpu_throttle_bits 0": 1.0}))  # idle


def test_a_pis_bits_of_now_count_and_its_history_does_not() -> None:
    assert throttled(readings({"throttled_bits pi": float(0x50000)}), gpu=True) == ""
    assert throttled(readings({"throttled_bits pi": 4.0}, {"throttled_bits pi": 1.0}), gpu=True) == (
        "the Pi was under-voltage, throttled"
    )
