"""What the machine is doing is looked at before anything is measured."""

import os
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_profile.preflight import Preflight, preflight, wait_until_quiet

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


def tree(root: Path) -> Path:
    """A machine at rest."""
    (root / "proc/self/task/1").mkdir(parents=True)
    (root / "proc/self/task/1/schedstat").write_text("0 0 0\n")
    write_stat(root, busy=0, steal=0)
    return root


def write_stat(root: Path, busy: float, steal: float) -> None:
    fields = f"{round(busy * TICK)} 0 0 0 0 0 0 {round(steal * TICK)} 0 0"
    lines = [f"cpu  {fields}", *(f"cpu{cpu} {fields}" for cpu in sorted(os.sched_getaffinity(0))[:1])]
    (root / "proc/stat").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("busy", "steal", "seen"),
    [
        (0.0, 0.0, []),
        (0.5, 0.0, ["others use 50 % of a CPU of ours (limit: 10)"]),
        (0.0, 0.25, ["the hypervisor takes 25 % of a CPU (limit: 2)"]),
    ],
)
def test_one_second_shows_what_others_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: float, steal: float, seen: list[str]
) -> None:
    root = tree(tmp_path)
    monkeypatch.setattr("time.process_time", lambda: 0.0)
    found = preflight(root, lambda seconds: write_stat(root, busy * seconds, steal * seconds))
    assert list(found.sentences) == seen


def test_the_firmware_of_a_pi_and_the_idle_power_are_read(tmp_path: Path) -> None:
    root = tree(tmp_path)
    firmware = root / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    rail = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    rail.mkdir(parents=True)
    (rail / "rail_name_0").write_text("POM_5V_IN\n")
    (rail / "in_power0_input").write_text("1750\n")
    found = preflight(root, lambda seconds: None)
    assert any("0x5" in sentence for sentence in found.sentences)
    assert found.idle_w == 1.75


def test_a_kernel_that_counts_nothing_is_not_called_quiet(tmp_path: Path) -> None:
    assert not preflight(tmp_path, lambda seconds: None).quiet
