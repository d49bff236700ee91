"""An ONNX graph as the steps that an inference takes: shapes at batch 1, multiply-accumulates, reads and writes.

What follows from the file alone is no step: runtimes compute it once, when they load. Nor is a new shape of the same
numbers, nor a number's way to 8 bits and back: those vanish into their neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vlm_profile.graph.call import Call, Shape, Unknown, Value
from vlm_profile.graph.folding import MOST_NUMBERS, numbers_after
from vlm_profile.graph.kinds import counts_products, is_view, kind_of, macs_of
from vlm_profile.graph.shapes import shapes_of
from vlm_profile.onnxfile.data import numbers_of
from vlm_profile.onnxfile.parts import Declared, Model, Node, shown

RESHAPING = frozenset({"Expand", "Reshape", "Resize", "Tile", "Upsample"})  # to a shape that is an input


@dataclass(frozen=True)
class Step:
    """One operator that runs at each inference."""

    operator: str
    kind: str
    inputs: tuple[str, ...]  # values that depend on the model's input
    weights: Mapping[str, int]  # elements of what it reads besides, by name
    outputs: tuple[str, ...]
    macs: int


@dataclass(frozen=True)
class Steps:
    """A graph, in the order in which it runs."""

    steps: tuple[Step, ...]
    elements: Mapping[str, int]  # of each value
    shapes: Mapping[str, Shape]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int  # that the shapes hold for: 1, but where the file fixes another
    unknown: tuple[str, ...]  # what was only guessed, as sentences
    uncounted: tuple[str, ...]  # of these, what may be most of the work
    planned: frozenset[str]  # values whose shape a runtime knows before it sees an image, be it by a dimension's name


def steps_of(model: Model, given: Mapping[str, Shape] | None = None) -> Steps:
    """Walk through the graph at batch 1, or at the batch that the file fixes.

    `given` are shapes of inputs that the file leaves open, by name; a dimension that is open still counts as 1.
    """
    walk = _Walk(model, given or {})
    for node in ordered(model.graph.nodes):
        walk.take(node)
    return walk.done()


def ordered(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes, each after what it needs; as they stand in the file, which ONNX wants so, where they do."""
    from graphlib import TopologicalSorter

    made: set[str] = set()
    all_made = {name for node in nodes for name in node.outputs}
    for node in nodes:
        if not node.needs & all_made <= made:
            break
        made.update(node.outputs)
    else:
        return nodes
    makers = {name: i for i, node in enumerate(nodes) for name in node.outputs}
    needs = {i: {makers[name] for name in node.needs if name in makers} for i, node in enumerate(nodes)}
    return tuple(nodes[i] for i in TopologicalSorter(needs).static_order())


class _Walk:
    """Takes node by node, and keeps what is known of every value."""

    def __init__(self, model: Model, given: Mapping[str, Shape]) -> None:
        self._graph, self._opset = model.graph, model.opset
        self._values: dict[str, Value] = {
            name: Value(
                tensor.shape, fixed=True, numbers=numbers_of(tensor) if tensor.elements <= MOST_NUMBERS else None
            )
            for name, tensor in model.graph.initializers.items()
        }
        self._inputs = [each for each in model.graph.inputs if each.name not in self._values]
        self._same: dict[str, str] = {}  # a view, and whose numbers it shows
        self._steps: list[Step] = []
        self._unknown: dict[str, bool] = {}  # in their order, each once; whether it may be most of the work
        self._functions = model.functions
        self._planned = {each.name for each in self._inputs if each.type and not each.unnamed}
        self._is_fixed_size = not any(each.unknown for each in self._inputs)
        for each in self._inputs:
            self._values[each.name] = Value(given.get(each.name, each.shape))
            if each.name not in given and set(each.unknown) - {0}:
                self._note(f"the input {shown(each.name)} leaves its size open, which counts as 1", is_grave=True)

    def take(self, node: Node) -> None:
        call = Call(node, tuple(self._values.get(name) for name in node.inputs), self._opset)
        fixed = all(map(self._is_fixed, node.needs))
        try:
            shapes, is_known = shapes_of(call), True
        except Unknown as error:
            shapes, is_known = self._guessed(call, str(error), is_worth_a_note=not fixed), False
        for name, shape in zip(node.outputs, shapes, strict=False):
            numbers = numbers_after(call, shape) if len(node.outputs) == 1 else None
            self._values[name] = Value(shape, fixed or numbers is not None, numbers)
        if all(map(self._is_fixed, node.outputs)):
            return
        self._planned.update(name for name in node.outputs if is_known and self._is_planned(node, name))
        live = [name for name in node.inputs if name in self._values and not self._is_fixed(name)]
        if live and is_known and is_view(call, shapes):
            self._same[node.outputs[0]] = self._root(live[0])
        else:
            self._steps.append(self._step(call, shapes if is_known else []))

    def done(self) -> Steps:
        first = [self._values[each.name].shape for each in self._inputs]
        outputs = [self._root(each.name) for each in self._graph.outputs if each.name in self._values]
        return Steps(
            steps=tuple(self._steps),
            elements={name: value.elements for name, value in self._values.items()},
            shapes={name: value.shape for name, value in self._values.items()},
            inputs=tuple(each.name for each in self._inputs),
            outputs=tuple(dict.fromkeys(outputs)),
            batch=first[0][0] if first and first[0] else 1,
            unknown=tuple(self._unknown),
            uncounted=tuple(sentence for sentence, is_grave in self._unknown.items() if is_grave),
            planned=frozenset(self._planned),
        )

    def _step(self, call: Call, shapes: list[Shape]) -> Step:
        """The node as a step; without the shapes of its outputs, neither its kind nor its products are known."""
        node = call.node
        reads = dict.fromkeys(self._root(name) for name in (*node.inputs, *sorted(node.needs)) if name in self._values)
        return Step(
            operator=node.operator,
            kind=kind_of(call) if shapes else "elementwise",
            inputs=tuple(name for name in reads if not self._values[name].fixed),
            weights={name: self._values[name].elements for name in reads if self._values[name].fixed},
            outputs=tuple(name for name in node.outputs if name in self._values),
            macs=macs_of(call, shapes[0]) if shapes else 0,
        )

    def _guessed(self, call: Call, why: str, *, is_worth_a_note: bool) -> list[Shape]:
        """The shapes of the outputs as the file declares them, else as the first input has it."""
        names = call.node.outputs
        declared = [self._graph.values[name] for name in names if name in self._graph.values]
        if len(declared) == len(names) and all(map(_is_known, declared)):
            shapes, source = [each.shape for each in declared], "of the shape that the file declares"
        else:
            first = next((value.shape for value in call.inputs if value is not None and not value.fixed), ())
            shapes, source = [first] * len(names), "of its input's shape"
        if is_worth_a_note:
            sentence = f"{shown(call.node.operator)} counts as elementwise, {source}: {why}"
            self._note(sentence, is_grave=self._may_be_most_of_the_work(call))
        return shapes

    def _may_be_most_of_the_work(self, call: Call) -> bool:
        """Of a node that is not understood: it multiplies, has weights, or runs nodes of its own."""
        node = call.node
        has_weights = any(self._is_fixed(name) and len(self._values[name].shape) > 1 for name in node.needs)
        return has_weights or bool(node.graphs) or node.function in self._functions or counts_products(node.operator)

    def _is_planned(self, node: Node, output: str) -> bool:
        """As the file declares it; else by ONNX's own inference, which does not follow a batch through a new shape."""
        declared = self._graph.values.get(output)
        if self._is_fixed_size or (declared and declared.type and not declared.unnamed):
            return True
        follows = node.operator not in RESHAPING
        return follows and all(self._is_fixed(name) or name in self._planned for name in node.inputs if name)

    def _note(self, sentence: str, *, is_grave: bool) -> None:
        self._unknown[sentence] = is_grave or self._unknown.get(sentence, False)

    def _is_fixed(self, name: str) -> bool:
        return name in self._values and self._values[name].fixed

    def _root(self, name: str) -> str:
        return self._same.get(name, name)


def _is_known(declared: Declared) -> bool:
    """But for the batch."""
    return declared.type != 0 and set(declared.unknown) <= {0}
