"""The self-test can fail: each truth against records that say it, that deny it, and that excuse it."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.console import run_command
from vlm_contract.errors import CheckFailed
from vlm_contract.measurement import Measurement, Repetition, Verdict
from vlm_profile import loadgen, selftest
from vlm_profile.protocol import QUICK
from vlm_profile.runtimes import _selftest as known
from vlm_profile.selftest import TRUTHS, Checked, Taken, Truth, checked, hog, selftest_command, selftest_parser

Make = Callable[..., Measurement]
Process = Callable[..., Repetition]
MS = 1_000_000
STALLED = (MS,) * 490 + (100 * MS,) * 10
CONTENDED = Verdict("contended", "invalid", "run-queue wait 14 %", "2 %", "Stop what else runs.")
NEIGHBOURS = Verdict("neighbours", "warning", "others used 40 % of the machine", "10 %", "Measure again.")


def truth_of(runtime: type[known.Known], *, hogged: bool = False) -> Truth:
    (truth,) = (t for t in TRUTHS if t.runtime is runtime and (t.beside_a_hog == hogged or runtime is not known.Busy))
    return truth


def told(truth: Truth, *records: Measurement, noise: tuple[str, ...] = ()) -> Checked:
    return checked(truth, [Taken(record, noise) for record in records])


@pytest.fixture
def saying(measurement: Make, repetition: Process) -> Callable[..., Measurement]:
    """A record of processes like this, with these verdicts."""

    def made(*codes: str, **process: Any) -> Measurement:
        verdicts = tuple(Verdict(code, "invalid", f"{code} was seen", "", "") for code in codes)
        return measurement(*[repetition(**process)] * 3, verdicts=verdicts)

    return made


@pytest.mark.parametrize(("ms", "status"), [(5.09, "passed"), (4.91, "passed"), (5.11, "failed"), (4.89, "failed")])
def test_the_sleep_is_reported_within_2_percent(saying: Callable[..., Measurement], ms: float, status: str) -> None:
    assert told(truth_of(known.Sleep), saying(ms=ms)).status == status


def test_the_stall_moves_p99_and_not_the_median(saying: Callable[..., Measurement]) -> None:
    truth = truth_of(known.Stall)
    assert told(truth, saying(samples_ns=STALLED)).status == "passed"
    assert told(truth, saying(samples_ns=(MS,) * 500)).status == "failed"
    assert told(truth, saying(samples_ns=(2 * MS,) * 490 + (100 * MS,) * 10)).status == "failed"
    few = told(truth, saying(samples_ns=STALLED[-60:]))
    assert (few.status, "needs 662 samples" in few.seen) == ("failed", True)


@pytest.mark.parametrize(
    ("runtime", "code"), [(known.Drift, "drift"), (known.Stale, "output"), (known.Busy, "contended")]
)
def test_a_verdict_that_is_due_and_is_not_given_fails(
    saying: Callable[..., Measurement], runtime: type[known.Known], code: str
) -> None:
    truth = truth_of(runtime, hogged=True)
    assert told(truth, saying(code)).status == "passed"
    assert told(truth, saying("unstable")).status == "failed"


def test_every_one_of_the_repeated_must_be_right(saying: Callable[..., Measurement]) -> None:
    truth = truth_of(known.Busy, hogged=True)
    one_missed = told(truth, saying("contended"), saying(), saying("contended"))
    assert (one_missed.status, one_missed.seen) == ("failed", "2 of 3; no verdict contended")


def test_contention_on_a_quiet_machine_is_no_excuse_for_itself(saying: Callable[..., Measurement]) -> None:
    truth = truth_of(known.Busy)
    assert told(truth, saying()).status == "passed"
    assert told(truth, saying("contended")).status == "failed"
    assert told(truth, saying("contended"), noise=("others use 60 % of the CPUs",)).status == "unjudged"
    assert told(truth, saying("contended", "neighbours")).status == "unjudged"


def test_noise_excuses_a_wrong_latency_and_no_missing_verdict(saying: Callable[..., Measurement]) -> None:
    noise = ("others use 60 % of the CPUs",)
    excused = told(truth_of(known.Sleep), saying(ms=7.0), noise=noise)
    assert (excused.status, noise[0] in excused.seen) == ("unjudged", True)
    assert told(truth_of(known.Sleep), saying("contended", ms=7.0)).status == "unjudged"
    assert told(truth_of(known.Drift), saying(), noise=noise).status == "failed"


@pytest.mark.parametrize(("mib", "status"), [(255, "failed"), (256, "passed"), (319, "passed"), (321, "failed")])
def test_what_was_held_shows_in_the_peak(saying: Callable[..., Measurement], mib: int, status: str) -> None:
    record = saying(baseline_rss_bytes=50_000_000, peak_rss_bytes=50_000_000 + mib * 2**20)
    assert told(truth_of(known.Holding), record).status == status


def test_the_model_is_one_that_onnx_accepts() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(selftest.MODEL)
    onnx.checker.check_model(model)
    ((node,), (graph_input,)) = (model.graph.node, model.graph.input)
    assert (node.op_type, graph_input.name) == ("Add", known.INPUTS[0].name)


@pytest.mark.parametrize("kind", known.RUNTIMES)
def test_a_runtime_of_the_self_test_answers_with_twice_its_input(kind: type[known.Known]) -> None:
    import numpy

    feed = {"x": numpy.ones((1, 4), numpy.float32)}
    with kind(Path("none"), 1, {}) as runtime:
        runtime.run(feed)
        assert (runtime.run(feed)[0] == 2 * feed["x"]).all()


def test_the_stale_runtime_gives_the_answer_to_the_call_before() -> None:
    import numpy

    one, two = ({"x": numpy.full((1, 4), value, numpy.float32)} for value in (1.0, 2.0))
    stale = known.Stale(Path("none"), 1, {})
    stale.run(one)
    assert (stale.run(two)[0] == 2.0).all()


def test_a_wait_is_never_short() -> None:
    from time import perf_counter_ns

    begin = perf_counter_ns()
    known.wait_ms(2.0)
    assert perf_counter_ns() - begin >= 2_000_000


def test_the_hog_ends_with_the_check() -> None:
    import os

    with hog(min(os.sched_getaffinity(0))):
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert children
    assert not {*children} & {*Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.fixture
def without_measuring(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts checks that nothing measured in the place of the self-test's."""

    def answers(*statuses: Any) -> None:
        def double(times: int, show: object) -> Iterator[Checked]:
            yield from (Checked(f"a double that is {status}", status, "") for status in statuses)

        monkeypatch.setattr(selftest, "selftest", double)

    return answers


@pytest.mark.parametrize(
    ("statuses", "code"),
    [(("passed", "skipped"), 0), (("passed", "failed"), 1), (("passed", "unjudged"), 1)],
)
def test_the_exit_code_is_0_only_where_nothing_failed_or_was_left_open(
    without_measuring: Callable[..., None], capsys: pytest.CaptureFixture[str], statuses: tuple[str, ...], code: int
) -> None:
    without_measuring(*statuses)
    assert run_command(selftest_parser(), selftest_command, ["--json"]) == code
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [check["status"] for check in document["checks"]] == [*statuses]


def test_without_loadgen_its_check_is_skipped_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadgen, "installed", lambda: False)
    skipped = selftest.beside_loadgen(Path("none"))
    assert (skipped.status, skipped.seen) == ("skipped", "not installed: pip install mlcommons-loadgen")


@pytest.mark.parametrize(
    ("theirs", "verdicts", "status"),
    [(10.4, (), "passed"), (9.4, (), "failed"), (10.6, (), "failed"), (10.6, (CONTENDED,), "unjudged")],
)
def test_loadgen_agrees_within_5_percent(
    monkeypatch: pytest.MonkeyPatch,
    measurement: Make,
    repetition: Process,
    theirs: float,
    verdicts: tuple[Verdict, ...],
    status: str,
) -> None:
    ours = measurement(*[repetition(10.0)] * 3, verdicts=verdicts)
    monkeypatch.setattr(loadgen, "installed", lambda: True)
    monkeypatch.setattr(loadgen, "figures_of", lambda spec: {"p50_ms": theirs, "result": "VALID"})
    monkeypatch.setattr(selftest, "measured", lambda truth, model: Taken(ours, ()))
    assert selftest.beside_loadgen(Path("none")).status == status


def test_loadgens_summary_is_read_and_another_text_is_refused() -> None:
    summary = "Result is : INVALID\n  reason\n50.00 percentile latency (ns)   : 5012345\n90.00 percentile latency : 6\n"
    assert loadgen.figures_in(summary) == {"p50_ms": 5.012345, "result": "INVALID"}
    with pytest.raises(ValueError, match="names no median"):
        loadgen.figures_in("Result is : VALID")


def test_a_loadgen_that_dies_is_named_by_its_last_words(measurement: Make, repetition: Process) -> None:
    spec = loadgen.spec_of(measurement(*[repetition()] * 3), Path("none"), known.INPUTS, QUICK)
    spec = replace(spec, runtime="no such runtime")
    with pytest.raises(CheckFailed, match="LoadGen ended with exit code 1: KeyError: 'no such runtime'"):
        loadgen.figures_of(spec)


def test_times_is_a_whole_number() -> None:
    assert selftest_parser().parse_args(["--times", "20"]) == argparse.Namespace(
        **{**vars(selftest_parser().parse_args([])), "times": 20}
    )


@pytest.mark.slow
def test_the_whole_self_test_fails_nowhere() -> None:
    """On a busy machine some of it may be left open: that is exit code 1 too, and no failure."""
    words = [sys.executable, "-m", "vlm_profile", "selftest", "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    checks = json.loads(ran.stdout.splitlines()[-1])["checks"]
    assert [check for check in checks if check["status"] == "failed"] == []
    assert len(checks) == len(TRUTHS) + 1
