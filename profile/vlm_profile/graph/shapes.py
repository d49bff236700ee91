"""The shapes that an ONNX operator makes of its inputs' shapes."""

# ruff: noqa: SIM905 (words in rows are read more easily than in a column)

from collections.abc import Callable, Mapping
from math import ceil, prod

from vlm_profile.graph import layers
from vlm_profile.graph.call import Call, Shape, Unknown
from vlm_profile.graph.layers import broadcast
from vlm_profile.onnxfile.data import floats_of, integers_of

DOMAINS = ("", "com.microsoft")  # ONNX's own, and ONNX Runtime's, whose names for the same are the same
OTHER_ATTENTION = ("com.microsoft", "Attention")  # but this one


def shapes_of(call: Call) -> list[Shape]:
    """Of the node's outputs. Raises Unknown."""
    try:
        found = _shapes(call)
    except (ValueError, IndexError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise Unknown(f"its inputs do not fit: {error}") from None
    if len(found) < len(call.node.outputs):
        raise Unknown("it has more outputs than are known")
    if any(size < 0 for shape in found for size in shape):
        raise Unknown("its inputs do not fit")
    return found


def _shapes(call: Call) -> list[Shape]:
    operator, domain = call.node.operator, call.node.function[0]
    if domain not in DOMAINS or (domain, operator) == OTHER_ATTENTION:
        raise Unknown("nothing is known of it")
    if operator in SAME:
        return [call.shape()] * len(call.node.outputs)
    if operator in BROADCAST:
        return [broadcast([value.shape for value in call.inputs if value is not None])]
    if operator.startswith("Reduce") or operator in ("ArgMax", "ArgMin"):
        return [_reduced(call)]
    if operator not in SHAPES:
        raise Unknown("nothing is known of it")
    found = SHAPES[operator](call)
    return [found] if isinstance(found, tuple) else found


SAME = frozenset(
    "Abs Acos Acosh Asin Asinh Atan Atanh BiasGelu Cast CastLike Ceil Celu Clip Cos Cosh CumSum "
    "DequantizeLinear Dropout Elu Erf Exp FastGelu Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax "
    "Identity InstanceNormalization IsInf IsNaN LeakyRelu Log LogSoftmax LpNormalization LRN "
    "MeanVarianceNormalization Mish Neg Not PRelu QuantizeLinear QuickGelu RMSNormalization Reciprocal Relu Round "
    "ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh SkipLayerNormalization "
    "Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu".split()
)
BROADCAST = frozenset(
    "Add And BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or "
    "Pow Sub Sum Where Xor".split()
)


def _reduced(call: Call) -> Shape:
    shape = call.shape()
    if call.node.operator.startswith("Arg"):
        axes: tuple[int, ...] | None = (call.integer("axis", 0),)
    else:
        axes = call.integers("axes", 1)
    if not axes:
        axes = () if call.integer("noop_with_empty_axes", 0) else tuple(range(len(shape)))
    gone = {axis % len(shape) for axis in axes}
    kept = [(1 if axis in gone else size) for axis, size in enumerate(shape)]
    if call.integer("keepdims", 1):
        return tuple(kept)
    return tuple(size for axis, size in enumerate(kept) if axis not in gone)


def _reshape(call: Call) -> Shape:
    shape, wanted = call.shape(), call.integers("shape", 1) or ()
    if not call.integer("allowzero", 0):
        wanted = tuple(shape[axis] if size == 0 else size for axis, size in enumerate(wanted))
    known = prod(size for size in wanted if size != -1)
    free = prod(shape) // known if known else 0
    found = tuple(free if size == -1 else size for size in wanted)
    if prod(found) != prod(shape):
        raise ValueError(f"{prod(shape)} elements cannot be {'x'.join(map(str, found))}")
    return found


def _flatten(call: Call) -> Shape:
    shape = call.shape()
    axis = call.integer("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return prod(shape[:axis]), prod(shape[axis:])


def _squeeze(call: Call) -> Shape:
    shape = call.shape()
    axes = call.integers("axes", 1)
    gone = {a % len(shape) for a in axes} if axes is not None else {a for a, size in enumerate(shape) if size == 1}
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


def _unsqueeze(call: Call) -> Shape:
    axes = call.integers("axes", 1) or ()
    rank = len(call.shape()) + len(axes)
    new, sizes = {axis % rank for axis in axes}, iter(call.shape())
    return tuple(1 if axis in new else next(sizes) for axis in range(rank))


def _transpose(call: Call) -> Shape:
    shape = call.shape()
    return tuple(shape[axis] for axis in call.integers("perm") or reversed(range(len(shape))))


def _concat(call: Call) -> Shape:
    shapes = [value.shape for value in call.inputs if value is not None]
    axis = call.integer("axis", 0) % len(shapes[0])
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def slices_of(call: Call) -> tuple[slice, ...]:
    """One for each dimension of the input."""
    rank = len(call.shape())
    starts, ends = call.integers("starts", 1) or (), call.integers("ends", 2) or ()
    axes = call.integers("axes", 3) or tuple(range(len(starts)))
    steps = call.integers("steps", 4) or (1,) * len(starts)
    found = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = call.shape()[axis % rank]
        at_begin = step < 0 and end < -size  # ONNX counts that as before the first, Python as from the last
        found[axis % rank] = slice(start, None if at_begin else end, step)
    return tuple(found)


def _slice(call: Call) -> Shape:
    return tuple(len(range(size)[cut]) for size, cut in zip(call.shape(), slices_of(call), strict=True))


def _split(call: Call) -> list[Shape]:
    shape, count = call.shape(), len(call.node.outputs)
    axis = call.integer("axis", 0) % len(shape)
    each = -(-shape[axis] // count)
    sizes = call.integers("split", 1) or (*(each,) * (count - 1), shape[axis] - each * (count - 1))
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _gather(call: Call) -> Shape:
    shape = call.shape()
    axis = call.integer("axis", 0) % len(shape)
    return (*shape[:axis], *call.shape(1), *shape[axis + 1 :])


def _gather_nd(call: Call) -> Shape:
    shape, indices, skipped = call.shape(), call.shape(1), call.integer("batch_dims", 0)
    return (*indices[:-1], *shape[skipped + indices[-1] :])


def _expand(call: Call) -> Shape:
    return broadcast([call.shape(), call.integers("shape", 1) or ()])


def _tile(call: Call) -> Shape:
    return tuple(size * times for size, times in zip(call.shape(), call.integers("repeats", 1) or (), strict=True))


def _pad(call: Call) -> Shape:
    shape, pads = call.shape(), call.integers("pads", 1) or ()
    axes = call.integers("axes", 3) or tuple(range(len(shape)))
    found = list(shape)
    for i, axis in enumerate(axes):
        found[axis] += pads[i] + pads[i + len(axes)]
    return tuple(found)


def _resize(call: Call) -> Shape:
    shape = call.shape()
    axes = call.integers("axes") or tuple(range(len(shape)))
    place = 2 if call.node.operator == "Resize" and call.opset > 10 else 1
    found = list(shape)
    sizes = call.integers("sizes", 3)
    if sizes:
        for axis, size in zip(axes, sizes, strict=True):
            found[axis] = size
        return tuple(found)
    scales = call.value(place).numbers
    if scales is None:
        raise Unknown("it computes its scales from the input")
    for axis, scale in zip(axes, scales.ravel(), strict=True):
        found[axis] = int(shape[axis] * float(scale))
    return tuple(found)


def _blocks(call: Call) -> Shape:
    images, size = call.shape(), call.integer("blocksize", 1)
    if call.node.operator == "DepthToSpace":
        return images[0], images[1] // size**2, images[2] * size, images[3] * size
    return images[0], images[1] * size**2, images[2] // size, images[3] // size


def _constant_of_shape(call: Call) -> Shape:
    return call.integers("shape", 0) or ()


def _constant(call: Call) -> Shape:
    attributes = call.node.attributes
    if "value" in attributes and (tensor := attributes["value"].tensor) is not None:
        return tensor.shape
    for name, pieces in (("value_ints", "ints"), ("value_floats", "floats")):
        if name in attributes:
            values = getattr(attributes[name], pieces)
            return (len(integers_of(values)) if pieces == "ints" else len(floats_of(values)),)
    return ()


def _range(call: Call) -> Shape:
    bounds = [call.value(place).numbers for place in range(3)]
    if any(bound is None for bound in bounds):
        raise Unknown("it computes its bounds from the input")
    start, limit, delta = (float(bound.ravel()[0]) for bound in bounds if bound is not None)
    return (max(0, ceil((limit - start) / delta)),)


def _topk(call: Call) -> list[Shape]:
    shape, count = list(call.shape()), call.integers("k", 1) or (1,)
    shape[call.integer("axis", -1)] = count[0]
    return [tuple(shape)] * 2


SHAPES: Mapping[str, Callable[[Call], Shape | list[Shape]]] = {
    "Attention": layers.attention,
    "AveragePool": layers.pool,
    "BatchNormalization": layers.batch_norm,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": layers.conv,
    "ConvInteger": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "DepthToSpace": _blocks,
    "DynamicQuantizeLinear": lambda call: [call.shape(), (), ()],
    "Einsum": layers.einsum,
    "Expand": _expand,
    "Flatten": _flatten,
    "FusedConv": layers.conv,
    "FusedGemm": layers.gemm,
    "FusedMatMul": layers.matmul,
    "Gather": _gather,
    "GatherElements": lambda call: call.shape(1),
    "GatherND": _gather_nd,
    "Gemm": layers.gemm,
    "GlobalAveragePool": layers.global_pool,
    "GlobalLpPool": layers.global_pool,
    "GlobalMaxPool": layers.global_pool,
    "LayerNormalization": layers.layer_norm,
    "LpPool": layers.pool,
    "MatMul": layers.matmul,
    "MatMulInteger": layers.matmul,
    "MaxPool": layers.pool,
    "Pad": _pad,
    "QLinearConv": layers.conv,
    "QLinearMatMul": layers.matmul,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda call: (len(part_of_shape(call)),),
    "SimplifiedLayerNormalization": layers.layer_norm,
    "Size": lambda _: (),
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _topk,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}


def part_of_shape(call: Call) -> Shape:
    """What the operator Shape gives."""
    shape = call.shape()
    return shape[call.integer("start", 0) : call.integer("end", len(shape))]
