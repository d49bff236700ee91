"""Graphs for other tools: their nodes' names, and what is found wrong with a file."""

from pathlib import Path
from typing import Any

import pytest

from vlm_export.graph import check_graph

RUN = "tiny-digits-200-s0"


@pytest.fixture
def model(done: Path) -> Any:
    import onnx

    return onnx.load(done / "artifacts" / f"{RUN}.onnx-fp32" / "model.onnx")


def test_nodes_are_named_by_layer_and_operator_and_no_two_alike(model: Any) -> None:
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert "layer1.0.conv1/Conv" in names
    assert "fc/Gemm" in names


def test_a_convolution_keeps_its_name_though_its_normalisation_was_folded_into_it(model: Any) -> None:
    assert not any("bn" in node.name for node in model.graph.node if node.op_type == "Conv")


def test_a_graph_of_ours_has_nothing_wrong(model: Any) -> None:
    assert check_graph(model, None) == ()


def test_operators_that_are_not_standard_are_named(model: Any) -> None:
    from onnx import helper

    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert check_graph(model, None) == ("the graph uses operators of com.microsoft, beside the standard ones",)


def test_weights_outside_the_file_are_wrong(model: Any, tmp_path: Path) -> None:
    import onnx

    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    outside = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert any("outside the file" in reason for reason in check_graph(outside, None))


def test_a_graph_that_the_checker_refuses_says_why(model: Any) -> None:
    model.graph.node[0].op_type = "Convolve"
    assert any("onnx.checker refuses" in reason and "Convolve" in reason for reason in check_graph(model, None))
