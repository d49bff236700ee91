"""Which buffers ONNX Runtime keeps a graph's tensors in on a CPU, and from when to when.

It plans them once, when it loads (onnxruntime/core/framework/allocation_planner.cc): some operators write over their
input; any may take a buffer that is free again, if its shape is the very same; and a buffer that will be taken again is
kept meanwhile. So a transformer, whose blocks are alike, keeps one set of buffers from the first to the last block.
Convolutions and what stands between them work in a blocked layout (NCHWc), whose shapes the planner does not know:
those tensors come and go one by one.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_profile.estimates.memory.arena import Event
from vlm_profile.graph.call import Shape
from vlm_profile.graph.kinds import CONVOLUTION_KINDS
from vlm_profile.graph.steps import Step, Steps

# Operators whose kernels on the CPU may write over their input (MayInplace); sums and products are not of them.
OVERWRITE = frozenset(
    "Celu Clip Elu HardSigmoid LeakyRelu Relu Selu Sigmoid Softmax Softplus Softsign Tanh ThresholdedRelu".split()  # noqa: SIM905
)
WITH_A_CONVOLUTION = frozenset({"Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})  # fused
BLOCKED_BINARY = frozenset({"Add", "Mul"})


@dataclass(frozen=True)
class Work:
    """One operator as ONNX Runtime runs it."""

    inputs: tuple[str, ...]
    output: str
    elements: int
    shape: Shape | None  # None where the planner does not know it, as in the blocked layout
    blocked: bool
    onto: tuple[str, ...] = ()  # inputs in whose place it may write


def buffer_events(graph: Steps, batch: int, bytes_plain: float, bytes_blocked: float) -> list[Event]:
    """The birth and death of each buffer, with the bytes that it takes at a batch, by the layout of its tensor."""
    works = _Lowering(graph).works()
    spans = _spans(works, graph)
    born, dead = defaultdict(list), defaultdict(list)
    for number, (first, last, elements, is_blocked) in enumerate(spans):
        size = elements * (bytes_blocked if is_blocked else bytes_plain) * batch / graph.batch
        born[first].append((number, max(1, round(size))))
        dead[last].append((number, 0))
    return [event for at in range(len(works)) for event in (*born[at], *dead[at])]


def _spans(works: Sequence[Work], graph: Steps) -> list[tuple[int, int, int, bool]]:
    """Of each buffer: the works at which it is first and last used, its elements, whether its tensor is blocked."""
    uses = Counter(name for work in works for name in work.inputs)
    uses.update(graph.outputs)
    buffers: list[_Buffer] = []
    of: dict[str, _Buffer] = {}
    free: list[_Buffer] = []  # the one that was free last is taken first
    for at, work in enumerate(works):
        buffer = _overwritten(work, of) or _taken(work, free)
        if buffer is None:
            buffer = _Buffer(at, at, work.elements, work.shape, work.blocked)
            buffers.append(buffer)
        of[work.output] = buffer
        buffer.uses += uses[work.output]
        buffer.last = at
        for name in work.inputs:
            if name in of:
                _use(of[name], at, free)
    return [(buffer.first, buffer.last, buffer.elements, buffer.blocked) for buffer in buffers]


@dataclass(eq=False)
class _Buffer:
    first: int
    last: int
    elements: int
    shape: Shape | None
    blocked: bool
    uses: int = 0  # to come


def _use(buffer: _Buffer, at: int, free: list[_Buffer]) -> None:
    buffer.uses -= 1
    buffer.last = at
    if buffer.uses == 0 and buffer.shape is not None:
        free.append(buffer)


def _overwritten(work: Work, of: dict[str, _Buffer]) -> _Buffer | None:
    """The buffer of an input that nothing else needs any more."""
    fits = (of[name] for name in work.onto if name in of)
    return next((each for each in fits if each.uses == 1 and each.elements == work.elements), None)


def _taken(work: Work, free: list[_Buffer]) -> _Buffer | None:
    if work.shape is None:
        return None
    found = next((buffer for buffer in reversed(free) if buffer.shape == work.shape), None)
    if found:
        free.remove(found)
    return found


class _Lowering:
    """Steps as works: a change of layout wherever a blocked tensor meets an operator that cannot take it."""

    def __init__(self, graph: Steps) -> None:
        self._graph = graph
        self._users: dict[str, list[int]] = defaultdict(list)
        for i, step in enumerate(graph.steps):
            for name in step.inputs:
                self._users[name].append(i)
        self._blocked: set[str] = set()
        self._copies: dict[str, str] = {}  # of a tensor, in the other layout
        self._sums: dict[int, str] = {}  # a step that the convolution before it does, and what that makes
        self._sigmoids = {name for step in graph.steps if step.operator == "Sigmoid" for name in step.outputs}
        self._works: list[Work] = []

    def works(self) -> list[Work]:
        for i, step in enumerate(self._graph.steps):
            self._take(i, step)
        return self._works

    def _take(self, i: int, step: Step) -> None:
        if i in self._sums:
            made = self._sums[i]
            self._add((made,), step.outputs[0], blocked=True, onto=(made,))
        elif step.kind in CONVOLUTION_KINDS:
            self._convolve(step)
        elif self._stays_blocked(step):
            onto = step.inputs if step.operator in WITH_A_CONVOLUTION | BLOCKED_BINARY else ()
            self._add(step.inputs, step.outputs[0], blocked=True, onto=onto)
        elif step.operator == "Transpose" and step.inputs[0] in self._blocked:
            self._add(step.inputs, step.outputs[0])  # the change of layout does it on the way
        elif step.operator == "Transpose" and self._only_convolutions_take(step.outputs[0]):
            self._add(step.inputs, step.outputs[0], blocked=True)
        else:
            inputs = tuple(map(self._plain, step.inputs))
            for name in step.outputs:
                self._add(inputs, name, onto=self._onto(step, inputs))

    def _onto(self, step: Step, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """A swish that is spelled out is done in one: its product takes the place of the sigmoid."""
        if step.operator in OVERWRITE:
            return inputs
        return tuple(name for name in inputs if step.operator == "Mul" and name in self._sigmoids)

    def _convolve(self, step: Step) -> None:
        """A convolution whose only user adds a shortcut writes onto that."""
        output = step.outputs[0]
        users = self._users[output]
        summed: tuple[str, ...] = ()
        if len(users) == 1 and (add := self._graph.steps[users[0]]).operator == "Add":
            summed = tuple(name for name in add.inputs if name != output and self._fits(name, output))
            if summed:
                self._sums[users[0]] = output
        inputs = tuple(map(self._in_blocks, step.inputs))
        self._add((*inputs, *summed), output, blocked=True, onto=summed)

    def _fits(self, name: str, output: str) -> bool:
        return name in self._blocked and self._graph.elements[name] == self._graph.elements[output]

    def _stays_blocked(self, step: Step) -> bool:
        if step.kind == "pool":
            return set(step.inputs) <= self._blocked
        return step.kind == "elementwise" and all(self._fits(name, step.outputs[0]) for name in step.inputs)

    def _only_convolutions_take(self, name: str) -> bool:
        users = self._users[name]
        return bool(users) and all(self._graph.steps[i].kind in CONVOLUTION_KINDS for i in users)

    def _plain(self, name: str) -> str:
        return self._copied(name, to_blocked=False) if name in self._blocked else name

    def _in_blocks(self, name: str) -> str:
        """The first convolution of a model reads its images as they come."""
        known = name in self._blocked or name in self._graph.inputs
        return name if known else self._copied(name, to_blocked=True)

    def _copied(self, name: str, *, to_blocked: bool) -> str:
        if name not in self._copies:
            self._copies[name] = f"{name}\0"  # no name of the file ends so
            self._add((name,), self._copies[name], blocked=to_blocked, like=name)
        return self._copies[name]

    def _add(
        self,
        inputs: tuple[str, ...],
        output: str,
        *,
        blocked: bool = False,
        onto: tuple[str, ...] = (),
        like: str | None = None,
    ) -> None:
        value = like or output
        if blocked:
            self._blocked.add(output)
        shape = self._graph.shapes[value] if value in self._graph.planned and not blocked else None
        self._works.append(Work(inputs, output, self._graph.elements[value], shape, blocked, onto))
