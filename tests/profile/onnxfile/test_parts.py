"""What a graph says of itself: attributes, values, initializers and the few numbers that shapes are made of."""

import numpy
import pytest
from onnx import TensorProto, helper, numpy_helper

from vlm_profile.onnxfile.data import SHAPE_LIMIT_BYTES, floats_of, integers_of, numbers_of
from vlm_profile.onnxfile.parts import Graph, model_from_bytes


def graph_of(*nodes: object, tensors: list[TensorProto] | None = None) -> Graph:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    between = helper.make_tensor_value_info("h", TensorProto.FLOAT16, ["batch", 5])
    graph = helper.make_graph(nodes, "g", [x], [y], tensors or [], value_info=[between])
    return model_from_bytes(memoryview(helper.make_model(graph).SerializeToString())).graph


def test_inputs_keep_their_places_though_one_is_left_out() -> None:
    (node,) = graph_of(helper.make_node("Clip", ["x", "", "high"], ["y"])).nodes
    assert (node.inputs, node.needs) == (("x", "", "high"), {"x", "high"})


def test_attributes_are_read_whatever_their_type() -> None:
    tensor = numpy_helper.from_array(numpy.array([1.5, 2.5], numpy.float32))
    settings = {"a": -3, "b": [2, -1], "c": "word", "d": 0.5, "e": [0.25, 4.0], "f": tensor}
    (node,) = graph_of(helper.make_node("Any", ["x"], ["y"], **settings)).nodes
    found = node.attributes
    assert (found["a"].number, integers_of(found["b"].ints), bytes(found["c"].text)) == (-3, (2, -1), b"word")
    assert floats_of([found["d"].float]) == 0.5
    assert floats_of(found["e"].floats).tolist() == [0.25, 4.0]
    assert found["f"].tensor is not None
    assert numbers_of(found["f"].tensor).tolist() == [1.5, 2.5]  # type: ignore[union-attr]


def test_values_say_which_dimensions_are_unknown_and_which_have_no_name() -> None:
    graph = graph_of(helper.make_node("Relu", ["x"], ["y"]))
    (x,), (y,) = graph.inputs, graph.outputs
    assert (x.shape, x.unknown, x.unnamed) == ((1, 3, 1), (0, 2), (2,))
    assert (y.shape, y.unknown, y.unnamed) == ((2, 3), (), ())
    assert graph.values["h"].shape == (1, 5)


@pytest.mark.parametrize("kind", ["int32", "int64", "float32", "float64", "bool"])
@pytest.mark.parametrize("raw", [True, False])
def test_the_numbers_of_a_tensor_are_read_from_either_field(kind: str, raw: bool) -> None:
    array = numpy.array([[0, 1], [1, 0]], kind) if kind == "bool" else numpy.array([[-3, 1], [70000, 0]], kind)
    tensor = numpy_helper.from_array(array, "w")
    if not raw:
        tensor = helper.make_tensor("w", tensor.data_type, array.shape, array.ravel().tolist())
    found = numbers_of(graph_of(helper.make_node("Relu", ["x"], ["y"]), tensors=[tensor]).initializers["w"])
    assert found is not None
    assert (found.dtype, found.tolist()) == (array.dtype, array.tolist())


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(name="w", dims=[2], data_type=TensorProto.STRING, string_data=[b"a", b"b"]),
        TensorProto(name="w", dims=[2], data_type=TensorProto.INT64, data_location=TensorProto.EXTERNAL),
        TensorProto(name="w", dims=[2], data_type=TensorProto.INT64, raw_data=bytes(15)),
        TensorProto(name="w", dims=[2], data_type=TensorProto.INT64, int64_data=[1, 2, 3]),
    ],
    ids=["words", "outside", "cut short", "too many"],
)
def test_what_are_no_numbers_of_that_shape_are_none(tensor: TensorProto) -> None:
    graph = graph_of(helper.make_node("Relu", ["x"], ["y"]), tensors=[tensor])
    assert numbers_of(graph.initializers["w"]) is None


@pytest.mark.parametrize("piece", [bytes(SHAPE_LIMIT_BYTES + 1), b"\xff"], ids=["too many", "cut short"])
def test_numbers_that_make_no_shape_are_an_error(piece: bytes) -> None:
    with pytest.raises(ValueError, match=r"too many|does not end"):
        integers_of([memoryview(piece)])
