"""An emulated Jetson on loopback (tests/emulators/emulated_jetson.py), and a tree with clocks alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """A GPU and a CPU whose clocks follow the load."""
    tree = tmp_path / "tree"
    for folder, least, most in (
        ("sys/class/devfreq/17000000.gpu", "min_freq", "max_freq"),
        ("sys/devices/system/cpu/cpu0/cpufreq", "scaling_min_freq", "scaling_max_freq"),
    ):
        (tree / folder).mkdir(parents=True)
        (tree / folder / least).write_text("306000000\n")
        (tree / folder / most).write_text("624750000\n")
    return tree


@pytest.fixture
def recorded_tree(tmp_path: Path) -> Callable[..., Path]:
    """A function that unpacks a recorded tree, whose device then calls itself an emulator; the root."""
    from emulated_jetson import unpacked

    return lambda name="jetson-orin-nano": unpacked(name, tmp_path / "tree of the board")


@pytest.fixture
def jetson(tmp_path: Path, ended: Callable[..., Any]) -> Callable[..., Any]:
    """A function that starts a board with the emulators, which read the given tree; settings are trtexec's."""
    from emulated_jetson import start_jetson

    def start(tree: Path, version: str = "10.3.0", **settings: Any) -> Any:
        return ended(start_jetson(tmp_path, tree, version, **settings))

    return start
