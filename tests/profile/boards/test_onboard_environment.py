"""The environment on a board is made whole or not at all. No board is needed: this machine makes one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.console import INTERRUPTED
from vlm_contract.errors import VlmError
from vlm_profile.boards import onboard_environment
from vlm_profile.boards.onboard_environment import BOOTSTRAP, data_folder, environment
from vlm_profile.boards.wheel import wheel_of_this_toolkit


def test_a_python_without_ensurepip_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onboard_environment, "find_spec", lambda name: None)
    with pytest.raises(VlmError, match="lacks its module ensurepip") as caught:
        environment(tmp_path / "w.whl", "0" * 64, [], tmp_path)
    assert caught.value.hint == "sudo apt install python{}.{}-venv, on the board".format(*sys.version_info)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_where_a_package_cannot_be_had_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    wheel, home = wheel_of_this_toolkit(tmp_path), tmp_path / "home"
    home.mkdir()
    with pytest.raises(VlmError, match=r"failed with exit code 1: ERROR: No matching distribution .* no-such-thing"):
        environment(wheel.path, wheel.digest, ["no-such-thing==1"], home)
    assert list(home.iterdir()) == []
    assert "Successfully installed vlm-edge" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_that_is_ended_in_the_middle_leaves_nothing(eventually: Callable[..., bool], tmp_path: Path) -> None:
    """As a lost connection ends it: SIGTERM for the whole session, pip included."""
    (tmp_path / "connection").mkdir()
    (tmp_path / "temporary").mkdir()
    wheel, home = wheel_of_this_toolkit(tmp_path / "connection"), tmp_path / "data" / "vlm-edge"
    module = "vlm_profile.boards.onboard_environment"
    variables = {"PATH": os.environ["PATH"], "XDG_DATA_HOME": str(home.parent), "TMPDIR": str(tmp_path / "temporary")}
    run = subprocess.Popen(
        [sys.executable, "-I", "-c", BOOTSTRAP, str(wheel.path), module, wheel.digest, "no-such-thing==1"],
        env=variables,
        start_new_session=True,
    )
    assert eventually(lambda: list(wheel.path.parent.glob("tmp*")))  # ensurepip is at work
    os.killpg(run.pid, signal.SIGTERM)
    assert run.wait(20) == INTERRUPTED
    assert list(home.iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_data_folder_is_the_users_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".local/share/vlm-edge"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data/vlm-edge"
    assert (tmp_path / "data/vlm-edge").stat().st_mode & 0o777 == 0o700
