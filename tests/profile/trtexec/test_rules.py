"""A CPU that cannot keep a GPU busy is named: a faster GPU would change little."""

from types import SimpleNamespace
from typing import Any

import pytest

from vlm_profile.trtexec.rules import waiting_percent, warn_if_host_bound


def measurement(launching: float | None, *, cuda_graph: bool = False, call_ms: float = 9.5, streams: int = 1) -> Any:
    """Calls that come every 10 ms to each stream, for a second."""
    options: dict[str, Any] = {} if launching is None else {"enqueue_percent": launching}
    one = SimpleNamespace(samples_ns=(round(call_ms * 1e6),) * 100 * streams, measure_s=1.0)
    return SimpleNamespace(
        runtime=SimpleNamespace(options=options),
        setup=SimpleNamespace(options={"cuda_graph": cuda_graph}, streams=streams),
        repetitions=(one, one, one),
    )


def test_a_slow_launch_is_a_warning_with_what_to_do() -> None:
    verdict = warn_if_host_bound(measurement(91.4))
    assert verdict is not None
    assert (verdict.code, verdict.level) == ("host_bound", "warning")
    assert "launching a call takes the CPU 91 %" in verdict.seen
    assert "with a CUDA graph" in verdict.next_step


def test_a_gpu_that_waits_between_calls_is_one_too() -> None:
    verdict = warn_if_host_bound(measurement(3.0, call_ms=6.0, cuda_graph=True))
    assert verdict is not None
    assert verdict.seen == "for 40 % of the loop the GPU neither copied nor computed"
    assert "larger batch" in verdict.next_step


@pytest.mark.parametrize("launching", [80.0, 3.0, None])
def test_a_busy_gpu_is_not_doubted(launching: float | None) -> None:
    assert warn_if_host_bound(measurement(launching)) is None


@pytest.mark.parametrize("streams", [1, 3])
def test_waiting_is_counted_for_each_stream(streams: int) -> None:
    assert waiting_percent(measurement(None, streams=streams)) == pytest.approx(5.0)
