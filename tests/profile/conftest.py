"""A tiny model with its own oracle, records made by hand, and a worker that is none."""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
import pytest

from vlm_contract.codec import Absent
from vlm_contract.manifest import TensorSpec
from vlm_contract.measurement import (
    ArtifactUsed,
    Canary,
    Context,
    Device,
    Measurement,
    Repetition,
    RuntimeUsed,
    Setup,
)
from vlm_contract.workspace import Workspace
from vlm_profile import places
from vlm_profile.protocol import FULL, Protocol
from vlm_profile.statistics import cold_start_of, latency_of, memory_of, pacing_of, sustained_of, throughput_of
from vlm_profile.worker import Findings, Spec

WEIGHTS = numpy.arange(12, dtype=numpy.float32).reshape(4, 3) / 7


@pytest.fixture
def oracle() -> Callable[[Any], Any]:
    """What the tiny model computes."""
    return lambda x: numpy.maximum(x @ WEIGHTS, 0)


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    from onnx import TensorProto, helper, numpy_helper, save

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


@pytest.fixture
def tiny_protocol() -> Protocol:
    """So short that it says nothing of the machine, and as many processes as an interval needs."""
    return Protocol(
        mode="test",
        processes=2,
        processes_max=2,
        processes_sure=2,
        retries=0,
        warmup_s=0.01,
        warmup_window_s=0.01,
        warmup_s_max=0.1,
        iterations=5,
        measure_s=0.05,
        measure_s_max=0.1,
        context_s=0.02,
        repeated_s=0.02,
    )


DEVICE = Device(
    "a board", "a CPU", 4, 2, 2**33, Absent("none was looked for"), Absent("it names none"), "Linux", "x86_64"
)
RUNTIME = RuntimeUsed("onnxruntime", version("onnxruntime"), "CPUExecutionProvider", {})
QUIET = Context(
    at_s=1.0,
    run_queue_wait_s=0.0,
    cpu_s=2.0,
    involuntary_switches=0,
    machine_busy_s=2.0,
    our_cpus_busy_s=2.0,
    steal_s=0.0,
    cpu_mhz=2000.0,
)  # two threads of ours at work for one second


@pytest.fixture
def repetition() -> Callable[..., Repetition]:
    """One process as it would be handed over: by default 100 samples of 10 ms in a second, on a quiet machine."""

    def made(ms: float = 10.0, **changes: Any) -> Repetition:
        samples = (round(ms * 1e6),) * 100
        plain = Repetition(
            order=0,
            attempt=1,
            phases_s={"import": 0.5, "load": 0.1, "first": 0.02},
            warmup_ns=(),
            samples_ns=samples,
            device_ns=(),
            repeated_ns=samples[:10],
            measure_s=sum(samples) / 1e9,
            began_s=1e9,
            frames=0,
            dropped=0,
            context=(QUIET,),
            readings=(),
            canary=Canary(50.0, 50.0, 50.0, 50.0),
            baseline_rss_bytes=50_000_000,
            peak_rss_bytes=80_000_000,
            device_peak_bytes=Absent("it ran on the CPU"),
            by_source={},
            unlike=(),
            nonfinite=(),
            fallback="",
            threads_seen=2,
            cpus=(0, 1),
        )
        return replace(plain, **changes)

    return made


@pytest.fixture
def measurement() -> Callable[..., Measurement]:
    """A record of these processes, not judged yet."""

    def made(*repetitions: Repetition, **changes: Any) -> Measurement:
        setup = Setup(1, 2, 1, "host arrays in, host arrays out", Absent("one call after the other"), {})
        plain = Measurement(
            target="host",
            evidence="measured",
            protocol="vlm-1",
            settings=FULL.settings(),
            device=DEVICE,
            runtime=RUNTIME,
            artifact=ArtifactUsed("tiny", "model.onnx", "0" * 64, 1000, "onnx", "fp32"),
            setup=setup,
            latency=latency_of(repetitions),
            throughput=throughput_of(repetitions, setup),
            memory=memory_of(repetitions, 1000),
            cold_start=cold_start_of(repetitions),
            pacing=pacing_of(repetitions, setup),
            sustained=sustained_of(repetitions, FULL),
            energy=Absent("no sensor"),
            temperature=Absent("no sensor"),
            estimate=Absent("measured"),
            origin=Absent("measured here"),
            verdicts=(),
            repetitions=tuple(repetitions),
            environment={},
            measured_utc="2026-01-01T00:00:00+00:00",
        )
        return replace(plain, **changes)

    return made


class FakeWorker:
    """Stands in for `run_worker`: starts no process, keeps what it was asked, and answers from `answer`."""

    def __init__(self, answer: Callable[[Spec], Repetition]) -> None:
        self.answer = answer
        self.asked: list[Spec] = []

    def __call__(self, spec: Spec, **_: object) -> Findings:
        inputs = (TensorSpec("x", ("batch", 4), "float32"),)
        if spec.look:
            return Findings(inputs, RUNTIME, {}, Absent("only a look"))
        self.asked.append(spec)
        answered = replace(self.answer(spec), order=spec.order, attempt=spec.attempt)
        return Findings(inputs, RUNTIME, {}, answered)


@pytest.fixture
def fake_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Spec], Repetition]], FakeWorker]:
    def installed(answer: Callable[[Spec], Repetition]) -> FakeWorker:
        worker = FakeWorker(answer)
        monkeypatch.setattr(places, "run_worker", worker)
        return worker

    return installed


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")
