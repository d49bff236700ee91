"""Which steps of a graph run as one: what TensorRT, ONNX Runtime and OpenVINO have in common of it.

A convolution or a matrix product takes along what follows element by element: bias, normalisation, activation, the sum
with a shortcut. Attention is one, from its queries, keys and values to what it weighs. So is a normalisation that is
spelled out, and so are moves one after the other.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from vlm_profile.graph.steps import Step, Steps

ROWWISE = frozenset({"elementwise", "reduce"})  # of what a normalisation is spelled with
MOVES = frozenset({"elementwise", "layout"})
PICKS = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})  # read no more of a tensor than they write
KIND_ALONE = {"reduce": "pool"}  # of a step that stayed alone
MOST_STEPS_OF_A_NORM = 40  # from the first to the last; spelled out, the longest has some ten
MOST_STEPS_TO_A_PRODUCT = 8  # scales, masks and moves between a softmax and the products around it


@dataclass
class Group:
    """Steps that run as one, by their places in the graph."""

    kind: str
    order: int  # of all groups; all that it needs comes before
    members: list[int]


@dataclass(frozen=True)
class Fused:
    """One kernel of the graph."""

    kind: str
    macs: int
    inputs: Mapping[str, int]  # elements read, by value
    weights: Mapping[str, int]  # elements, by name
    outputs: tuple[str, ...]  # values that others need
    steps: tuple[Step, ...]


def fused(graph: Steps) -> tuple[Fused, ...]:
    """The graph's kernels, in the order in which they run."""
    users = _users(graph.steps)
    return tuple(_fused(graph, set(group.members), group.kind, users) for group in _Fusion(graph, users).groups())


def _fused(graph: Steps, members: Collection[int], kind: str, users: Mapping[str, Sequence[int]]) -> Fused:
    steps = tuple(graph.steps[i] for i in sorted(members))
    made = {name for step in steps for name in step.outputs}
    outside = [
        name
        for step in steps
        for name in step.outputs
        if name in graph.outputs or any(user not in members for user in users.get(name, ()))
    ]
    inputs = dict.fromkeys(name for step in steps for name in step.inputs if name not in made)
    return Fused(
        kind=kind,
        macs=sum(step.macs for step in steps),
        inputs={name: _read_of(name, steps, graph) for name in inputs},
        weights={name: size for step in steps for name, size in step.weights.items()},
        outputs=tuple(outside),
        steps=steps,
    )


def _read_of(name: str, steps: Sequence[Step], graph: Steps) -> int:
    readers = [step for step in steps if name in step.inputs]
    if any(step.operator not in PICKS for step in readers):
        return graph.elements[name]
    return min(graph.elements[name], sum(graph.elements[output] for step in readers for output in step.outputs))


def _users(steps: Sequence[Step]) -> Mapping[str, Sequence[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for i, step in enumerate(steps):
        for name in step.inputs:
            found[name].append(i)
    return dict(found)


class _Fusion:
    """Groups the steps of one graph."""

    def __init__(self, graph: Steps, users: Mapping[str, Sequence[int]]) -> None:
        self._graph, self._steps, self._users = graph, graph.steps, users
        self._makers = {name: i for i, step in enumerate(self._steps) for name in step.outputs}
        self._group_of: dict[int, Group] = {}

    def groups(self) -> list[Group]:
        for i, step in enumerate(self._steps):
            if step.operator == "Softmax":
                self._add_attention(i)
        for i in range(len(self._steps)):
            if i not in self._group_of:
                self._take(i)
        found = {id(group): group for group in self._group_of.values()}.values()
        return self._with_moves_joined(sorted(found, key=lambda group: group.order))

    def _take(self, i: int) -> None:
        step = self._steps[i]
        if step.kind == "reduce" and (members := self._normalisation(i)):
            self._add("norm", i, members)
        elif step.kind == "elementwise" and (group := self._group_before(step)):
            group.members.append(i)
            self._group_of[i] = group
        else:
            self._add(KIND_ALONE.get(step.kind, step.kind), i, [i])

    def _add(self, kind: str, order: int, members: Collection[int]) -> None:
        self._group_of.update(dict.fromkeys(members, Group(kind, order, sorted(members))))

    def _group_before(self, step: Step) -> Group | None:
        """The group that an element-by-element step goes along with; None where it runs alone.

        That is the latest of those that it reads from, so that all else that it needs is there by then, and one whose
        tensor is as large: what is spread over a larger one is read anew.
        """
        makers = [self._makers[name] for name in step.inputs if name in self._makers]
        if not makers:
            return None
        latest = max((self._group_of[i] for i in makers), key=lambda group: group.order)
        sizes = {self._size(i) for i in makers if self._group_of[i] is latest}
        return latest if self._graph.elements[step.outputs[0]] in sizes else None

    def _normalisation(self, first: int) -> set[int]:
        """The steps that normalise a tensor by its own statistics, of which `first` takes one; empty where none do."""
        root = self._normalised(first)
        names, members = {root}, set[int]()
        for i in range(first, min(first + MOST_STEPS_OF_A_NORM, len(self._steps))):
            step = self._steps[i]
            is_of_it = i == first or (step.kind in ROWWISE and bool(step.inputs) and names.issuperset(step.inputs))
            if is_of_it and i not in self._group_of:
                members.add(i)
                names.update(step.outputs)
        size = self._graph.elements.get(root, 0)
        needed = set[int]()
        for i in sorted(members, reverse=True):  # statistics that come after the last whole tensor are another's
            if self._size(i) == size or needed & self._users_of(i):
                needed.add(i)
        return needed if len(needed) > 1 and first in needed else set()

    def _normalised(self, reduction: int) -> str:
        """The tensor whose statistic a reduction takes, be it of its squares."""
        name = next(iter(self._steps[reduction].inputs), "")
        maker = self._steps[self._makers[name]] if name in self._makers else None
        is_square = maker and (maker.operator == "Pow" or (maker.operator == "Mul" and not maker.weights))
        return maker.inputs[0] if maker and is_square and len(maker.inputs) == 1 else name

    def _add_attention(self, softmax: int) -> None:
        """Where a softmax stands between two products of activations: they, and the moves before and after them."""
        scores, weighed = self._to_product(softmax, self._before), self._to_product(softmax, self._after)
        if not scores or not weighed:
            return
        members = {softmax, *scores, *weighed}
        self._absorb(members)
        after = self._after(weighed[-1])
        if after is not None and self._steps[after].kind == "layout":
            members.add(after)
        self._add("attention", max(members), members)

    def _to_product(self, softmax: int, neighbour: Callable[[int], int | None]) -> list[int]:
        """The steps from the softmax to the next product of two activations; empty where there is none."""
        found: list[int] = []
        at: int | None = softmax
        for _ in range(MOST_STEPS_TO_A_PRODUCT):
            at = neighbour(at) if at is not None else None
            if at is None or at in self._group_of:
                return []
            found.append(at)
            if self._steps[at].kind == "matmul" and len(self._steps[at].inputs) > 1:
                return found
            if self._steps[at].kind not in MOVES:
                return []
        return []

    def _before(self, i: int) -> int | None:
        """The latest step that this one reads from: a mask is older than the scores."""
        return max((self._makers[name] for name in self._steps[i].inputs if name in self._makers), default=None)

    def _after(self, i: int) -> int | None:
        """The only step that reads from this one."""
        users = self._users_of(i)
        return next(iter(users)) if len(users) == 1 else None

    def _absorb(self, members: set[int]) -> None:
        """Take along the moves and scales before the products whose results go nowhere else, up to what made them."""
        left = [self._makers[name] for i in members for name in self._steps[i].inputs if name in self._makers]
        while left:
            i = left.pop()
            if i in members or i in self._group_of or not self._is_move(i) or not self._users_of(i) <= members:
                continue
            members.add(i)
            left += [self._makers[name] for name in self._steps[i].inputs if name in self._makers]

    def _is_move(self, i: int) -> bool:
        """A scale is one; what follows a product at once is that product's bias or activation."""
        step = self._steps[i]
        if step.kind != "elementwise" or len(step.inputs) != 1:
            return step.kind == "layout"
        maker = self._makers.get(step.inputs[0])
        return maker is not None and self._steps[maker].kind == "layout"

    def _with_moves_joined(self, groups: list[Group]) -> list[Group]:
        """Moves whose results only other moves take become one with those."""
        for group in reversed(groups):
            users = {user for i in group.members for user in self._users_of(i)} - set(group.members)
            later = {id(self._group_of[user]): self._group_of[user] for user in users}
            ends = any(name in self._graph.outputs for i in group.members for name in self._steps[i].outputs)
            into = next(iter(later.values())) if len(later) == 1 else None
            if group.kind == "layout" and into is not None and into.kind == "layout" and not ends:
                into.members += group.members
                self._group_of.update(dict.fromkeys(group.members, into))
                group.members = []
        return [group for group in groups if group.members]

    def _users_of(self, i: int) -> set[int]:
        return {user for name in self._steps[i].outputs for user in self._users.get(name, ())}

    def _size(self, i: int) -> int:
        return self._graph.elements[self._steps[i].outputs[0]]
