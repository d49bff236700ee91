"""Which ONNX files may be opened, and what those that may not are called."""

import random
import re
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, load_model_from_string

from vlm_contract.errors import VlmError
from vlm_profile.onnxfile.check import MOST_FUNCTIONS_DEEP, MOST_NODES, check_onnx_file
from vlm_profile.onnxfile.parts import MOST_DEEP, model_from_bytes
from vlm_profile.onnxfile.wire import Damaged

X, Y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
OURS = [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
RELU = helper.make_node("Relu", ["x"], ["y"])

Check = Callable[[ModelProto], Any]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Writes the model to m.onnx, and checks that."""

    def checked(model: ModelProto) -> Any:
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        return check_onnx_file(tmp_path / "m.onnx")

    return checked


def model_of(nodes: Sequence[NodeProto], functions: Sequence[FunctionProto] = (), **changes: Any) -> ModelProto:
    graph = helper.make_graph(nodes, "g", [X], [Y], **changes)
    return helper.make_model(graph, functions=functions, opset_imports=OURS, ir_version=9)


def chain(length: int, domain: str = "", operator: str = "Relu") -> list[NodeProto]:
    names = ["x", *(f"h{i}" for i in range(1, length)), "y"]
    return [helper.make_node(operator, [a], [b], domain=domain) for a, b in pairwise(names)]


def function_of(name: str, nodes: Sequence[NodeProto], **changes: Any) -> FunctionProto:
    return helper.make_function("ours", name, ["x"], ["y"], nodes, OURS, **changes)


def branch(*nodes: NodeProto, output: str = "o") -> GraphProto:
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 4])])


def test_a_plain_model_may_be_opened(check: Check) -> None:
    found = check(model_of([RELU]))
    assert (found.data_files, found.may_not_end) == ((), False)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"\x89PNG\r\n", "is a PNG image"),
        (b"\x08\x09", "it has no graph"),
        (b"What is this?", "no plain ONNX model, or was cut short"),
    ],
)
def test_what_is_no_model_is_called_what_it_is(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(VlmError, match=what):
        check_onnx_file(tmp_path / "m.onnx")


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    whole = model_of([RELU]).SerializeToString()
    of_graph = whole.index(b"\x3a")  # cut later, only the operator sets are missing, which runtimes ask for
    for size in range(1, of_graph + 2 + whole[of_graph + 1]):
        (tmp_path / "m.onnx").write_bytes(whole[:size])
        with pytest.raises(VlmError):
            check_onnx_file(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["m.ort", "m.xml", "m"])
def test_a_name_that_makes_a_runtime_take_the_file_for_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(model_of([RELU]).SerializeToString())
    with pytest.raises(VlmError, match=re.escape("does not end in .onnx")):
        check_onnx_file(tmp_path / name)


def test_a_cyclic_graph_is_named_by_one_of_its_nodes(check: Check) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(VlmError, match="cyclic graph: of 2 nodes each needs the next, such as 'b'"):
        check(model_of([*nodes, helper.make_node("Relu", ["a"], ["y"])]))


def test_a_cycle_through_what_a_branch_reads_from_outside_is_seen(check: Check) -> None:
    inner = branch(helper.make_node("Relu", ["later"], ["o"]))
    nodes = [
        helper.make_node("If", ["c"], ["h"], then_branch=inner, else_branch=inner),
        helper.make_node("Relu", ["h"], ["later"]),
    ]
    with pytest.raises(VlmError, match="cyclic"):
        check(model_of([*nodes, RELU]))


def test_a_cycle_in_a_branch_or_in_a_function_is_seen(check: Check) -> None:
    circle = [helper.make_node("Relu", ["a"], ["o"]), helper.make_node("Relu", ["o"], ["a"])]
    inside = helper.make_node("If", ["c"], ["h"], then_branch=branch(*circle), else_branch=branch(*circle))
    with pytest.raises(VlmError, match="cyclic"):
        check(model_of([inside, RELU]))
    with pytest.raises(VlmError, match="cyclic"):
        check(model_of([RELU], [function_of("F", circle)]))


def test_nodes_in_any_order_and_a_name_used_again_inside_a_branch_are_no_cycle(check: Check) -> None:
    inner = branch(helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Relu", ["h"], ["o"]))
    outer = helper.make_node("If", ["c"], ["h"], then_branch=inner, else_branch=inner)
    check(model_of([helper.make_node("Relu", ["h"], ["y"]), outer]))


def nested(deep: int, wide: int) -> ModelProto:
    """Functions that each call the next one `wide` times; the last one has as many nodes."""
    inner = [function_of(f"F{i}", chain(wide, "ours", f"F{i + 1}")) for i in range(deep - 1)]
    last = function_of(f"F{deep - 1}", chain(wide))
    return model_of([helper.make_node("F0", ["x"], ["y"], domain="ours")], [*inner, last])


def test_functions_that_explode_are_refused_by_the_nodes_that_they_come_to(check: Check) -> None:
    assert nested(30, 2).ByteSize() < 2400
    with pytest.raises(VlmError, match=f"over {MOST_NODES} nodes once its functions are unfolded"):
        check(nested(30, 2))
    check(nested(3, 10))


def test_nodes_in_branches_of_functions_count_too(check: Check) -> None:
    call = helper.make_node("F", ["x"], ["o"], domain="ours")
    functions = [function_of("F", chain(MOST_NODES // 2))]
    within = helper.make_node("If", ["c"], ["y"], then_branch=branch(call), else_branch=branch(call))
    with pytest.raises(VlmError, match="once its functions are unfolded"):
        check(model_of([within], functions))
    check(model_of([helper.make_node("F", ["x"], ["y"], domain="ours")], functions))


def test_nodes_count_without_functions_and_in_functions_that_nothing_calls(check: Check) -> None:
    check(model_of(chain(MOST_NODES)))
    for model in (model_of(chain(MOST_NODES + 1)), model_of([RELU], [function_of("F", chain(MOST_NODES))])):
        with pytest.raises(VlmError, match=f"over {MOST_NODES} nodes"):
            check(model)


def test_functions_that_call_each_other_too_deep_or_themselves_are_refused(check: Check) -> None:
    check(nested(MOST_FUNCTIONS_DEEP, 1))
    with pytest.raises(VlmError, match=f"call each other over {MOST_FUNCTIONS_DEEP} deep"):
        check(nested(MOST_FUNCTIONS_DEEP + 1, 1))
    itself = [function_of("F", chain(1, "ours", "G")), function_of("G", chain(1, "ours", "F"))]
    with pytest.raises(VlmError, match=r"a function that calls itself: '[FG]'"):
        check(model_of([RELU], itself))


def test_functions_of_one_name_are_told_apart_by_their_overload(check: Check) -> None:
    inner = helper.make_node("F", ["x"], ["y"], domain="ours", overload="inner")
    functions = [function_of("F", [inner], overload="outer"), function_of("F", [RELU], overload="inner")]
    check(model_of([helper.make_node("F", ["x"], ["y"], domain="ours", overload="outer")], functions))
    with pytest.raises(VlmError, match="the function 'F' stands twice"):
        check(model_of([RELU], [function_of("F", [RELU])] * 2))


def test_compiled_code_wrapped_in_a_node_is_refused_wherever_it_stands(check: Check) -> None:
    compiled = helper.make_node("EPContext", ["x"], ["o"], domain="com.microsoft", embed_mode=0, ep_cache_context="e")
    within = helper.make_node("If", ["c"], ["y"], then_branch=branch(compiled), else_branch=branch(compiled))
    for model in (model_of([compiled, RELU]), model_of([within]), model_of([RELU], [function_of("F", [compiled])])):
        with pytest.raises(VlmError, match="native code"):
            check(model)


def test_an_operator_set_that_cannot_be_is_refused(check: Check) -> None:
    model = model_of([RELU])
    model.opset_import[0].version = 9999
    model.opset_import[0].domain = "ai.onnx"
    with pytest.raises(VlmError, match="version 9999 of ONNX's operators"):
        check(model)


@pytest.mark.parametrize("operator", ["Loop", "Scan"])
def test_a_loop_is_noticed_inside_a_function_too(check: Check, operator: str) -> None:
    loop = helper.make_node(operator, ["", "", "x"], ["y"], body=branch(RELU, output="y"))
    assert check(model_of([loop])).may_not_end
    assert check(model_of([RELU], [function_of("F", [loop])])).may_not_end


def test_graphs_inside_graphs_too_deep_are_refused(check: Check) -> None:
    def deep(levels: int) -> ModelProto:
        leaf = branch(RELU, output="y")
        node = RELU
        for _ in range(levels):
            node = helper.make_node("If", ["c"], ["y"], then_branch=branch(node, output="y"), else_branch=leaf)
        return model_of([node])

    check(deep(MOST_DEEP))
    with pytest.raises(VlmError, match=f"over {MOST_DEEP} deep"):
        check(deep(MOST_DEEP + 1))


def test_names_from_the_file_are_escaped_and_shortened_in_sentences(check: Check) -> None:
    evil = "\x1b[31m\n" + "z" * 10_000
    with pytest.raises(VlmError) as caught:
        check(model_of([helper.make_node("Relu", [evil], [evil])]))
    assert str(caught.value).isprintable()
    assert "\\x1b[31m\\nzz" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_million_fields_end_the_look_at_a_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x10\x01" * 1_100_000 + model_of([RELU]).SerializeToString())
    with pytest.raises(VlmError, match="over 1000000 fields"):
        check_onnx_file(tmp_path / "m.onnx")


def rich_model() -> bytes:
    """One of everything that is read: branches, functions, sparse and external tensors, packed and raw numbers."""
    dense = helper.make_tensor("w", TensorProto.FLOAT, [4], struct.pack("<4f", 1, 2, 3, 4), raw=True)
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [2], [0, 3]), [4])
    outside = TensorProto(name="e", dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="data.bin")
    inner = branch(helper.make_node("Add", ["x", "w"], ["o"]))
    nodes = [
        helper.make_node("If", ["c"], ["h"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["k"], value=values),
        helper.make_node("F", ["h"], ["y"], domain="ours"),
    ]
    graph = [function_of("F", [RELU])]
    return model_of(nodes, graph, initializer=[dense, outside], sparse_initializer=[sparse]).SerializeToString()


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_is_read_of_a_file_with_random_damage_is_what_protobuf_reads(chance: random.Random) -> None:
    damaged = bytearray(rich_model())
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(damaged))
        damaged[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    try:
        ours = model_from_bytes(memoryview(bytes(damaged)))
    except Damaged:
        return
    try:
        theirs = load_model_from_string(bytes(damaged))
    except Exception:  # noqa: BLE001 (whatever protobuf raises: we may read more than it, never something else)
        return
    named = [(each.key, each.value) for tensor in tensors_of(theirs.graph) for each in tensor.external_data]
    assert sorted(named) == sorted(pair for tensor in ours.tensors for pair in tensor.external)
    assert [node.op_type for node in theirs.graph.node] == [node.operator for node in ours.graph.nodes]
    assert len(theirs.functions) == len(ours.functions)


def tensors_of(graph: GraphProto) -> list[TensorProto]:
    sparse = [each for tensor in graph.sparse_initializer for each in (tensor.values, tensor.indices)]
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    inner = [
        tensor for a in attributes for g in (*a.graphs, *([a.g] if a.HasField("g") else [])) for tensor in tensors_of(g)
    ]
    return [*graph.initializer, *sparse, *(a.t for a in attributes if a.HasField("t")), *inner]
