"""ONNX Runtime: its options, its places on a device, and the fallback that it hardly mentions.

The wheels for the CPU hold a provider that runs no ordinary node, Azure's: asked for it, ONNX Runtime falls back.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import onnxruntime
import pytest

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_profile.runtimes import _onnxruntime, onnxruntime_cpu, onnxruntime_cuda, onnxruntime_tensorrt
from vlm_profile.runtimes._onnxruntime import CPU, GpuSession, Node, assigned_nodes, elsewhere, profiled_nodes

AZURE = "AzureExecutionProvider"
X = numpy.random.default_rng(0).standard_normal((5, 4), dtype=numpy.float32)
needs_azure = pytest.mark.skipif(
    AZURE not in onnxruntime.get_available_providers(), reason="this wheel has no provider that runs nothing"
)
falls_back = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this wheel has a provider for CUDA"
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """ONNX Runtime warns in Python of a provider that its wheel does not hold."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Specified provider|Duplicate provider", UserWarning)
        yield


def test_threads_are_explicit_and_the_cpu_alone_runs_the_nodes(tiny_model: Path) -> None:
    with onnxruntime_cpu.Runtime(tiny_model, 1, {}) as runtime:
        options = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "spinning": True}
        assert (runtime.used.options, runtime.used.provider, runtime.fallback()) == (options, CPU, "")


def test_spinning_and_affinity_reach_the_session_and_the_record(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: dict[str, str] = {}
    real = _onnxruntime.session_options
    monkeypatch.setattr(onnxruntime_cpu, "session_options", lambda n, e: (entries.update(e), real(n, e))[1])
    with onnxruntime_cpu.Runtime(tiny_model, 2, {"spinning": False, "affinity": "1", "cpus": "0"}) as runtime:
        assert runtime.used.options["spinning"] is False and runtime.used.options["affinity"] == "1"
    assert entries == {"session.intra_op.allow_spinning": "0", "session.intra_op_thread_affinities": "1"}


def test_an_unknown_option_is_refused_with_those_that_are_known(tiny_model: Path) -> None:
    with pytest.raises(VlmError, match="no option 'spin'; known: spinning, affinity, cpus"):
        onnxruntime_cpu.Runtime(tiny_model, 1, {"spin": True})


@falls_back
@pytest.mark.parametrize("module", [onnxruntime_cuda, onnxruntime_tensorrt])
def test_a_provider_that_did_not_start_is_a_fallback_and_not_the_provider_that_ran(
    module: Any, tiny_model: Path, oracle: Callable[..., Any]
) -> None:
    with module.Runtime(tiny_model, 1, {}) as runtime:
        (y,) = runtime.run({"x": X})
        assert numpy.allclose(y, oracle(X), atol=1e-6)
        assert runtime.fallback() == f"{module.PROVIDER} did not start; {CPU} ran the whole model"
        assert runtime.used.provider == CPU


@needs_azure
def test_nodes_that_the_cpu_ran_beside_a_started_provider_are_a_fallback(tiny_model: Path) -> None:
    session = GpuSession(tiny_model, 1, AZURE, {})
    session._device = "cpu"  # where this provider's tensors would stand, were they any
    session.run({"x": X})
    assert session.fallback() == f"2 nodes ran elsewhere than on {AZURE}: 1 MatMul on {CPU}, 1 Relu on {CPU}"


@needs_azure
def test_the_profile_of_another_session_says_the_same_as_the_recorded_partitioning(tiny_model: Path) -> None:
    options = _onnxruntime.session_options(1, {"session.record_ep_graph_assignment_info": "1"})
    session = onnxruntime.InferenceSession(str(tiny_model), options, providers=[AZURE, CPU])
    profiled = [node for node, _ in profiled_nodes(tiny_model, 1, ((AZURE, {}), (CPU, {})), {"x": X})]
    assert profiled == list(assigned_nodes(session)) == [Node("", CPU, "MatMul"), Node("", CPU, "Relu")]


def test_a_session_of_an_older_version_is_profiled_instead(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime.InferenceSession.__mro__[1], "get_provider_graph_assignment_info")
    session = GpuSession(tiny_model, 1, CPU, {})
    session._device = "cpu"
    session.run({"x": X})
    assert session.fallback() == ""
    session.provider = session.ran_by = "Another"
    assert session.fallback().startswith("2 nodes ran elsewhere than on Another")


def test_no_node_elsewhere_is_no_fallback_and_many_kinds_are_counted() -> None:
    assert elsewhere("GPU", [Node("a", "GPU", "Conv"), Node("b", "GPU", "Relu")]) == ""
    operators = ["Shape", "Shape", "Shape", "Gather", "Gather", "Cast", "Slice"]
    nodes = [Node("a", "GPU", "Conv"), *(Node("", "CPU", operator) for operator in operators)]
    assert elsewhere("GPU", nodes) == (
        "7 nodes ran elsewhere than on GPU: 3 Shape on CPU, 2 Gather on CPU, 1 Cast on CPU, 1 more kinds of node"
    )


def shapes_model(folder: Path, name: str) -> Path:
    """A model that reshapes images to a shape that it computes, on a detour; `name` begins the names of its nodes."""
    from onnx import TensorProto, helper, save

    numbers = {"flat": [-1], "two": [2], "half": [2]}
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], f"{name}relu" if name else ""),
        helper.make_node("Shape", ["h"], ["sizes"], f"{name}shape" if name else "", start=0, end=1),
        helper.make_node("Mul", ["sizes", "two"], ["more"], f"{name}mul" if name else ""),
        helper.make_node("Div", ["more", "half"], ["rows"], f"{name}div" if name else ""),
        helper.make_node("Concat", ["rows", "flat"], ["target"], f"{name}concat" if name else "", axis=0),
        helper.make_node("Reshape", ["h", "target"], ["y"], f"{name}reshape" if name else ""),
    ]
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in numbers.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "shapes.onnx")
    return folder / "shapes.onnx"


class Parted:
    """A double of a session whose provider, "GPU", left the operators `on_cpu` to the CPU."""

    def __init__(self, nodes: list[Node], on_cpu: set[str]) -> None:
        self._nodes, self._on_cpu = nodes, on_cpu

    def get_provider_graph_assignment_info(self) -> list[Any]:
        parts = (("CPU", True), ("GPU", False))
        return [
            SimpleNamespace(
                ep_name=provider,
                get_nodes=lambda there=there: [
                    SimpleNamespace(name=node.name, op_type=node.operator)
                    for node in self._nodes
                    if (node.operator in self._on_cpu) is there
                ],
            )
            for provider, there in parts
        ]


@pytest.mark.parametrize("name", ["a_", ""])
@pytest.mark.parametrize(
    ("on_cpu", "said"),
    [
        ({"Mul", "Div", "Concat"}, ""),
        ({"Mul", "Relu"}, "1 nodes ran elsewhere than on GPU: 1 Relu on CPU"),  # it reads and writes images
        ({"Reshape"}, "1 nodes ran elsewhere than on GPU: 1 Reshape on CPU"),
        ({"Invented"}, ""),
    ],
)
def test_nodes_that_compute_shapes_alone_may_run_on_the_cpu(
    tmp_path: Path, name: str, on_cpu: set[str], said: str
) -> None:
    session = GpuSession(shapes_model(tmp_path, name), 1, CPU, {})
    session._device = "cpu"
    session.run({"x": X[:, :, None].repeat(2, 2)[:, :2]})
    session._session = Parted(list(assigned_nodes(session._session)), on_cpu)
    session.provider = session.ran_by = "GPU"
    assert session.fallback() == said


def test_what_the_cpu_alone_cannot_run_is_not_excused(tiny_model: Path) -> None:
    session = GpuSession(tiny_model, 1, CPU, {})
    session._session = Parted([Node("m", CPU, "Mul")], {"Mul"})
    session._model, session.provider, session.ran_by = tiny_model.with_name("gone.onnx"), "GPU", "GPU"
    assert session.fallback() == "1 nodes ran elsewhere than on GPU: 1 Mul on CPU"


@pytest.mark.parametrize("module", [onnxruntime_cpu, onnxruntime_cuda])
def test_an_error_is_its_cause_without_marks_paths_and_signatures(module: Any, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])

    for version, path in ((99, tmp_path / "new.onnx"), (9, tmp_path / "known.onnx")):
        shape = helper.make_tensor("s", TensorProto.INT64, [2], [3, 3])
        graph = helper.make_graph(
            [helper.make_node("Reshape", ["x", "s"], ["y"])], "g", [value("x")], [value("y")], [shape]
        )
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=version), path)
    with pytest.raises(VlmError) as refused:
        module.Runtime(tmp_path / "new.onnx", 1, {})
    assert str(refused.value).startswith("Unsupported model IR version: 99")
    with module.Runtime(tmp_path / "known.onnx", 1, {}) as runtime, pytest.raises(VlmError) as broke:
        runtime.run({"x": X})
    assert "cannot be reshaped" in str(broke.value)
    assert not any(mark in str(broke.value) for mark in ("::", ".h:", "ONNXRuntimeError", "Error in execution"))


def test_an_error_of_cuda_keeps_what_failed_and_not_where() -> None:
    said = (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : /src/cuda_call.cc:129 std::conditional_t<THRW, void, Status> "
        "onnxruntime::CudaCall(ERRTYPE, const char*, int) [with ERRTYPE = cudaError; bool THRW = true] CUDA failure 2: "
        "out of memory ; GPU=0 ; hostname=box ; file=/src/a.cc ; line=129 ; expr=cudaMalloc((void**)&p, size); "
    )
    assert str(_onnxruntime.plain(RuntimeError(said))) == "CUDA failure 2: out of memory ; GPU=0 ;"
    other = KeyError("x")
    assert _onnxruntime.plain(other) is other


def test_places_are_kept_while_the_shape_is(tiny_model: Path, oracle: Callable[..., Any]) -> None:
    session = GpuSession(tiny_model, 1, CPU, {})
    session._device = "cpu"
    asked = X.copy()
    session.run({"x": asked})
    binding = session._places.mine()._binding
    (second,) = session.run({"x": X + 1})
    assert numpy.allclose(second, oracle(X + 1), atol=1e-6)
    assert session._places.mine()._binding is binding
    assert numpy.array_equal(asked, X), "the caller's array was written to"
    (third,) = session.run({"x": X[:2]})
    assert session._places.mine()._binding is not binding
    assert numpy.allclose(third, oracle(X[:2]), atol=1e-6)


def test_an_output_of_unknown_shape_is_put_wherever_each_run_puts_it(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "nonzero",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, "found"])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "model.onnx")
    session = GpuSession(tmp_path / "model.onnx", 1, CPU, {})
    session._device = "cpu"
    for x in ([0, 1, 1], [1, 0, 0]):
        (y,) = session.run({"x": numpy.array(x, numpy.float32)})
        assert y.tolist() == [[i for i, value in enumerate(x) if value]]


def test_only_tensors_are_inputs() -> None:
    class Node:
        """Stands for an input as a session describes it."""

        name, type = "x", "seq(tensor(float))"
        shape: tuple[Any, ...] = (1,)

    with pytest.raises(VlmError, match="only tensors"):
        _onnxruntime.tensor_of(Node())
    Node.type, Node.shape = "tensor(double)", ("batch", None, 3)
    assert _onnxruntime.tensor_of(Node()) == TensorSpec("x", ("batch", "?", 3), "float64")


@pytest.mark.parametrize(("precision", "flags"), [("fp32", ("0", "0")), ("fp16", ("1", "0")), ("int8", ("1", "1"))])
def test_tensorrt_may_compute_in_the_precision_of_the_graph(precision: str, flags: tuple[str, str]) -> None:
    options = onnxruntime_tensorrt.provider_options(precision, True)
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == flags
    assert options["trt_cuda_graph_enable"] == "1"


def test_a_file_without_a_manifest_is_taken_for_fp32(tiny_model: Path) -> None:
    assert onnxruntime_tensorrt.precision_of(tiny_model) == "fp32"


@falls_back
def test_a_wheel_without_the_provider_is_named_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_onnxruntime, "no_driver", lambda: "")
    assert "has no cuda provider" in onnxruntime_cuda.Runtime.unusable()
    assert "pip install 'vlm-edge[ort-gpu]'" in onnxruntime_tensorrt.Runtime.unusable()


@pytest.mark.gpu
@pytest.mark.parametrize("module", [onnxruntime_cuda, onnxruntime_tensorrt])
@pytest.mark.parametrize("graph", [False, True])
def test_a_real_gpu_runs_every_node(module: Any, graph: bool, tiny_model: Path, oracle: Callable[..., Any]) -> None:
    if sentence := module.Runtime.unusable():
        pytest.skip(sentence)
    with module.Runtime(tiny_model, 1, {"cuda_graph": graph}) as runtime:
        for x in (X, X + 1):
            (y,) = runtime.run({"x": x})
            assert numpy.allclose(y, oracle(x), atol=1e-5)
        assert runtime.fallback() == ""
