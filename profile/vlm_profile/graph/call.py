"""One operator of an ONNX graph with what is known of its inputs."""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from vlm_profile.onnxfile.data import integers_of
from vlm_profile.onnxfile.parts import Node

if TYPE_CHECKING:
    import numpy

Shape = tuple[int, ...]


class Unknown(Exception):
    """The shape cannot be told; the text says why."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph."""

    shape: Shape
    fixed: bool = False  # it follows from the file alone, whatever the input
    numbers: "numpy.ndarray[Any, Any] | None" = None  # where they are few and known

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Call:
    """One node with what is known of its inputs; one that is left out is None."""

    node: Node
    inputs: tuple[Value | None, ...]
    opset: int

    def value(self, place: int) -> Value:
        """Raises Unknown where the input is left out."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise Unknown(f"it has no input {place}")
        return found

    def shape(self, place: int = 0) -> Shape:
        return self.value(place).shape

    def integer(self, name: str, otherwise: int) -> int:
        return self.node.attributes[name].number if name in self.node.attributes else otherwise

    def integers(self, name: str, place: int | None = None) -> tuple[int, ...] | None:
        """Of the attribute, or of the input that later versions of the operator take instead; None where neither is."""
        if name in self.node.attributes:
            return integers_of(self.node.attributes[name].ints)
        if place is None or place >= len(self.inputs) or self.inputs[place] is None:
            return None
        numbers = self.value(place).numbers
        if numbers is None:
            raise Unknown(f"it computes its {name} from the input")
        return tuple(int(number) for number in numbers.ravel())

    def word(self, name: str, otherwise: str) -> str:
        attribute = self.node.attributes.get(name)
        return str(attribute.text, "utf-8", "replace") if attribute else otherwise
