"""What a board hands back is data: records that are not what was asked for are not kept."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent, json_from_record
from vlm_contract.errors import VlmError
from vlm_contract.measurement import ArtifactUsed, Measurement
from vlm_profile.boards import fetched
from vlm_profile.boards.errands import Stored
from vlm_profile.boards.fetched import Asked, checked, records_from
from vlm_profile.protocol import FULL, Protocol
from vlm_profile.recording import settings_of, widened
from vlm_profile.rows import Request
from vlm_profile.statistics import memory_of
from vlm_profile.subjects import Subject
from vlm_profile.verdicts import check_worker, judge
from vlm_targets.ssh import Board

Made = Callable[..., Any]
NAME = "tiny.onnxruntime-b1-t2"
TINY = Subject(Path("model.onnx"), ArtifactUsed("tiny", "model.onnx", "0" * 64, 1000, "onnx", "fp32"), "tiny")
REQUEST = Request(batches=(1,), threads=2)
ASKED = Asked((TINY,), REQUEST, "a board")


@pytest.fixture
def record(measurement: Made, repetition: Made) -> Measurement:
    """As a board that hides nothing hands it over."""
    return judged(measurement(repetition(10.0), repetition(11.0), settings=settings_of(REQUEST, FULL)))


def judged(record: Measurement, protocol: Protocol = FULL) -> Measurement:
    return replace(record, verdicts=judge(record, protocol))


def with_repetition(record: Measurement, **changes: Any) -> Measurement:
    """With another first process."""
    return replace(record, repetitions=(replace(record.repetitions[0], **changes), *record.repetitions[1:]))


def with_setup(record: Measurement, **changes: Any) -> Measurement:
    return replace(record, setup=replace(record.setup, **changes))


def test_a_record_that_was_asked_for_is_kept(record: Measurement) -> None:
    assert checked(record, NAME, ASKED, "pi") == record


def test_a_row_that_failed_is_kept(record: Measurement) -> None:
    nothing = dict.fromkeys(("latency", "throughput", "cold_start", "pacing", "sustained"), Absent("it failed"))
    failed = replace(record, **nothing, repetitions=(), verdicts=(check_worker("it was killed"),))
    failed = replace(failed, memory=memory_of((), 1000))
    assert checked(failed, NAME, ASKED, "pi") == failed


def test_verdicts_are_those_that_the_samples_come_to_here(measurement: Made, repetition: Made) -> None:
    apart = measurement(repetition(10.0), repetition(30.0), settings=settings_of(REQUEST, FULL))
    assert checked(apart, NAME, ASKED, "pi").status == "invalid"
    assert checked(apart, NAME, ASKED, "pi") == judged(apart)


def test_two_files_of_the_same_bytes_are_two_models(record: Measurement) -> None:
    twin = replace(TINY, used=replace(TINY.used, name="twin"), label="twin")
    asked = replace(ASKED, subjects=(TINY, twin))
    both = record, replace(record, artifact=twin.used)
    assert checked(both[0], NAME, asked, "pi") == both[0]
    assert checked(both[1], "twin.onnxruntime-b1-t2", asked, "pi") == both[1]


def test_where_others_used_the_machine_intervals_are_wider_than_the_samples_say(
    measurement: Made, repetition: Made
) -> None:
    busy = replace(repetition().context[0], machine_busy_s=3.5)
    plain = measurement(*(repetition(10.0, context=(busy,)),) * 2, settings=settings_of(REQUEST, FULL))
    wide = widened(plain, FULL)
    assert wide.latency != plain.latency
    kept = checked(wide, NAME, ASKED, "pi")
    assert (kept.latency, [verdict.code for verdict in kept.verdicts]) == (wide.latency, ["neighbours", "few"])
    with pytest.raises(VlmError, match="latency_ms_p50_low is 10, and its own samples come to 9"):
        checked(plain, NAME, ASKED, "pi")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: replace(m, evidence="estimated"), "it says estimated for 'host'"),
        (lambda m: replace(m, target="jetson-nano"), "it says measured for 'jetson-nano'"),
        (lambda m: replace(m, origin="a paper"), "and how it was estimated or reported"),
        (lambda m: replace(m, artifact=replace(m.artifact, sha256="1" * 64)), "no model that was sent"),
        (lambda m: replace(m, artifact=replace(m.artifact, precision="int8")), "no model that was sent"),
        (lambda m: replace(m, device=replace(m.device, name="another")), "it is of a 'another'"),
        (lambda m: replace(m, device=replace(m.device, cpus=0)), r"its device\.cpus is 0"),
        (lambda m: replace(m, runtime=replace(m.runtime, name="fastest")), "it was run by fastest"),
        (lambda m: replace(m, settings={}), "by other rules than were asked for"),
        (lambda m: replace(m, settings={**m.settings, "drift_slope_percent": 99.0}), "by other rules than"),
        (lambda m: with_setup(m, batch=Absent("not told")), "its batch is absent, and 1 was asked for"),
        (lambda m: with_setup(m, batch=32), "its batch is 32, and 1 was asked for"),
        (lambda m: with_setup(m, threads=1), "its number of threads is 1, and 2 was asked for"),
        (lambda m: with_setup(m, streams=4), "its number of streams is 4"),
        (lambda m: with_setup(m, fps=30.0), r"its frame rate is 30\.0"),
        (lambda m: with_setup(m, scope="nothing"), "its scope is nothing"),
        (lambda m: with_setup(m, options={"cuda_graph": True}), "its options is {'cuda_graph': True}"),
        (lambda m: replace(m, latency=replace(m.latency, latency_ms_p50=1.0)), "latency_ms_p50 is 1, .* come to 10.5"),
        (lambda m: replace(m, latency=replace(m.latency, latency_ms_p90=1.0)), "latency_ms_p90 is 1, .* come to 11"),
        (lambda m: replace(m, latency=replace(m.latency, latency_ms_p50_high=10.6)), "latency_ms_p50_high is 10.6"),
        (lambda m: replace(m, latency=Absent("lost")), "its latency is absent, and its own samples come to given"),
        (lambda m: replace(m, throughput=replace(m.throughput, images_per_s=1e6)), "images_per_s is 1e.06"),
        (lambda m: replace(m, throughput=replace(m.throughput, batch=8)), "throughput.batch is 8"),
        (lambda m: replace(m, memory=replace(m.memory, peak_rss_bytes=5)), "memory.peak_rss_bytes is 5"),
        (lambda m: replace(m, repetitions=()), "its latency is given, and its own samples come to absent"),
        (lambda m: replace(m, repetitions=m.repetitions * 6), "it has 12 processes, and 10 at most were asked"),
        (lambda m: with_repetition(m, samples_ns=()), "its process 1 has no samples"),
        (lambda m: with_repetition(m, samples_ns=(0,)), "its process 1 has no samples, or such as took no time"),
        (lambda m: with_repetition(m, samples_ns=(10**4000,)), "numbers that no run gives"),
        (lambda m: with_repetition(m, measure_s=0.0), "its process 1 has no samples, or such as took no time"),
        (lambda m: with_repetition(m, measure_s=math.inf), "finite numbers"),
        (lambda m: with_repetition(m, began_s=-1.0), "its process 1 holds a negative number"),
        (lambda m: with_repetition(m, context=(replace(m.repetitions[0].context[0], at_s=0.0),)), "do not follow"),
    ],
)
def test_a_record_of_something_else_is_refused(
    record: Measurement, change: Callable[[Measurement], Measurement], problem: str
) -> None:
    with pytest.raises(VlmError, match=rf"pi handed over a record {NAME}\.json that is not kept: .*{problem}"):
        checked(change(record), NAME, ASKED, "pi")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("other.onnxruntime-b1-t2", "no model that was sent under this name"),
        ("tiny.onnxruntime-b32-t2", r"what it holds is called tiny\.onnxruntime-b1-t2"),
    ],
)
def test_a_record_under_another_name_is_refused(record: Measurement, name: str, problem: str) -> None:
    with pytest.raises(VlmError, match=problem):
        checked(record, name, ASKED, "pi")


@pytest.mark.parametrize("mode", ["full", "test"])
def test_the_full_rules_answer_for_shorter_ones(record: Measurement, tiny_protocol: Protocol, mode: str) -> None:
    asked = replace(ASKED, request=replace(REQUEST, protocol=tiny_protocol, seed=7))
    rules = {"full": FULL, "test": tiny_protocol}[mode]
    made = judged(replace(record, settings=settings_of(REQUEST, rules)), rules)
    assert checked(made, NAME, asked, "pi") == made


def test_control_characters_are_escaped(record: Measurement) -> None:
    record = replace(record, environment={"governor\x1b]0;x\x07": "\x1b[2J\u202e"})
    (key,), (value,) = zip(*checked(record, NAME, ASKED, "pi").environment.items(), strict=True)
    assert (key, value) == (r"governor\x1b]0;x\x07", r"\x1b[2J\u202e")


# Through a connection


@pytest.fixture
def hands_over(loopback: Made, tmp_path: Path) -> Callable[[str, str], Any]:
    """A function that has a board hand over one file of that name and content."""

    def handed(name: str, text: str) -> Any:
        there = loopback()
        (there.home / name).write_text(text)
        stored = Stored(str(there.home), (name,), (), (), (), ())
        with Board(there.address, there.config) as board:
            return dict(records_from(board, stored, ASKED))

    return handed


def test_a_record_comes_whole(hands_over: Made, record: Measurement) -> None:
    assert hands_over(f"{NAME}.json", json_from_record(record)) == {NAME: record}


def test_a_record_of_very_many_parts_is_not_read(hands_over: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "PARTS_MAX", 1000)
    with pytest.raises(VlmError, match="it has 1001 parts, over the limit of 1000"):
        hands_over(f"{NAME}.json", "[" * 1001)


@pytest.mark.parametrize("text", ["{}", "not json", '{"schema": "vlm-edge/measurement/0"}', "[" * 100_000, "\0" * 99])
def test_garbage_is_refused(hands_over: Made, text: str) -> None:
    with pytest.raises(VlmError, match=r"0\.json"):
        hands_over(f"{NAME}.json", text)


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a/b.json", ".hidden.json", "x.txt", "x\n.json", ".json"])
def test_what_is_no_name_of_a_record_is_not_fetched(loopback: Made, name: str) -> None:
    there = loopback()
    with Board(there.address, there.config) as board, pytest.raises(VlmError, match="no record is called that"):
        list(records_from(board, Stored(str(there.home), (name,), (), (), (), ()), ASKED))
