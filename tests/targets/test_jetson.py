"""Release, JetPack, power mode and clocks of Jetsons, from recorded trees of JetPack 4 to 7."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_profile.machine import faults_of, fingerprint_of
from vlm_targets.host import device_of
from vlm_targets.jetson import (
    clocks_locked,
    is_jetson,
    jetpack_of,
    l4t_of,
    power_mode_in,
    power_mode_of,
    power_modes_of,
)

Recorded = Callable[..., Path]
RELEASE, STATUS = "etc/nv_tegra_release", "var/lib/nvpmodel/status"


@pytest.mark.parametrize(
    ("tree", "l4t", "jetpack", "tensorrt"),
    [
        ("jetson-nano", "32.7.1", "4.6.1", "8.2.1"),
        ("jetson-xavier-nx", "35.4.1", "5.1.2", "8.5.2"),
        ("jetson-orin-nano", "36.3.0", "6.0", "8.6.2"),
        ("jetson-orin-nano-super", "36.4.7", "6.2.1", "10.3.0"),
        ("jetson-agx-orin", "36.4.3", "6.2", "10.3.0"),
        ("jetson-thor", "38.2.0", "7.0", "10.13.3"),
    ],
)
def test_the_release_tells_the_jetpack(recorded: Recorded, tree: str, l4t: str, jetpack: str, tensorrt: str) -> None:
    assert l4t_of(recorded(tree)) == l4t
    found = jetpack_of(l4t)
    assert not isinstance(found, Absent)
    assert (found.version, found.tensorrt) == (jetpack, tensorrt)


@pytest.mark.parametrize(
    ("l4t", "jetpack"), [("32.7.6", "4.6.6"), ("38.2.2", "7.0"), ("38.4.0", "7.1"), ("36.4.1", "6.1")]
)
def test_a_release_between_two_jetpacks_belongs_to_the_one_before(l4t: str, jetpack: str) -> None:
    found = jetpack_of(l4t)
    assert not isinstance(found, Absent)
    assert found.version == jetpack


@pytest.mark.parametrize("l4t", ["28.2.1", "40.1.0", "36.1.0", "36"])
def test_an_unknown_release_is_no_jetpack(l4t: str) -> None:
    assert isinstance(jetpack_of(l4t), Absent)


def test_where_the_file_is_gone_the_package_tells_the_release(recorded: Recorded) -> None:
    root = recorded("jetson-agx-orin", {RELEASE: "", "said/nvidia-l4t-core": "36.4.3-20250107174145"})
    assert l4t_of(root) == "36.4.3"
    assert isinstance(l4t_of(recorded("rpi5")), Absent)


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("NV Power Mode: 15W\n0\n", "15W"),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n", "MAXN"),
        ("NVPM VERB: Current mode: NV Power Mode: MODE_30W\nNV Power Mode: MODE_15W\n", "MODE_15W"),
        ("NV Power Mode: MAXN_SUPER\x1b[2J\n2\n", "MAXN_SUPER"),
        ("NVPM ERROR: failed to read PARAM GPU\n", None),
        ("", None),
    ],
)
def test_nvpmodel_says_the_mode_behind_its_warnings(said: str, mode: str | None) -> None:
    found = power_mode_in(said)
    assert found == mode if mode else isinstance(found, Absent)


def test_modes_have_their_names_from_the_configuration(recorded: Recorded) -> None:
    assert power_modes_of(recorded("jetson-thor")) == {0: "MAXN", 1: "120W", 2: "90W", 3: "70W"}
    assert power_modes_of(recorded("rpi4")) == {}
    assert power_mode_of(recorded("jetson-thor", {STATUS: "pmode:0009\n"})) == "mode 9"


@pytest.mark.parametrize(
    ("tree", "locked"),
    [("jetson-nano", False), ("jetson-orin-nano", False), ("jetson-orin-nano-super", True), ("jetson-thor", False)],
)
def test_clocks_are_locked_where_the_least_is_the_most(recorded: Recorded, tree: str, locked: bool) -> None:
    root = recorded(tree)
    assert clocks_locked(root) is locked
    device = device_of(root, affinity=4, machine="aarch64")
    assert any("sudo jetson_clocks" in fault.remedy for fault in faults_of(device, root, {})) is not locked


def test_a_pi_is_no_jetson_and_has_no_clock_to_lock(recorded: Recorded) -> None:
    root = recorded("rpi5")
    assert not is_jetson(root)
    assert isinstance(clocks_locked(root), Absent)


def test_the_fingerprint_of_a_jetson_names_module_release_and_clock(recorded: Recorded) -> None:
    assert fingerprint_of(recorded("jetson-orin-nano-super")) == {
        "governor": "schedutil",
        "module": "Jetson Orin Nano 8GB",
        "jetson_linux": "36.4.7",
        "jetpack": "6.2.1",
        "gpu_clock": "locked",
    }
