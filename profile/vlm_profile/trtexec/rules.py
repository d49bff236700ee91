"""Rules for what trtexec alone tells."""

from math import fsum
from statistics import median

from vlm_contract.codec import known
from vlm_contract.measurement import Measurement, Verdict

ENQUEUE_PERCENT = "enqueue_percent"  # among trtexec's options: of computing, that launching a call takes
ENQUEUE_PERCENT_MOST = 80.0  # as trtexec's own summary warns: printEpilog() of samples/common/sampleReporting.cpp
WAITING_PERCENT_MOST = 20.0  # of the loop, that no call copies or computes


def warn_if_host_bound(measurement: Measurement) -> Verdict | None:
    """`host_bound`: the GPU waits for the CPU, which launches calls too slowly or sleeps between them."""
    launching, waiting = measurement.runtime.options.get(ENQUEUE_PERCENT), waiting_percent(measurement)
    if isinstance(launching, float) and launching > ENQUEUE_PERCENT_MOST:
        seen = f"launching a call takes the CPU {launching:.0f} % of the time that the GPU computes"
    elif waiting > WAITING_PERCENT_MOST:
        seen = f"for {waiting:.0f} % of the loop the GPU neither copied nor computed"
    else:
        return None
    advice = "Take a larger batch" if measurement.setup.options.get("cuda_graph") else "Take the row with a CUDA graph"
    return Verdict(
        code="host_bound",
        level="warning",
        seen=seen,
        limit=f"{ENQUEUE_PERCENT_MOST:g} % of computing, and {WAITING_PERCENT_MOST:g} % of the loop",
        next_step=f"{advice}, and see that the CPU's clock is not held down: a faster GPU would change little.",
    )


def waiting_percent(measurement: Measurement) -> float:
    """Of the median process's loop, the share in which no call was on the GPU; 0 where nothing ran."""
    streams = known(measurement.setup.streams)
    busy = [fsum(r.samples_ns) / (1e9 * r.measure_s * streams) for r in measurement.repetitions]
    return 100 * (1 - median(busy)) if busy else 0.0
