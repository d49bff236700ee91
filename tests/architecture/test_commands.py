"""What every command promises at its door."""

import os
import subprocess
import sys

import pytest

COMMANDS = ("vlm_train", "vlm_export", "vlm_profile", "vlm_report", "vlm_report.study")
HEAVY = {"torch", "torchvision", "timm", "pandas", "onnxruntime", "onnx", "altair"}


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    done = run("-X", "importtime", "-m", command, "--help")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert command in imported
    assert not HEAVY & imported


@pytest.mark.parametrize("command", COMMANDS)
def test_help_takes_under_300_ms_of_cpu_time(command: str) -> None:
    def cpu_seconds() -> float:
        before = os.times()
        run("-m", command, "--help")
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(cpu_seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_option_is_one_paragraph_with_a_hint_and_exit_code_2(command: str) -> None:
    done = run("-m", command, "--no-such-option")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Try: " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_version_is_the_installed_one(command: str) -> None:
    from importlib.metadata import version

    assert run("-m", command, "--version").stdout.split()[-1] == version("vlm-edge")
