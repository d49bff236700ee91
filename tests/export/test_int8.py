"""INT8: what is quantised and how, the search for layers that must stay float, the same bytes each time."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.graph import Model, onnx_from_module
from vlm_export.int8 import SENSITIVITY_IMAGES, int8_from_fp32, refusal_of
from vlm_export.quantiser import (
    CPU,
    TENSORRT,
    Calibration,
    Scheme,
    batches_of,
    layers_of,
    operators_of,
    prepared_for_int8,
    quantised_from,
    ranges_of,
)
from vlm_export.sensitivity import by_sensitivity, switchable
from vlm_export.session import runtime_session

MODELS = ("test_resnet", "test_efficientnet", "test_vit", "test_convnext2")
SCHEMES = {"cpu": CPU, "tensorrt": TENSORRT}
OPSET = 18


def decibels(wanted: Any, found: Any) -> float:
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((wanted - found) ** 2)))


def logits(model: Model, images: Any) -> Any:
    session = runtime_session(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: images})[0].astype(np.float64)


def as_written(model: Model, inputs: dict[str, Any]) -> Any:
    """What a graph gives out without ONNX Runtime's optimisations, which round in other places."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def agreement(model: Model, images: Any) -> Callable[[Model], float]:
    """A judge: the share of images whose class another graph changes, in points."""
    wanted = logits(model, images).argmax(axis=1)
    return lambda other: float(100 * np.mean(logits(other, images).argmax(axis=1) != wanted))


def quantised(model: Model, calibration: Calibration, scheme: Scheme = CPU) -> Model:
    return int8_from_fp32(model, calibration, lambda _: 0.0, 1.0, lambda _: None, scheme)[0]


def noise(images: int, seed: int) -> Any:
    return np.random.RandomState(seed).randn(images, 3, 32, 32).astype(np.float32)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration(noise(32, 1), "noise", batch=16)


@pytest.fixture(scope="module")
def graphs() -> dict[str, Model]:
    """timm's tiny nets, with weights and batch statistics far from those of a fresh network."""
    import torch

    from vlm_train.backbones import backbone_from_timm, module_from_backbone

    made = {}
    for name in MODELS:
        backbone = backbone_from_timm(name, tuple("0123456789"), 32, (0.5,) * 3, (0.25,) * 3)
        torch.manual_seed(7)
        module = module_from_backbone(backbone).train()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * (0.05 if parameter.ndim > 1 else 0.2))
            module(torch.from_numpy(noise(64, 0)))
        made[name] = onnx_from_module(module.eval(), backbone, OPSET)
    return made


def chain(*weights: Any, limits: bool = False) -> Model:
    """A graph of 1x1 convolutions, each with a Relu (or a Clip to 0..6), then the mean of each map and a Gemm."""
    tensors = [numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0), ("high", 6))]
    nodes, last = [], "images"
    for place, weight in enumerate(weights[:-1]):
        tensors.append(numpy_helper.from_array(weight[:, :, None, None].astype(np.float32), f"layer{place}.weight"))
        nodes.append(helper.make_node("Conv", [last, f"layer{place}.weight"], [f"c{place}"], f"layer{place}/Conv"))
        last = f"r{place}"
        inputs = [f"c{place}", "low", "high"] if limits else [f"c{place}"]
        nodes.append(helper.make_node("Clip" if limits else "Relu", inputs, [last], f"layer{place}/act"))
    tensors.append(numpy_helper.from_array(weights[-1].astype(np.float32), "head.weight"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "head.weight"], ["logits"], "head/Gemm", transB=1),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])
    outputs = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(weights[-1])])
    graph = helper.make_graph(nodes, "chain", [images], [outputs], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def random_weights(*shapes: tuple[int, int]) -> list[Any]:
    random = np.random.RandomState(3)
    return [random.randn(*shape) / np.sqrt(shape[1]) for shape in shapes]


def one_layer_that_breaks() -> Model:
    """Its third convolution gives out one channel ten thousand times too large, which the fourth makes up for."""
    weights = random_weights((16, 3), (16, 16), (16, 16), (16, 16), (16, 16), (16, 16), (16, 16), (16, 16), (10, 16))
    weights[2][0] *= 1e4
    weights[3][:, 0] *= 1e-4
    return chain(*weights)


def weight_types(model: Model) -> list[int]:
    """The element type of each weight, read through its DequantizeLinear where it has one."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    sources = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    weighted = [n.input[1] for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    names = [sources.get(name, name) for name in weighted]
    return [tensors[name].data_type for name in names if name in tensors]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", MODELS)
def test_a_quantised_graph_is_near_the_float_one(
    name: str, scheme: str, graphs: dict[str, Model], calibration: Calibration
) -> None:
    model, unseen = graphs[name], noise(200, 2)
    found, report = int8_from_fp32(model, calibration, agreement(model, unseen), 10.0, lambda _: None, SCHEMES[scheme])
    assert decibels(logits(model, unseen), logits(found, unseen)) > 25
    assert report.attempts[-1].drop_points <= 10
    assert report.quantised_layers == len(layers_of(prepared_for_int8(model), CPU))
    assert (report.images, report.origin, report.float_layers) == (32, "noise", ())
    assert refusal_of(report) == ()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", MODELS)
def test_weights_are_int8_with_a_scale_for_each_channel_and_all_operators_standard(
    name: str, scheme: str, graphs: dict[str, Model], calibration: Calibration
) -> None:
    found = quantised(graphs[name], calibration, SCHEMES[scheme])
    onnx.checker.check_model(found, full_check=True)
    assert [(opset.domain, opset.version) for opset in found.opset_import] == [("", OPSET)]
    assert {node.domain for node in found.graph.node} == {""}
    assert set(weight_types(found)) == {TensorProto.INT8}
    tensors = {tensor.name: tensor for tensor in found.graph.initializer}
    for node in found.graph.node:
        weight = tensors.get(node.input[0])
        if node.op_type == "DequantizeLinear" and weight is not None and len(weight.dims) > 1:
            axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
            assert tensors[node.input[1]].dims == [weight.dims[axis]]
            assert not numpy_helper.to_array(tensors[node.input[2]]).any()


@pytest.mark.parametrize("name", MODELS)
def test_for_tensorrt_zero_points_are_zero_and_biases_float(
    name: str, graphs: dict[str, Model], calibration: Calibration
) -> None:
    found = quantised(graphs[name], calibration, TENSORRT)
    tensors = {tensor.name: tensor for tensor in found.graph.initializer}
    points = [tensors[n.input[2]] for n in found.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert {point.data_type for point in points} == {TensorProto.INT8}
    assert not any(numpy_helper.to_array(point).any() for point in points)
    assert TensorProto.INT32 not in {tensor.data_type for tensor in tensors.values()}


def test_in_a_cnn_every_convolution_runs_in_eight_bits(
    graphs: dict[str, Model], calibration: Calibration, tmp_path: Path
) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    found = quantised(graphs["test_resnet"], calibration)
    onnxruntime.InferenceSession(found.SerializeToString(), options, providers=["CPUExecutionProvider"])
    types = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert types.count("QLinearConv") == 15
    assert {"Conv", "FusedConv", "Relu", "Add"}.isdisjoint(types)


def test_a_product_of_two_activations_stays_float(graphs: dict[str, Model], calibration: Calibration) -> None:
    found = quantised(graphs["test_vit"], calibration)
    dequantised = {node.output[0] for node in found.graph.node if node.op_type == "DequantizeLinear"}
    products = [node for node in found.graph.node if node.op_type == "MatMul"]
    assert {len(dequantised.intersection(node.input)) for node in products} == {0, 2}
    assert sum(dequantised.isdisjoint(node.input) for node in products) == 12  # two for each of six blocks


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", MODELS)
def test_a_switchable_graph_computes_what_a_graph_with_some_layers_quantised_does(
    name: str, scheme: str, graphs: dict[str, Model], calibration: Calibration
) -> None:
    prepared, way = prepared_for_int8(graphs[name]), replace(SCHEMES[scheme], bias_in_int32=False)
    ranges = ranges_of(prepared, calibration, "minmax", operators_of(prepared, way))
    layers = layers_of(prepared, way)
    whole = quantised_from(prepared, ranges, layers, way, keep_relu=True)
    graph, images = switchable(whole, prepared, layers, way.float_outputs), noise(16, 2)
    for on in ((), layers[:1], layers):
        wanted = quantised_from(prepared, ranges, on, way) if on else prepared
        found = as_written(graph.model, {"images": images, **graph.switches(on)})
        np.testing.assert_array_equal(found, as_written(wanted, {"images": images}))


def test_a_layer_that_breaks_goes_back_to_float_with_the_one_that_reads_it(calibration: Calibration) -> None:
    model, unseen = one_layer_that_breaks(), noise(200, 2)
    found, report = int8_from_fp32(model, calibration, agreement(model, unseen), 2.0, lambda _: None)
    assert set(report.float_layers) == {"layer2/Conv", "layer3/Conv"}
    assert report.quantised_layers == 7
    assert weight_types(found).count(TensorProto.FLOAT) == 2
    assert report.attempts[0].drop_points > 2 >= agreement(model, unseen)(found)
    assert refusal_of(report) == ()


def test_layers_are_sorted_by_the_error_that_each_alone_makes(calibration: Calibration) -> None:
    prepared = prepared_for_int8(one_layer_that_breaks())
    ranges = ranges_of(prepared, calibration, "minmax", operators_of(prepared, CPU))
    layers = layers_of(prepared, CPU)
    whole = quantised_from(prepared, ranges, layers, CPU, keep_relu=True)
    graph = switchable(whole, prepared, layers, CPU.float_outputs)
    order = by_sensitivity(graph, batches_of(calibration, SENSITIVITY_IMAGES), lambda _: None)
    assert {layer.name for layer in order[:2]} == {"layer2/Conv", "layer3/Conv"}
    assert sorted(order, key=layers.index) == list(layers)


@pytest.mark.parametrize("needed", [1, 2, 3, 4])
def test_the_smallest_number_of_float_layers_is_found(needed: int, calibration: Calibration) -> None:
    model = one_layer_that_breaks()
    found, report = int8_from_fp32(
        model, calibration, lambda m: 9.0 - weight_types(m).count(TensorProto.FLOAT), 9.0 - needed, lambda _: None
    )
    assert len(report.float_layers) == needed == weight_types(found).count(TensorProto.FLOAT)
    assert [attempt.float_layers for attempt in report.attempts[:3]] == [0, 0, 4]


def test_a_search_that_cannot_succeed_says_so(calibration: Calibration) -> None:
    model, drops = chain(*random_weights((8, 3), (8, 8), (10, 8))), iter([40.0, 30.0, 35.0])
    found, report = int8_from_fp32(model, calibration, lambda _: next(drops), 1.0, lambda _: None)
    assert [(a.method, a.float_layers, a.drop_points) for a in report.attempts] == [
        ("minmax", 0, 40.0),
        ("percentile", 0, 30.0),
        ("percentile", 1, 35.0),
    ]
    assert (report.method, report.float_layers) == ("percentile", ())
    assert set(weight_types(found)) == {TensorProto.INT8}
    assert refusal_of(report) == (
        "INT8 loses more than 1 points of accuracy, however made: 30.00 (percentile, 0 layers in float), "
        "35.00 (percentile, 1 layers in float), 40.00 (minmax, 0 layers in float)",
    )


def test_one_outlier_among_the_inputs_is_left_to_the_percentile() -> None:
    model, unseen = chain(*random_weights((16, 3), (16, 16), (10, 16)), limits=True), noise(200, 2)
    images = noise(32, 1)
    images[0, 0, 0, 0] = 1e3
    wanted = logits(model, unseen)
    found, report = int8_from_fp32(
        model, Calibration(images, "noise", 16), lambda m: -decibels(wanted, logits(m, unseen)), -20.0, lambda _: None
    )
    assert [attempt.method for attempt in report.attempts] == ["minmax", "percentile"]
    assert report.attempts[0].drop_points > -10
    assert report.method == "percentile"
    assert decibels(wanted, logits(found, unseen)) >= 20


QUANTISED_BYTES = """
import hashlib, sys, numpy, onnx
from vlm_export.int8 import int8_from_fp32
from vlm_export.quantiser import Calibration
images = numpy.random.RandomState(1).randn(32, 3, 32, 32).astype("float32")
calibration = Calibration(images, "noise", 16)
found, _ = int8_from_fp32(onnx.load(sys.argv[1]), calibration, lambda _: 0.0, 1.0, lambda _: None)
print(hashlib.sha256(found.SerializeToString(deterministic=True)).hexdigest())
"""


def test_the_same_inputs_give_the_same_bytes(
    graphs: dict[str, Model], calibration: Calibration, tmp_path: Path
) -> None:
    model = graphs["test_resnet"]
    before = model.SerializeToString(deterministic=True)
    found = quantised(model, calibration).SerializeToString(deterministic=True)
    assert model.SerializeToString(deterministic=True) == before
    file = tmp_path / "fp32.onnx"
    file.write_bytes(before)
    for seed in ("1", "2"):  # of Python's hashes, by which sets are ordered
        command = [sys.executable, "-c", QUANTISED_BYTES, str(file)]
        printed = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert printed.stdout.strip() == hashlib.sha256(found).hexdigest()
    assert b"/tmp" not in found


def test_a_fixed_batch_is_served(calibration: Calibration) -> None:
    model = chain(*random_weights((8, 3), (8, 8), (10, 8)))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 16
    found, report = int8_from_fp32(model, calibration, lambda _: 9.0, 1.0, lambda _: None)
    assert found.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 16
    assert len(report.attempts) == 3


def test_progress_is_told(calibration: Calibration) -> None:
    told: list[str] = []
    int8_from_fp32(chain(*random_weights((8, 3), (10, 8))), calibration, lambda _: 9.0, 1.0, told.append)
    assert told[:2] == ["INT8, minmax: calibration with 32 images", "INT8, minmax, 0 of 2 layers in float"]
    assert "INT8: sensitivity of layer 2 of 2" in told


def test_nothing_is_printed(calibration: Calibration, capfd: pytest.CaptureFixture[str]) -> None:
    int8_from_fp32(chain(*random_weights((8, 3), (10, 8))), calibration, lambda _: 9.0, 1.0, lambda _: None)
    assert capfd.readouterr() == ("", "")


def test_no_images_to_calibrate_with_are_an_error(graphs: dict[str, Model], calibration: Calibration) -> None:
    with pytest.raises(VlmError, match="INT8 needs images to calibrate with"):
        quantised(graphs["test_resnet"], replace(calibration, images=calibration.images[:0]))


def test_images_with_nan_are_an_error(graphs: dict[str, Model]) -> None:
    images = noise(4, 1)
    images[2, 1, 3, 3] = np.nan
    with pytest.raises(VlmError, match=r"\(broken ones\) hold NaN or infinity"):
        quantised(graphs["test_resnet"], Calibration(images, "broken ones", 4))


def test_a_graph_without_weights_is_refused(calibration: Calibration) -> None:
    model = chain(*random_weights((8, 3), (10, 8)))
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Relu", ["images"], ["logits"], "act"))
    with pytest.raises(CheckFailed, match="nothing to quantise"):
        quantised(model, calibration)
