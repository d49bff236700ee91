"""May this ONNX file be opened? Judged by its bytes alone, before any runtime sees it; nothing of it is run.

Runtimes trust a file, each in its own way: ONNX Runtime reads what a hard link points at, OpenVINO took an address in
memory from the file, TensorRT's provider runs the code in a compiled node, and all unfold functions without an end.
"""

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_contract.files import check_regular_file, what_it_is
from vlm_profile.onnxfile.data import FETCH_AGAIN, check_memory, check_no_nan, place_of
from vlm_profile.onnxfile.parts import FunctionKey, Model, Node, model_from_bytes, shown
from vlm_profile.onnxfile.wire import Damaged

MODEL_LIMIT_BYTES = 2**31  # no protobuf message is larger
MOST_OPSET = 100  # ONNX 1.23 has 28, and comes by one or two in a year
MOST_NODES = 30_000  # functions unfolded: ONNX Runtime opens as many in 2 s, and the time grows with the square
MOST_FUNCTIONS_DEEP = 100  # of one calling the other: each is a pass over all nodes
COMPILED = "EPContext"  # the operator that wraps what a runtime compiled: native code
UNBOUNDED = frozenset({"Loop", "Scan"})


@dataclass(frozen=True)
class OnnxFile:
    """What a file that may be opened turned out to be."""

    data_files: tuple[Path, ...]  # of weights outside the file
    may_not_end: bool  # it holds a loop: how long that runs, its bytes do not tell


def check_onnx_file(path: Path) -> OnnxFile:
    """Raise VlmError unless runtimes may open the file, and CheckFailed where its weights hold NaN."""
    model = model_of(path)
    check_memory(path, model)
    placed = [(tensor, place_of(path, tensor) if tensor.is_external else None) for tensor in model.tensors]
    for tensor, place in placed:
        check_no_nan(path, tensor, place)
    files = dict.fromkeys(place.file for _, place in placed if place)
    return OnnxFile(tuple(files), any(node.operator in UNBOUNDED for node in all_nodes(model)))


def model_of(path: Path) -> Model:
    """What an ONNX file holds. Raises VlmError where it is none, and where its graph could not, or should not, run."""
    check_is_onnx(path)
    try:
        with open(path, "rb") as file:
            model = model_from_bytes(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except Damaged as error:
        raise VlmError(
            f"{path} is no plain ONNX model, or was cut short or damaged: {error}.", hint=FETCH_AGAIN
        ) from None
    check_nodes(path, model)
    return model


def check_is_onnx(path: Path) -> None:
    """Raise VlmError saying what the file is instead; neither a pipe nor a device is ever opened."""
    check_regular_file(path, limit_bytes=MODEL_LIMIT_BYTES)
    if what := what_it_is(path):
        raise VlmError(f"{path} is {what}; expected an ONNX model.")
    if path.suffix.lower() != ".onnx":
        raise VlmError(
            f"{path} does not end in .onnx, and what a runtime takes a file for depends on its name.",
            hint=f"cp {path} {path.with_suffix('.onnx')}, if it is an ONNX model",
        )


def check_nodes(path: Path, model: Model) -> None:
    """Raise VlmError where nodes are of no known kind, native code, too many, or in a circle."""
    if model.opset > MOST_OPSET:
        raise VlmError(f"{path} asks for version {model.opset} of ONNX's operators; there is none over {MOST_OPSET}.")
    if any(node.operator == COMPILED for node in all_nodes(model)):
        raise VlmError(f"{path} wraps native code that a runtime compiled ({COMPILED}); expected operators alone.")
    try:
        count, deep = unfolded(model)
    except CycleError as error:
        raise VlmError(f"{path} has a function that calls itself: {shown(error.args[1][0][1])}.") from None
    if max(count, sum(1 for _ in all_nodes(model))) > MOST_NODES:
        raise VlmError(
            f"{path} has over {MOST_NODES} nodes once its functions are unfolded; a vision backbone has some thousands."
        )
    if deep > MOST_FUNCTIONS_DEEP:
        raise VlmError(f"{path} has functions that call each other over {MOST_FUNCTIONS_DEEP} deep.")
    for nodes in _bodies(model):
        check_acyclic(path, nodes)


def check_acyclic(path: Path, nodes: tuple[Node, ...]) -> None:
    """Raise VlmError naming a node that waits for its own output."""
    makers = {output: i for i, node in enumerate(nodes) for output in node.outputs}
    waits = {i: {makers[name] for name in node.needs if name in makers} for i, node in enumerate(nodes)}
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle = {nodes[i].label for i in error.args[1]}
        raise VlmError(
            f"{path} has a cyclic graph: of {len(circle)} nodes each needs the next, such as {shown(min(circle))}."
        ) from None


def unfolded(model: Model) -> tuple[int, int]:
    """Nodes of the graph once each call is replaced with its function's nodes, and how deep functions call functions.

    Raises graphlib.CycleError.
    """
    sizes: dict[FunctionKey, tuple[int, int]] = {}
    calls = {
        key: {node.function for node in _with_nested(nodes)} & model.functions.keys()
        for key, nodes in model.functions.items()
    }
    for key in TopologicalSorter(calls).static_order():
        sizes[key] = _unfolded(model.functions[key], sizes)
    return _unfolded(model.graph.nodes, sizes)


def _unfolded(nodes: tuple[Node, ...], sizes: Mapping[FunctionKey, tuple[int, int]]) -> tuple[int, int]:
    called = Counter(node.function for node in _with_nested(nodes))
    count = sum(number * (1 + sizes.get(key, (0, 0))[0]) for key, number in called.items())
    return min(count, MOST_NODES + 1), max((1 + sizes[key][1] for key in called if key in sizes), default=0)


def all_nodes(model: Model) -> Iterator[Node]:
    """Of the graph and of every function, those of graphs inside too."""
    for nodes in (model.graph.nodes, *model.functions.values()):
        yield from _with_nested(nodes)


def _with_nested(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        for graph in node.graphs:
            yield from _with_nested(graph.nodes)


def _bodies(model: Model) -> Iterator[tuple[Node, ...]]:
    yield model.graph.nodes
    yield from model.functions.values()
    for node in all_nodes(model):
        yield from (graph.nodes for graph in node.graphs)
