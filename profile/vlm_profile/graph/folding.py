"""The small numbers that shapes are computed with, where a graph takes them from the shape of its input."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from vlm_profile.graph.call import Call, Shape, Unknown
from vlm_profile.graph.shapes import part_of_shape, slices_of
from vlm_profile.onnxfile.data import floats_of, integers_of, numbers_of
from vlm_profile.onnxfile.parts import Node

if TYPE_CHECKING:
    import numpy

MOST_NUMBERS = 1024  # of a tensor that shapes may be computed from; a mask or a weight is larger


def constant_numbers(node: Node) -> "numpy.ndarray[Any, Any] | None":
    """Of a Constant, whichever attribute holds them; None where they are many or no numbers."""
    import numpy

    attributes = node.attributes
    if "value" in attributes and (tensor := attributes["value"].tensor) is not None:
        return numbers_of(tensor) if tensor.elements <= MOST_NUMBERS else None
    if "value_int" in attributes:
        return numpy.array(attributes["value_int"].number)
    if "value_ints" in attributes:
        return numpy.array(integers_of(attributes["value_ints"].ints), numpy.int64)
    if "value_float" in attributes:
        return floats_of((attributes["value_float"].float,)).reshape(())
    if "value_floats" in attributes:
        return floats_of(attributes["value_floats"].floats)
    return None


def numbers_after(call: Call, shape: Shape) -> "numpy.ndarray[Any, Any] | None":
    """What the node computes, where that is a few numbers that shapes may hang on; None where it is not known."""
    import numpy

    if prod(shape) > MOST_NUMBERS:
        return None
    try:
        with numpy.errstate(all="ignore"):
            found = _computed(call, shape)
            return None if found is None else numpy.asarray(found).reshape(shape)
    except (Unknown, ValueError, IndexError, TypeError, OverflowError):
        return None


def _computed(call: Call, shape: Shape) -> Any:
    import numpy

    operator = call.node.operator
    if operator == "Shape":
        return numpy.array(part_of_shape(call), numpy.int64)
    if operator == "Size":
        return call.value(0).elements
    if operator == "Constant":
        return constant_numbers(call.node)
    known = [value.numbers for value in call.inputs if value is not None]
    if operator not in NUMBERS or any(numbers is None for numbers in known):
        return None
    return NUMBERS[operator](call, known, shape)


def _divided(_call: Call, x: Sequence[Any], _shape: Shape) -> Any:
    """Whole numbers are cut towards zero, as ONNX has it."""
    import numpy

    quotient = numpy.divide(x[0], x[1])
    return numpy.trunc(quotient).astype(x[0].dtype) if x[0].dtype.kind in "iu" else quotient


def _cast(call: Call, x: Sequence[Any], _shape: Shape) -> Any:
    """To a whole number or a float; TensorProto.DataType has 1, 10, 11 and 16 for floats."""
    return x[0].astype("f8" if call.integer("to", 1) in (1, 10, 11, 16) else "i8")


def _filled(call: Call, _x: Sequence[Any], shape: Shape) -> Any:
    import numpy

    attribute = call.node.attributes.get("value")
    filling = numbers_of(attribute.tensor) if attribute and attribute.tensor else None
    return numpy.full(shape, 0 if filling is None else filling.ravel()[0])


def _numpy(name: str) -> Callable[[Call, Sequence[Any], Shape], Any]:
    """numpy's function of that name, of all inputs."""

    def of(_call: Call, x: Sequence[Any], _shape: Shape) -> Any:
        import numpy

        return getattr(numpy, name)(*x)

    return of


def _reshaped(_call: Call, x: Sequence[Any], shape: Shape) -> Any:
    return x[0].reshape(shape)


def _taken(call: Call, x: Sequence[Any], _shape: Shape) -> Any:
    return x[0].take(x[1].astype("i8"), axis=call.integer("axis", 0))


def _clipped(call: Call, x: Sequence[Any], _shape: Shape) -> Any:
    """Either bound may be left out."""
    bounds = [value.numbers if value else None for value in (*call.inputs[1:3], None, None)][:2]
    return x[0].clip(*bounds) if any(bound is not None for bound in bounds) else x[0]


def _joined(call: Call, x: Sequence[Any], _shape: Shape) -> Any:
    import numpy

    return numpy.concatenate(x, axis=call.integer("axis", 0))


def _spread(_call: Call, x: Sequence[Any], shape: Shape) -> Any:
    import numpy

    return numpy.broadcast_to(x[0], shape)


NUMBERS: Mapping[str, Callable[[Call, Sequence[Any], Shape], Any]] = {
    "Abs": _numpy("absolute"),
    "Add": _numpy("add"),
    "Cast": _cast,
    "Ceil": _numpy("ceil"),
    "Clip": _clipped,
    "Concat": _joined,
    "ConstantOfShape": _filled,
    "Div": _divided,
    "Equal": _numpy("equal"),
    "Expand": _spread,
    "Floor": _numpy("floor"),
    "Gather": _taken,
    "Greater": _numpy("greater"),
    "Identity": _reshaped,
    "Less": _numpy("less"),
    "Max": _numpy("maximum"),
    "Min": _numpy("minimum"),
    "Mod": _numpy("mod"),
    "Mul": _numpy("multiply"),
    "Neg": _numpy("negative"),
    "Not": _numpy("logical_not"),
    "Pow": _numpy("power"),
    "Range": _numpy("arange"),
    "ReduceProd": lambda _call, x, shape: x[0].prod().reshape(shape),
    "Reshape": _reshaped,
    "Sign": _numpy("sign"),
    "Slice": lambda call, x, _shape: x[0][slices_of(call)],
    "Sqrt": _numpy("sqrt"),
    "Squeeze": _reshaped,
    "Sub": _numpy("subtract"),
    "Transpose": lambda call, x, _shape: x[0].transpose(call.integers("perm")),
    "Unsqueeze": _reshaped,
    "Where": _numpy("where"),
}
