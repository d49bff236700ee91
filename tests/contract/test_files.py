"""A file is written whole or not at all, and is looked at before anything parses it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vlm_contract import files
from vlm_contract.errors import VlmError


def test_an_error_while_writing_keeps_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    files.write_whole(path, "old")
    with pytest.raises(RuntimeError), files.whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_while_writing_keeps_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    files.write_whole(path, "old")
    code = (
        "import os, pathlib, signal, sys; from vlm_contract import files\n"
        "with files.whole_file(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [entry for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == [path]


def test_a_full_disk_is_said_before_writing(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(VlmError, match="No space left on device"), files.whole_file(path, expected_bytes=2**62):
        raise AssertionError("must not be entered")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(VlmError, match="No space left on device"),
        files.whole_file(tmp_path / "record.json") as temporary,
    ):
        temporary.write_text("half")
        with open("/dev/full", "w") as full:
            full.write("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in [(tmp_path / "pipe", "a named pipe"), (tmp_path, "a directory"), (Path("/dev/zero"), "a device")]:
        with pytest.raises(VlmError, match=kind):
            files.read_regular_file(path, limit_bytes=100)


def test_an_empty_and_a_too_large_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(VlmError, match="is empty"):
        files.check_regular_file(path, limit_bytes=100)
    path.write_bytes(b"x" * 101)
    with pytest.raises(VlmError, match="101 bytes, over the limit of 100"):
        files.check_regular_file(path, limit_bytes=100)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"\x08\x07\x12\x07pytorch", ""),
    ],
)
def test_first_bytes_say_what_a_file_is(tmp_path: Path, head: bytes, name: str) -> None:
    (tmp_path / "file").write_bytes(head)
    said = files.what_it_is(tmp_path / "file")
    assert said.startswith(name) if name else said == ""


def test_a_second_command_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with (
        files.locked(tmp_path, "vlm-train"),
        pytest.raises(VlmError, match=rf"in use by vlm-train \(process {os.getpid()}\)"),
    ):
        files.locked(tmp_path, "vlm-export").__enter__()


def test_a_lock_does_not_survive_its_holder(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys; from vlm_contract import files\n"
        "files.locked(pathlib.Path(sys.argv[1]), 'killed').__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with files.locked(tmp_path, "next"):
        assert (tmp_path / ".lock").read_text() == f"next (process {os.getpid()})"
