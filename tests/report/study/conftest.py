"""A study whose commands are doubles (see doubles.py), in a workspace of the test's own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.codec import json_from_record

DOUBLES = Path(__file__).with_name("doubles.py")
MATRIX = """
[study]
name = "doubled"

[train]
models = ["alpha", "beta"]
datasets = ["digits"]
samples = [100]
options = { epochs = 2 }

[export]

[profile]
targets = ["host", "jetson"]
"""


@dataclass
class DoubledStudy:
    """vlm-study with doubles for commands."""

    folder: Path
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "study.toml"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def state(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.workspace / "studies/doubled/state.json").read_text())
        return document

    def write(self, text: str = MATRIX) -> None:
        self.file.write_text(text)

    def tell(self, **how: str | float) -> None:
        """How the doubles behave, by the first words of what they are called for; `_` stands for a space."""
        self.workspace.mkdir(exist_ok=True)
        document = {words.replace("_", " "): what for words, what in how.items()}
        (self.workspace / "double.json").write_text(json.dumps(document))

    def command(self, *words: str) -> list[str]:
        first, *rest = words
        return [sys.executable, str(DOUBLES), "study", first, str(self.file), *rest, f"--workspace={self.workspace}"]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(*(words or ("run",))), capture_output=True, text=True, timeout=60)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            self.command("run", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def calls(self) -> list[str]:
        """`stage name` of each time that a double was called."""
        path = self.workspace / "calls.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [" ".join(line.split()[:2]) for line in lines]

    def forget_calls(self) -> None:
        (self.workspace / "calls.txt").unlink(missing_ok=True)

    def document(self, *words: str) -> dict[str, Any]:
        """What `--json` prints."""
        done = self.run(*words, "--json", "--quiet")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


def a_study(folder: Path, double: SimpleNamespace) -> DoubledStudy:
    study = DoubledStudy(folder)
    study.write()
    study.tell()
    (study.workspace / "manifest.json").write_text(json_from_record(double.manifest("of a double", 50.0)))
    return study


@pytest.fixture
def doubled(tmp_path: Path, double: SimpleNamespace) -> Iterator[DoubledStudy]:
    """A study that has not run."""
    study = a_study(tmp_path, double)
    yield study
    for process in study.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session")
def done_once(tmp_path_factory: pytest.TempPathFactory, double: SimpleNamespace) -> Path:
    study = a_study(tmp_path_factory.mktemp("done"), double)
    assert study.run().returncode == 0
    study.forget_calls()
    return study.folder


@pytest.fixture
def finished(done_once: Path, tmp_path: Path) -> DoubledStudy:
    """A copy of a study that has run, every step done: its state holds no path that a copy makes wrong."""
    shutil.copytree(done_once, tmp_path, dirs_exist_ok=True)
    return DoubledStudy(tmp_path)


@pytest.fixture
def pids_of_doubles() -> Callable[[Path], list[int]]:
    """Doubles at work in a workspace."""

    def found(workspace: Path) -> list[int]:
        pids = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if (
                str(DOUBLES).encode() in words[1:2]
                and f"--workspace={workspace}".encode() in words
                and b"study" not in words
            ):
                pids.append(int(path.parent.name))
        return pids

    return found
