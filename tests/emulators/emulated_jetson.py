"""An emulated Jetson: on a board on loopback, emulators of what JetPack ships, which read a recorded tree.

Its device calls itself an emulator, so that no report takes a record of it.
"""

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trtexec
from loopback import LoopbackBoard, start_sshd

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EMULATORS = Path(__file__).parent
TREES = EMULATORS.parent / "targets" / "trees"
STAT = "cpu  100 0 50 9000 0 0 0 0 0 0\n" + "".join(f"cpu{i} 10 0 5 1500 0 0 0 0 0 0\n" for i in range(6))


@dataclass(frozen=True)
class EmulatedJetson:
    """The board on loopback and what its emulators read."""

    ssh: LoopbackBoard
    tree: Path  # a recorded tree of /proc, /sys and /etc

    @property
    def programs(self) -> Path:
        return self.ssh.home / "bin"

    @property
    def gpu(self) -> Path:
        """Of the tree: the GPU's folder in devfreq."""
        return next((self.tree / "sys/class/devfreq").glob("*gpu"))

    @property
    def lock(self) -> Path:
        """Of the tree: the folder in which a lock on the board lies."""
        return self.tree / "run/lock/vlm-edge"

    def install(self, version: str = "10.3.0", **settings: Any) -> None:
        """Put trtexec's emulator there, or change how it behaves."""
        trtexec.install(self.programs, version, **settings)

    def calls(self, program: str) -> list[str]:
        """How an emulator was called, a line each."""
        file = self.programs / f"{program}.called"
        return file.read_text().splitlines() if file.exists() else []


def start_jetson(
    folder: Path, tree: Path, version: str = "10.3.0", address: str = "board", **settings: Any
) -> tuple[EmulatedJetson, "subprocess.Popen[bytes]"]:
    """Start a board with the emulators, which read the given tree; settings are trtexec's."""
    shell = f'env VLM_EDGE_ROOT={shlex.quote(str(tree))} sh -c "$SSH_ORIGINAL_COMMAND"'
    there, process = start_sshd(folder, shell, address)
    board = EmulatedJetson(there, tree)
    for program in ("jetson_clocks", "sudo", "id"):
        shutil.copy(EMULATORS / program, board.programs / program)
    (board.programs / "tree").write_text(str(tree))
    board.install(version, **settings)
    return board, process


def unpacked(name: str, root: Path) -> Path:
    """Unpack a recorded tree, whose device then calls itself an emulator; the root."""
    files = tomllib.loads((TREES / f"{name}.toml").read_text())["files"]
    model = files["proc/device-tree/model"].strip("\0\n")
    for path, text in {**files, "proc/device-tree/model": f"{model} (emulator)\0", "proc/stat": STAT}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root
