"""What a model asks of a device, counted off its file: shapes and products as others count them, and nothing lost."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, load, shape_inference

from vlm_contract.errors import VlmError
from vlm_profile.graph.costs import KINDS, Operation, costs_of, operations_of, whole_costs_of
from vlm_profile.graph.precision import shown_precision
from vlm_profile.graph.steps import steps_of
from vlm_profile.onnxfile.check import model_of

BACKBONES = ("resnet50", "mobilenetv3_large_100", "tf_efficientnetv2_s", "convnextv2_tiny")
BACKBONES += ("vit_base_patch16_224", "deit_small_patch16_224", "swin_tiny_patch4_window7_224")
MODULES = (
    "concat",
    "conv",
    "convtranspose",
    "einsum",
    "expand",
    "flatten",
    "gather",
    "gemm",
    "globalaveragepool",
    "matmul",
)
MODULES += (
    "maxpool",
    "averagepool",
    "pad",
    "reducemean",
    "slice",
    "split",
    "squeeze",
    "transpose",
    "unsqueeze",
    "where",
)
LEAST_MODELS = 100  # of these modules, whose shapes must be told without a guess

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes nodes from `x` to `y` into a file, with weights of these shapes that nobody will compute with."""

    def written(
        nodes: Sequence[NodeProto],
        shape: Sequence[int | str] = ("batch", 8, 6, 6),
        weights: dict[str, tuple[int, ...]] | None = None,
        numbers: dict[str, Sequence[int]] | None = None,
        opset: int = 18,
    ) -> Path:
        tensors = [
            TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT) for name, dims in (weights or {}).items()
        ]
        tensors += [
            helper.make_tensor(name, TensorProto.INT64, [len(each)], each) for name, each in (numbers or {}).items()
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        model = helper.make_model(
            helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=[helper.make_opsetid("", opset)]
        )
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "m.onnx"

    return written


def only(path: Path) -> Operation:
    """The one operation of a model, all of which is known."""
    costs = costs_of(path)
    assert costs.unknown == ()
    (operation,) = costs.operations
    return operation


def conv(groups: int = 1, **attributes: Any) -> NodeProto:
    return helper.make_node("Conv", ["x", "w", "b"], ["y"], group=groups, **attributes)


def test_a_convolution_is_counted_with_its_reads_writes_and_weights(write: Write) -> None:
    path = write([conv(pads=[1, 1, 1, 1], strides=[2, 2])], weights={"w": (4, 8, 3, 3), "b": (4,)})
    assert only(path) == Operation("conv", 4 * 3 * 3 * 8 * 3 * 3, 8 * 6 * 6, 4 * 3 * 3, 4 * 8 * 3 * 3 + 4)


@pytest.mark.parametrize(("groups", "kind"), [(8, "depthwise"), (2, "grouped")])
def test_groups_share_the_products(write: Write, groups: int, kind: str) -> None:
    operation = only(write([conv(groups)], weights={"w": (8, 8 // groups, 3, 3), "b": (8,)}))
    assert (operation.kind, operation.macs) == (kind, 8 * 4 * 4 * 8 // groups * 9)


def test_a_transposed_convolution_has_the_products_of_the_one_that_it_reverses(write: Write) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    assert only(write([node], weights={"w": (8, 4, 2, 2)})).macs == 8 * 6 * 6 * 4 * 2 * 2


def test_a_matrix_product_counts_its_inner_dimension(write: Write) -> None:
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    assert only(write([gemm], ("batch", 7), {"w": (5, 7)})) == Operation("matmul", 35, 7, 5, 35)
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    assert only(write([matmul], ("batch", 3, 7), {"w": (7, 5)})).macs == 3 * 7 * 5


def test_numbers_of_8_bits_cost_what_they_stand_for(write: Write) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w8", "s", "z"], ["w"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    operation = only(write(nodes, weights={"w8": (4, 8, 1, 1), "s": (), "z": ()}))
    assert operation == Operation("conv", 4 * 36 * 8, 8 * 36, 4 * 36, 32)


def test_what_shapes_are_computed_with_costs_nothing(write: Write) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    path = write(nodes, weights={"w": (288, 10)}, numbers={"first": [0], "rest": [-1]})
    assert only(path) == Operation("matmul", 2880, 288, 10, 2880)


def test_a_file_that_fixes_its_batch_gives_an_images_share(write: Write) -> None:
    weights = {"w": (4, 8, 3, 3), "b": (4,)}
    assert operations_of(write([conv()], (5, 8, 6, 6), weights)) == operations_of(write([conv()], weights=weights))


def test_an_operator_that_nobody_knows_is_counted_and_named(write: Write) -> None:
    costs = costs_of(write([helper.make_node("Brew\x1b", ["x"], ["y"], domain="coffee")]))
    assert costs.operations == (Operation("elementwise", 0, 288, 288, 0),)
    (note,) = costs.unknown
    assert note.startswith("'Brew\\x1b' counts as elementwise, of its input's shape")


def test_a_size_that_a_file_leaves_open_is_said_and_can_be_given(write: Write) -> None:
    path = write([conv()], ("batch", 8, "height", "width"), {"w": (4, 8, 1, 1), "b": (4,)})
    assert "leaves its size open" in costs_of(path).unknown[0]
    given_costs = costs_of(path, {"x": (1, 8, 6, 6)})
    assert (given_costs.unknown, given_costs.operations[0].macs) == ((), 4 * 36 * 8)


def test_a_size_that_a_file_leaves_open_is_asked_for(write: Write) -> None:
    path = write([conv()], ("batch", 8, "height", "width"), {"w": (4, 8, 1, 1), "b": (4,)})
    with pytest.raises(VlmError, match="Dimension 2") as caught:
        operations_of(path)
    assert "--input-shape x:" in caught.value.hint
    assert operations_of(path, {"x": (1, 8, 6, 6)})[0].macs == 4 * 36 * 8
    with pytest.raises(VlmError, match="no such input"):
        operations_of(path, {"y": (1, 8, 6, 6)})


def loop() -> NodeProto:
    """A hundred passes over a body of one node."""
    declared = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("i", TensorProto.INT64, []),
            ("go", TensorProto.BOOL, []),
            ("before", TensorProto.FLOAT, None),
            ("again", TensorProto.BOOL, []),
            ("after", TensorProto.FLOAT, None),
        )
    ]
    nodes = [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Conv", ["before", "w"], ["after"])]
    body = helper.make_graph(nodes, "body", declared[:3], declared[3:])
    return helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)


@pytest.mark.parametrize(
    "node",
    [
        loop(),
        helper.make_node("Brew", ["x", "w"], ["y"], domain="coffee"),
        helper.make_node("MatMul", ["x", "x", "x"], ["y", "z"]),
    ],
    ids=["graphs inside", "weights of an unknown operator", "products of no known shape"],
)
def test_work_that_cannot_be_counted_is_refused_and_never_taken_for_little(write: Write, node: NodeProto) -> None:
    path = write([node], weights={"w": (8, 8, 1, 1)}, numbers={"n": [100]})
    assert costs_of(path).uncounted
    with pytest.raises(VlmError, match=f"cannot be counted: '{node.op_type}' counts as elementwise"):
        operations_of(path)


def test_a_function_of_the_file_is_not_taken_for_one_small_kernel(write: Write) -> None:
    path = write([helper.make_node("Block", ["x"], ["y"], domain="mine")])
    model = load(path)
    product = helper.make_node("Conv", ["x", "w"], ["y"])
    model.functions.append(
        helper.make_function("mine", "Block", ["x"], ["y"], [product], [helper.make_opsetid("", 18)])
    )
    path.write_bytes(model.SerializeToString())
    with pytest.raises(VlmError, match="cannot be counted: 'Block'"):
        operations_of(path)


def test_a_precision_is_shown_by_operators_inside_functions_too(write: Write) -> None:
    path = write([helper.make_node("Block", ["x"], ["y"], domain="mine")])
    assert shown_precision(model_of(path)) == "fp32"
    model = load(path)
    node = helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"])
    model.functions.append(helper.make_function("mine", "Block", ["x"], ["y"], [node], [helper.make_opsetid("", 18)]))
    path.write_bytes(model.SerializeToString())
    assert shown_precision(model_of(path)) == "int8"


def test_an_unknown_operator_without_weights_is_counted_and_said(write: Write) -> None:
    costs = whole_costs_of(write([helper.make_node("Brew", ["x"], ["y"], domain="coffee")]))
    assert (len(costs.unknown), costs.uncounted) == (1, ())


@pytest.mark.parametrize("operator", ["Identity", "Flatten"])
def test_a_model_that_computes_nothing_is_refused(write: Write, operator: str) -> None:
    with pytest.raises(VlmError, match="nothing to compute"):
        operations_of(write([helper.make_node(operator, ["x"], ["y"])]))


@pytest.mark.parametrize(("first", "fixed"), [("batch", None), (1, 1), (5, 5)])
def test_the_batch_that_a_file_fixes_is_known(write: Write, first: int | str, fixed: int | None) -> None:
    path = write([conv()], (first, 8, 6, 6), {"w": (4, 8, 3, 3), "b": (4,)})
    assert whole_costs_of(path).fixed_batch == fixed


def test_each_weight_counts_once_in_the_model_and_in_each_operation_that_reads_it(write: Write) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    costs = costs_of(write(nodes, ("batch", 7), {"w": (7, 7)}))
    assert (costs.weights, [each.weights for each in costs.operations]) == (49, [49, 49])


def test_inputs_and_outputs_are_those_of_one_image(write: Write) -> None:
    costs = costs_of(write([conv()], ("batch", 8, 6, 6), {"w": (4, 8, 3, 3), "b": (4,)}))
    assert (costs.inputs, costs.outputs) == (8 * 6 * 6, 4 * 4 * 4)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\x08\x09garbage" * 9])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(VlmError):
        operations_of(tmp_path / "m.onnx")


def test_a_graph_in_a_circle_is_refused(write: Write) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(VlmError, match="cyclic"):
        operations_of(write([*nodes, helper.make_node("Relu", ["b"], ["y"])]))


def test_neither_onnx_nor_torch_is_needed(write: Write) -> None:
    path = write([conv()], weights={"w": (4, 8, 3, 3), "b": (4,)})
    code = f"import sys; sys.modules.update(onnx=None, torch=None, onnxruntime=None); from pathlib import Path\n\
from vlm_profile.graph.costs import operations_of; print(operations_of(Path({str(path)!r}))[0].macs)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 4 * 16 * 8 * 9


def test_a_deep_model_is_counted_in_a_moment(write: Write) -> None:
    names = ["x", *(f"h{i}" for i in range(599)), "y"]
    operators = ("Conv", "Sigmoid", "Mul")
    nodes = []
    for i, name in enumerate(names[1:]):
        operator, before = operators[i % 3], names[i]
        inputs = [before, "w"] if operator == "Conv" else [before, names[i - 1]] if operator == "Mul" else [before]
        nodes.append(helper.make_node(operator, inputs, [name]))
    path = write(nodes, weights={"w": (8, 8, 1, 1)})
    costs_of(path)
    began = time.process_time()
    assert len(operations_of(path)) == 200
    assert time.process_time() - began < 0.3


SIZES = st.integers(1, 3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_convolutions_and_pools_have_the_shapes_that_onnx_infers(write: Write, data: st.DataObject) -> None:
    kernel, strides, dilations = ([data.draw(SIZES), data.draw(SIZES)] for _ in range(3))
    operator = data.draw(st.sampled_from(["Conv", "MaxPool", "AveragePool", "ConvTranspose"]))
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if operator == "ConvTranspose" or data.draw(st.booleans()):  # of SAME with either, onnx infers what its text denies
        attributes["pads"] = [data.draw(st.integers(0, size - 1)) for size in (*kernel, *kernel)]
        attributes |= (
            {"ceil_mode": data.draw(st.integers(0, 1))} if operator.endswith("Pool") else {"dilations": dilations}
        )
    else:
        attributes["auto_pad"] = data.draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    inputs = ["x"] if operator.endswith("Pool") else ["x", "w"]
    nodes = [helper.make_node(operator, inputs, ["y"], **attributes)]
    path = write(nodes, (1, 4, 11, 13), {"w": (4, 4, *kernel)}, opset=22)  # before it, onnx infers windows too many
    assert steps_of(model_of(path)).shapes["y"] == inferred(path)


def inferred(path: Path) -> tuple[int, ...]:
    (y,) = shape_inference.infer_shapes(load(path), strict_mode=True).graph.output
    return tuple(dim.dim_value for dim in y.type.tensor_type.shape.dim)


def node_models(folder: Path, modules: Sequence[str]) -> Iterator[Path]:
    """The models of onnx's node tests: of some of its modules, or of all where none is named."""
    from importlib import import_module

    from onnx.backend.test.case import node
    from onnx.backend.test.loader import load_node_model_tests

    for module in modules:
        import_module(f"{node.__name__}.{module}")
    known = {f"test_{module}" for module in modules}
    for case in node._NodeTestCases if modules else load_node_model_tests():
        if not modules or any(case.name.startswith(each) for each in known):
            path = folder / f"{case.name}.onnx"
            path.write_bytes(case.model.SerializeToString())
            yield path


def told_rightly(paths: Iterable[Path]) -> int:
    """How many of the models have shapes that are told without a guess; each must be what its author declares."""
    count = 0
    for path in paths:
        try:
            model = model_of(path)
        except VlmError:
            continue
        graph = steps_of(model)
        if graph.unknown or any(each.unknown for each in model.graph.outputs):
            continue
        count += 1
        assert {each.name: graph.shapes[each.name] for each in model.graph.outputs} == {
            each.name: each.shape for each in model.graph.outputs
        }, path.stem
    return count


def test_shapes_are_those_that_onnx_declares_in_its_own_tests(tmp_path: Path) -> None:
    assert told_rightly(node_models(tmp_path, MODULES)) >= LEAST_MODELS


@pytest.mark.slow
def test_shapes_are_those_of_all_of_onnx_own_tests(tmp_path: Path) -> None:
    assert told_rightly(node_models(tmp_path, ())) > 4 * LEAST_MODELS


def exported(name: str, path: Path) -> int:
    """Writes the untrained backbone at 32 pixels as vlm-export does; the products that its manifest would state."""
    from vlm_export.graph import onnx_from_module
    from vlm_train.backbones import backbone_from_timm, module_from_backbone

    backbone = backbone_from_timm(name, tuple("0123456789"), 32, (0.5,) * 3, (0.5,) * 3)
    path.write_bytes(onnx_from_module(module_from_backbone(backbone), backbone, 18).SerializeToString())
    assert isinstance(backbone.macs, int)
    return backbone.macs


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_products_are_those_of_the_manifest(tmp_path: Path, name: str) -> None:
    macs = exported(name, tmp_path / "m.onnx")
    costs = costs_of(tmp_path / "m.onnx")
    assert costs.unknown == ()
    assert {each.kind for each in costs.operations} <= set(KINDS)
    assert sum(each.macs for each in costs.operations) == pytest.approx(macs, rel=0.01)


OPERATORS = ["Conv", "MatMul", "Reshape", "Transpose", "Slice", "Concat", "Pad", "Split", "Gather", "Relu", "Resize"]
OPERATORS += [
    "Softmax",
    "ReduceMean",
    "Einsum",
    "Squeeze",
    "Expand",
    "Range",
    "MaxPool",
    "Gemm",
    "Constant",
    "Nonsense",
]
NAMES = st.sampled_from(["x", "w", "n", "a", "b", "c", ""])
VALUES = st.one_of(st.integers(-9, 9), st.lists(st.integers(-9, 2**62), max_size=5), st.text(max_size=3))
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["axis", "axes", "perm", "pads", "strides", "kernel_shape", "group", "equation", "split", "to"]),
    VALUES.filter(lambda value: value != []),
    max_size=3,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    nodes=st.lists(
        st.tuples(st.sampled_from(OPERATORS), st.lists(NAMES, max_size=4), ATTRIBUTES), min_size=3, max_size=3
    )
)
def test_a_graph_that_makes_no_sense_is_counted_or_refused_never_worse(
    write: Write, nodes: list[tuple[str, list[str], dict[str, Any]]]
) -> None:
    made = [
        helper.make_node(operator, inputs, [output], **attributes)
        for (operator, inputs, attributes), output in zip(nodes, ("a", "b", "y"), strict=True)
    ]
    path = write(made, weights={"w": (8, 8, 3, 3)}, numbers={"n": [0, -1, 2]})
    try:
        costs = costs_of(path)
    except VlmError:
        return
    assert all(min(each.macs, each.reads, each.writes, each.weights) >= 0 for each in costs.operations)
