"""However a worker ends, its parent says how, and no process is left.

The workers here are doubles, short programs that misbehave in one way; the last ones are the real worker.
"""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import Canary, Repetition, Setup
from vlm_profile.process import COMMAND, TIMEOUT_S, WorkerFailed, run_worker
from vlm_profile.protocol import FULL, Protocol
from vlm_profile.worker import Spec

SHORT = dict.fromkeys(TIMEOUT_S, 0.3)
SAY = "import os, signal, sys, time; channel = int(sys.argv[1]); say = lambda text: os.write(channel, text); "


def spec_of(model: Path, protocol: Protocol = FULL, *, probe: bool = False) -> Spec:
    inputs = () if probe else (TensorSpec("x", (2, 4), "float32"),)
    setup = Setup(2, 1, 1, "host arrays in, host arrays out", Absent("one call after the other"), {})
    return Spec("onnxruntime", str(model), setup, 8 * 2**30, os.getpid(), inputs, protocol, 0, 3, 2, look=probe)


def double(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", SAY + code]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed \\(SIGKILL\\), as the system does where memory runs out"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed \\(SIGSEGV\\) in the phase import"),
        ("say(b'{\"phase\": \"load\"}\\n'); sys.exit('no such model')", "exit code 1 in the phase load: no such model"),
        ('say(b\'{"error": "no memory"}\\n\')', "no memory"),
        ("say(b'garbage\\n')", "no message: b'garbage'"),
        ("say(b'[1]\\n')", "no message"),
        ('say(b\'{"phase": "dance"}\\n\')', "unknown message 'phase'"),
        ('say(b\'{"findings": {"inputs": 3}}\\n\')', "damaged findings"),
        ("say(b'half a li')", "exit code 0"),
    ],
)
def test_a_worker_that_dies_or_babbles_is_named_by_its_cause(code: str, cause: str) -> None:
    with pytest.raises(WorkerFailed, match=cause):
        run_worker(spec_of(Path("m")), command=double(code))


def test_a_hanging_phase_is_given_up_and_all_that_the_worker_started_is_ended(tmp_path: Path) -> None:
    noted = tmp_path / "processes"
    code = f"child = os.fork(); open({str(noted)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    with pytest.raises(WorkerFailed, match="import did not end within"):
        run_worker(spec_of(Path("m")), command=double(code), timeout_s={**SHORT, "import": 1.5})
    processes = noted.read_text().split()
    assert len(processes) == 2
    assert not [process for process in processes if is_alive(int(process))]


def test_the_real_worker_measures_a_model(tiny_model: Path, tiny_protocol: Protocol) -> None:
    findings = run_worker(spec_of(tiny_model, tiny_protocol))
    repetition = findings.repetition
    assert isinstance(repetition, Repetition)
    assert set(repetition.phases_s) == set(TIMEOUT_S)
    assert len(repetition.samples_ns) >= 5
    assert sum(repetition.samples_ns) / 1e9 <= repetition.measure_s
    assert repetition.measure_s >= 0.05
    assert (repetition.order, repetition.attempt) == (3, 2)
    assert isinstance(repetition.peak_rss_bytes, int)
    assert isinstance(repetition.baseline_rss_bytes, int)
    assert repetition.peak_rss_bytes >= repetition.baseline_rss_bytes > 2**20
    assert findings.inputs == (TensorSpec("x", ("batch", 4), "float32"),)
    assert (repetition.nonfinite, repetition.unlike, repetition.fallback) == ((), (), "")
    assert isinstance(repetition.canary, Canary)
    assert repetition.repeated_ns


def test_a_large_input_is_not_repeated_for_it_would_stay_in_a_cache_of_the_cpu(tiny_model: Path) -> None:
    protocol = replace(FULL, warmup_s=0.01, warmup_s_max=0.1, measure_s=0.05, measure_s_max=0.1, repeated_s=0.02)
    spec = spec_of(tiny_model, protocol)
    large = replace(spec, inputs=(TensorSpec("x", (2**17, 4), "float32"),), setup=replace(spec.setup, batch=2**17))
    found = run_worker(large).repetition
    assert isinstance(found, Repetition)
    assert found.repeated_ns == ()


def test_a_probe_looks_and_does_not_measure(tiny_model: Path) -> None:
    findings = run_worker(spec_of(tiny_model, probe=True))
    assert isinstance(findings.repetition, Absent)
    assert findings.runtime.provider == "CPUExecutionProvider"


def test_what_a_library_prints_does_not_mix_with_the_findings(tiny_model: Path) -> None:
    code = "os.write(1, b'{\"phase\": 1}\\n'); os.write(2, b'noise'); from vlm_profile.worker import main; main()"
    chatty = [sys.executable, "-c", SAY + code]
    assert run_worker(spec_of(tiny_model, probe=True), command=chatty).inputs[0].name == "x"


def test_a_crash_at_exit_loses_nothing(tiny_model: Path) -> None:
    code = "from vlm_profile.worker import main; main(); os.kill(os.getpid(), signal.SIGSEGV)"
    crashing = [sys.executable, "-c", SAY + code]
    assert run_worker(spec_of(tiny_model, probe=True), command=crashing).inputs[0].name == "x"


def test_a_file_that_is_no_model_is_the_runtimes_word(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x09 no model at all")
    with pytest.raises(WorkerFailed, match=r"^Protobuf parsing failed\.$"):
        run_worker(spec_of(tmp_path / "m.onnx", probe=True))


def test_a_worker_over_its_memory_limit_fails_alone(tiny_model: Path) -> None:
    with pytest.raises(WorkerFailed):
        run_worker(replace(spec_of(tiny_model), memory_limit_bytes=64 * 2**20))


def test_a_worker_whose_parent_is_gone_does_not_start(tiny_model: Path) -> None:
    with pytest.raises(WorkerFailed, match="the parent has died"):
        run_worker(replace(spec_of(tiny_model), parent=1), command=COMMAND)


def test_a_worker_that_was_never_given_its_task_ends() -> None:
    """So none is left where an interruption falls between its start and the handing over of the task."""
    done = subprocess.run([*COMMAND, "1"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    assert done.returncode == 1


def is_alive(process: int) -> bool:
    """Not gone, and no zombie that waits for its collector; a moment is granted."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True
