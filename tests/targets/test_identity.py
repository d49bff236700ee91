"""What a machine really is: by its module, its card, its power mode; whose figures are whose, in a sentence."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_profile.machine import faults_of, fingerprint_of
from vlm_targets.catalogue import known_targets, target_named
from vlm_targets.host import check_is_target, device_of, is_here, variant_of, why_not, why_not_here
from vlm_targets.reach import Here
from vlm_targets.variants import VARIANTS

Recorded = Callable[..., Path]
BOARDS = {
    "jetson-nano": ["jetson-nano"],
    "jetson-xavier-nx": ["jetson-xavier-nx"],
    "jetson-orin-nano": ["jetson-orin-nano"],
    "jetson-orin-nano-super": ["jetson-orin-nano", "jetson-orin-nano-super"],
    "jetson-agx-orin": ["jetson-agx-orin"],
    "jetson-thor": ["jetson-thor"],
    "rpi4": ["rpi4"],
    "rpi5": ["rpi5"],
    "pc-gtx1660ti": ["gtx1660ti"],
    "pc-t4": [],
}
MODEL, COMPATIBLE = "proc/device-tree/model", "proc/device-tree/compatible"
STATUS, CONF = "var/lib/nvpmodel/status", "etc/nvpmodel.conf"
CARD = "sys/bus/pci/devices/0000:01:00.0/device"


def orin(part: str) -> dict[str, str]:
    return {COMPATIBLE: f"nvidia,p3768-0000+{part}\0nvidia,{part}\0nvidia,tegra234\0"}


@pytest.mark.parametrize(("tree", "targets"), BOARDS.items())
def test_each_recorded_machine_has_the_hardware_of_its_own_target(
    recorded: Recorded, tree: str, targets: list[str]
) -> None:
    root = recorded(tree)
    assert {target.name for target in known_targets() if is_here(target, root)} == {"host", *targets}


@pytest.mark.parametrize("tree", [tree for tree in BOARDS if tree != "pc-t4"])
def test_figures_of_each_are_filed_under_one_target_beside_the_host(recorded: Recorded, tree: str) -> None:
    root = recorded(tree)
    assert {target.name for target in known_targets() if not why_not(target, root)} == {"host", BOARDS[tree][-1]}


def test_a_t4_is_refused_by_name_though_its_compute_capability_is_the_same(recorded: Recorded) -> None:
    said = why_not(target_named("gtx1660ti"), recorded("pc-t4"))
    assert said == "This is Google Compute Engine with Tesla T4, not the GTX 1660 Ti."


def test_a_machine_without_a_name_is_told_by_its_processor(recorded: Recorded) -> None:
    root = recorded("pc-t4")
    shutil.rmtree(root / "sys/class/dmi")
    shutil.rmtree(root / "proc/driver")
    (root / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC 7B12\n")
    said = why_not(target_named("gtx1660ti"), root)
    assert said == "This is a machine with the processor AMD EPYC 7B12, not the GTX 1660 Ti."
    (root / "proc/cpuinfo").write_text("processor\t: 0\n")
    assert why_not(target_named("gtx1660ti"), root) == "This is a machine without a name, not the GTX 1660 Ti."


def test_the_mobile_card_is_told_by_its_pci_id_for_its_driver_calls_it_the_same(recorded: Recorded) -> None:
    root = recorded("pc-gtx1660ti", {CARD: "0x2191\n"})
    assert not is_here(target_named("gtx1660ti"), root)
    assert why_not(target_named("gtx1660ti"), root).startswith("This is the GTX 1660 Ti Mobile, which is not the GTX")


def test_a_card_without_a_driver_is_known_by_its_pci_id(recorded: Recorded) -> None:
    root = recorded("pc-gtx1660ti")
    (root / "proc/driver/nvidia/gpus/0000:01:00.0/information").unlink()
    assert is_here(target_named("gtx1660ti"), root)


@pytest.mark.parametrize(
    ("tree", "changes", "target", "title"),
    [
        ("jetson-orin-nano", orin("p3767-0004"), "jetson-orin-nano", "Jetson Orin Nano 4GB"),
        ("jetson-orin-nano", orin("p3767-0001"), "jetson-orin-nx", "Jetson Orin NX 8GB"),
        ("jetson-agx-orin", orin("p3701-0004"), "jetson-agx-orin", "Jetson AGX Orin 32GB"),
        ("jetson-thor", orin("p3834-0000"), "jetson-thor", "Jetson T4000"),
        ("jetson-nano", orin("p3636-0001"), "jetson-tx2", "Jetson TX2 NX"),
    ],
)
def test_a_smaller_module_of_the_same_name_is_refused(
    recorded: Recorded, tree: str, changes: dict[str, str], target: str, title: str
) -> None:
    root, wanted = recorded(tree, changes), target_named(target)
    variant = variant_of(root)
    assert variant is not None and variant.title == title
    assert not is_here(wanted, root)
    assert why_not(wanted, root).startswith(f"This is the {title}, which is not {wanted.title}: {variant.differs}")


@pytest.mark.parametrize(("kilobytes", "here"), [(7802664, True), (3902664, False)])
def test_where_no_part_number_tells_the_memory_does(recorded: Recorded, kilobytes: int, here: bool) -> None:
    changes = {COMPATIBLE: "nvidia,tegra234\0", "proc/meminfo": f"MemTotal:  {kilobytes} kB\n"}
    root = recorded("jetson-orin-nano", changes)
    assert is_here(target_named("jetson-orin-nano"), root) == here


def test_a_carrier_board_may_call_itself_what_it_likes(recorded: Recorded) -> None:
    assert is_here(target_named("jetson-orin-nano"), recorded("jetson-orin-nano", {MODEL: "A vendor's box\0"}))
    root = recorded(
        "jetson-xavier-nx", {MODEL: "quill\0", COMPATIBLE: "nvidia,p2597-0000+p3310-1000\0nvidia,tegra186\0"}
    )
    assert is_here(target_named("jetson-tx2"), root)
    assert not is_here(target_named("jetson-xavier-nx"), root)


@pytest.mark.parametrize(("mode", "refused"), [(0, False), (1, True), (2, True), (3, False)])
def test_a_super_is_an_orin_nano_while_its_power_is_one(recorded: Recorded, mode: int, refused: bool) -> None:
    root = recorded("jetson-orin-nano-super", {STATUS: f"pmode:000{mode}\n"})
    said = why_not(target_named("jetson"), root)
    assert bool(said) == refused == ("jetson-orin-nano-super has" in said)
    assert not why_not(target_named("jetson-orin-nano-super"), root)


def test_an_orin_nano_is_a_super_by_its_power_modes_or_by_its_name(recorded: Recorded) -> None:
    target, root = target_named("jetson-orin-nano-super"), recorded("jetson-orin-nano")
    assert "not set up as a Super" in why_not(target, root)
    (root / CONF).write_text("< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n")
    assert not why_not(target, root)
    named = recorded("jetson-orin-nano", {**orin("p3767-0005-super"), CONF: ""})
    assert not why_not(target, named)


def test_a_target_that_nothing_recognises_is_no_machine_of_here_and_any_board_that_its_user_names(
    recorded: Recorded,
) -> None:
    own, root = replace(target_named("rpi5"), recognised_by=(), title="my board"), recorded("rpi4")
    assert why_not_here(own, root) == "Nothing is said of how my board is recognised, so it is not this machine."
    assert why_not_here(target_named("rpi5"), root) == why_not(target_named("rpi5"), root)
    with Here() as machine:
        check_is_target(machine, own, root)


@pytest.mark.parametrize(
    ("name", "said"), [("host", "'host' is this machine"), ("rpi5", "not taken for rpi5. This is")]
)
def test_a_board_that_is_another_is_not_taken_for_the_target(recorded: Recorded, name: str, said: str) -> None:
    with Here() as machine, pytest.raises(VlmError, match=re.escape(said)):
        check_is_target(machine, target_named(name), recorded("rpi4"))


@pytest.mark.parametrize("model", ["Raspberry Pi 400 Rev 1.0\0", "Raspberry Pi 500 Rev 1.0\0"])
def test_a_name_counts_by_whole_words(recorded: Recorded, model: str) -> None:
    root = recorded("rpi4", {MODEL: model})
    assert not any(is_here(target_named(name), root) for name in ("rpi4", "rpi5"))


def test_a_users_own_target_is_its_kind_with_another_name(recorded: Recorded) -> None:
    own = replace(target_named("jetson"), name="my-board", title="my board", aliases=())
    assert not why_not(own, recorded("jetson-orin-nano"))
    assert "Jetson Orin Nano 4GB, which is not my board" in why_not(
        own, recorded("jetson-orin-nano", orin("p3767-0004"))
    )
    assert "not my board" in why_not(own, recorded("rpi4"))


def test_where_a_target_is_that_nothing_recognises_its_user_says(recorded: Recorded) -> None:
    own = replace(target_named("host"), name="my-box")
    assert not why_not(own, recorded("rpi4"))
    assert not is_here(own, recorded("rpi4"))


def test_an_emulator_keeps_the_word_in_its_name(recorded: Recorded) -> None:
    root = recorded("jetson-orin-nano", {MODEL: "emulator of a Jetson Orin Nano\0"})
    assert "emulator" in device_of(root, affinity=6, machine="aarch64").name


def test_variants_belong_to_known_targets_and_each_target_has_one_that_is_it() -> None:
    named = {name for variant in VARIANTS for name in variant.targets}
    assert named <= {target.name for target in known_targets()}
    assert {name for variant in VARIANTS if not variant.differs for name in variant.targets} == named
    assert len({variant.code for variant in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize(
    ("tree", "mode", "gigabytes", "gpu"),
    [
        ("jetson-nano", "MAXN", 3.9, "integrated in tegra210"),
        ("jetson-xavier-nx", "MODE_15W_6CORE", 6.5, "integrated in tegra194"),
        ("jetson-orin-nano", "7W", 7.4, "integrated in tegra234"),
        ("jetson-orin-nano-super", "MAXN_SUPER", 7.4, "integrated in tegra234"),
        ("jetson-agx-orin", "MODE_30W", 61.4, "integrated in tegra234"),
        ("jetson-thor", "120W", 122.8, "NVIDIA Thor"),
    ],
)
def test_a_jetson_names_power_mode_memory_and_gpu(
    recorded: Recorded, tree: str, mode: str, gigabytes: float, gpu: str
) -> None:
    device = device_of(recorded(tree), affinity=4, machine="aarch64")
    assert (device.power_mode, device.gpu) == (mode, gpu)
    assert isinstance(device.memory_bytes, int)
    assert device.memory_bytes / 2**30 == pytest.approx(gigabytes, abs=0.1)


def test_a_name_is_no_longer_than_a_name(recorded: Recorded) -> None:
    root = recorded("rpi4", {MODEL: "x" * 10_000, "proc/cpuinfo": "processor : 0\nModel : " + "y" * 10_000})
    device = device_of(root, affinity=1, machine="aarch64")
    assert len(device.name) == 200
    assert isinstance(device.cpu, str) and len(device.cpu) == 200


def test_memory_that_is_not_said_is_absent(recorded: Recorded) -> None:
    assert isinstance(device_of(recorded("rpi4", {"proc/meminfo": "MemTotal: much kB\n"})).memory_bytes, Absent)


def test_nonsense_of_a_board_is_no_error(recorded: Recorded) -> None:
    nonsense = {
        "proc/meminfo": "MemTotal: " + "9" * 5000 + " kB\nSwapTotal:\nSwapFree: x kB\n",
        "proc/self/cgroup": "0\n::\n1:cpu:/../..\n0::/user.slice\n",
        "sys/fs/cgroup/user.slice/cpu.max": "5 0\n",
        "proc/pressure/cpu": "some avg10=\n",
        "said/nproc": "9" * 5000,
        "etc/nv_tegra_release": "# R (release), REVISION: 99999999\n",
        STATUS: "pmode:\n",
    }
    root = recorded("jetson-nano", nonsense)
    device = device_of(root)
    assert isinstance(device.memory_bytes, Absent)
    assert isinstance(device.power_mode, Absent)
    assert {"module", "gpu_clock", "governor"} == set(fingerprint_of(root))
    assert list(faults_of(device, root, {}))
