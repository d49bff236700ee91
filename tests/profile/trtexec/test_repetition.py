"""One process of trtexec is a repetition; what it does wrong is a cause."""

import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Reading, Repetition
from vlm_export.tensorrt import printed
from vlm_export.tensorrt.trtexec import Tool, tool_on
from vlm_profile.process import WorkerFailed
from vlm_profile.protocol import FULL
from vlm_profile.trtexec import repetition, times
from vlm_profile.trtexec.repetition import check_setup, loop_of, repetition_of
from vlm_profile.worker import Findings, Spec
from vlm_targets.reach import Here, Machine
from vlm_targets.ssh import Board

Emulated = Callable[..., Tool]
SHORT = {"load": 0.4, "first": 0.0, "warmup": 0.0, "measure": 0.0}


@pytest.fixture
def engine(tmp_path: Path) -> str:
    (tmp_path / "it's an.engine").write_bytes(b"engine of an emulator")
    return str(tmp_path / "it's an.engine")


def deaf(tool: str) -> str:
    """A shell script that ignores the request to end, around a tool."""
    path = Path(tool).with_name("deaf")
    path.write_text(f"#!/bin/sh\ntrap '' TERM\n'{tool}' \"$@\"\n")
    path.chmod(0o755)
    return str(path)


def measured(here: Machine, tool: Tool, engine: str, spec: Spec, **more: Any) -> tuple[Findings, Repetition]:
    findings = repetition_of(here, tool, engine, spec, **more)
    assert isinstance(findings.repetition, Repetition)
    return findings, findings.repetition


@pytest.mark.parametrize("version", ["8.2.1", "8.5.2", "10.3.0", "11.4.1"])
def test_every_version_measures(here: Here, emulated: Emulated, engine: str, spec: Spec, version: str) -> None:
    findings, found = measured(here, emulated(version), engine, spec)
    assert (findings.runtime.version, findings.runtime.provider) == (version, f"TensorRT {version}")
    assert (found.order, found.attempt, found.frames) == (4, 1, 0)
    assert median(found.samples_ns) == pytest.approx(2.125e6, rel=0.01)
    assert median(found.device_ns) == pytest.approx(2e6, rel=0.01)
    assert len(found.samples_ns) >= spec.protocol.iterations
    call_s = max(found.samples_ns) / 1e9  # that began in the warm-up, and is none of the loop's
    assert found.measure_s >= spec.protocol.measure_s - call_s
    assert bool(found.warmup_ns) == (version == "8.2.1")
    assert found.began_s + found.measure_s == pytest.approx(time.time(), abs=5)
    assert (found.unlike, found.nonfinite, found.fallback) == ((), (), "")


def test_what_trtexec_does_not_tell_is_absent(here: Here, emulated: Emulated, engine: str, spec: Spec) -> None:
    _, found = measured(here, emulated(), engine, spec)
    for value in (found.canary, found.peak_rss_bytes, found.baseline_rss_bytes, found.device_peak_bytes):
        assert isinstance(value, Absent) and value.reason
    assert (found.context, found.repeated_ns, found.cpus) == ((), (), ())
    assert found.phases_s == {"load": 0.25, "warmup": 0.1, "measure": found.measure_s}
    assert found.by_source == {
        "engine as loaded, in whole MiB": 6 * 2**20,
        "execution contexts, in whole MiB": 2 * 2**20,
        "engine activations": 3 * 2**19,
    }


def test_the_flags_and_the_enqueue_share_stand_with_the_runtime(
    here: Here, emulated: Emulated, engine: str, spec: Spec
) -> None:
    findings, _ = measured(here, emulated("11.4.1", enqueue_share=0.9), engine, spec)
    options = findings.runtime.options
    assert options["cuda_graph"] is False
    assert options["enqueue_percent"] == pytest.approx(90, abs=1)
    assert "--includeDataTransfers --noCudaGraph" in str(options["flags"])
    assert here.folder not in str(options["flags"])


def test_a_cuda_graph_that_was_given_up_is_a_fallback(here: Here, emulated: Emulated, engine: str, spec: Spec) -> None:
    graph = replace(spec, setup=replace(spec.setup, options={"cuda_graph": True}))
    assert measured(here, emulated(), engine, graph)[1].fallback == ""
    assert "launched without" in measured(here, emulated(refuses_graph=True), engine, graph)[1].fallback


def test_streams_run_side_by_side(
    here: Here, emulated: Emulated, engine: str, spec: Spec, called: Callable[[], list[str]]
) -> None:
    three = replace(spec, setup=replace(spec.setup, streams=3))
    _, found = measured(here, emulated(), engine, three)
    assert {"--threads", "--infStreams=3"} <= set(called())
    assert len(found.samples_ns) * 2.175e-3 / 3 == pytest.approx(found.measure_s, rel=0.02)


def test_outputs_that_are_no_numbers_are_named(here: Here, emulated: Emulated, engine: str, spec: Spec) -> None:
    for values in ("1, nan, 2", "-inf, 0, 0", "0.5, -nan, 0"):
        assert measured(here, emulated(outputs=values), engine, spec)[1].nonfinite == ("logits",)


def test_the_model_is_given_the_same_random_numbers_as_in_other_runtimes(
    here: Here, emulated: Emulated, engine: str, spec: Spec, called: Callable[[], list[str]]
) -> None:
    from vlm_profile.inputs import random_feeds

    tool = emulated()
    for _ in range(2):
        measured(here, tool, engine, spec)
    (told,) = (word for word in called() if word.startswith("--loadInputs=images:"))
    (feed,) = random_feeds(spec.inputs, 1, spec.seed)
    assert Path(told.partition(":")[2]).read_bytes() == feed["images"].tobytes()
    assert "--shapes=images:2x3x4x4" in called()


def test_readings_of_sensors_come_with_the_repetition(here: Here, emulated: Emulated, engine: str, spec: Spec) -> None:
    @contextmanager
    def sampling() -> Any:
        readings: list[Reading] = []
        yield readings
        readings.append(Reading(1.0, {"power_w VDD_IN": 5.0}))

    _, found = measured(here, emulated(), engine, spec, sampling=sampling)
    assert found.readings == (Reading(1.0, {"power_w VDD_IN": 5.0}),)


def test_a_board_over_ssh_measures_alike(
    loopback: Callable[..., Any], emulator: Any, engine: str, spec: Spec, tmp_path: Path
) -> None:
    there = loopback()
    emulator.install(there.home / "bin", "8.2.1")
    with Board(there.address, there.config) as board:
        board.push(Path(engine), f"{board.folder}/engine")
        _, found = measured(board, tool_on(board), f"{board.folder}/engine", spec)
        assert found.warmup_ns and median(found.samples_ns) == pytest.approx(2.125e6, rel=0.01)
    assert there.temporary_folders() == []


# How long


@pytest.mark.parametrize(("call_s", "iterations"), [(0.0, 50), (0.01, 50), (1.0, 15), (100.0, 5)])
def test_a_slow_model_is_run_as_often_as_the_protocol_has_time(spec: Spec, call_s: float, iterations: int) -> None:
    loop = loop_of(spec.setup, FULL, call_s)
    assert (loop.iterations, loop.seconds, loop.warmup_s) == (iterations, 2.0, 1.0)


def test_what_trtexec_cannot_do_is_refused(spec: Spec) -> None:
    with pytest.raises(VlmError, match="takes no frame rate"):
        check_setup(replace(spec.setup, fps=30.0))
    with pytest.raises(VlmError, match="not held to some of the CPUs"):
        check_setup(replace(spec.setup, options={"cpus": "0"}))


# What goes wrong


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"behaviour": "echo '[1] [E] \033[2J out of memory' >&2; exit 3"}, r"exit code 3: \\x1b\[2J out of memory"),
        ({"behaviour": "kill -KILL $$"}, "was killed"),
        ({"behaviour": "kill -SEGV $$"}, "ended with exit code 139"),
        ({"behaviour": "sleep 4343.5"}, r"did not end within 0\.4 s"),
        ({"times": "garbage"}, "times is damaged"),
        ({"times": '[\n  { "startEnqMs" : 1, "endEn'}, "times is damaged"),
        ({"times": "[]"}, "wrote no times"),
        ({"outputs": "1, oops"}, "outputs is damaged"),
        ({"deaf_to": ("--exposeDMA",)}, "understood its flags otherwise: ExposeDMA: Disabled"),
        ({"deaf_to": ("--exportTimes",)}, r"wrote no times\.json"),
    ],
)
def test_what_goes_wrong_is_named(
    here: Here, emulated: Emulated, engine: str, spec: Spec, settings: dict[str, Any], cause: str
) -> None:
    tool = emulated(**settings)
    limits = {**SHORT, "measure": 0.0 if "4343" in str(settings) else 20.0}
    with pytest.raises(WorkerFailed, match=cause):
        repetition_of(here, tool, engine, spec, timeout_s=limits)


def test_one_that_does_not_end_when_told_to_is_killed_and_named_so(
    here: Here, emulated: Emulated, engine: str, spec: Spec, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(repetition, "KILL_AFTER_S", 0.2)
    tool = emulated(behaviour="trap '' TERM; sleep 4343.6")
    with pytest.raises(WorkerFailed, match=r"did not end within 0\.4 s"):
        repetition_of(here, Tool(deaf(tool.path), tool.version, tool.identity), engine, spec, timeout_s=SHORT)
    assert eventually(
        lambda: "4343.6" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    )


@pytest.mark.parametrize(("module", "file"), [(times, "times"), (printed, "outputs")])
def test_huge_files_are_not_fetched(
    here: Here,
    emulated: Emulated,
    engine: str,
    spec: Spec,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    file: str,
) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 20)
    with pytest.raises(WorkerFailed, match=rf"bytes of {file}\.json, over the limit of 20"):
        repetition_of(here, emulated(), engine, spec)


def test_a_flood_of_words_hides_nothing(here: Here, emulated: Emulated, engine: str, spec: Spec) -> None:
    flood = "i=0; while [ $i -lt 100 ]; do head -c 100000 /dev/zero | tr '\\0' x; i=$((i + 1)); done"
    assert measured(here, emulated(behaviour=flood), engine, spec)[1].samples_ns


def test_times_of_an_earlier_process_are_not_taken_for_this_ones(
    here: Here, emulated: Emulated, engine: str, spec: Spec
) -> None:
    measured(here, emulated(), engine, spec)
    with pytest.raises(WorkerFailed, match="wrote no"):
        repetition_of(here, emulated(deaf_to=("--exportTimes",)), engine, spec)
