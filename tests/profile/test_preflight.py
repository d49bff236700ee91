"""What the machine is doing is looked at before anything is measured."""

import os
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_profile.preflight import DEVICES, Preflight, preflight, wait_until_quiet

TICK = os.sysconf("SC_CLK_TCK")
QUIET, NOISY = (Preflight(sentences, {}, Absent("no sensor")) for sentences in ((), ("others are at work",)))


class FakeClock:
    """Moves on by ten seconds with each look."""

    def __init__(self, *looks: Preflight) -> None:
        self.now, self.looks = 0.0, list(looks)

    def __call__(self) -> float:
        return self.now

    def look(self) -> Preflight:
        self.now += 10
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


@pytest.mark.parametrize(
    ("looks", "seconds", "quiet", "took"),
    [
        ((QUIET,), 60, True, 10),
        ((NOISY, NOISY, QUIET), 60, True, 30),
        ((NOISY,), 60, False, 60),
        ((NOISY,), 0, False, 10),
    ],
)
def test_it_is_waited_for_until_it_is_quiet_or_the_time_is_over(
    looks: tuple[Preflight, ...], seconds: float, quiet: bool, took: float
) -> None:
    clock = FakeClock(*looks)
    assert wait_until_quiet(seconds, LiveLine(quiet=True), clock.look, clock).quiet is quiet
    assert clock.now == took


class FakeMachine:
    """Files of a machine of ours alone; while the look sleeps its clock moves on, and others use what they are told."""

    def __init__(self, root: Path, *, elsewhere: int = 0, **shares: float) -> None:
        self.root, self.now, self.shares = root, 0.0, shares
        self.ours = sorted(os.sched_getaffinity(0))
        self.cpus = [*self.ours, *(max(self.ours) + 1 + i for i in range(elsewhere))]
        self.file("proc/self/task/1/schedstat", "0 0 0")
        self.sleep(0.0)

    def file(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text + "\n")

    def sleep(self, seconds: float) -> None:
        """Of each CPU others use the share `busy`; of the machine the hypervisor takes `steal`."""
        self.now += seconds
        busy, steal = (round(self.now * self.shares.get(what, 0.0) * TICK) for what in ("busy", "steal"))
        total = f"cpu  {busy * len(self.cpus)} 0 0 0 0 0 0 {steal * len(self.cpus)} 0 0"
        self.file("proc/stat", "\n".join([total, *(f"cpu{cpu} {busy} 0 0 0 0 0 0 {steal} 0 0" for cpu in self.cpus)]))
        for what in ("cpu", "memory"):
            waited_us = round(self.now * self.shares.get(f"waits_for_{what}", 0.0) * 1e6)
            self.file(f"proc/pressure/{what}", f"some avg10=99.00 total={waited_us}\nfull avg10=0.00 total=0")

    def look(self, *devices: str) -> Preflight:
        return preflight(self.root, self.sleep, lambda: self.now, devices or DEVICES)


@pytest.fixture(autouse=True)
def _no_time_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.process_time", lambda: 0.0)


@pytest.mark.parametrize(
    ("shares", "seen"),
    [
        ({}, []),
        ({"busy": 0.09, "steal": 0.01, "waits_for_cpu": 0.04, "waits_for_memory": 0.04}, []),
        ({"busy": 0.25}, ["others use 25 % of our CPUs (limit: 10)"]),
        ({"steal": 0.25}, ["the hypervisor takes 25 % of the machine (limit: 2)"]),
        ({"waits_for_cpu": 0.3}, ["for 30 % of the time some task waited for cpu (limit: 5)"]),
        ({"waits_for_memory": 0.3}, ["for 30 % of the time some task waited for memory (limit: 5)"]),
    ],
)
def test_one_second_shows_what_others_use(tmp_path: Path, shares: dict[str, float], seen: list[str]) -> None:
    machine = FakeMachine(tmp_path, **shares)
    assert list(machine.look().sentences) == seen
    assert machine.now == pytest.approx(1.0)


def test_those_that_wait_for_cpus_that_are_not_ours_do_not_concern_us(tmp_path: Path) -> None:
    assert FakeMachine(tmp_path, elsewhere=2, waits_for_cpu=0.9).look().quiet


def test_a_pi_that_is_throttled_is_not_quiet(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50005")
    (sentence,) = machine.look().sentences
    assert "0x5:" in sentence
    machine.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50000")  # it was, once
    assert machine.look().quiet


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ({"gpu_processes 0": 0.0, "gpu_throttle_bits 0": float(0x05)}, []),  # idle, within its power limit
        ({"gpu_processes 0": 0.0, "gpu_processes 1": 2.0}, ["2 processes compute on the GPU"]),
        ({"gpu_throttle_bits 0": float(0x21)}, ["the GPU's driver says 0x20"]),
    ],
)
def test_a_gpu_at_work_for_others_or_too_hot_is_not_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, float], seen: list[str]
) -> None:
    monkeypatch.setattr("vlm_profile.preflight.read_all", lambda found: values)
    sentences = FakeMachine(tmp_path).look().sentences
    assert len(sentences) == len(seen)
    assert all(sentence.startswith(words) for sentence, words in zip(sentences, seen, strict=True))
    assert FakeMachine(tmp_path).look("cpu").quiet  # rows of the CPU do not wait for the GPU


def test_the_devices_of_the_rows_reach_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("vlm_profile.preflight.preflight", lambda devices: (asked.append(devices), QUIET)[1])
    assert wait_until_quiet(0, LiveLine(quiet=True), devices={"cpu"}) is QUIET
    assert asked == [{"cpu"}]


RAIL = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"


def with_a_rail(machine: FakeMachine) -> FakeMachine:
    """Power rises by a watt a second, from one watt."""
    sleep = machine.sleep

    def rising(seconds: float) -> None:
        sleep(seconds)
        machine.file(f"{RAIL}/in_power0_input", str(round(1000 + 1000 * machine.now)))

    machine.sleep = rising  # type: ignore[method-assign]
    machine.file(f"{RAIL}/rail_name_0", "POM_5V_IN")
    machine.sleep(0.0)
    return machine


def test_idle_power_is_the_mean_over_the_look_of_each_sensor(tmp_path: Path) -> None:
    found = with_a_rail(FakeMachine(tmp_path)).look()
    assert found.idle_w == {"power_w POM_5V_IN": pytest.approx(1.6)}
    assert found.values == {"power_w POM_5V_IN": pytest.approx(2.0)}


def test_what_a_machine_takes_that_is_not_quiet_is_not_its_idle_power(tmp_path: Path) -> None:
    assert with_a_rail(FakeMachine(tmp_path, busy=0.5)).look().idle_w == Absent(
        "the machine was not quiet when it was looked at"
    )


def test_the_record_keeps_how_warm_it_was(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    assert "hottest_c" not in machine.look().fingerprint
    for i, (name, millidegrees) in enumerate((("cpu", 48500), ("gpu", 51250))):
        machine.file(f"sys/class/thermal/thermal_zone{i}/type", name)
        machine.file(f"sys/class/thermal/thermal_zone{i}/temp", str(millidegrees))
    assert machine.look().fingerprint["hottest_c"] == "51.2 (gpu)"


def test_a_kernel_that_counts_nothing_is_not_called_quiet(tmp_path: Path) -> None:
    assert not preflight(tmp_path, lambda seconds: None).quiet
