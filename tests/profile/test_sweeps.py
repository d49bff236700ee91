"""Which batches are measured, and what a sweep comes to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vlm_contract.measurement import Measurement, Repetition, Throughput, Verdict
from vlm_profile.sweeps import batches_worth_measuring, best_batch, best_threads, cliffs

Made = Callable[..., Repetition]
Record = Callable[..., Measurement]


def rate_of(rates: dict[int, float]) -> Callable[[int], float | None]:
    """A model with these rates; it does not run at other batches."""
    return lambda batch: rates.get(batch)


@pytest.mark.parametrize(
    ("rates", "batches"),
    [
        ({1: 100, 2: 180, 4: 200, 8: 205, 16: 400}, (1, 2, 4, 8)),  # 8 gains 2.5 %
        ({1: 100, 2: 180, 4: 300}, (1, 2, 4)),  # 8 does not run
        ({1: 100}, (1,)),
        ({1: 100, 2: 99}, (1, 2)),
        ({}, ()),
    ],
)
def test_a_batch_is_doubled_until_it_gains_nothing_or_memory_ends(
    rates: dict[int, float], batches: tuple[int, ...]
) -> None:
    assert batches_worth_measuring(rate_of(rates)) == batches


def test_where_throughput_falls_the_batches_beside_the_cliff_are_looked_for() -> None:
    # As a GTX 1660 went from 9 ms at batch 4 to 34 ms at batch 5 in FP16.
    asked: list[int] = []

    def rate(batch: int) -> float:
        asked.append(batch)
        return batch / (9 if batch <= 4 else 34)

    assert batches_worth_measuring(rate) == (1, 2, 4, 5, 8)
    assert len(asked) <= 7


def at_batch(record: Measurement, batch: int, images_per_s: float) -> Measurement:
    assert isinstance(record.throughput, Throughput)
    half = images_per_s / 100
    rate = replace(
        record.throughput,
        batch=batch,
        images_per_s=images_per_s,
        images_per_s_low=images_per_s - half,
        images_per_s_high=images_per_s + half,
    )
    return replace(record, setup=replace(record.setup, batch=batch), throughput=rate)


def test_a_cliff_is_named_between_neighbouring_batches(repetition: Made, measurement: Record) -> None:
    record = measurement(*[repetition()] * 3)
    rows = [at_batch(record, batch, rate) for batch, rate in ((8, 160), (4, 444), (5, 147), (1, 111))]
    assert list(cliffs(rows)) == [
        "tiny: a cliff between batch 4 (444 img/s) and batch 5 (147 img/s): do not go beyond 4."
    ]


def test_a_fall_within_the_intervals_is_no_cliff(repetition: Made, measurement: Record) -> None:
    record = measurement(*[repetition()] * 3)
    assert list(cliffs([at_batch(record, 1, 100), at_batch(record, 2, 89)])) == []


def with_threads(record: Measurement, threads: int, **options: Any) -> Measurement:
    return replace(record, setup=replace(record.setup, threads=threads, options=options))


def test_what_to_set_is_the_fastest_and_what_ties_with_it(repetition: Made, measurement: Record) -> None:
    slow, fast = (measurement(*[repetition(ms + d) for d in (0, 0.01, 0.02)]) for ms in (10, 5))
    rows = [with_threads(slow, 1), with_threads(fast, 2, spinning=False), with_threads(fast, 2, spinning=True)]
    assert list(best_threads(rows)) == [
        "tiny b1: set threads 2 with spinning off (5.01 ms); within its interval: threads 2 with spinning on. In your "
        "program: SessionOptions.intra_op_num_threads = 2, session.intra_op.allow_spinning = 0."
    ]


def test_one_row_gives_no_advice(repetition: Made, measurement: Record) -> None:
    assert list(best_threads([measurement(*[repetition()] * 3)])) == []


def test_the_batch_that_gives_most_is_named_among_the_valid_ones(repetition: Made, measurement: Record) -> None:
    record = measurement(*[repetition()] * 3)
    rows = [at_batch(record, batch, rate) for batch, rate in ((1, 100), (2, 180), (4, 200))]
    assert list(best_batch(rows)) == ["tiny: most comes of batch 4 (200 img/s)."]
    invalid = replace(rows[2], verdicts=(Verdict("contended", "invalid", "others", "none", "Wait."),))
    assert list(best_batch([*rows[:2], invalid])) == [
        "tiny: most comes of batch 2 (180 img/s); 1 of 3 rows are not valid."
    ]
    assert list(best_batch([invalid])) == ["tiny: no batch can be named; 1 of 1 rows are not valid."]


def test_of_several_ways_to_run_it_the_batch_is_named_with_its_threads_once_for_each_runtime(
    repetition: Made, measurement: Record
) -> None:
    record = measurement(*[repetition()] * 3)
    other = replace(record, runtime=replace(record.runtime, name="openvino"))
    rows = [
        at_batch(with_threads(each, threads, spinning=False), batch, rate * threads)
        for each in (record, other)
        for batch, rate in ((1, 100), (2, 180))
        for threads in (1, 2)
    ]
    assert list(best_batch(rows)) == [
        f"tiny {name}: most comes of batch 2 and threads 2 with spinning off (360 img/s)."
        for name in ("onnxruntime", "openvino")
    ]
