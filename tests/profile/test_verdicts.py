"""Each rule holds on one side of its limit and speaks on the other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Latency, Measurement, Reading, Repetition, Throughput, Verdict
from vlm_profile.protocol import FULL
from vlm_profile.verdicts import judge

Made = Callable[..., Repetition]
Record = Callable[..., Measurement]


def codes(record: Measurement, **more: Any) -> dict[str, str]:
    return {verdict.code: verdict.level for verdict in judge(record, FULL, **more)}


def test_a_quiet_and_steady_record_has_no_verdict(repetition: Made, measurement: Record) -> None:
    assert codes(measurement(*[repetition()] * 5)) == {}


@pytest.mark.parametrize(
    ("window", "contended"),
    [
        # over one second: 2 threads of ours, 2 usable CPUs of 4
        ({"run_queue_wait_s": 0.040}, False),
        ({"run_queue_wait_s": 0.041}, True),
        ({"our_cpus_busy_s": 2.19}, False),
        ({"our_cpus_busy_s": 2.21}, True),
        ({"steal_s": 0.08}, False),
        ({"steal_s": 0.081}, True),
    ],
)
def test_contended(repetition: Made, measurement: Record, window: dict[str, float], contended: bool) -> None:
    quiet = repetition()
    busy = repetition(context=(replace(quiet.context[0], **window),))  # type: ignore[arg-type]
    expected = {"contended": "invalid"} if contended else {}
    assert codes(measurement(quiet, quiet, quiet, quiet, busy)) == expected


def test_others_on_the_cpus_only_warn_where_a_gpu_computes(repetition: Made, measurement: Record) -> None:
    busy = repetition(context=(replace(repetition().context[0], our_cpus_busy_s=3.0),))
    record = measurement(*[busy] * 5)
    record = replace(record, runtime=replace(record.runtime, name="onnxruntime-cuda"))
    assert codes(record) == {"contended": "warning"}


def test_foreign_cpu_is_a_share_of_the_cpus_that_the_process_may_run_on(repetition: Made, measurement: Record) -> None:
    window = replace(repetition().context[0], cpu_s=1.0, our_cpus_busy_s=1.15, machine_busy_s=1.15)
    assert codes(measurement(*[repetition(context=(window,))] * 5)) == {}
    assert codes(measurement(*[repetition(context=(window,), cpus=(0,))] * 5)) == {"contended": "invalid"}


def test_streams_wait_for_each_other_and_not_for_strangers(repetition: Made, measurement: Record) -> None:
    waiting = repetition(context=(replace(repetition().context[0], run_queue_wait_s=0.07),))
    record = measurement(*[waiting] * 5)
    assert codes(record) == {"contended": "invalid"}
    setup = replace(record.setup, streams=2)
    assert "contended" not in codes(replace(record, setup=setup))


def test_a_kernel_that_counts_nothing_cannot_call_a_run_quiet(repetition: Made, measurement: Record) -> None:
    assert codes(measurement(*[repetition(context=())] * 5)) == {"contended": "invalid"}


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(3.0, {}), (3.1, {"unstable": "warning"}), (10.0, {"unstable": "warning"}), (10.1, {"unstable": "invalid"})],
)
def test_unstable(repetition: Made, measurement: Record, percent: float, expected: dict[str, str]) -> None:
    record = measurement(*[repetition()] * 5)
    assert isinstance(record.latency, Latency)
    latency = replace(record.latency, latency_ms_p50=100.0, latency_ms_p50_high=100.0 + percent)
    assert codes(replace(record, latency=latency)) == expected


@pytest.mark.parametrize(("images_per_s", "contradicts"), [(90, False), (110, False), (89, True), (111, True)])
def test_little(repetition: Made, measurement: Record, images_per_s: float, contradicts: bool) -> None:
    record = measurement(*[repetition(10.0)] * 5)
    assert isinstance(record.throughput, Throughput)
    record = replace(record, throughput=replace(record.throughput, images_per_s=images_per_s))
    assert codes(record) == ({"little": "invalid"} if contradicts else {})


def test_one_slow_process_is_no_contradiction(repetition: Made, measurement: Record) -> None:
    record = measurement(*[repetition(10.0)] * 4, repetition(40.0))
    assert "little" not in codes(record)


def test_little_counts_the_whole_batch(repetition: Made, measurement: Record) -> None:
    record = measurement(*[repetition(10.0)] * 5)
    assert codes(replace(record, setup=replace(record.setup, batch=8))) == {"little": "invalid"}


@pytest.mark.parametrize(
    ("processes", "samples", "few"), [(3, 17, False), (3, 16, True), (2, 100, True), (5, 10, False)]
)
def test_few(repetition: Made, measurement: Record, processes: int, samples: int, few: bool) -> None:
    process = repetition(samples_ns=(10_000_000,) * samples, measure_s=samples / 100)
    assert codes(measurement(*[process] * processes)) == ({"few": "warning"} if few else {})


def test_zero_memory_leaves_the_other_figures_standing(repetition: Made, measurement: Record) -> None:
    record = measurement(*[repetition(peak_rss_bytes=0)] * 5)
    assert isinstance(record.memory.peak_rss_bytes, Absent)
    assert codes(record) == {"zero_memory": "warning"}


def test_nonfinite_outputs_are_invalid_and_named(repetition: Made, measurement: Record) -> None:
    (verdict,) = judge(measurement(*[repetition()] * 4, repetition(nonfinite=("logits",))), FULL)
    assert (verdict.code, verdict.level) == ("nonfinite", "invalid")
    assert "logits" in verdict.seen


def test_an_output_that_differs_while_timed_is_named(repetition: Made, measurement: Record) -> None:
    (verdict,) = judge(measurement(*[repetition()] * 4, repetition(unlike=("logits",))), FULL)
    assert (verdict.code, verdict.level) == ("output", "invalid")
    assert "logits" in verdict.seen


@pytest.mark.parametrize(("repeated_ms", "cached"), [(9.0, False), (8.9, True), (11.0, False)])
def test_cached(repetition: Made, measurement: Record, repeated_ms: float, cached: bool) -> None:
    process = repetition(10.0, repeated_ns=(round(repeated_ms * 1e6),) * 5)
    assert codes(measurement(*[process] * 5)) == ({"cached": "invalid"} if cached else {})


def test_several_streams_may_not_keep_answers_either(repetition: Made, measurement: Record) -> None:
    process = repetition(10.0, repeated_ns=(8_000_000,) * 10)
    record = measurement(*[process] * 5)
    assert "cached" in codes(replace(record, setup=replace(record.setup, streams=2)))


def test_fallback_says_what_ran_elsewhere(repetition: Made, measurement: Record) -> None:
    (verdict,) = judge(measurement(*[repetition(fallback="3 nodes ran on the CPU")] * 5), FULL)
    assert (verdict.code, verdict.level, verdict.seen) == ("fallback", "invalid", "3 nodes ran on the CPU")


@pytest.mark.parametrize(
    ("options", "process", "wrong"),
    [
        ({}, {"threads_seen": 2}, False),
        ({}, {"threads_seen": 3}, True),
        ({}, {"threads_seen": Absent("not counted")}, False),
        ({"cpus": "0,1"}, {"cpus": (0, 1)}, False),
        ({"cpus": "0,1"}, {"cpus": (0, 1, 2)}, True),
    ],
)
def test_threads(
    repetition: Made, measurement: Record, options: dict[str, str], process: dict[str, Any], wrong: bool
) -> None:
    record = measurement(*[repetition(**process)] * 5)
    record = replace(record, setup=replace(record.setup, options=options))
    assert codes(record) == ({"threads": "invalid"} if wrong else {})


@pytest.mark.parametrize(("machine_busy_s", "seen"), [(2.39, False), (2.41, True)])
def test_neighbours(repetition: Made, measurement: Record, machine_busy_s: float, seen: bool) -> None:
    window = replace(repetition().context[0], machine_busy_s=machine_busy_s)
    record = measurement(*[repetition(context=(window,))] * 5)
    assert codes(record) == ({"neighbours": "warning"} if seen else {})


def during(process: Repetition, **values: float) -> tuple[Reading, ...]:
    """One reading in the middle of the loop, and one before it that does not count."""
    middle = process.began_s + process.measure_s / 2
    named = {f"{key} 0": value for key, value in values.items()}
    return Reading(process.began_s - 1, {"gpu_throttle_bits 0": 8.0, "gpu_processes 0": 9.0}), Reading(middle, named)


@pytest.mark.parametrize(("bits", "level"), [(0.0, None), (1.0, None), (4.0, "warning"), (8.0, "invalid")])
def test_throttled(repetition: Made, measurement: Record, bits: float, level: str | None) -> None:
    process = repetition()
    process = replace(process, readings=during(process, gpu_throttle_bits=bits))
    record = measurement(*[process] * 5)
    assert codes(record) == {}  # it ran on the CPU
    record = replace(record, runtime=replace(record.runtime, name="onnxruntime-cuda"))
    assert codes(record) == ({"throttled": level} if level else {})
    soaked = {verdict.code: verdict.level for verdict in judge(record, FULL.soaked(60))}
    assert soaked == ({"throttled": "warning"} if level else {})


@pytest.mark.parametrize(("slow", "fps", "found"), [(2, None, False), (3, None, True), (5, 30.0, False)])
def test_a_cpus_clock_falls_in_most_processes_and_not_between_frames(
    repetition: Made, measurement: Record, slow: int, fps: float | None, found: bool
) -> None:
    falling = tuple(replace(repetition().context[0], cpu_mhz=mhz) for mhz in (2000.0, 1500.0))
    quiet = repetition(context=tuple(replace(window, cpu_mhz=2000.0) for window in falling))
    record = measurement(*[repetition(context=falling)] * slow, *[quiet] * (5 - slow))
    if fps:
        record = replace(record, setup=replace(record.setup, fps=fps))
    assert ("throttled" in codes(record)) is found


@pytest.mark.parametrize(("processes", "provider", "shared"), [(1, "-cuda", False), (2, "-cuda", True), (2, "", False)])
def test_gpu_shared(repetition: Made, measurement: Record, processes: int, provider: str, shared: bool) -> None:
    process = repetition()
    record = measurement(*[replace(process, readings=during(process, gpu_processes=processes))] * 5)
    record = replace(record, runtime=replace(record.runtime, name=f"onnxruntime{provider}"))
    assert codes(record) == ({"gpu_shared": "invalid"} if shared else {})


def moving(percent: float) -> tuple[int, ...]:
    """320 samples that rise evenly by so much of their median."""
    return tuple(round(10_000_000 * (1 + percent / 100 * (n / 319 - 0.5))) for n in range(320))


@pytest.mark.parametrize(("percent", "drifts"), [(2.0, False), (-2.0, False), (4.0, True), (-4.0, True), (20.0, True)])
def test_drift(repetition: Made, measurement: Record, percent: float, drifts: bool) -> None:
    process = repetition(samples_ns=moving(percent), measure_s=3.2)
    assert codes(measurement(*[process] * 5)) == ({"drift": "invalid"} if drifts else {})


def test_a_stall_is_no_drift_and_a_sustained_run_may_drift(repetition: Made, measurement: Record) -> None:
    stalled = (10_000_000,) * 300 + (400_000_000,) + (10_000_000,) * 19
    assert codes(measurement(*[repetition(samples_ns=stalled, measure_s=3.6)] * 5)) == {}
    record = measurement(*[repetition(samples_ns=moving(20), measure_s=3.2)] * 5)
    assert [verdict.code for verdict in judge(record, FULL.soaked(60))] == []


@pytest.mark.parametrize(("percent", "drifts"), [(2.0, False), (20.0, True)])
def test_streams_drift_too(repetition: Made, measurement: Record, percent: float, drifts: bool) -> None:
    record = measurement(*[repetition(samples_ns=moving(percent), measure_s=1.6)] * 5)
    record = replace(record, setup=replace(record.setup, streams=2))
    assert ("drift" in codes(record)) is drifts


def test_that_the_last_call_of_each_stream_ends_beside_fewer_is_no_drift(repetition: Made, measurement: Record) -> None:
    samples = (10_000_000,) * 13 + (7_000_000,) * 3
    record = measurement(*[repetition(samples_ns=samples)] * 5)
    assert "drift" in codes(record)
    assert "drift" not in codes(replace(record, setup=replace(record.setup, streams=4)))


def test_a_failure_is_the_only_verdict_and_names_its_cause(measurement: Record) -> None:
    (verdict,) = judge(measurement(), FULL, failure="the worker crashed (SIGSEGV)")
    assert (verdict.code, verdict.level, verdict.seen) == ("worker", "failed", "the worker crashed (SIGSEGV)")


def test_every_verdict_says_what_was_seen_the_limit_and_the_next_step(repetition: Made, measurement: Record) -> None:
    wrong = {"nonfinite": ("y",), "unlike": ("y",), "fallback": "all ran on the CPU", "threads_seen": 9}
    rising = tuple(10_000_000 + 100_000 * n for n in range(64))
    bad = [
        repetition(context=(), peak_rss_bytes=0, measure_s=9.0, samples_ns=rising, repeated_ns=(1000,), **wrong),
        repetition(context=(replace(repetition().context[0], machine_busy_s=4.0),), peak_rss_bytes=0, repeated_ns=(1,)),
    ]
    verdicts = (*judge(measurement(*bad), FULL), *judge(measurement(), FULL, failure="x"))
    assert {verdict.code for verdict in verdicts} == {
        *("nonfinite", "output", "cached", "fallback", "threads", "zero_memory", "little", "contended", "neighbours"),
        *("drift", "unstable", "few", "worker"),
    }
    assert all(_complete(verdict) for verdict in verdicts)


def _complete(verdict: Verdict) -> bool:
    return all((verdict.seen, verdict.limit, verdict.next_step)) and verdict.next_step.endswith(".")
