"""The parts of an ONNX file that decide whether it may be opened: its graphs, functions and tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeVar

from vlm_profile.onnxfile.layout import (
    ATTRIBUTE,
    DIMENSION,
    ENTRY,
    FUNCTION,
    GRAPH,
    MODEL,
    NODE,
    OPERATOR_SET,
    SHAPE,
    SPARSE,
    TENSOR,
    TENSOR_TYPE,
    TYPE,
    VALUE,
)
from vlm_profile.onnxfile.wire import Damaged, Parts, Wire

MOST_FIELDS = 1_000_000  # read in a few seconds; the largest vision backbones have a tenth
MOST_DEEP = 30  # graphs inside graphs; protobuf's own limit of 100 messages comes to 33
MOST_DIMENSIONS = 64  # numpy has no more
MOST_ELEMENTS = 2**63 - 1
SHOWN = 80  # characters of a name from the file

# Bits of an element, by TensorProto.DataType: float to bool, float16 to bfloat16, five of 8, and those below 8 bits.
STRING = 8
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8}
BITS |= {10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
BITS |= {17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2, 27: 6, 28: 6}
LEAST_BITS = 2  # of a type that is not known yet

FunctionKey = tuple[str, str, str]  # domain, name, overload
T = TypeVar("T")


@dataclass(frozen=True)
class Tensor:
    """Numbers of the file, or of another that it names."""

    name: str
    shape: tuple[int, ...]
    type: int  # TensorProto.DataType
    raw: tuple[memoryview, ...]
    typed: Mapping[str, list[memoryview]]  # by the field that holds them, as they are encoded
    external: tuple[tuple[str, str], ...]  # where they stand in another file, as the file says it
    is_external: bool
    is_weight: bool  # an initializer or a constant; numbers of other operators have meanings of their own

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bits(self) -> int:
        """Of one element."""
        return BITS.get(self.type, LEAST_BITS)


@dataclass(frozen=True)
class Declared:
    """An input, an output, what the file says of a value, or what a sparse tensor is when it is dense."""

    name: str
    shape: tuple[int, ...]  # 1 where a dimension is unknown
    type: int
    unknown: tuple[int, ...] = ()  # which dimensions are
    unnamed: tuple[int, ...] = ()  # and have no name either

    @property
    def bytes(self) -> int:
        return prod(self.shape) * BITS.get(self.type, LEAST_BITS) // 8


@dataclass(frozen=True)
class Attribute:
    """A setting of an operator; of its fields the file sets the one that it is of."""

    number: int
    text: memoryview
    float: memoryview  # 4 bytes
    floats: tuple[memoryview, ...]  # as they are encoded
    ints: tuple[memoryview, ...]
    tensor: Tensor | None


@dataclass(frozen=True)
class Node:
    """One call of an operator or a function."""

    function: FunctionKey
    name: str
    inputs: tuple[str, ...]  # in their places; "" where one is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    needs: frozenset[str]  # what it reads, what its graphs read from outside too
    graphs: "tuple[Graph, ...]"

    @property
    def operator(self) -> str:
        return self.function[1]

    @property
    def label(self) -> str:
        return self.name or "".join(self.outputs[:1]) or self.operator


@dataclass(frozen=True)
class Graph:
    """Nodes with their inputs."""

    nodes: tuple[Node, ...]
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    values: Mapping[str, Declared]  # what the file says of values between nodes
    initializers: Mapping[str, Tensor]
    captured: frozenset[str]  # what it reads from the graphs around it


@dataclass(frozen=True)
class Model:
    """All that was read of a file."""

    opset: int  # the version of ONNX's own operators; 0 where the file names none
    graph: Graph
    functions: Mapping[FunctionKey, tuple[Node, ...]]
    tensors: tuple[Tensor, ...]  # of all graphs, functions and attributes
    sparse: tuple[Declared, ...]


def model_from_bytes(message: memoryview) -> Model:
    """Read a whole file. Raises Damaged."""
    reader = _Reader(Wire(MOST_FIELDS))
    parts = reader.wire.read(message, MODEL)
    if not parts["graph"]:
        raise Damaged("it has no graph")
    functions: dict[FunctionKey, tuple[Node, ...]] = {}
    for function in parts["functions"]:
        key, nodes = reader.function(function)
        if key in functions:
            raise Damaged(f"the function {shown(key[1])} stands twice")
        functions[key] = nodes
    graph = reader.graph(parts["graph"][0], 0)
    versions = [reader.wire.read(each, OPERATOR_SET) for each in parts["operator_sets"]]
    opset = max((_one(each, "version", 0) for each in versions if _domain(each) == ""), default=0)
    return Model(opset, graph, functions, tuple(reader.tensors), tuple(reader.sparse))


class _Reader:
    """Reads messages inside messages, and keeps the tensors that it comes by."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.tensors: list[Tensor] = []
        self.sparse: list[Declared] = []

    def graph(self, message: memoryview, depth: int) -> Graph:
        if depth > MOST_DEEP:
            raise Damaged(f"it has graphs inside graphs over {MOST_DEEP} deep")
        parts = self.wire.read(message, GRAPH)
        if not parts["outputs"]:
            raise Damaged("a graph has no output")
        nodes = tuple(self._node(node, depth) for node in parts["nodes"])
        inputs, outputs, values = (tuple(map(self._value, parts[kind])) for kind in ("inputs", "outputs", "values"))
        initializers = {tensor.name: tensor for tensor in map(self._tensor, parts["initializers"])}
        inside = {self._sparse_tensor(sparse) for sparse in parts["sparse_initializers"]} | initializers.keys()
        inside |= {each.name for each in inputs}.union(*(node.outputs for node in nodes))
        needs = {each.name for each in outputs}.union(*(node.needs for node in nodes))
        return Graph(
            nodes, inputs, outputs, {each.name: each for each in values}, initializers, frozenset(needs - inside)
        )

    def function(self, message: memoryview) -> tuple[FunctionKey, tuple[Node, ...]]:
        parts = self.wire.read(message, FUNCTION)
        for attribute in parts["defaults"]:
            self._attribute(attribute, 0, of_constant=False)
        return _function_key(parts, "name"), tuple(self._node(node, 0) for node in parts["nodes"])

    def _node(self, message: memoryview, depth: int) -> Node:
        parts = self.wire.read(message, NODE)
        constant = parts["operator"] == ["Constant"]
        read = [self._attribute(each, depth, of_constant=constant) for each in parts["attributes"]]
        graphs = tuple(graph for _, _, inside in read for graph in inside)
        needs = frozenset(filter(None, parts["inputs"])).union(*(graph.captured for graph in graphs))
        outputs = tuple(filter(None, parts["outputs"]))
        return Node(
            function=_function_key(parts, "operator"),
            name=_one(parts, "name", ""),
            inputs=tuple(parts["inputs"]),
            outputs=outputs,
            attributes={name: attribute for name, attribute, _ in read},
            needs=needs,
            graphs=graphs,
        )

    def _attribute(self, message: memoryview, depth: int, *, of_constant: bool) -> tuple[str, Attribute, list[Graph]]:
        """Its name, itself, and its graphs; its tensors are kept on the way."""
        parts = self.wire.read(message, ATTRIBUTE)
        tensors = [self._tensor(tensor, is_weight=of_constant) for tensor in parts["tensor"] + parts["tensors"]]
        for sparse in parts["sparse_tensor"] + parts["sparse_tensors"]:
            self._sparse_tensor(sparse, is_weight=of_constant)
        attribute = Attribute(
            number=_one(parts, "int", 0),
            text=_one(parts, "text", memoryview(b"")),
            float=_one(parts, "float", memoryview(b"")),
            floats=tuple(parts["floats"]),
            ints=tuple(parts["ints"]),
            tensor=tensors[0] if parts["tensor"] else None,
        )
        graphs = [self.graph(graph, depth + 1) for graph in parts["graph"] + parts["graphs"]]
        return _one(parts, "name", ""), attribute, graphs

    def _tensor(self, message: memoryview, *, is_weight: bool = True) -> Tensor:
        parts = self.wire.read(message, TENSOR)
        entries = [self.wire.read(entry, ENTRY) for entry in parts["external"]]
        tensor = Tensor(
            name=_one(parts, "name", ""),
            shape=_shape(parts["shape"]),
            type=_one(parts, "type", 0),
            raw=tuple(parts["raw"]),
            typed={name: parts[name] for name in ("floats", "int32s", "strings", "int64s", "doubles", "uint64s")},
            external=tuple((_one(entry, "key", ""), _one(entry, "value", "")) for entry in entries),
            is_external=bool(entries) or _one(parts, "location", 0) != 0,
            is_weight=is_weight,
        )
        self.tensors.append(tensor)
        return tensor

    def _sparse_tensor(self, message: memoryview, *, is_weight: bool = True) -> str:
        """Keep the two tensors that it is made of, and what it is when dense; its name, which is that of its values."""
        parts = self.wire.read(message, SPARSE)
        if not parts["values"]:
            raise Damaged("a sparse tensor has no values")
        values, *_ = [self._tensor(tensor, is_weight=is_weight) for tensor in parts["values"] + parts["indices"]]
        self.sparse.append(Declared(values.name, _shape(parts["shape"]), values.type))
        return values.name

    def _value(self, message: memoryview) -> Declared:
        """What is said of a value; one that is no tensor has neither shape nor type."""
        parts = self.wire.read(message, VALUE)
        kind, dimensions = 0, list[Parts]()
        for declared in (tensor for kind in parts["type"] for tensor in self.wire.read(kind, TYPE)["tensor"]):
            tensor = self.wire.read(declared, TENSOR_TYPE)
            kind = _one(tensor, "type", 0)
            inside = (d for shape in tensor["shape"] for d in self.wire.read(shape, SHAPE)["dimensions"])
            dimensions = [self.wire.read(dimension, DIMENSION) for dimension in inside]
        sizes = [_one(dimension, "size", 0) for dimension in dimensions]
        unknown = tuple(axis for axis, size in enumerate(sizes) if size < 1)
        unnamed = tuple(axis for axis in unknown if not _one(dimensions[axis], "name", ""))
        return Declared(_one(parts, "name", ""), _shape([max(1, size) for size in sizes]), kind, unknown, unnamed)


def _one(parts: Parts, name: str, otherwise: T) -> T:
    """The one value of a field; `otherwise` where it is not set."""
    return parts[name][0] if parts[name] else otherwise


def _function_key(parts: Parts, name: str) -> FunctionKey:
    return _domain(parts), _one(parts, name, ""), _one(parts, "overload", "")


def _domain(parts: Parts) -> str:
    """ONNX's own has two names."""
    domain = _one(parts, "domain", "")
    return "" if domain == "ai.onnx" else domain


def _shape(sizes: list[int]) -> tuple[int, ...]:
    if len(sizes) > MOST_DIMENSIONS or min(sizes, default=0) < 0 or prod(sizes) > MOST_ELEMENTS:
        raise Damaged("a shape has too many dimensions, or impossible ones")
    return tuple(sizes)


def shown(name: str) -> str:
    """A name from the file, as it may stand in a sentence."""
    return ascii(name[:SHOWN])
