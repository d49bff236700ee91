"""Does a model answer, while it is timed, what it answered before?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_profile.runtimes import Runtime

Feed = Mapping[str, Any]


class Witness:
    """The answers to each feed before the timed loop, and some of those given during it."""

    def __init__(self, runtime: "Runtime", feeds: Sequence[Feed]) -> None:
        self._names = [tensor.name for tensor in runtime.outputs]
        self._before = {id(feed): _asked_twice(runtime, feed) for feed in feeds}
        self._meanwhile: dict[int, list[Any]] = {}

    def see(self, feed: Feed, outputs: Sequence[Any]) -> None:
        """Keep a copy: a runtime may write its next answer into the same arrays."""
        self._meanwhile[id(feed)] = _copies(outputs)

    def unlike(self, within_percent: float) -> tuple[str, ...]:
        """Names of the outputs that differed meanwhile by over so much of their largest magnitude, or in shape."""
        return tuple(
            name
            for i, name in enumerate(self._names)
            if any(
                not _alike(self._before[feed][i], outputs[i], within_percent / 100)
                for feed, outputs in self._meanwhile.items()
            )
        )

    def nonfinite(self) -> tuple[str, ...]:
        """Names of the outputs that held a NaN or an infinity, before or meanwhile."""
        answers = [*self._before.values(), *self._meanwhile.values()]
        return tuple(name for i, name in enumerate(self._names) if not all(_finite(each[i]) for each in answers))


def _asked_twice(runtime: "Runtime", feed: Feed) -> list[Any]:
    """The second of two answers: one that gives its last answer again has by then been asked about this feed."""
    runtime.run(feed)
    return _copies(runtime.run(feed))


def _copies(outputs: Sequence[Any]) -> list[Any]:
    import numpy

    return [numpy.array(output) for output in outputs]


def _finite(output: Any) -> bool:
    import numpy

    return output.dtype.kind != "f" or bool(numpy.isfinite(output).all())


def _alike(before: Any, meanwhile: Any, share: float) -> bool:
    import numpy

    if before.shape != meanwhile.shape:
        return False
    if before.dtype.kind != "f":
        return bool((before == meanwhile).all())
    scale = numpy.abs(before[numpy.isfinite(before)]).max(initial=0.0)
    return bool(numpy.allclose(before, meanwhile, rtol=0.0, atol=share * float(scale), equal_nan=True))
