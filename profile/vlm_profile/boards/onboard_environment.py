"""On a board, from the wheel itself: make the private environment that the toolkit runs in, once.

    python3 -I -c BOOTSTRAP WHEEL vlm_profile.boards.onboard_environment DIGEST REQUIREMENT...

It stands in the user's data folder, whole or not at all. What the board's Python has of numpy and onnxruntime is used,
if both can be imported; what is missing comes from wherever its pip fetches packages.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from vlm_contract.console import INTERRUPTED
from vlm_contract.errors import VlmError
from vlm_profile.boards.errands import Environment, answer

# The module that follows the wheel is run from it; -I keeps the current folder, and what lies in it, out of the way.
BOOTSTRAP = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_module(sys.argv[2], run_name='__main__')"
NEEDED = "import numpy, onnxruntime"
WORKS = f"{NEEDED}, vlm_profile.session"
FOLDERS = f"{NEEDED}, json; print(json.dumps([m.__path__[0] for m in (numpy, onnxruntime)]))"
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off", "--retries", "2")


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)  # as the connection's end is announced: nothing half-made stays
    wheel, _, digest, *requirements = sys.argv[1:]
    try:
        return answer(lambda: environment(Path(wheel), digest, requirements, data_folder()))
    except KeyboardInterrupt:
        return INTERRUPTED


def data_folder() -> Path:
    """Ours, in the folder for a user's data (XDG Base Directory Specification); made where it is not there."""
    folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "vlm-edge"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def environment(wheel: Path, digest: str, requirements: Sequence[str], home: Path) -> Environment:
    """The environment of this very wheel; any other of ours, and what a killed run left, is removed.

    Raises VlmError saying what to install. The caller holds the board.
    """
    folder = home / f"environment-{digest[:16]}"
    python = folder / "bin/python"
    others = [path for name in ("environment-*", ".environment-*") for path in home.glob(name) if path != folder]
    for path in others:
        shutil.rmtree(path, ignore_errors=True)
    if _runs(python, WORKS):
        return Environment(str(python), made=False)
    print(f"making the toolkit's environment, once, some minutes on a slow card: {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".environment-", dir=home, ignore_cleanup_errors=True) as parent:
        made = Path(parent) / "environment"
        make(made, wheel, requirements)
        made.rename(folder)
    return Environment(str(python), made=True)


def make(folder: Path, wheel: Path, requirements: Sequence[str]) -> None:
    """Raises VlmError where a package of the system or a network is missing."""
    version = "{}.{}".format(*sys.version_info)
    if find_spec("ensurepip") is None:
        raise VlmError(
            f"Python {version} here lacks its module ensurepip, and so makes no environments.",
            hint=f"sudo apt install python{version}-venv, on the board",
        )
    scratch = wheel.parent  # goes with the connection, whatever a killed pip leaves there
    _run([sys.executable, "-m", "venv", str(folder)], scratch)
    python = str(folder / "bin/python")
    _use_what_is_here(folder / f"lib/python{version}/site-packages")
    _run([python, *PIP, "--no-deps", "--ignore-installed", "--no-index", str(wheel)], scratch)
    _run([python, *PIP, "--only-binary", ":all:", *requirements], scratch)
    if not _runs(Path(python), WORKS):
        raise VlmError(f"What pip installed for Python {version} cannot be imported.", hint=f"{python} -c '{WORKS}'")


def _use_what_is_here(packages: Path) -> None:
    """Have the environment look, after its own packages, where this Python keeps numpy and onnxruntime.

    The usual --system-site-packages would pass over those of a Python that is an environment's itself.
    """
    found = subprocess.run([sys.executable, "-I", "-c", FOLDERS], capture_output=True, text=True)
    if found.returncode == 0:
        folders = dict.fromkeys(str(Path(path).parent) for path in json.loads(found.stdout.splitlines()[-1]))
        (packages / "of_the_board.pth").write_text("".join(f"{folder}\n" for folder in folders))


def _runs(python: Path, code: str) -> bool:
    return python.exists() and subprocess.run([python, "-I", "-c", code], capture_output=True).returncode == 0


def _run(command: Sequence[str], scratch: Path) -> None:
    """What it prints goes to stderr, line by line. Raises VlmError with the last of its errors."""
    complaint = "it gave no reason"
    # A configuration that has pip install for the user fails in an environment.
    environ = {**os.environ, "PIP_USER": "0", "TMPDIR": str(scratch)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environ
    ) as made:
        assert made.stdout is not None
        for line in made.stdout:
            if not line.startswith("Ignoring "):  # what another Python would need
                print(line.rstrip(), file=sys.stderr, flush=True)
            complaint = line.strip() if line.startswith("ERROR:") or complaint[:6] != "ERROR:" else complaint
    if made.returncode != 0:
        bits = "" if sys.maxsize > 2**32 else " This Python has 32 bits, and onnxruntime is published for 64."
        raise VlmError(
            f"{' '.join(command[1:3])} failed with exit code {made.returncode}: {complaint}.{bits}",
            hint="the same command once the board has a network and space; "
            f"or install numpy and onnxruntime for {sys.executable} by hand: they are used where they can be imported",
        )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
