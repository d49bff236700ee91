"""OpenVINO: its precision, its threads, and that it reports nothing to its makers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy
import pytest

from vlm_contract.errors import VlmError
from vlm_profile.runtimes.openvino_cpu import Runtime

pytestmark = pytest.mark.skipif(bool(Runtime.unusable()), reason=Runtime.unusable() or "usable")
X = numpy.random.default_rng(0).standard_normal((5, 4), dtype=numpy.float32)


def test_it_computes_in_fp32_and_says_so_although_the_cpu_may_have_a_faster_precision(tiny_model: Path) -> None:
    with Runtime(tiny_model, 1, {}) as runtime:
        assert runtime.used.options == {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": True,
            "PERFORMANCE_HINT": "LATENCY",
        }
        assert runtime.used.provider == "CPU"


def test_threads_and_pinning_are_those_asked_for(tiny_model: Path) -> None:
    with Runtime(tiny_model, 2, {"pinning": False, "cpus": "0,1"}) as runtime:
        assert runtime.used.options["INFERENCE_NUM_THREADS"] == 2
        assert runtime.used.options["ENABLE_CPU_PINNING"] is False


def test_an_unknown_option_is_refused(tiny_model: Path) -> None:
    with pytest.raises(VlmError, match="known: precision, pinning, cpus"):
        Runtime(tiny_model, 1, {"spinning": True})


def test_threads_do_not_share_their_answers(tiny_model: Path, oracle: Callable[..., Any]) -> None:
    answers: dict[int, Any] = {}

    def ask(runtime: Any, number: int) -> None:
        for _ in range(200):
            answers[number] = runtime.run({"x": X + number})

    with Runtime(tiny_model, 1, {}) as runtime:
        threads = [Thread(target=ask, args=(runtime, number)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(numpy.allclose(answers[i][0], oracle(X + i), atol=1e-5) for i in range(3))


def test_its_import_writes_nothing_and_loads_no_telemetry(tmp_path: Path) -> None:
    code = (
        "import sys; from vlm_profile.runtimes.openvino_cpu import Runtime; Runtime.import_library()\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry.')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []
