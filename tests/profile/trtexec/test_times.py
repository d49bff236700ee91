"""Times are read of what trtexec writes, and of nothing else."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from vlm_contract.errors import VlmError
from vlm_profile.trtexec import times
from vlm_profile.trtexec.times import Times, times_in


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], Path]:
    """A function that writes rows, or text, to a file."""

    def write(content: Any) -> Path:
        path = tmp_path / "times.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def row(at: float, compute: float = 2.0, **others: Any) -> dict[str, Any]:
    """One call that begins at `at` ms, and copies for 0.1 ms in and 0.05 ms out."""
    return {
        "startEnqMs": at,
        "endEnqMs": at + 0.5,
        "startH2dMs": at,
        "endH2dMs": at + 0.1,
        "startComputeMs": at + 0.1,
        "endComputeMs": at + 0.1 + compute,
        "startD2hMs": at + 0.1 + compute,
        "endD2hMs": at + 0.15 + compute,
        "h2dMs": 0.1,
        "computeMs": compute,
        "d2hMs": 0.05,
        "latencyMs": compute + 0.15,
        **others,
    }


def loop(calls: int = 10) -> list[dict[str, Any]]:
    return [row(3.0 * number) for number in range(calls)]


def test_latency_is_copying_and_computing_and_the_wall_is_from_first_to_last(written: Callable[..., Path]) -> None:
    found = times_in(written(loop()), 0.0, 1)
    assert found == Times((), (2_150_000,) * 10, (2_000_000,) * 10, pytest.approx(0.02915))


def test_rows_of_the_warm_up_are_told_apart(written: Callable[..., Path]) -> None:
    found = times_in(written([row(0.0, 5.0), *loop(4)[2:]]), 5.5, 1)
    assert (found.warmup_ns, found.latency_ns) == ((5_150_000,), (2_150_000,) * 2)


@pytest.mark.parametrize("version", ["8.2.1", "8.5.2", "10.3.0", "11.4.1"])
@pytest.mark.parametrize("streams", [1, 3])
def test_what_every_version_writes_is_read(
    emulator: Any, written: Callable[..., Path], version: str, streams: int
) -> None:
    name = "--streams" if version < "8.6" and version[0] == "8" else "--infStreams"
    given = {"--exposeDMA": "", "--warmUp": "200", "--duration": "1", name: str(streams)}
    rows = emulator.trace(given, {**emulator.SETTINGS, "version": version})
    found = times_in(written(emulator.as_json(rows, old=version == "8.2.1")), 200.0, streams)
    assert bool(found.warmup_ns) == (version == "8.2.1")
    assert median(found.latency_ns) == pytest.approx(2.125e6, rel=0.01)
    assert median(found.compute_ns) == pytest.approx(2.0e6, rel=0.01)
    assert len(found.latency_ns) * 2.175e-3 / streams == pytest.approx(found.wall_s, rel=0.01)


def test_durations_stay_exact_where_points_in_time_are_rounded(emulator: Any, written: Callable[..., Path]) -> None:
    given = {"--exposeDMA": "", "--warmUp": "9000", "--duration": "2"}
    settings = {**emulator.SETTINGS, "version": "10.3.0", "compute_ms": 0.05, "copy_ms": 0.01, "host_ms": 0.01}
    found = times_in(written(emulator.as_json(emulator.trace(given, settings), old=False)), 9000.0, 1)
    assert median(found.latency_ns) == pytest.approx(62_500, rel=0.002)


def test_calls_that_overlap_are_no_serial_loop(emulator: Any, written: Callable[..., Path]) -> None:
    rows = emulator.trace({"--duration": "1"}, {**emulator.SETTINGS, "version": "10.3.0"})
    with pytest.raises(VlmError, match=r"fill 1\.0\d times the wall clock of each stream"):
        times_in(written(emulator.as_json(rows, old=False)), 200.0, 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ("garbage", "damaged"),
        ('[ { "startEnqMs" : 1, ', "damaged"),
        ("[" * 100_000, "damaged"),
        ("{}", "no list of calls"),
        ("[1]", "call 1 is no set of numbers"),
        ("[]", "wrote no times after its warm-up"),
        ([row(0.0), {}], "call 2 has no startH2dMs"),
        ([row(0.0, computeMs="2")], "has no computeMs"),
        ([row(0.0, computeMs=True)], "has no computeMs"),
        ('[{"startH2dMs": NaN}]', "it holds NaN"),
        (json.dumps([row(0.0)]).replace("2.15", "1e999", 1), "has no"),
        ([row(0.0, h2dMs=-0.1)], "negative h2dMs"),
        ([row(0.0, computeMs=0.0, latencyMs=0.15)], "not the sum of its parts"),
        ([row(0.0, latencyMs=7.0)], "not the sum of its parts"),
        ([row(0.0, endComputeMs=0.0)], "ends before it begins"),
        ([row(0.0, computeMs=20.0, latencyMs=20.15)], "longer than from its begin to its end"),
        ([row(9.0), row(0.0)], "call 2 begins before the call before it"),
    ],
)
def test_garbage_is_refused_in_a_sentence(written: Callable[..., Path], content: Any, problem: str) -> None:
    with pytest.raises(VlmError, match=problem):
        times_in(written(content), 0.0, 1)


def test_a_file_over_the_limit_is_not_read(written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "LIMIT_BYTES", 10)
    with pytest.raises(VlmError, match="over the limit of 10"):
        times_in(written(loop()), 0.0, 1)


def test_a_file_of_many_small_things_takes_no_more_memory_than_itself(written: Callable[..., Path]) -> None:
    path = written("[" + "{}," * 300_000 + "{}]")
    tracemalloc.start()
    with pytest.raises(VlmError, match="call 1 has no startH2dMs"):
        times_in(path, 0.0, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * path.stat().st_size
