"""Real TensorRT-RTX builds, ahead of time, for GPUs that need not be here."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt.builder import Built, Wanted, engine_from_onnx

INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from vlm_export.tensorrt.builder import Wanted, engine_from_onnx
once = iter([signal.SIGINT])
def tell(text):
    print(text)
    if sent := next(once, None):
        time.sleep(0.5)  # the main thread comes to wait for the build,
        os.kill(os.getpid(), sent)
        time.sleep(0.5)  # and is woken: a build this small would end sooner
try:
    engine_from_onnx(Path(sys.argv[1]), Wanted("rtx", "fp16", (1, 8, 32), compute_capabilities=("75",)), tell)
except KeyboardInterrupt:
    print("interrupted")
"""

pytestmark = pytest.mark.usefixtures("rtx")


def built(graph: bytes, precision: Any = "fp16", told: list[str] | None = None, **wanted: Any) -> Built:
    wanted.setdefault("compute_capabilities", ("75",))
    return engine_from_onnx(
        graph, Wanted("rtx", precision, (1, 8, 32), **wanted), (told if told is not None else []).append
    )


@pytest.mark.parametrize("batch", ["batch", 4])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_small_network_is_built_for_sm75(graph: Any, batch: int | str, precision: str) -> None:
    told: list[str] = []
    made = built(graph(batch, precision), precision, told)
    assert len(made.engine) > 10_000
    assert isinstance(made.layers, str | Absent)
    assert made.record.device == Absent("built ahead of time, for SM75")
    assert made.record.timing_cache == Absent("no timings are kept")
    assert isinstance(made.record.weights_bytes, int) and made.record.weights_bytes > 0
    assert isinstance(made.record.activation_bytes, int) and made.record.activation_bytes > 0
    assert told and all(text.startswith("Building engine") for text in told)


def test_fp16_passes_where_fp32_is_refused_in_a_fully_connected_layer(graph: Any) -> None:
    with pytest.raises(CheckFailed, match=r"could not build the engine: .*'head'.*SM75.*FP32 GEMM is not supported"):
        built(graph(gemm=True), "fp32")
    assert built(graph(gemm=True), "fp32", compute_capabilities=("86",)).engine
    assert built(graph(gemm=True, precision="fp16")).engine


def test_one_engine_serves_several_gpus(graph: Any) -> None:
    made = built(graph(precision="fp16"), compute_capabilities=("75", "86", "120"))
    assert made.record.device == Absent("built ahead of time, for SM75, SM86, SM120")
    made = built(graph(precision="fp16"), compute_capabilities=())
    assert made.record.device == Absent("built ahead of time, for its default GPUs")


def test_an_unknown_gpu_is_refused_with_those_that_are_known(graph: Any) -> None:
    with pytest.raises(VlmError, match=r"builds for SM75, SM80, .*knows no SM53"):
        built(graph(precision="fp16"), compute_capabilities=("53",))


def test_a_graph_in_fp32_is_refused_as_fp16(graph: Any) -> None:
    with pytest.raises(CheckFailed, match="takes FP16 from the graph, and this graph is not FP16"):
        built(graph())


def quantised(graph: bytes, zero: int) -> bytes:
    """The network with quantised images and weights; images with a zero point."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    for position, (tensor, point) in enumerate((("images", zero), ("kernel", 0))):
        scale, zero_point = f"{tensor} scale", f"{tensor} zero"
        model.graph.initializer.append(helper.make_tensor(scale, onnx.TensorProto.FLOAT, [], [0.05]))
        model.graph.initializer.append(helper.make_tensor(zero_point, onnx.TensorProto.INT8, [], [point]))
        for operator, given, taken in (
            ("Quantize", tensor, f"{tensor} q"),
            ("Dequantize", f"{tensor} q", f"{tensor} d"),
        ):
            node = helper.make_node(f"{operator}Linear", [given, scale, zero_point], [taken], f"{operator} {tensor}")
            model.graph.node.insert(2 * position + (operator == "Dequantize"), node)
        convolution.input[position] = f"{tensor} d"
    serialised: bytes = model.SerializeToString()
    return serialised


def test_a_quantised_graph_is_built_as_int8_and_no_other_is(graph: Any) -> None:
    assert built(quantised(graph(), 0), "int8", compute_capabilities=("86",)).engine
    with pytest.raises(CheckFailed, match="this graph is not INT8"):
        built(graph(), "int8", compute_capabilities=("86",))


def test_a_zero_point_other_than_0_is_refused(graph: Any) -> None:
    with pytest.raises(CheckFailed, match=r"QuantizeLinear 'Quantize images': .*Non-zero zero point is not supported"):
        built(quantised(graph(), 3), "int8", compute_capabilities=("86",))


def test_a_broken_graph_is_refused_in_the_parsers_words() -> None:
    with pytest.raises(CheckFailed, match=r"could not read the graph: .*Failed to parse the ONNX model"):
        built(b"no graph")


def test_an_unknown_operator_is_named(graph: Any) -> None:
    import onnx

    model = onnx.load_from_string(graph(precision="fp16"))
    next(node for node in model.graph.node if node.op_type == "GlobalAveragePool").op_type = "GlobalDream"
    with pytest.raises(CheckFailed, match="could not read the graph: GlobalDream 'pool': "):
        built(model.SerializeToString())


def test_a_workspace_that_is_too_small_is_said(graph: Any) -> None:
    with pytest.raises(CheckFailed, match="within workspace limit"):
        built(graph(precision="fp16"), workspace_limit_bytes=1 << 20)


def test_an_interrupt_cancels_the_build(graph: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(graph(precision="fp16"))
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "model.onnx")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    *texts, end = ran.stdout.splitlines()
    assert end == "interrupted", ran.stderr
    assert "Building engine 5/6" not in texts
