"""What kind of work an ONNX operator is, and how much of it."""

# ruff: noqa: SIM905 (words in rows are read more easily than in a column)

from math import prod

from vlm_profile.graph.call import Call, Shape
from vlm_profile.graph.layers import attention_macs, labels_of

# Kinds of steps, by operator; one that is in none of them is "elementwise", and said to be unknown where nothing is
# known of its shape either.
CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "FusedConv", "QLinearConv"})
MATMULS = frozenset({"Einsum", "FusedGemm", "FusedMatMul", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"})
NORMS = frozenset(
    "GroupNormalization InstanceNormalization LayerNormalization LogSoftmax LpNormalization LRN "
    "MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization Softmax".split()
)
POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"})
LAYOUTS = frozenset(
    "Concat DepthToSpace Expand Gather GatherElements GatherND Pad Resize ScatterElements ScatterND Slice SpaceToDepth "
    "Split Tile Transpose Upsample".split()
)
VIEWS = frozenset(
    "Cast CastLike DequantizeLinear DynamicQuantizeLinear Dropout Flatten Identity QuantizeLinear Reshape Squeeze "
    "Unsqueeze".split()
)
MOVES_NOTHING = frozenset({"Concat", "Expand", "Pad", "Resize", "Slice", "Split", "Tile", "Transpose"})  # at times
CONVOLUTION_KINDS = frozenset({"conv", "grouped", "depthwise"})
ATTENTION = "Attention"  # of ONNX's own since version 23
SECOND_FACTOR_AT = {"QLinearConv": 3, "QLinearMatMul": 3}  # its place among the inputs; of others 1


def counts_products(operator: str) -> bool:
    """Whether an operator is a convolution, a matrix product or attention."""
    return operator in CONVOLUTIONS | MATMULS | {ATTENTION}


def is_view(call: Call, shapes: list[Shape]) -> bool:
    """Whether the numbers stay where they are, under another shape or type; `shapes` are those of the outputs."""
    operator = call.node.operator
    if operator in VIEWS:
        return True
    if operator not in MOVES_NOTHING or len(shapes) != 1 or call.inputs[0] is None:
        return False
    shape = call.shape()
    if operator == "Transpose":
        moved = [axis for axis in call.integers("perm") or reversed(range(len(shape))) if shape[axis] != 1]
        return moved == sorted(moved)
    return shape == shapes[0]


def kind_of(call: Call) -> str:
    """Of costs.KINDS, before steps are fused; and "reduce", of which norms and pools are made."""
    operator = call.node.operator
    if operator == ATTENTION:
        return "attention"
    if operator in CONVOLUTIONS:
        return _kind_of_convolution(call)
    for kind, operators in (("matmul", MATMULS), ("norm", NORMS), ("pool", POOLS), ("layout", LAYOUTS)):
        if operator in operators:
            return kind
    return "reduce" if operator.startswith("Reduce") else "elementwise"


def _kind_of_convolution(call: Call) -> str:
    groups = call.integer("group", 1)
    if groups == 1:
        return "conv"
    return "depthwise" if call.shape()[1:2] == (groups,) else "grouped"


def macs_of(call: Call, output: Shape) -> int:
    """Products of a convolution or a matrix product, as torch's FlopCounterMode counts them; 0 of all else.

    Raises Unknown.
    """
    operator = call.node.operator
    if operator == ATTENTION:
        return attention_macs(call, output)
    if operator not in CONVOLUTIONS | MATMULS:
        return 0
    if operator == "Einsum":
        sizes = labels_of(call)
        return prod(sizes.values()) if len(call.inputs) > 1 else 0
    weights = call.shape(SECOND_FACTOR_AT.get(operator, 1))
    if operator == "ConvTranspose":
        return prod(call.shape()) * prod(weights[1:])
    if operator in CONVOLUTIONS:
        return prod(output) * prod(weights[1:])
    rows = call.shape()
    return prod(output) * rows[-2 if call.integer("transA", 0) and len(rows) > 1 else -1]
