"""The shapes that the layers of a network make of their inputs': convolutions, pools and matrix products."""

from collections.abc import Sequence
from math import ceil, prod

from vlm_profile.graph.call import Call, Shape, Unknown


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that these come to, as ONNX and numpy have it. Raises ValueError where they do not fit."""
    rank = max(map(len, shapes), default=0)
    sizes = [{each[axis] for each in ((1,) * (rank - len(s)) + s for s in shapes)} - {1} for axis in range(rank)]
    if any(len(found) > 1 for found in sizes):
        raise ValueError(" and ".join("x".join(map(str, shape)) for shape in shapes))
    return tuple(found.pop() if found else 1 for found in sizes)


def _windows(call: Call, sizes: Shape, kernel: Sequence[int], *, rounding_up: bool = False) -> Shape:
    """Places of a window along each spatial axis (ONNX: Conv, MaxPool)."""
    rank = len(sizes)
    strides = call.integers("strides") or (1,) * rank
    dilations = call.integers("dilations") or (1,) * rank
    pads = call.integers("pads") or (0,) * (2 * rank)
    found = []
    for axis, size in enumerate(sizes):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if call.word("auto_pad", "NOTSET").startswith("SAME"):
            found.append(ceil(size / strides[axis]))
            continue
        room = size + pads[axis] + pads[axis + rank] - reach
        places = (-(-room // strides[axis]) if rounding_up else room // strides[axis]) + 1
        if rounding_up and (places - 1) * strides[axis] >= size + pads[axis]:
            places -= 1  # a window that begins in the padding behind is none
        if places < 1:
            raise ValueError(f"a window of {reach} does not fit into {size}")
        found.append(places)
    return tuple(found)


def conv(call: Call) -> Shape:
    weights = call.shape(3 if call.node.operator == "QLinearConv" else 1)
    images = call.shape()
    return (images[0], weights[0], *_windows(call, images[2:], weights[2:]))


def conv_transpose(call: Call) -> Shape:
    images, weights = call.shape(), call.shape(1)
    rank = len(images) - 2
    if sizes := call.integers("output_shape"):
        return (images[0], weights[1] * call.integer("group", 1), *sizes[-rank:])
    strides, dilations = (call.integers(name) or (1,) * rank for name in ("strides", "dilations"))
    pads, more = call.integers("pads") or (0,) * (2 * rank), call.integers("output_padding") or (0,) * rank
    if call.word("auto_pad", "NOTSET").startswith("SAME"):
        spatial = [size * stride for size, stride in zip(images[2:], strides, strict=True)]
    else:
        spatial = [
            strides[a] * (images[2 + a] - 1)
            + more[a]
            + dilations[a] * (weights[2 + a] - 1)
            + 1
            - pads[a]
            - pads[rank + a]
            for a in range(rank)
        ]
    return (images[0], weights[1] * call.integer("group", 1), *spatial)


def pool(call: Call) -> list[Shape]:
    images = call.shape()
    kernel = call.integers("kernel_shape") or ()
    found = (*images[:2], *_windows(call, images[2:], kernel, rounding_up=bool(call.integer("ceil_mode", 0))))
    return [found] * len(call.node.outputs)


def global_pool(call: Call) -> Shape:
    images = call.shape()
    return (*images[:2], *(1 for _ in images[2:]))


def gemm(call: Call) -> Shape:
    a, b = call.shape(), call.shape(1)
    return a[1 if call.integer("transA", 0) else 0], b[0 if call.integer("transB", 0) else 1]


def matmul(call: Call) -> Shape:
    a, b = call.shape(), call.shape(3 if call.node.operator == "QLinearMatMul" else 1)
    if call.integer("transA", 0):
        a = (*a[:-2], a[-1], a[-2])
    if call.integer("transB", 0):
        b = (*b[:-2], b[-1], b[-2])
    if len(b) == 1:
        return a[:-1]
    if len(a) == 1:
        return (*b[:-2], b[-1])
    return (*broadcast([a[:-2], b[:-2]]), a[-2], b[-1])


def einsum(call: Call) -> Shape:
    sizes = labels_of(call)
    inputs, arrow, output = call.word("equation", "").replace(" ", "").partition("->")
    if not arrow:
        output = "".join(sorted(label for label in sizes if inputs.count(label) == 1))
    return tuple(sizes[label] for label in output)


def labels_of(call: Call) -> dict[str, int]:
    """The size behind each letter of an Einsum's equation. Raises Unknown where it has an ellipsis."""
    terms = call.word("equation", "").replace(" ", "").partition("->")[0].split(",")
    if "." in "".join(terms):
        raise Unknown("its equation has an ellipsis")
    return {label: size for i, term in enumerate(terms) for label, size in zip(term, call.shape(i), strict=True)}


def batch_norm(call: Call) -> list[Shape]:
    """While a network learns, statistics are outputs too."""
    return [call.shape(), *[call.shape(1)] * (len(call.node.outputs) - 1)]


def layer_norm(call: Call) -> list[Shape]:
    shape = call.shape()
    axis = call.integer("axis", -1) % len(shape)
    return [shape, *[(*shape[:axis], *(1 for _ in shape[axis:]))] * (len(call.node.outputs) - 1)]


def attention(call: Call) -> Shape:
    """Of queries, keys and values: by heads, or with the heads beside each other in the last dimension."""
    queries, values = call.shape(), call.shape(2)
    if len(queries) == 4:
        return (*queries[:3], values[3])
    heads = call.integer("q_num_heads", 1)
    return (*queries[:2], heads * (values[2] // call.integer("kv_num_heads", heads)))


def attention_macs(call: Call, output: Shape) -> int:
    """Products of the scores, and of what they weigh: each element meets all tokens that are attended to."""
    return (prod(call.shape()) + prod(output)) * call.shape(1)[-2]
