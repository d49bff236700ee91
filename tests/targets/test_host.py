"""A machine is read from its files; the trees here were recorded or cut from recorded ones."""

from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_targets.catalogue import known_targets, target_named
from vlm_targets.cgroups import usable_cpus
from vlm_targets.host import device_of, is_here, names_of

PC = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n",
    "proc/meminfo": "MemTotal:       24684092 kB\nMemFree:        20000000 kB\n",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "etc/os-release": 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/class/dmi/id/product_name": "PowerEdge R6515\n",
}
RASPBERRY_PI = {
    "proc/cpuinfo": "".join(f"processor\t: {n}\nBogoMIPS\t: 108.00\n\n" for n in range(4))
    + "Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
    "proc/meminfo": "MemTotal:        8257024 kB\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-2712\n",
    "etc/os-release": "PRETTY_NAME=Raspbian\n",
}
GPU = "proc/driver/nvidia/gpus/0000:01:00.0/information"
MODEL = "proc/device-tree/model"
CGROUP_V2 = {"proc/self/cgroup": "0::/user.slice/job\n", "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n"}
CGROUP_V1 = {
    "proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/job\n",
    "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_pc_says_what_it_is(tmp_path: Path) -> None:
    device = device_of(tree(tmp_path, PC), affinity=2, machine="x86_64")
    assert (device.name, device.cpu, device.cpus) == ("PowerEdge R6515", "AMD EPYC", 2)
    assert device.memory_bytes == 24684092 * 1024
    assert device.system == "Debian GNU/Linux 12 (bookworm), Linux 6.1.0-18-amd64"
    assert isinstance(device.gpu, Absent)
    assert isinstance(device.power_mode, Absent)


def test_a_board_is_named_by_its_device_tree(tmp_path: Path) -> None:
    device = device_of(tree(tmp_path, RASPBERRY_PI), affinity=4, machine="aarch64")
    assert (device.name, device.cpu) == ("Raspberry Pi 5 Model B Rev 1.0",) * 2
    assert (device.cpus, device.machine) == (4, "aarch64")


@pytest.mark.parametrize(
    ("path", "said", "targets"),
    [
        (MODEL, "NVIDIA Jetson Orin Nano Developer Kit\0", ["jetson-orin-nano"]),
        (
            MODEL,
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            ["jetson-orin-nano", "jetson-orin-nano-super"],
        ),
        (MODEL, "NVIDIA Orin NX Developer Kit\0", ["jetson-orin-nx"]),
        (MODEL, "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super\0", ["jetson-orin-nx"]),
        (MODEL, "Jetson AGX Orin Developer Kit\0", ["jetson-agx-orin"]),
        (MODEL, "Jetson-AGX\0", ["jetson-agx-xavier"]),
        (MODEL, "NVIDIA Jetson Xavier NX Developer Kit\0", ["jetson-xavier-nx"]),
        (MODEL, "NVIDIA Jetson Nano Developer Kit\0", ["jetson-nano"]),
        (MODEL, "NVIDIA Jetson TX2 Developer Kit\0", ["jetson-tx2"]),
        (MODEL, "NVIDIA Jetson AGX Thor Developer Kit\0", ["jetson-thor"]),
        (MODEL, "Raspberry Pi 4 Model B Rev 1.4\0", ["rpi4"]),
        (MODEL, "Raspberry Pi 5 Model B Rev 1.0\0", ["rpi5"]),
        (GPU, "Model: \t\t NVIDIA GeForce GTX 1660 Ti\nIRQ:   \t\t 130\n", ["gtx1660ti"]),
        (GPU, "Model: \t\t NVIDIA GeForce GTX 1660 SUPER\nIRQ:   \t\t 130\n", []),
        (GPU, "Model: \t\t Tesla T4\nIRQ:   \t\t 130\n", []),
    ],
)
def test_a_machine_is_a_target_by_its_name(tmp_path: Path, path: str, said: str, targets: list[str]) -> None:
    root = tree(tmp_path, {path: said})
    assert {target.name for target in known_targets() if is_here(target, root)} == {"host", *targets}


def test_a_gpu_is_named_by_its_driver_and_a_power_mode_by_nvpmodel(tmp_path: Path) -> None:
    conf = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=MODE_15W >\n"
    jetson = {GPU: "Model: \t Orin\n", "var/lib/nvpmodel/status": "pmode:0002\n", "etc/nvpmodel.conf": conf}
    device = device_of(tree(tmp_path, PC | jetson), affinity=2, machine="x86_64")
    assert (device.gpu, device.power_mode) == ("Orin", "MODE_15W")
    (tmp_path / "etc/nvpmodel.conf").unlink()
    assert device_of(tmp_path, affinity=2, machine="x86_64").power_mode == "mode 2"


def test_the_gpu_of_a_jetson_is_named_by_its_chip_where_no_driver_lists_it(tmp_path: Path) -> None:
    compatible = "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"
    jetson = tree(tmp_path, PC | {"proc/device-tree/compatible": compatible})
    assert device_of(jetson, affinity=2, machine="aarch64").gpu == "integrated in tegra234"
    assert "integrated in tegra234" not in names_of(jetson)
    tree(tmp_path, {GPU: "Model: \t Orin\n"})
    assert device_of(jetson, affinity=2, machine="aarch64").gpu == "Orin"


def test_a_pc_has_its_own_name_and_those_of_its_gpus(tmp_path: Path) -> None:
    gpus = {GPU: "Model: \t\t Tesla T4\n", GPU.replace("01", "02"): "Model: \t\t NVIDIA GeForce GTX 1660 Ti\n"}
    assert names_of(tree(tmp_path, PC | gpus)) == ("PowerEdge R6515", "Tesla T4", "NVIDIA GeForce GTX 1660 Ti")


def test_a_machine_without_a_name_is_the_host_alone(tmp_path: Path) -> None:
    assert names_of(tmp_path) == ()
    assert is_here(target_named("localhost"), tmp_path)


@pytest.mark.parametrize(
    ("files", "affinity", "usable"),
    [
        ({}, 4, 4),
        (CGROUP_V2, 4, 4),
        (CGROUP_V2 | {"sys/fs/cgroup/user.slice/cpu.max": "200000 100000\n"}, 4, 2),
        (CGROUP_V2 | {"sys/fs/cgroup/user.slice/job/cpu.max": "50000 100000\n"}, 4, 1),
        (CGROUP_V2 | {"sys/fs/cgroup/user.slice/job/cpu.max": "800000 100000\n"}, 4, 4),
        (CGROUP_V1, 4, 1),
        (CGROUP_V1 | {"sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1\n"}, 3, 3),
    ],
)
def test_the_tightest_of_mask_and_quotas_counts(
    tmp_path: Path, files: dict[str, str], affinity: int, usable: int
) -> None:
    assert usable_cpus(tree(tmp_path, files), affinity) == usable


def test_this_machine_describes_itself() -> None:
    device = device_of()
    assert 1 <= device.usable_cpus <= device.cpus
    assert device.memory_bytes > 2**28


def test_a_tree_without_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="Linux only"):
        device_of(tmp_path)
