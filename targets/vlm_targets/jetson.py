"""What a Jetson says of itself: its module, release and JetPack, its power mode, whether its clocks are locked."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlm_contract.codec import Absent
from vlm_targets._files import SAID, text_of
from vlm_targets.catalogue import JetPack, known_jetpacks

# A Jetson's GPU in devfreq: ADDRESS.NAME, and on Thor, where each clock domain has a folder, that of the SMs.
GPU = re.compile(r"[0-9a-f]+\.(gpu|gm20b|gp10b|gv11b|ga10b)|gpu-gpc-\d+")
# The modes that JetPack 6.1 brought to the Orin Nano's module, and with them another name.
SUPER_MODES = ("25W", "MAXN_SUPER")


def is_jetson(root: Path = Path("/")) -> bool:
    """By its device tree."""
    return bool(chip_of(root))


def chip_of(root: Path = Path("/")) -> str:
    """Of a Jetson, "tegra234"; empty for another machine."""
    found = re.search(r"nvidia,(tegra\d+)", _compatible(root))
    return found[1] if found else ""


def modules_of(root: Path = Path("/")) -> list[str]:
    """Part numbers in the device tree, the carrier board's among them: ["p3768-0000", "p3767-0005"]."""
    return re.findall(r"\bp\d{4}-\d{4}", _compatible(root))


def l4t_of(root: Path = Path("/")) -> str | Absent:
    """The release of Jetson Linux, "36.4.3": by its file, else by the package that brings it."""
    found = re.match(r"# R(\d+) \(release\), REVISION: (\d+\.\d+)", text_of(root / "etc/nv_tegra_release"))
    if found:
        return f"{found[1]}.{found[2]}"
    package = re.match(r"\d+\.\d+\.\d+(?=-)", text_of(root / SAID / "nvidia-l4t-core"))
    return package[0] if package else Absent("no file and no package of Jetson Linux names its release")


def jetpack_of(l4t: str, jetpacks: Sequence[JetPack] = ()) -> JetPack | Absent:
    """The JetPack that a release of Jetson Linux belongs to: its own, else the last before it of the same minor one.

    Between two JetPacks NVIDIA mends Jetson Linux alone: 36.4.7 came after JetPack 6.2.1, whose release is 36.4.4.
    """
    release = _numbers(l4t)
    rows = [row for row in jetpacks or known_jetpacks() if _numbers(row.l4t)[:2] == release[:2]]
    before = [row for row in rows if _numbers(row.l4t) <= release]
    if not before:
        return Absent(f"no known JetPack has Jetson Linux {l4t}")
    return max(before, key=lambda row: _numbers(row.l4t))


def power_mode_of(root: Path = Path("/")) -> str | Absent:
    """By the name that nvpmodel gives it: the mode in its status file, the names in its configuration.

    Where there is no status, by what the command said (`vlm_targets.mirror`).
    """
    mode = re.search(r"pmode:0*(\d+)", text_of(root / "var/lib/nvpmodel/status"))
    if not mode:
        return power_mode_in(text_of(root / SAID / "nvpmodel-q"))
    return power_modes_of(root).get(int(mode[1]), f"mode {mode[1]}")


def power_modes_of(root: Path = Path("/")) -> dict[int, str]:
    """The names that nvpmodel's configuration gives to its modes, by number; empty where there is none."""
    conf = text_of(root / "etc/nvpmodel.conf")
    named = re.findall(r"^\s*<\s*POWER_MODEL\s+ID=(\d{1,3})\s+NAME=([\w.-]+)", conf, re.MULTILINE)
    return {int(number): name for number, name in named}


def power_mode_in(text: str) -> str | Absent:
    """The name in the answer of `nvpmodel -q`, before which there may be warnings: "NV Power Mode: 15W", and "0"."""
    found = re.search(r"^NV Power Mode:\s*([\w.-]+)", text, re.MULTILINE)
    return found[1] if found else Absent("this machine names no power mode")


def is_super(root: Path = Path("/")) -> bool:
    """Whether firmware set this module up for the Super's clocks."""
    named = text_of(root / "proc/device-tree/model") + _compatible(root)
    return "super" in named.lower() or "MAXN_SUPER" in power_modes_of(root).values()


def clocks_locked(root: Path = Path("/")) -> bool | Absent:
    """Whether the GPU's clock is held: `jetson_clocks` sets its least to its most."""
    gpus = list(_gpus(root))
    if not gpus:
        return Absent("devfreq lists no GPU of a Jetson")
    return all(text_of(gpu / "min_freq") == text_of(gpu / "max_freq") for gpu in gpus)


def _gpus(root: Path) -> Iterator[Path]:
    for file in sorted((root / "sys/class/devfreq").glob("*/min_freq")):
        if GPU.fullmatch(file.parent.name):
            yield file.parent


def _compatible(root: Path) -> str:
    return text_of(root / "proc/device-tree/compatible")


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)))
