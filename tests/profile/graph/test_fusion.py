"""Which operators run as one kernel: the patterns that backbones are made of, as exporters spell them."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper

from vlm_profile.graph.fusion import fused
from vlm_profile.graph.steps import Steps, steps_of
from vlm_profile.onnxfile.check import model_of

CHANNELS, PIXELS, TOKENS = 8, 6, 5
MATRIX, KERNEL, VECTOR = (CHANNELS, CHANNELS), (CHANNELS, CHANNELS, 1, 1), (CHANNELS,)
ONE: tuple[int, ...] = ()

Kinds = Callable[..., list[tuple[str, str]]]


def node(line: str, **attributes: object) -> NodeProto:
    """`y = Add x w`: a call, its output, operator and inputs."""
    output, _, rest = line.partition(" = ")
    operator, *inputs = rest.split()
    return helper.make_node(operator, inputs, output.split(","), **attributes)


def graph_of(folder: Path, nodes: Sequence[NodeProto], shape: Sequence[int], **weights: tuple[int, ...]) -> Steps:
    tensors = [TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT) for name, dims in weights.items()]
    numbers = {"minus1": [-1], "minus2": [-2], "zero": [0], "one": [1], "two": [2], "three": [3], "all": [99]}
    numbers |= {"spatial": [2, 3], "heads": [0, 0, 3, 2, 4], "rows": [0, 0, 8]}
    tensors += [helper.make_tensor(name, TensorProto.INT64, [len(each)], each) for name, each in numbers.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], outputs, tensors), opset_imports=[helper.make_opsetid("", 18)]
    )
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return steps_of(model_of(folder / "m.onnx"))


@pytest.fixture
def kinds(tmp_path: Path) -> Kinds:
    """The kind and the operators of each kernel of a graph on an image, or on tokens."""

    def found(
        nodes: Sequence[NodeProto], shape: Sequence[int] = (CHANNELS, PIXELS, PIXELS), **weights: tuple[int, ...]
    ) -> list[tuple[str, str]]:
        graph = graph_of(tmp_path, nodes, shape, **weights)
        assert graph.unknown == ()
        return [(each.kind, " ".join(step.operator for step in each.steps)) for each in fused(graph)]

    return found


def test_a_convolution_takes_normalisation_activation_and_shortcut_along(kinds: Kinds) -> None:
    nodes = [
        node("c = Conv x w"),
        node("n = BatchNormalization c v v v v"),
        node("a = Add n x"),
        node("y = Relu a"),
    ]
    assert kinds(nodes, w=KERNEL, v=VECTOR) == [("conv", "Conv BatchNormalization Add Relu")]


def test_the_later_of_two_branches_takes_their_sum_along(kinds: Kinds) -> None:
    nodes = [node("a = Conv x w"), node("b = Conv x w"), node("s = Add a b"), node("y = Relu s")]
    assert kinds(nodes, w=KERNEL) == [("conv", "Conv"), ("conv", "Conv Add Relu")]


def test_a_swish_that_is_spelled_out_goes_along(kinds: Kinds) -> None:
    nodes = [node("c = Conv x w"), node("s = Sigmoid c"), node("y = Mul c s")]
    assert kinds(nodes, w=KERNEL) == [("conv", "Conv Sigmoid Mul")]


def test_a_gelu_that_is_spelled_out_goes_along(kinds: Kinds) -> None:
    nodes = [
        node("m = MatMul x w"),
        node("l = Add m v"),
        node("d = Div l s"),
        node("e = Erf d"),
        node("o = Add e s"),
        node("h = Mul s o"),
        node("y = Mul l h"),
    ]
    assert kinds(nodes, (TOKENS, CHANNELS), w=MATRIX, v=VECTOR, s=ONE) == [("matmul", "MatMul Add Div Erf Add Mul Mul")]


def test_squeeze_and_excite_is_a_pool_two_small_convolutions_and_a_scale(kinds: Kinds) -> None:
    nodes = [
        node("c = Conv x w"),
        node("p = ReduceMean c spatial"),
        node("s = Conv p w"),
        node("r = Relu s"),
        node("e = Conv r w"),
        node("g = HardSigmoid e"),
        node("y = Mul c g"),
    ]
    expected = [("conv", "Conv"), ("pool", "ReduceMean"), ("conv", "Conv Relu"), ("conv", "Conv HardSigmoid")]
    assert kinds(nodes, w=KERNEL) == [*expected, ("elementwise", "Mul")]


def test_a_layer_normalisation_that_is_spelled_out_is_one(kinds: Kinds) -> None:
    nodes = [
        node("mean = ReduceMean x minus1"),
        node("d = Sub x mean"),
        node("q = Pow d s"),
        node("v = ReduceMean q minus1"),
        node("e = Add v s"),
        node("r = Sqrt e"),
        node("n = Div d r"),
        node("g = Mul n w"),
        node("b = Add g w"),
        node("y = ReduceMean b one"),
    ]
    spelled = "ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add"
    assert kinds(nodes, (TOKENS, CHANNELS), w=VECTOR, s=ONE) == [("norm", spelled), ("pool", "ReduceMean")]


def test_a_response_normalisation_is_one(kinds: Kinds) -> None:
    nodes = [
        node("n = ReduceL2 x spatial"),
        node("m = ReduceMean n one"),
        node("a = Add m s"),
        node("d = Div n a"),
        node("z = Mul x d"),
        node("y = Add x z"),
    ]
    assert kinds(nodes, s=ONE) == [("norm", "ReduceL2 ReduceMean Add Div Mul Add")]


def attention(*, masked: bool = False) -> list[NodeProto]:
    """Three heads of four channels from one product, as torch exports them; the product's bias is its own."""
    return [
        node("p = MatMul x qkv"),
        node("l = Add p bias"),
        node("r = Reshape l heads"),
        node("t = Transpose r", perm=[2, 0, 3, 1, 4]),
        *(node(f"{each}1 = Slice t {bounds} zero") for each, bounds in zip("qkv", BOUNDS, strict=True)),
        *(node(f"{each} = Squeeze {each}1 zero") for each in "qkv"),
        node("scaled = Mul q s"),
        node("kt = Transpose k", perm=[0, 1, 3, 2]),
        node("scores = MatMul scaled kt"),
        *([node("masked = Add scores mask")] if masked else []),
        node(f"a = Softmax {'masked' if masked else 'scores'}"),
        node("o = MatMul a v"),
        node("back = Transpose o", perm=[0, 2, 1, 3]),
        node("y = Reshape back rows"),
    ]


BOUNDS = ("zero one", "one two", "two three")
ATTENTION = {"qkv": (CHANNELS, 24), "bias": (24,), "s": ONE, "mask": (1, 2, TOKENS, TOKENS)}


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_one_from_the_product_before_it_to_what_it_weighs(tmp_path: Path, masked: bool) -> None:
    graph = graph_of(tmp_path, attention(masked=masked), (TOKENS, CHANNELS), **ATTENTION)
    product, one = fused(graph)
    assert (graph.unknown, product.kind, one.kind) == ((), "matmul", "attention")
    assert [step.operator for step in product.steps] == ["MatMul", "Add"]
    assert dict(one.inputs) == {"l": TOKENS * 24}
    assert one.macs == 2 * 2 * TOKENS * TOKENS * 4
    assert sum(one.weights.values()) - (2 * TOKENS * TOKENS if masked else 0) <= 8  # a scale, and where slices begin


def test_a_softmax_at_the_end_is_no_attention(kinds: Kinds) -> None:
    nodes = [node("m = MatMul x w"), node("y = Softmax m")]
    assert kinds(nodes, (TOKENS, CHANNELS), w=MATRIX) == [("matmul", "MatMul"), ("norm", "Softmax")]


def test_a_shift_is_one_move(kinds: Kinds) -> None:
    nodes = [
        node("a = Slice x zero two two"),
        node("b = Slice x two minus1 two"),
        node("c = Concat b a", axis=2),
        node("d = Slice c zero two three"),
        node("e = Slice c two minus1 three"),
        node("f = Concat e d", axis=3),
        node("y = Transpose f", perm=[0, 2, 3, 1]),
    ]
    assert kinds(nodes) == [("layout", "Slice Slice Concat Slice Slice Concat Transpose")]


def test_what_moves_nothing_vanishes(kinds: Kinds) -> None:
    nodes = [
        helper.make_node("Constant", [], ["flat"], value_ints=[1, CHANNELS, -1]),
        helper.make_node("Constant", [], ["none"], value_ints=[0] * 6),
        node("r = Reshape x flat"),
        node("t = Transpose r", perm=[1, 0, 2]),
        node("i = Identity t"),
        node("p = Pad i none"),
        node("s = Slice p zero all zero"),
        node("y = Relu s"),
    ]
    assert kinds(nodes) == [("elementwise", "Relu")]


def test_a_slice_reads_no_more_than_it_writes(tmp_path: Path) -> None:
    nodes = [node("s = Slice x zero one two"), node("y = Relu s")]
    (one,) = fused(graph_of(tmp_path, nodes, (CHANNELS, PIXELS, PIXELS)))
    assert dict(one.inputs) == {"x": CHANNELS * PIXELS}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Conv", "Relu", "Add", "Mul", "Transpose", "ReduceMean", "Softmax", "MatMul", "Concat", "Slice"]
        ),
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    min_size=1,
    max_size=30,
)


def random_nodes(steps: Sequence[tuple[str, int, int]]) -> list[NodeProto]:
    """Calls of operators on square tensors, each on values before it; the last one's output is the graph's."""
    names, nodes = ["x"], []
    for i, (operator, first, second) in enumerate(steps):
        a, b = names[first % len(names)], names[second % len(names)]
        name = "y" if i == len(steps) - 1 else f"v{i}"
        lines = {
            "Conv": f"{name} = Conv {a} w",
            "Add": f"{name} = Add {a} {b}",
            "Mul": f"{name} = Mul {a} {b}",
            "MatMul": f"{name} = MatMul {a} {b}",
            "ReduceMean": f"{name} = ReduceMean {a} minus1",
            "Slice": f"{name} = Slice {a} zero three one",
        }
        attributes = {"Transpose": {"perm": [0, 1, 3, 2]}, "Concat": {"axis": 1}}.get(operator, {})
        line = f"{name} = Concat {a} {b}" if operator == "Concat" else lines.get(operator, f"{name} = {operator} {a}")
        nodes.append(node(line, **attributes))
        names.append(name)
    return nodes


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_step_runs_once_and_after_what_it_needs(tmp_path: Path, steps: list[tuple[str, int, int]]) -> None:
    graph = graph_of(tmp_path, random_nodes(steps), (CHANNELS, CHANNELS, CHANNELS), w=KERNEL)
    kernels = fused(graph)
    assert Counter(id(step) for kernel in kernels for step in kernel.steps) == Counter(map(id, graph.steps))
    assert sum(kernel.macs for kernel in kernels) == sum(step.macs for step in graph.steps)
    there = set(graph.inputs)
    for kernel in kernels:
        assert there >= kernel.inputs.keys()
        there.update(kernel.outputs)
    assert there >= set(graph.outputs)
