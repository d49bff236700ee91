"""FP16 graphs: what is scanned, what stays FP32, and what comes out."""

from typing import Any

import numpy as np
import pytest

from vlm_contract.errors import CheckFailed
from vlm_export.half import fp16_from_fp32, range_scan


def graph_of(*nodes: Any, weights: dict[str, Any]) -> Any:
    """A graph from `images` [n, 2, 4, 4] to `logits`, of named nodes."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, name=name, **how) for kind, name, inputs, outputs, how in nodes],
        "double",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def scaled(factor: float) -> Any:
    return graph_of(
        ("Mul", "up/Mul", ["images", "factor"], ["large"], {}),
        ("Div", "down/Div", ["large", "factor"], ["small"], {}),
        ("Relu", "act/Relu", ["small"], ["logits"], {}),
        weights={"factor": factor},
    )


def norms() -> Any:
    """The root of the sum of squares of each map."""
    return graph_of(
        ("Relu", "first/Relu", ["images"], ["positive"], {}),
        ("ReduceL2", "grn/ReduceL2", ["positive", "axes"], ["norm"], {"keepdims": 0}),
        ("Relu", "act/Relu", ["norm"], ["logits"], {}),
        weights={},
    )


def answers(model: Any, images: Any) -> Any:
    """By ONNX's reference, which computes FP16 in FP16; ONNX Runtime's CPU computes in FP32 between casts."""
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(["logits"], {"images": images})[0]


IMAGES = np.linspace(-4, 4, 96, dtype=np.float32).reshape(3, 2, 4, 4)


def test_the_scan_names_the_layer_that_would_overflow() -> None:
    scan = range_scan(scaled(30000.0), [IMAGES[:2], IMAGES[2:]], "numbers")
    (layer,) = scan.found.overflowing
    assert (layer.layer, layer.operator, layer.max_abs) == ("up/Mul", "Mul", 120000)
    assert (scan.found.images, scan.found.origin) == (3, "numbers")
    assert [layer.layer for layer in scan.found.largest] == ["up/Mul", "down/Div", "act/Relu"]


def test_what_overflows_stays_fp32_with_what_reads_it() -> None:
    model = scaled(30000.0)
    scan = range_scan(model, [IMAGES], "numbers")
    assert scan.found.kept_fp32 == ("up/Mul", "down/Div")
    half = fp16_from_fp32(model, scan, half_io=False)
    assert answers(half, IMAGES) == pytest.approx(np.maximum(IMAGES, 0), abs=4e-3)
    assert [node.op_type for node in half.graph.node if "up" in node.name or "down" in node.name] == ["Mul", "Div"]


def test_without_the_scan_the_same_graph_would_overflow() -> None:
    model = scaled(30000.0)
    unsuspecting = range_scan(model, [0 * IMAGES], "zeros")
    assert unsuspecting.float_nodes == ()
    assert not np.isfinite(answers(fp16_from_fp32(model, unsuspecting, half_io=False), IMAGES)).all()


ONE_NAN = np.where(np.arange(96).reshape(IMAGES.shape) == 50, np.float32(np.nan), np.float32(1e-38))


@pytest.mark.parametrize("images", [IMAGES, IMAGES * np.nan, ONE_NAN])
def test_what_is_no_number_in_fp32_already_is_refused_by_name(images: Any) -> None:
    with pytest.raises(CheckFailed, match="up/Mul gives NaN or infinity in FP32 already"):
        range_scan(scaled(3e38), [images], "numbers")


def test_sums_of_squares_stay_fp32() -> None:
    from onnx import numpy_helper

    model = norms()
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    images = np.full((1, 2, 4, 4), 100, np.float32)  # the squares sum to 160000, the root is 400
    half = fp16_from_fp32(model, range_scan(model, [images], "numbers"), half_io=False)
    assert answers(half, images) == pytest.approx(np.full((1, 2), 400))
    reduced = next(node for node in half.graph.node if node.op_type == "ReduceL2")
    made_by = {output: node.op_type for node in half.graph.node for output in node.output}
    assert made_by[reduced.input[0]] == "Cast"


def test_inputs_and_outputs_are_fp16_on_request() -> None:
    import onnx

    model = scaled(2.0)
    half = fp16_from_fp32(model, range_scan(model, [IMAGES], "numbers"), half_io=True)
    for value in (*half.graph.input, *half.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert answers(half, IMAGES.astype(np.float16)).dtype == np.float16


def test_layer_normalisation_stays_one_operator() -> None:
    import torch

    from vlm_contract.card import Backbone
    from vlm_export.graph import onnx_from_module

    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LayerNorm(12)).eval()
    model = onnx_from_module(module, Backbone("double", "stock", {}, (), 2, 3, (), (), 0, 0), 18)
    images = np.ones((4, 3, 2, 2), np.float32)
    half = fp16_from_fp32(model, range_scan(model, [images], "ones"), half_io=False)
    assert [node.op_type for node in half.graph.node].count("LayerNormalization") == 1
