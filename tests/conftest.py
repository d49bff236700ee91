"""What all tests share: SIGINT as a terminal sends it, and a board on loopback (tests/emulators/loopback.py)."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent / "emulators"))

# A shell that starts the suite in the background has it ignore SIGINT, and all that it starts too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], bool]:
    """A function that tells whether something comes true within some seconds."""

    def comes_true(holds: Callable[[], object]) -> bool:
        limit = time.monotonic() + 15
        while time.monotonic() < limit:
            if holds():
                return True
            time.sleep(0.05)
        return False

    return comes_true


@pytest.fixture
def ended() -> Iterator[Callable[..., Any]]:
    """A function that takes what a starter of a board gives: the board comes back, and its sshd ends with the test."""
    import loopback

    if not loopback.is_possible():
        pytest.skip(loopback.MISSING)
    started = []

    def kept(board_and_process: Any) -> Any:
        board, process = board_and_process
        started.append(process)
        return board

    yield kept
    for process in started:
        process.terminate()
        process.wait(10)


@pytest.fixture
def loopback(tmp_path: Path, ended: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function that starts an sshd, and gives a LoopbackBoard; `shell` is the login shell's command line."""
    from loopback import start_sshd

    monkeypatch.setattr("vlm_targets.lock.FOLDER", str(tmp_path / "lock"))  # other tests' boards are this machine, too
    return lambda shell="": ended(start_sshd(tmp_path, shell))
