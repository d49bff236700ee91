"""A machine's files are copied into a folder that readers take for its root, over a real sshd too."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_profile.machine import fingerprint_of
from vlm_profile.sensors import read_all, sensors
from vlm_targets import mirror
from vlm_targets.host import device_of, names_of
from vlm_targets.mirror import mirrored, sampled_files, was_asked_for
from vlm_targets.reach import Here
from vlm_targets.ssh import Board, Done

Recorded = Callable[..., Path]
TREES = sorted(path.stem for path in (Path(__file__).parent / "trees").glob("*.toml"))
ROOT = "VLM_EDGE_ROOT"


class Said:
    """A stand-in for a machine: it answers every command with the same words."""

    address, folder = "board", "/nowhere"

    def __init__(self, out: str, code: int = 0, err: str = "") -> None:
        self._done = Done(code, out, err)

    def run(self, arguments: Sequence[str], timeout_s: float) -> Done:
        return self._done

    def push(self, path: Path, remote: str) -> None:
        raise AssertionError("mirroring sends no file")

    def pull(self, remote: str, path: Path, limit_bytes: int) -> None:
        raise AssertionError("mirroring fetches no file")


def files_of(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("tree", TREES)
def test_every_reader_finds_in_a_mirrored_tree_what_it_finds_in_the_original(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: str
) -> None:
    root = recorded(tree)
    monkeypatch.setenv(ROOT, str(root))
    with Here() as here:
        copy = mirrored(here, tmp_path / "copy")
    assert files_of(root) - files_of(copy) == set()
    values = read_all(sensors(root))
    assert values
    assert read_all(sensors(copy)) == values
    assert fingerprint_of(copy) == fingerprint_of(root)
    assert names_of(copy) == names_of(root)
    if tree != "jetson-xavier-nx":  # whose power mode is what a command said, and none says it here
        assert device_of(copy) == device_of(root)


def test_a_board_is_mirrored_over_ssh(recorded: Recorded, loopback: Callable[..., Any], tmp_path: Path) -> None:
    root = recorded("jetson-xavier-nx")
    there = loopback(shell=f"env '{ROOT}={root}' sh -c \"$SSH_ORIGINAL_COMMAND\"")
    emulator = there.home / "bin/nvpmodel"
    emulator.write_text(
        "#!/bin/sh\n# an emulator of nvpmodel\necho 'NVPM WARN: no fan'; echo 'NV Power Mode: MODE_20W_6CORE'\n"
    )
    emulator.chmod(0o755)
    with Board(there.address, there.config) as board:
        copy = mirrored(board, tmp_path / "copy")
    device = device_of(copy)
    assert (device.name, device.power_mode) == ("NVIDIA Jetson Xavier NX Developer Kit", "MODE_20W_6CORE")
    assert device.machine == subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()


def test_where_there_is_a_status_nvpmodel_is_not_asked(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvpmodel").write_text(f"#!/bin/sh\ntouch '{tmp_path}/asked'\n")
    (tmp_path / "bin/nvpmodel").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv(ROOT, str(recorded("jetson-orin-nano")))
    with Here() as here:
        mirrored(here, tmp_path / "copy")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_any_posix_shell_will_do(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    monkeypatch.setenv(ROOT, str(recorded("jetson-agx-orin")))

    class InThatShell(Here):
        def run(self, arguments: Sequence[str], timeout_s: float) -> Done:
            words = [program, "sh"] if shell == "busybox" else [program]
            return super().run([*words, *arguments[1:]], timeout_s)

    with InThatShell() as here:
        assert mirrored(here, tmp_path / "copy").joinpath("etc/nvpmodel.conf").read_text().count("POWER_MODEL") == 4


def test_bytes_arrive_as_they_are_and_what_cannot_be_read_is_left_out(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = recorded("rpi5")
    (root / "proc/device-tree/compatible").write_bytes(bytes(range(256)))
    (root / "etc/nvpmodel.conf").mkdir(parents=True)
    (root / "sys/class/thermal/thermal_zone7/odd\nname").mkdir(parents=True)
    (root / "sys/class/hwmon/hwmon2/temp1\n_input").write_text("1\n")
    monkeypatch.setenv(ROOT, str(root))
    with Here() as here:
        copy = mirrored(here, tmp_path / "copy")
    assert (copy / "proc/device-tree/compatible").read_bytes() == bytes(range(256))
    assert not (copy / "etc").joinpath("nvpmodel.conf").exists()
    assert [path for path in copy.rglob("*") if "\n" in path.name] == []


def test_a_link_is_copied_as_the_file_that_it_points_to(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = recorded("jetson-nano")
    (root / "etc/nvpmodel.conf").rename(root / "etc/real.conf")
    (root / "etc/nvpmodel.conf").symlink_to("real.conf")
    monkeypatch.setenv(ROOT, str(root))
    with Here() as here:
        copy = mirrored(here, tmp_path / "copy")
    assert not (copy / "etc/nvpmodel.conf").is_symlink()
    assert "MAXN" in (copy / "etc/nvpmodel.conf").read_text()


def test_of_a_large_file_the_beginning_is_copied(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = recorded("rpi5", {"proc/cpuinfo": "x" * (mirror.FILE_LIMIT_BYTES + 1)})
    monkeypatch.setenv(ROOT, str(root))
    with Here() as here:
        copy = mirrored(here, tmp_path / "copy")
    assert (copy / "proc/cpuinfo").stat().st_size == mirror.FILE_LIMIT_BYTES


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "sys/class/thermal/../temp",
        "sys/class/thermal/thermal_zone0/../temp",
        "proc/device-tree/model/x",
        "./proc/cpuinfo",
        "proc//cpuinfo",
        "etc/passwd",
        "said/other",
        "sys/class/thermal/thermal_zone\x1b[2J/temp",
        f"sys/class/hwmon/hwmon{'0' * 300}/name",
        f"sys/class/hwmon/hwmon{'é' * 130}/name",
        "",
    ],
)
def test_a_board_does_not_choose_where_its_files_go(tmp_path: Path, name: str) -> None:
    assert not was_asked_for(name)
    with pytest.raises(VlmError, match="board was asked what it is, and answered with"):
        mirrored(Said(f"vlm-edge mirror\n{name}\n61\nend\n"), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    "names",
    [
        ("sys/fs/cgroup/user.slice/cpu.max", "sys/fs/cgroup/user.slice/cpu.max/cpu.max"),
        ("sys/fs/cgroup/user.slice/cpu.max/cpu.max", "sys/fs/cgroup/user.slice/cpu.max"),
        ("sys/fs/cgroup/user.slice/cpu.max", "sys/fs/cgroup/user.slice/cpu.max/cpu.max/cpu.max"),
    ],
)
def test_a_name_of_a_file_and_a_folder_at_once_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    assert all(map(was_asked_for, names))
    with pytest.raises(VlmError, match="board was asked what it is, and answered with"):
        mirrored(Said("".join(["vlm-edge mirror\n", *(f"{name}\n61\n" for name in names), "end\n"])), tmp_path / "copy")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Welcome!\n",
        "vlm-edge mirror\nproc/cpuinfo\n61\n",
        "proc/cpuinfo\n61\nend\n",
        "vlm-edge mirror\nproc/cpuinfo\nend\n",
        "vlm-edge mirror\nproc/cpuinfo\nnot hexadecimal\nend\n",
        "vlm-edge mirror\n" + "proc/cpuinfo\n61\n" * 2000 + "end\n",
    ],
)
def test_an_answer_that_is_not_whole_is_refused(tmp_path: Path, answer: str) -> None:
    with pytest.raises(VlmError, match="board was asked what it is"):
        mirrored(Said(answer), tmp_path / "copy")


def test_a_machine_on_which_nothing_runs_is_named_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="board could not be looked at: sh: not found"):
        mirrored(Said("", 127, "sh: not found\n"), tmp_path / "copy")


def test_a_number_that_is_too_long_to_be_one_is_left_out(tmp_path: Path) -> None:
    temp = "sys/class/thermal/thermal_zone0/temp"
    answer = f"vlm-edge mirror\n{temp}\n{'31' * 400}\nproc/cpuinfo\n{'31' * 400}\nend\n"
    assert files_of(mirrored(Said(answer), tmp_path / "copy")) == {"proc/cpuinfo"}


def test_the_files_to_sample_are_those_whose_values_change(recorded: Recorded) -> None:
    names = sampled_files(recorded("jetson-orin-nano"))
    assert "sys/class/thermal/thermal_zone5/temp" in names
    assert "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input" in names
    assert "sys/class/hwmon/hwmon2/oc3_event_cnt" in names
    assert "sys/class/devfreq/17000000.gpu/cur_freq" in names
    assert all(was_asked_for(name) for name in names)
    assert not [name for name in names if name.endswith(("label", "type", "name", "max_freq"))]
