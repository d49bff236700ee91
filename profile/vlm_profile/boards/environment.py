"""The toolkit on a board: which of its Pythons runs it, and the private environment that it stands in."""

import hashlib
import re
import tempfile
from pathlib import Path

from vlm_contract.console import LiveLine, printable
from vlm_contract.errors import VlmError
from vlm_profile.boards.errands import WORDS_SHOWN, Environment, answered
from vlm_profile.boards.onboard_environment import BOOTSTRAP
from vlm_profile.boards.wheel import requirements_of, wheel_of_this_toolkit
from vlm_targets.ssh import Board

OLDEST, NEWEST = (3, 10), (3, 13)
PYTHONS = ("python3", *(f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)))
LOOK_LIMIT_S = 60.0
SILENCE_LIMIT_S = 1800.0  # of pip, while a slow card unpacks
EXTRA, EXTRA_ON_GPU = "ort", "ort-gpu"
_LOOK = """
for name do
  path=$(command -v "$name") && version=$("$path" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])') &&
    printf '%s %s\\n' "$version" "$path"
done
"""


def environment_on(board: Board, line: LiveLine, computes: str = "") -> Environment:
    """The toolkit's environment on the board, made there where this very toolkit has none yet.

    `computes` is "cuda" where its GPU is what figures are wanted of: its ONNX Runtime is another package.
    Raises VlmError where the board has no Python for it, or cannot fetch what it needs.
    """
    line.show(f"{board.address}: looking for the toolkit there")
    python = python_on(board)
    with tempfile.TemporaryDirectory(prefix="vlm-wheel.") as folder:
        wheel = wheel_of_this_toolkit(Path(folder))
        remote = f"{board.folder}/{wheel.path.name}"
        board.push(wheel.path, remote)
    module = "vlm_profile.boards.onboard_environment"
    extra = EXTRA_ON_GPU if computes == "cuda" else EXTRA
    digest = hashlib.sha256(f"{wheel.digest} {extra}".encode()).hexdigest()  # neither environment passes for the other
    words = [digest, *wheel.requirements, *requirements_of(extra)]
    done = board.run(
        [python, "-I", "-c", BOOTSTRAP, remote, module, *words],
        SILENCE_LIMIT_S,
        tell=lambda said: line.show(f"{board.address}: {said}"),
    )
    return answered(done, Environment, board.address)


def python_on(board: Board) -> str:
    """The first Python of the board that the toolkit runs on. Raises VlmError saying which there are."""
    done = board.run(["sh", "-c", _LOOK, "sh", *PYTHONS], LOOK_LIMIT_S)
    found = re.findall(r"^(3)\.(\d{1,3})\.\d+ (/[^\x00-\x1f\x7f]*)$", done.out, re.MULTILINE)
    for major, minor, path in found:
        if OLDEST <= (int(major), int(minor)) <= NEWEST:
            return str(path)
    has = ", ".join(f"Python {line.replace(' ', ' (', 1)})" for line in done.out.split("\n") if line) or "none"
    raise VlmError(
        "Python {}.{} to {}.{} ".format(*OLDEST, *NEWEST)
        + f"is what the toolkit runs on; {board.address} has: {printable(has)[:WORDS_SHOWN]}.",
        hint=f"sudo apt install {' or '.join(PYTHONS[:0:-1])} with its -venv package, on the board; "
        "or a newer release of its system",
    )
