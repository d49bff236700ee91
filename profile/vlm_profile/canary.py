"""Two fixed kernels beside the measured loop. They see what no counter does: neighbours in memory, frequency, heat."""

import time
from collections.abc import Callable

COMPUTE_ROUNDS, COMPUTE_FLOATS = 30_000, 8192  # 32 KB, within the first cache of any CPU
MEMORY_ROUNDS, MEMORY_BYTES = 16, 64 * 2**20  # beyond the last cache of small ones


def canary(clock: Callable[[], int] = time.perf_counter_ns) -> tuple[float, float]:
    """Milliseconds that computing and that streaming memory take; about 50 each on a desktop, the same work always."""
    return _timed(_compute, clock), _timed(_stream, clock)


def _timed(kernel: Callable[[], Callable[[], None]], clock: Callable[[], int]) -> float:
    run = kernel()
    begin = clock()
    run()
    return (clock() - begin) / 1e6


def _compute() -> Callable[[], None]:
    import numpy

    values, scale = numpy.ones(COMPUTE_FLOATS, numpy.float32), numpy.float32(0.999)

    def run() -> None:
        for _ in range(COMPUTE_ROUNDS):
            numpy.multiply(values, scale, out=values)
            numpy.add(values, scale, out=values)

    return run


def _stream() -> Callable[[], None]:
    import numpy

    source = numpy.ones(MEMORY_BYTES // 8)
    target = numpy.zeros_like(source)
    numpy.copyto(target, source)  # so that every page is there

    def run() -> None:
        for _ in range(MEMORY_ROUNDS):
            numpy.copyto(target, source)

    return run
