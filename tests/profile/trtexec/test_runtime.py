"""trtexec among the runtimes: found where it stands, and opened by no worker."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_export.tensorrt.trtexec import JETPACK_FOLDER, Tool
from vlm_profile.runtimes import runtimes
from vlm_profile.runtimes import trtexec as module
from vlm_profile.runtimes.trtexec import Runtime
from vlm_profile.trtexec import work


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were a GPU's driver, and nothing had been asked yet."""
    monkeypatch.setattr(module, "no_driver", lambda: "")
    module._version.cache_clear()
    work.bench_here.cache_clear()


def test_it_is_among_the_runtimes_and_times_itself() -> None:
    assert runtimes()["trtexec"] is Runtime
    assert Runtime.self_timed
    assert Runtime.formats == ("onnx", "engine")


def test_it_is_looked_for_where_boards_have_it() -> None:
    assert module.FOLDER == JETPACK_FOLDER


def test_without_one_it_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "FOLDER", str(tmp_path / "none"))
    assert Runtime.unusable() == (
        f"trtexec is neither on the PATH nor in {tmp_path / 'none'}: sudo apt install tensorrt"
    )
    assert Runtime.version() == ""


def test_one_in_its_own_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trtexec").write_text("#!/bin/sh\n")
    (tmp_path / "trtexec").chmod(0o755)
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(module, "FOLDER", str(tmp_path))
    assert (module.where(), Runtime.unusable()) == (str(tmp_path / "trtexec"), "")


@pytest.mark.parametrize("version", ["8.2.1", "11.4.1"])
def test_its_version_is_what_it_says(emulated: Callable[..., Tool], version: str) -> None:
    emulated(version)
    assert Runtime.version() == version


def test_one_without_a_gpu_has_no_version(emulated: Callable[..., Tool]) -> None:
    with pytest.raises(VlmError, match="names no GPU"):
        emulated(gpu="")
    assert Runtime.version() == ""


def test_no_worker_opens_it(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="a program of its own"):
        Runtime(tmp_path / "model.onnx", 1, {})
