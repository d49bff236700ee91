"""Preprocessing inside the graph: bytes in, classes out, so that a board needs no Python to use the model.

An image is prepared as vlm_train prepares its files: the centre square, scaled as Pillow scales it (bilinearly and,
where it shrinks, with antialiasing), then normalised. ONNX's Resize is not used: its `antialias` came with opset 18,
TensorRT 10 and TensorRT-RTX refuse it, and TensorRT 8.6 passes over it in silence. A bilinear filter is linear, so each
axis is one product with a matrix of weights, which the graph computes from the image's size with operators that every
opset from 13 has. They stay FP32 in every graph; of the runtimes known to us, TensorRT-RTX has no such product on SM75.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from vlm_contract.card import Backbone
from vlm_contract.errors import VlmError
from vlm_export.graph import INPUT, OUTPUT, Model, opset_of

PIXELS, PROBABILITIES, LABELS = "pixels", "probabilities", "labels"
LEAST_OPSET = 13  # ReduceSum takes its axes as an input from there on
OWN = "preprocessing/"  # begins every name that is put into the graph


def embed_preprocessing(model: Model, backbone: Backbone) -> Model:
    """A copy of a graph that prepares its images itself, and gives classes; whatever the precision of the graph is.

    Input `pixels`: uint8 [batch, height, width, channels], any size from 1 pixel. Outputs `probabilities`: float32
    [batch, classes], `labels`: int64 [batch]. The given graph takes `images`, float32 [batch, channels, size, size],
    and gives `logits`, float32. Images of the model's size reach it exactly as `preprocessed` gives them; others differ
    in single pixels by one level of 255, where the mean falls midway between two. Raises VlmError where the graph's
    operators are older than opset 13.
    """
    import onnx

    if (opset := opset_of(model)) < LEAST_OPSET:
        raise VlmError(
            f"The graph uses opset {opset}; preprocessing can be put into one of opset {LEAST_OPSET} or later.",
            hint="--preprocess outside",
        )
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    graph = whole.graph
    preparing, constants = _preparing_nodes(backbone)
    nodes = [*preparing, *graph.node, *_concluding_nodes()]
    inputs, outputs = _interface(graph, backbone)
    for field, values in (("node", nodes), ("input", inputs), ("output", outputs)):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    graph.initializer.extend(constants)
    return whole


def preprocessed(pixels: npt.NDArray[np.uint8], backbone: Backbone) -> npt.NDArray[np.float32]:
    """The same done outside: uint8 [n, h, w, c] of any size as the float32 [n, c, s, s] that the model takes."""
    from vlm_train.data import normalised

    scaled = np.stack([_square(image, backbone.image_size) for image in pixels])
    return normalised(scaled.reshape(*scaled.shape[:3], backbone.channels), backbone.mean, backbone.std)


def probabilities_and_labels(
    logits: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """What the graph concludes from logits [n, classes], computed outside."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), logits.argmax(axis=1)


def _square(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The centre square of an image [h, w, c], scaled by Pillow: [s, s, c], or [s, s] where there is one channel."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    if shorter == size:
        return np.asarray(image.crop((round(left), round(top), round(left) + size, round(top) + size)))
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _interface(graph: Any, backbone: Backbone) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of the whole; the batch is that of the given graph, fixed or dynamic."""
    from onnx import TensorProto, helper

    (images,), (logits,) = graph.input, graph.output
    first = images.type.tensor_type.shape.dim[0]
    batch, classes = first.dim_param or first.dim_value, logits.type.tensor_type.shape.dim[1].dim_value
    value = helper.make_tensor_value_info
    return (
        [value(PIXELS, TensorProto.UINT8, [batch, "height", "width", backbone.channels])],
        [value(PROBABILITIES, TensorProto.FLOAT, [batch, classes]), value(LABELS, TensorProto.INT64, [batch])],
    )


def _preparing_nodes(backbone: Backbone) -> tuple[list[Any], list[Any]]:
    """From `pixels` to `images`. Rounding after each axis, the horizontal one first, is what Pillow does."""
    draft = _Draft()
    size = draft.constant("size", np.int64(backbone.image_size))
    height, width = draft.sides()
    shorter = draft.node("Min", height, width)
    scale = draft.node("Div", draft.as_float(shorter), draft.as_float(size))
    fits = draft.node("Equal", shorter, size)
    rows, columns = (
        draft.weights(side, shorter, scale, fits, backbone.image_size, name)
        for side, name in ((height, "rows"), (width, "columns"))
    )
    planes = draft.node("Transpose", draft.as_float(PIXELS), perm=[0, 3, 1, 2])
    narrowed = draft.rounded(draft.node("MatMul", planes, draft.node("Transpose", columns, perm=[1, 0])))
    square = draft.rounded(draft.node("MatMul", rows, narrowed))
    scaled = draft.node("Div", square, draft.constant("255", np.float32(255)))
    mean, std = (np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (backbone.mean, backbone.std))
    centred = draft.node("Sub", scaled, draft.constant("mean", mean))
    draft.node("Div", centred, draft.constant("std", std), output=INPUT)
    return draft.nodes, draft.constants


def _concluding_nodes() -> list[Any]:
    from onnx import helper

    return [
        helper.make_node("Softmax", [OUTPUT], [PROBABILITIES], f"{OWN}softmax", axis=1),
        helper.make_node("ArgMax", [OUTPUT], [LABELS], f"{OWN}argmax", axis=1, keepdims=0),
    ]


class _Draft:
    """Nodes and constants of a graph in the making; each node's method gives the name of what it makes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = f"{OWN}{len(self.nodes)}_{operator.lower()}"
        self.nodes.append(helper.make_node(operator, inputs, [output or name], name, **attributes))
        return output or name

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        if all(known.name != OWN + name for known in self.constants):
            self.constants.append(numpy_helper.from_array(np.asarray(value), OWN + name))
        return OWN + name

    def as_float(self, value: str) -> str:
        from onnx import TensorProto

        return self.node("Cast", value, to=TensorProto.FLOAT)

    def sides(self) -> tuple[str, str]:
        """Height and width of `pixels`: int64 scalars."""
        shape = self.node("Shape", PIXELS)
        height, width = (
            self.node("Gather", shape, self.constant(f"axis {axis}", np.int64(axis)), axis=0) for axis in (1, 2)
        )
        return height, width

    def rounded(self, values: str) -> str:
        """Halves upwards; ONNX's Round takes them to even numbers."""
        return self.node("Floor", self.node("Add", values, self.constant("half", np.float32(0.5))))

    def weights(self, side: str, shorter: str, scale: str, fits: str, size: int, name: str) -> str:
        """The share [size, side] that each pixel along a side has in each pixel of the square's.

        A triangle about each centre, as wide as two pixels of the coarser grid: Pillow's `precompute_coeffs`. A square
        that fits is cut out at whole pixels, and then the shares are 0 and 1.
        """
        half, one = self.constant("half", np.float32(0.5)), self.constant("one", np.float32(1))
        centres = self.constant("centres", (np.arange(size, dtype=np.float32) + np.float32(0.5))[:, None])
        margin = self.node("Mul", self.as_float(self.node("Sub", side, shorter)), half)
        start = self.node("Where", fits, self.node("Round", margin), margin)
        numbers = self.node("Range", self.constant("0", np.int64(0)), side, self.constant("1", np.int64(1)))
        places = self.node("Sub", self.node("Add", self.as_float(numbers), half), start)
        distances = self.node("Abs", self.node("Sub", places, self.node("Mul", centres, scale)))
        reach = self.node("Max", scale, one)
        shares = self.node("Relu", self.node("Sub", one, self.node("Div", distances, reach)))
        total = self.node("ReduceSum", shares, self.constant("last axis", np.array([1], np.int64)), keepdims=1)
        return self.node("Div", shares, total, output=f"{OWN}{name}")
