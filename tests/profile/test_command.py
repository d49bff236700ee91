"""The command vlm-profile, as it is typed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Estimate, Measurement, Repetition
from vlm_contract.workspace import Workspace
from vlm_profile import fleet, measuring
from vlm_profile.__main__ import figures_of, main, parser, request_of
from vlm_profile.fleet import Member
from vlm_profile.printing import say
from vlm_profile.protocol import FULL, QUICK
from vlm_profile.rows import Request

HERE = Member("host")
BRIEF = ("--threads", "1", "--batch", "1", "--wait-quiet", "0")


@pytest.fixture
def started(tiny_model: Path, tmp_path: Path) -> Callable[[], "subprocess.Popen[str]"]:
    """The command at work on the tiny model, with a worker alive."""
    words = ["--artifact", str(tiny_model), "--workspace", str(tmp_path / "w"), *BRIEF]

    def start() -> "subprocess.Popen[str]":
        command = subprocess.Popen([sys.executable, "-m", "vlm_profile", *words], stderr=subprocess.PIPE, text=True)
        assert waited_for(lambda: worker_of(command.pid) is not None)
        return command

    return start


def worker_of(process: int) -> int | None:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(children[0]) if children else None


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def waited_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_options_become_a_request() -> None:
    words = ["--batch", "4,1,4", "--quick", "--input-shape", "in:0:1x3x8x8", "--artifact", "a", "b", "--artifact", "c"]
    request = request_of(parser().parse_args(words), HERE)
    assert request.batches == (4, 1)
    assert request.protocol == QUICK
    assert request.input_shapes == {"in:0": (1, 3, 8, 8)}
    assert request.artifacts == (Path("a"), Path("b"), Path("c"))
    assert request_of(parser().parse_args(["--max-seconds", "9"]), HERE).protocol == FULL.within(9)
    assert request_of(parser().parse_args(["--soak", "10m"]), HERE).protocol == FULL.soaked(600)
    words = ["--batch", "auto", "--threads", "auto", "--fps", "30"]
    sweeps = request_of(parser().parse_args(words), HERE)
    assert (sweeps.batches, sweeps.threads, sweeps.fps) == ("auto", "auto", 30.0)
    assert request_of(parser().parse_args(["--streams", "1,2"]), HERE).streams == (1, 2)


@pytest.mark.parametrize(
    "words",
    [
        ["--batch", "0"],
        ["--batch", "1,x"],
        ["--input-shape", "1x3"],
        ["--max-seconds", "-1"],
        ["--soak", "10y"],
        ["--soak", "10"],
        ["--fps", "abc"],
        ["--host", ""],
        ["--host", ","],
    ],
)
def test_impossible_values_are_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert words[1].split(",")[-1] in capsys.readouterr().err


def test_a_target_that_is_none_is_refused_before_any_other_begins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "measure_members", None)  # whoever calls it fails
    assert main(["--target", "host,jetsn", "--batch", "1"]) == 2
    assert "'jetsn' is no known target" in capsys.readouterr().err


def test_an_error_stands_on_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(workspace: Workspace, request: Request, line: LiveLine) -> None:
        line.show("process 2 of 3")
        raise VlmError("The connection was lost.")

    monkeypatch.setattr(measuring, "measure", lost)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main([]) == 2
    assert "process 2 of 3\r\x1b[Kvlm-profile: The connection was lost." in capsys.readouterr().err


def test_sentences_are_wrapped_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    sentence = "Every figure above is an estimate, and no measurement of anything. " * 2 + "m" * 70
    say(sentence, sys.stdout)
    assert capsys.readouterr().out == f"{sentence}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say(sentence, sys.stdout)
    first, *rest = capsys.readouterr().out.splitlines()
    assert len(first) <= 60
    assert all(line.startswith("  ") for line in rest)
    assert rest[-1] == "  " + "m" * 70


def test_a_page_in_place_of_a_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.onnx").write_text("<!doctype html><title>404</title>")
    assert main(["--artifact", str(tmp_path / "m.onnx"), "--workspace", str(tmp_path / "w")]) == 2
    assert "is an HTML page" in capsys.readouterr().err.replace("\n", " ")


def test_a_model_is_measured_and_the_summary_names_its_record(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--artifact", str(tiny_model), "--workspace", str(tmp_path / "w"), *BRIEF]
    code = main([*words, "--max-seconds", "0.5", "--json", "--show-invalid"])
    *table, last = capsys.readouterr().out.splitlines()
    (row,) = json.loads(last)["measurements"]
    assert code == (0 if row["status"] == "valid" else 1)
    assert Path(row["file"]).is_file()
    assert row["latency"]["processes"] == 2
    assert table[0].split()[:2] == ["artifact", "runtime"]
    assert any(": few (warning): " in line for line in table)


def test_an_interruption_leaves_no_process(started: Callable[[], "subprocess.Popen[str]"]) -> None:
    command = started()
    worker = worker_of(command.pid)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=20)
    assert command.returncode == 130
    assert "interrupted" in said
    assert worker is None or waited_for(lambda: is_gone(worker))


def test_a_killed_command_takes_its_worker_along(started: Callable[[], "subprocess.Popen[str]"]) -> None:
    command = started()
    assert waited_for(lambda: (worker := worker_of(command.pid)) is not None and has_imported(worker))
    worker = worker_of(command.pid)
    os.kill(command.pid, signal.SIGKILL)
    command.communicate(timeout=20)
    assert worker is None or waited_for(lambda: is_gone(worker))


def has_imported(worker: int) -> bool:
    """Whether the runtime is mapped: by then the worker has tied its life to the command's."""
    try:
        return "onnxruntime" in Path(f"/proc/{worker}/maps").read_text()
    except OSError:
        return False


def test_a_row_of_the_summary_says_how_its_figures_were_come_by(
    measurement: Callable[..., Measurement], repetition: Callable[..., Repetition]
) -> None:
    row = measurement(*[repetition()] * 5)
    estimate = Estimate("family", "a double", 80.0, 1.25, 1.5, (), {}, "measure it")
    setup = replace(row.setup, threads=Absent("a GPU computes"))
    estimated = replace(row, target="jetson-nano", evidence="estimated", estimate=estimate, setup=setup)
    found = json.loads(json.dumps(figures_of(estimated, show_invalid=False)))
    assert (found["target"], found["evidence"]) == ("jetson-nano", "estimated")
    assert (found["estimate"]["rung"], found["estimate"]["factor_low"], found["estimate"]["factor_high"]) == (
        "family",
        1.25,
        1.5,
    )
    assert found["threads"] == {"absent": "a GPU computes"}
    measured = figures_of(row, show_invalid=False)
    assert (measured["evidence"], measured["estimate"]) == ("measured", {"absent": "measured"})
