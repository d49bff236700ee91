"""Targets are data files, found by name or alias; a user's own stand beside them."""

from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_targets.catalogue import (
    Hardware,
    Target,
    all_targets,
    known_jetpacks,
    known_targets,
    limits_of,
    target_from_file,
    target_named,
)

# The targets that the commands promise: compute capability, tensor cores, TensorRT.
PROMISED = {
    "gtx1660ti": ("7.5", False, None),
    "jetson-nano": ("5.3", False, "8.2.1"),
    "jetson-tx2": ("6.2", False, "8.2.1"),
    "jetson-xavier-nx": ("7.2", True, "8.5.2"),
    "jetson-agx-xavier": ("7.2", True, "8.5.2"),
    "jetson-orin-nano": ("8.7", True, "10.3.0"),
    "jetson-orin-nano-super": ("8.7", True, "10.3.0"),
    "jetson-orin-nx": ("8.7", True, "10.3.0"),
    "jetson-agx-orin": ("8.7", True, "10.3.0"),
    "jetson-thor": ("11.0", True, "10.13.3"),
    "rpi4": (None, None, None),
    "rpi5": (None, None, None),
    "host": (None, None, None),
}
# Multiply-accumulates a clock of one SM's tensor cores, dense, by compute capability; Thor's is inferred.
TENSOR_CORES = {"7.2": 512, "8.7": 1024, "11.0": 4096}
# Of one core of a CPU: 128-bit NEON, one pipe on the Cortex-A72 and two on the A76.
NEON = {"rpi4": 4, "rpi5": 8}
BOARDS = [target for target in known_targets() if isinstance(target.hardware, Hardware)]
WITH_MODES = [target for target in known_targets() if target.power_modes]
WHOLE = """name = "my-board"
title = "my board"
aliases = []
recognised_by = []
compute_capability = "8.7"
tensor_cores = true
tensorrt = { absent = "none" }
sources = []
"""
HARDWARE = """
[hardware]
kind = "gpu"
chip = "GA10B"
architecture = "Ampere"
sms = 8
cores = 1024
clock_mhz = 1000
fp32_tflops = 2
fp16_tflops = { absent = "not known" }
fp16_unit = "none"
int8_tops = { absent = "not known" }
int8_unit = "none"
memory_gb = 8
memory_type = "LPDDR5"
bus_bits = 128
bandwidth_gb_s = 100
l2_mb = { absent = "not known" }
tdp_w = { absent = "not known" }
shared_memory = true
derived = []
disputed = {}
"""
MODE = (
    'power_modes = [{ id = 0, name = "MAXN", default = true, cpus = 6, cpu_mhz = 1500, gpu_mhz = 500, capped = true, '
    'sms = 4, memory_mhz = 3200, bandwidth_gb_s = 50, source = "a test" }]\n'
)


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own targets, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "vlm-edge" / "targets"
    folder.mkdir(parents=True)
    return folder


def written(folder: Path, text: str, name: str = "board.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_host_is_known_by_name_and_alias() -> None:
    assert target_named("host").name == target_named("localhost").name == "host"


def test_a_jetson_is_an_orin_nano() -> None:
    assert target_named("jetson").name == "jetson-orin-nano"


def test_every_promised_target_is_known_with_its_gpu_and_tensorrt() -> None:
    known = {
        target.name: tuple(
            None if isinstance(value, Absent) else value
            for value in (target.compute_capability, target.tensor_cores, target.tensorrt)
        )
        for target in known_targets()
    }
    assert known == PROMISED


@pytest.mark.parametrize("field", ["sources", "notes", "recognised_by"])
def test_every_device_has_sources_notes_and_a_name_that_it_is_recognised_by(field: str) -> None:
    assert [target.name for target in known_targets() if not getattr(target, field)] == ["host"]


def test_no_two_targets_share_a_name() -> None:
    names = [name for target in known_targets() for name in (target.name, *target.aliases)]
    assert len(names) == len(set(names))


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(VlmError, match="nearest: host") as caught:
        target_named("hots")
    assert caught.value.hint == "--target host"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("xavier", "--target jetson-xavier-nx"),
        ("JETSON", "--target jetson"),
        ("1660", "--target gtx1660ti"),
        ("nothing-like-it", "vlm-profile targets, which lists them"),
        ("", "vlm-profile targets, which lists them"),
    ],
)
def test_part_of_a_name_is_enough_to_be_told_the_rest(name: str, hint: str) -> None:
    with pytest.raises(VlmError, match="is no known target") as caught:
        target_named(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize("target", BOARDS, ids=lambda target: target.name)
def test_peaks_are_units_times_rate_times_clock(target: Target) -> None:
    hardware = target.hardware
    assert isinstance(hardware, Hardware)
    clock = hardware.clock_mhz * 1e6
    fp32 = 2 * hardware.cores * NEON.get(target.name, 1) * clock / 1e12
    assert hardware.fp32_tflops == pytest.approx(fp32, rel=2e-3)
    if isinstance(hardware.fp16_tflops, float):
        tensor = TENSOR_CORES.get(str(target.compute_capability))
        fp16 = 2 * hardware.sms * tensor * clock / 1e12 if tensor and isinstance(hardware.sms, int) else 2 * fp32
        assert hardware.fp16_tflops == pytest.approx(fp16, rel=5e-3)
    if isinstance(hardware.int8_tops, float):
        assert isinstance(hardware.fp16_tflops, float)
        assert hardware.int8_tops == pytest.approx(2 * hardware.fp16_tflops, rel=5e-3)


@pytest.mark.parametrize("target", BOARDS, ids=lambda target: target.name)
def test_tensor_cores_compute_fp16_where_there_are_any(target: Target) -> None:
    assert isinstance(target.hardware, Hardware)
    assert target.hardware.fp16_unit.startswith("tensor cores") == (target.tensor_cores is True)
    assert target.tensor_cores is not True or {"fp16_tflops", "int8_tops"} <= set(target.hardware.derived)


@pytest.mark.parametrize("target", WITH_MODES, ids=lambda target: target.name)
def test_bandwidth_is_the_memory_clock_at_both_edges_over_the_bus(target: Target) -> None:
    assert isinstance(target.hardware, Hardware)
    for mode in target.power_modes:
        derived = 2 * mode.memory_mhz * 1e6 * target.hardware.bus_bits / 8 / 1e9
        assert mode.bandwidth_gb_s == pytest.approx(derived, rel=2e-3)


@pytest.mark.parametrize("target", WITH_MODES, ids=lambda target: target.name)
def test_a_mode_without_caps_has_the_peaks_of_the_hardware(target: Target) -> None:
    assert isinstance(target.hardware, Hardware)
    uncapped = [mode for mode in target.power_modes if mode.name in ("MAXN", "15W") and not mode.capped]
    for mode in uncapped:
        assert limits_of(target, mode.name).fp32_tflops == pytest.approx(target.hardware.fp32_tflops)


def test_every_jetson_has_power_modes_but_thor_whose_clocks_no_source_states() -> None:
    jetsons = {target.name for target in known_targets() if target.name.startswith("jetson")}
    assert jetsons - {target.name for target in WITH_MODES} == {"jetson-thor"}


def test_an_agx_orin_starts_with_a_quarter_of_its_peak() -> None:
    target = target_named("jetson-agx-orin")
    assert limits_of(target, "MAXN").fp16_tflops == pytest.approx(42.6)
    default = limits_of(target)
    assert (default.power_mode, default.sms, default.clock_mhz) == ("MODE_30W", 8, 612)
    assert default.fp16_tflops == pytest.approx(10.03, abs=0.01)


def test_the_super_is_the_orin_nano_in_other_modes() -> None:
    plain, fast = target_named("jetson-orin-nano"), target_named("jetson-orin-nano-super")
    assert limits_of(fast, "15W").fp16_tflops == pytest.approx(limits_of(plain, "15W").fp16_tflops, rel=0.03)
    assert limits_of(fast).power_mode == "25W"
    assert limits_of(fast).fp32_tflops > 1.4 * limits_of(plain).fp32_tflops


def test_a_target_without_modes_has_the_peaks_of_its_hardware() -> None:
    limits = limits_of(target_named("gtx1660ti"))
    assert isinstance(limits.power_mode, Absent)
    assert (limits.sms, limits.fp32_tflops, limits.bandwidth_gb_s) == (24, 5.437, 288)


@pytest.mark.parametrize(
    ("name", "mode", "problem"),
    [
        ("jetson-agx-orin", "MODE_40W", "no power mode 'MODE_40W'; it has MAXN, MODE_15W, MODE_30W, MODE_50W"),
        ("gtx1660ti", "MAXN", "no power mode 'MAXN'; none are known of it"),
        ("host", None, "depends on the machine"),
    ],
)
def test_limits_that_are_not_known_are_refused(name: str, mode: str | None, problem: str) -> None:
    with pytest.raises(VlmError, match=problem):
        limits_of(target_named(name), mode)


def test_a_power_mode_in_other_letters_is_told_in_its_own() -> None:
    with pytest.raises(VlmError, match=r"The Jetson Orin Nano has no power mode '7w'; it has 15W, 7W\.") as caught:
        limits_of(target_named("jetson"), "7w")
    assert caught.value.hint == "--power-mode 7W"
    with pytest.raises(VlmError) as caught:
        limits_of(target_named("jetson"), "10W")
    assert caught.value.hint == "vlm-profile targets show jetson-orin-nano"


def test_a_jetpack_is_known_by_its_version_and_by_its_release() -> None:
    for words in zip(*((jetpack.version, jetpack.l4t) for jetpack in known_jetpacks()), strict=True):
        assert len(set(words)) == len(words)
    releases = [[int(number) for number in jetpack.l4t.split(".")] for jetpack in known_jetpacks()]
    assert releases == sorted(releases)


def test_the_tensorrt_that_graphs_must_suit_is_of_a_jetpack_of_the_board() -> None:
    for target in known_targets():
        if target.jetpacks:
            assert target.tensorrt in {jetpack.tensorrt for jetpack in target.jetpacks}, target.name


def test_jetpacks_end_where_nvidia_ends_them() -> None:
    last = {target.name: target.jetpacks[-1].version for target in known_targets() if target.jetpacks}
    assert last["jetson-nano"] == last["jetson-tx2"] == "4.6.6"
    assert last["jetson-xavier-nx"] == last["jetson-agx-xavier"] == "5.1.6"
    assert target_named("jetson-thor").jetpacks[0].version == "7.0"


def test_a_users_file_gives_a_known_target_an_address(own: Path) -> None:
    written(own, 'like = "jetson-orin-nano"\naliases = ["nano"]\naddress = "me@board"\n')
    target = target_named("jetson")
    assert target == target_named("nano")
    assert (target.name, target.address) == ("jetson-orin-nano", "me@board")
    assert target.hardware == next(t.hardware for t in known_targets() if t.name == "jetson-orin-nano")


def test_a_users_file_gives_a_board_a_name_of_its_own(own: Path) -> None:
    written(own, 'like = "rpi5"\nname = "kitchen"\naddress = "pi@kitchen"\n')
    assert target_named("kitchen").title == "kitchen (the Raspberry Pi 5)"
    assert target_named("kitchen").recognised_by == ("Raspberry Pi 5",)
    assert isinstance(target_named("rpi5").address, Absent)


def test_a_whole_target_needs_no_hardware(own: Path) -> None:
    written(own, WHOLE)
    assert target_named("my-board").hardware == Absent("its file describes none")


def test_a_whole_target_has_limits_by_its_power_mode(tmp_path: Path) -> None:
    target = target_named("my-board", [written(tmp_path, WHOLE + MODE + HARDWARE)])
    assert limits_of(target).fp32_tflops == pytest.approx(2 * 4 * 500 / (8 * 1000))
    assert limits_of(target).bandwidth_gb_s == 50


def test_a_file_that_is_named_comes_before_the_folder(own: Path, tmp_path: Path) -> None:
    written(own, 'like = "rpi5"\naddress = "pi@old"\n')
    named = written(tmp_path, 'like = "rpi5"\naddress = "pi@new"\n')
    assert (target_named("rpi5").address, target_named("rpi5", [named]).address) == ("pi@old", "pi@new")


def test_two_files_of_a_folder_under_one_name_are_refused(own: Path) -> None:
    for name in ("a.toml", "b.toml"):
        written(own, 'like = "rpi5"\naddress = "pi@board"\n', name)
    with pytest.raises(VlmError, match=r"b\.toml and .*a\.toml both describe 'rpi5'"):
        target_named("host")


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace("my-board", "jetson-nano"),
        WHOLE.replace("aliases = []", 'aliases = ["jetson"]'),
        'like = "rpi5"\nname = "rpi4"\n',
        'like = "rpi5"\nname = "kitchen"\naliases = ["localhost"]\n',
    ],
)
def test_a_known_name_is_not_given_to_another_device(own: Path, text: str) -> None:
    path = written(own, text)
    with pytest.raises(VlmError, match="describes another device under the name") as caught:
        all_targets()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (WHOLE.replace("aliases = []\n", ""), "aliases: missing"),
        (WHOLE + "nmae = 1", "did you mean name"),
        (WHOLE.replace('"8.7"', "8.7"), "compute_capability: expected a string, found 8.7"),
        (WHOLE.replace('"8.7"', '"sm87"'), "'sm87' is no version"),
        (WHOLE.replace("my-board", "../up"), r"'\.\./up' is no name"),
        ("name =", r"Invalid value \(at"),
        ("\ufffe = " + "[" * 5000, "describes no target"),
        (WHOLE + 'jetpacks = ["6.2.9"]', "jetpacks: '6.2.9' is none; did you mean 6.2"),
        (WHOLE + 'address = "-oProxyCommand=x"', "address: '-oProxyCommand=x' is no address"),
        (WHOLE.replace("my-board", "host") + 'address = "me@board"', "host is this machine"),
        (WHOLE + MODE, "hardware describes none"),
        (WHOLE + HARDWARE.replace("= 1000", '= "fast"'), 'hardware.clock_mhz: expected a number, found "fast"'),
        (WHOLE + HARDWARE.replace("= 1000", "= nan"), "hardware: clock_mhz is nan; expected a number above 0"),
        (WHOLE + HARDWARE.replace("= 1000", "= 0"), "hardware: clock_mhz is 0.0; expected"),
        (WHOLE + HARDWARE.replace("derived = []", 'derived = ["speed"]'), "'speed', said to be derived"),
        (WHOLE + MODE.replace("sms = 4", "sms = 16") + HARDWARE, "at most the 8 sms"),
        (WHOLE + MODE.replace("default = true", "default = false") + HARDWARE, "one of them is the default"),
        (WHOLE + MODE.replace("gpu_mhz", "gpu_hz") + HARDWARE, r"power_modes\[0\].gpu_hz: unknown field .*gpu_mhz"),
        ('like = "jetson-orin-nona"', "like: 'jetson-orin-nona' is no known target; did you mean jetson-orin-nano?"),
        ('like = "rpi5"\nadress = "pi@board"', "adress: no field beside `like`; did you mean address?"),
        ('like = "rpi5"\ntensorrt = "8.2"', "tensorrt: no field beside `like`"),
        ("like = 5", "like: expected a string, found 5"),
    ],
)
def test_a_wrong_data_file_is_named_with_its_field(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(VlmError, match=problem) as caught:
        target_from_file(written(tmp_path, text))
    assert "board.toml" in str(caught.value)


def test_a_data_file_has_a_size_that_one_may_have(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"board\.toml"):
        target_from_file(written(tmp_path, WHOLE + "#" * (1 << 20)))


def test_the_users_folder_is_in_the_home_where_no_other_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/ignored")
    (tmp_path / ".config/vlm-edge/targets").mkdir(parents=True)
    written(tmp_path / ".config/vlm-edge/targets", 'like = "rpi4"\nname = "attic"\n')
    assert target_named("attic").title == "attic (the Raspberry Pi 4)"
