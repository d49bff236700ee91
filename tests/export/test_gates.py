"""A graph is let through to a target only if its runtime can read it."""

from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_export.gates import check_gate, gate_of
from vlm_targets.catalogue import known_targets


def graph_of(*operators: str, opset: int = 13) -> Any:
    """A graph with those operators, in the branch of an If."""
    from onnx import TensorProto, helper

    condition = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("v", TensorProto.BOOL, [], [True]))
    nodes = [helper.make_node(operator, ["x"], [f"y{i}"]) for i, operator in enumerate(operators)]
    branch = helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info("y0", TensorProto.FLOAT, [1])])
    both = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([condition, both], "graph", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize(
    ("target", "opset", "most", "exporter"),
    [
        ("jetson-nano", 13, 13, "legacy"),
        ("jetson-tx2", 13, 13, "legacy"),
        ("jetson-xavier-nx", 16, 17, "legacy"),
        ("jetson", 18, 20, "dynamo"),
        ("jetson-thor", 18, 20, "dynamo"),
        ("gtx1660ti", 18, 20, "dynamo"),
        ("rpi5", 18, 23, "dynamo"),
        ("host", 18, 23, "dynamo"),
    ],
)
def test_each_target_has_its_opset_and_exporter(target: str, opset: int, most: int, exporter: str) -> None:
    gate = gate_of(target)
    assert (gate.opset, gate.opset_max, gate.exporter) == (opset, most, exporter)


def test_every_target_is_asked_for_an_opset_that_it_reads() -> None:
    for target in known_targets():
        gate = gate_of(target.name)
        assert check_gate(graph_of("Relu", opset=gate.opset), gate) == ()


@pytest.mark.parametrize(
    ("target", "operators", "opset", "named"),
    [
        ("jetson-nano", ("Relu",), 18, "opset 18, and TensorRT 8.2.1 on the Jetson Nano reads 13 at most"),
        ("jetson-nano", ("Relu", "Mod"), 13, "TensorRT 8.2.1 on the Jetson Nano does not have Mod"),
        ("jetson-nano", ("QuantizeLinear",), 13, "the Jetson Nano does not have QuantizeLinear"),
        ("jetson-xavier-nx", ("LayerNormalization",), 17, "TensorRT 8.5.2 on the Jetson Xavier NX does not have Layer"),
        ("jetson", ("Relu",), 21, "opset 21, and TensorRT 10.3.0 on the Jetson Orin Nano reads 20 at most"),
        ("gtx1660ti", ("QLinearConv",), 18, "TensorRT 10 on the GTX 1660 Ti does not have QLinearConv"),
    ],
)
def test_what_a_target_cannot_read_is_named_with_what_to_do(
    target: str, operators: tuple[str, ...], opset: int, named: str
) -> None:
    (reason,) = check_gate(graph_of(*operators, opset=opset), gate_of(target))
    assert named in reason
    assert "choose a" in reason


@pytest.mark.parametrize(
    ("target", "operators", "opset"),
    [
        ("jetson-xavier-nx", ("HardSwish", "Mod", "QuantizeLinear"), 17),
        ("jetson", ("LayerNormalization", "Gelu", "QuantizeLinear"), 20),
        ("host", ("QLinearConv", "Gelu"), 20),
    ],
)
def test_what_a_target_can_read_passes(target: str, operators: tuple[str, ...], opset: int) -> None:
    assert check_gate(graph_of(*operators, opset=opset), gate_of(target)) == ()


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(VlmError, match="nearest: jetson-nano"):
        gate_of("jetson-nanu")
