"""A model that answers otherwise while it is timed is seen; rounding is not."""

from collections.abc import Callable
from typing import Any

import numpy
import pytest

from vlm_contract.manifest import TensorSpec
from vlm_profile.fidelity import Witness

FEEDS = [{"x": numpy.full(3, value, numpy.float32)} for value in (1.0, 2.0, 3.0)]


class Doubled:
    """Not a runtime: doubles its input in Python, as `answer` changes it."""

    outputs = (TensorSpec("y", (3,), "float32"),)

    def __init__(self, answer: Callable[[Any], Any] = lambda y: y) -> None:
        self._answer = answer

    def run(self, feed: Any) -> list[Any]:
        return [self._answer(2 * feed["x"])]


class Late(Doubled):
    """Gives the answer to the question before."""

    last = numpy.zeros(3, numpy.float32)

    def run(self, feed: Any) -> list[Any]:
        before, self.last = self.last, 2 * feed["x"]
        return [before]


def watched(runtime: Any, turns: int = 6) -> Witness:
    witness = Witness(runtime, FEEDS)
    for turn in range(turns):
        feed = FEEDS[turn % 3]
        witness.see(feed, runtime.run(feed))
    return witness


def test_a_model_that_answers_alike_is_not_named() -> None:
    assert watched(Doubled()).unlike(1.0) == ()


def test_a_model_that_gives_its_last_answer_is_named() -> None:
    assert watched(Late()).unlike(1.0) == ("y",)


@pytest.mark.parametrize(("change", "unlike"), [(0.005, ()), (0.02, ("y",))])
def test_outputs_may_differ_by_so_much_of_their_magnitude(change: float, unlike: tuple[str, ...]) -> None:
    turn = iter([1.0] * 6 + [1.0 + change] * 6)
    assert watched(Doubled(lambda y: y * numpy.float32(next(turn)))).unlike(1.0) == unlike


def test_a_runtime_that_writes_into_one_array_is_believed() -> None:
    place = numpy.zeros(3, numpy.float32)

    def into_place(y: Any) -> Any:
        place[:] = y
        return place

    assert watched(Doubled(into_place)).unlike(1.0) == ()


def test_an_output_with_nan_is_named_whenever_it_comes() -> None:
    assert watched(Doubled()).nonfinite() == ()
    turn = iter([1.0] * 6 + [numpy.nan] * 6)
    assert watched(Doubled(lambda y: y * numpy.float32(next(turn)))).nonfinite() == ("y",)
    assert watched(Doubled(lambda y: numpy.where(y > 4, numpy.inf, y))).nonfinite() == ("y",)


def test_an_output_of_another_shape_is_unlike() -> None:
    turn = iter([3] * 6 + [2] * 6)
    assert watched(Doubled(lambda y: y[: next(turn)])).unlike(1.0) == ("y",)
