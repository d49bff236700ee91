"""The engine runtime on doubles: each version's real names of TensorRT, both packages for CUDA."""

import gc
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy
import pytest

from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.manifest import TensorSpec
from vlm_profile.runtimes.tensorrt_engine import Runtime

IMAGES = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)


@pytest.fixture(params=[False, True], ids=["plain", "graph"])
def options(request: pytest.FixtureRequest) -> dict[str, bool]:
    return {"cuda_graph": request.param}


@pytest.mark.usefixtures("cuda")
def test_an_engine_agrees_with_its_oracle(engine: Path, options: Any) -> None:
    with Runtime(engine, 1, options) as runtime:
        for images in (IMAGES, IMAGES + 1, IMAGES[:1]):
            (logits,) = runtime.run({"images": images})
            assert numpy.array_equal(logits, 2 * images)


@pytest.mark.usefixtures("cuda")
def test_what_it_takes_and_gives_is_the_engines_own(engine: Path) -> None:
    with Runtime(engine, 1, {}) as runtime:
        assert runtime.inputs == (TensorSpec("images", ("batch", 3), "float32"),)
        assert runtime.outputs == (TensorSpec("logits", ("batch", 3), "float32"),)
        assert runtime.used.options["cuda_graph"] is False


@pytest.mark.usefixtures("cuda")
def test_everything_is_freed_at_the_end_and_when_a_shape_changes(engine: Path, machine: Any, options: Any) -> None:
    with Runtime(engine, 1, options) as runtime:
        runtime.run({"images": IMAGES})
        once = len(machine.held)
        runtime.run({"images": IMAGES[:1]})
        assert len(machine.held) == once > 0
    del runtime
    gc.collect()
    assert machine.held == {}


def test_the_context_is_left_at_the_end(cuda: Any, engine: Path) -> None:
    if not cuda.name.startswith("pycuda"):
        pytest.skip("cuda-python has no context to leave")
    with Runtime(engine, 1, {}):
        assert cuda._cuda.contexts == 1
    assert cuda._cuda.contexts == 0


@pytest.mark.usefixtures("cuda")
def test_a_call_copies_in_computes_between_the_events_and_copies_out(engine: Path, machine: Any) -> None:
    with Runtime(engine, 1, {}) as runtime:
        runtime.run({"images": IMAGES})
        machine.calls.clear()
        runtime.run({"images": IMAGES})
        assert machine.calls == [
            "cudaMemcpyAsync",
            "cudaEventRecord",
            "enqueue",
            "cudaEventRecord",
            "cudaMemcpyAsync",
            "cudaStreamSynchronize",
        ]
        assert runtime.device_ns() == 500_000  # two calls apart, of a quarter of a millisecond each


@pytest.mark.usefixtures("cuda")
def test_a_graph_is_captured_once_after_a_plain_run_and_launched_from_then_on(engine: Path, machine: Any) -> None:
    with Runtime(engine, 1, {"cuda_graph": True}) as runtime:
        runtime.run({"images": IMAGES})
        made = [call for call in machine.calls if call in ("enqueue", "cudaStreamBeginCapture", "cudaGraphLaunch")]
        assert made == ["enqueue", "cudaStreamBeginCapture", "enqueue", "cudaGraphLaunch"]
        machine.calls.clear()
        runtime.run({"images": IMAGES})
        assert "enqueue" not in machine.calls and machine.calls.count("cudaGraphLaunch") == 1


@pytest.mark.usefixtures("cuda")
def test_memory_is_told_by_source(engine: Path, machine: Any, trt: Any) -> None:
    with Runtime(engine, 1, {}) as runtime:
        runtime.run({"images": IMAGES})
        found = runtime.memory()
    activations = 2000 if trt.__version__ != "8.6.1" else 1000
    assert found["engine activations"] == activations
    assert found["engine as loaded, by free memory"] == 5000
    assert found["inputs and outputs"] == 2 * IMAGES.nbytes
    assert found["device peak"] == 5000 + 4 * IMAGES.nbytes  # the double counts locked host memory as well
    assert ("engine weights" in found) == trt.__version__.startswith("11")


@pytest.mark.usefixtures("cuda")
def test_each_thread_has_a_stream_and_places_of_its_own(engine: Path, machine: Any) -> None:
    answers: dict[int, Any] = {}
    with Runtime(engine, 1, {}) as runtime:
        threads = [
            Thread(target=lambda i=i: answers.update({i: runtime.run({"images": IMAGES + i})})) for i in range(3)
        ]
        for thread in threads:
            thread.start()
            thread.join()
        assert list(machine.held.values()).count("stream") == 3
    assert all(numpy.array_equal(answers[i][0], 2 * (IMAGES + i)) for i in range(3))


@pytest.mark.usefixtures("cuda")
def test_a_batch_that_the_engine_was_not_built_for_is_named(engine: Path) -> None:
    with Runtime(engine, 1, {}) as runtime, pytest.raises(CheckFailed, match=r"take 'images' \(9, 3\)"):
        runtime.run({"images": numpy.zeros((9, 3), numpy.float32)})


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMallocHost", "cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_a_failing_call_is_named_and_leaves_nothing(engine: Path, machine: Any, call: str) -> None:
    with Runtime(engine, 1, {}) as runtime:
        machine.fails = call
        with pytest.raises(CheckFailed, match="cannot use the GPU again"):
            runtime.run({"images": IMAGES})
        machine.fails = ""
    del runtime
    gc.collect()
    assert machine.held == {}


@pytest.mark.usefixtures("cuda")
def test_an_engine_that_does_not_load_leaves_the_context(engine: Path, trt: Any, cuda: Any) -> None:
    trt.answers["Runtime.deserialize_cuda_engine"] = None
    with pytest.raises(CheckFailed, match="load the engine"):
        Runtime(engine, 1, {})
    assert getattr(cuda._cuda, "contexts", 0) == 0


@pytest.mark.usefixtures("cuda")
def test_an_output_whose_shape_depends_on_the_data_is_refused(engine: Path, trt: Any) -> None:
    trt.answers["IExecutionContext.get_tensor_shape"] = lambda name: (-1, 3)
    with Runtime(engine, 1, {}) as runtime, pytest.raises(CheckFailed, match="depends on the data"):
        runtime.run({"images": IMAGES})


@pytest.mark.usefixtures("cuda")
def test_an_unknown_option_is_refused(engine: Path) -> None:
    with pytest.raises(VlmError, match="no option 'graph'; known: cuda_graph, cpus"):
        Runtime(engine, 1, {"graph": True})


@pytest.mark.gpu
def test_a_real_engine_runs_on_a_real_gpu_in_both_ways(tiny_model: Path, oracle: Callable[..., Any]) -> None:
    if sentence := Runtime.unusable():
        pytest.skip(sentence)
    from vlm_export.tensorrt.builder import Wanted, engine_from_onnx

    built = engine_from_onnx(tiny_model, Wanted("tensorrt", "fp32", (1, 4, 8)), lambda _: None)
    file = tiny_model.with_suffix(".engine")
    file.write_bytes(built.engine)
    x = numpy.random.default_rng(0).standard_normal((5, 4), dtype=numpy.float32)
    for graph in (False, True):
        with Runtime(file, 1, {"cuda_graph": graph}) as runtime:
            (y,) = runtime.run({"x": x})
            assert numpy.allclose(y, oracle(x), atol=1e-5)
            assert 0 < (runtime.device_ns() or 0) < 1e8
            assert runtime.memory()["engine as loaded, by free memory"] >= 0
