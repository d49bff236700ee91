"""Two results beside each other: what may be claimed, what is left open, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent, write_record
from vlm_contract.console import run_command
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Canary, Device, Measurement, Memory, Repetition, Verdict
from vlm_contract.workspace import Workspace
from vlm_profile.comparing.compare import Comparison, Pair, compare, measurements_at, pair_of
from vlm_profile.comparing.gate import compare_command, compare_parser, judged, may_differ_from, rule_from, table_of
from vlm_profile.comparing.intervals import COMPARABLE, Estimate, estimate_of, told_apart

Make = Callable[..., Measurement]
Process = Callable[..., Repetition]
Row = Callable[..., Measurement]
CONTENDED = Verdict("contended", "invalid", "run-queue wait 14 %", "2 %", "Stop what else runs.")
NEIGHBOURS = Verdict("neighbours", "warning", "others used 40 % of the machine", "10 %", "Measure again.")
FEW = Verdict("few", "warning", "9 samples of 2 processes: not comparable", "50 samples", "Measure longer.")


@pytest.fixture
def row(measurement: Make, repetition: Process) -> Row:
    """Five processes whose medians spread by `spread` of `ms` about it, on a machine that is all ours."""

    def made(ms: float = 10.0, spread: float = 0.001, process: dict[str, Any] | None = None, **changes: Any) -> Any:
        scales = (1 - spread, 1 - spread / 2, 1.0, 1 + spread / 2, 1 + spread)
        made = measurement(*(repetition(ms * scale, **(process or {})) for scale in scales))
        return replace(made, **{"device": replace(made.device, cpus=2), **changes})

    return made


def outcome(pair: Pair, figure: str = "latency_ms_p50") -> str:
    return pair.changes[figure].outcome


@pytest.mark.parametrize(
    ("old", "new", "expected"), [(10.0, 9.7, "faster"), (10.0, 10.3, "slower"), (10.0, 10.1, "same")]
)
def test_on_a_machine_of_our_own_a_claim_needs_over_2_percent(row: Row, old: float, new: float, expected: str) -> None:
    assert outcome(pair_of(row(old), row(new))) == expected


@pytest.mark.parametrize(("new", "expected"), [(10.4, "same"), (10.6, "slower"), (9.4, "faster")])
def test_on_a_shared_machine_a_claim_needs_over_5_percent(row: Row, new: float, expected: str) -> None:
    ours = row().device
    others_too = replace(ours, cpus=64)
    pair = pair_of(row(device=others_too), row(new, device=others_too))
    assert (outcome(pair), pair.claim_percent) == (expected, 5.0)


def test_stolen_time_and_busy_neighbours_show_a_shared_machine(row: Row, repetition: Process) -> None:
    stolen = tuple(replace(window, steal_s=0.01) for window in repetition().context)
    assert "hypervisor took" in pair_of(row(), row(process={"context": stolen})).shared
    assert pair_of(row(), row(verdicts=(NEIGHBOURS,))).shared == "others used it meanwhile"
    assert pair_of(row(), row()).shared == ""


def test_a_large_difference_between_overlapping_intervals_is_ambiguous(row: Row) -> None:
    pair = pair_of(row(10.0, spread=0.08), row(11.0, spread=0.08))
    assert outcome(pair) == "ambiguous"
    assert pair.changes["latency_ms_p50"].why == "the intervals overlap, so it may be chance"


def test_a_small_difference_is_not_called_the_same_by_wide_intervals(row: Row) -> None:
    pair = pair_of(row(10.0, spread=0.08), row(10.05, spread=0.08))
    assert outcome(pair) == "ambiguous"
    assert "too wide to say that nothing changed" in pair.changes["latency_ms_p50"].why


@pytest.mark.parametrize(
    ("value", "limits", "text"),
    [
        (1.34, (2.0,), "1.3"),
        (2.04, (2.0,), "2.04"),
        (1.96, (2.0,), "1.96"),
        (-2.04, (2.0, -2.0), "-2.04"),
        (2.0, (2.0,), "2.0"),
        (5.004, (2.0, 5.0), "5.004"),
        (5.00001, (5.0,), "5.000"),
    ],
)
def test_a_figure_is_rounded_to_its_side_of_a_limit(value: float, limits: tuple[float, ...], text: str) -> None:
    assert told_apart(value, *limits) == text


def test_a_change_over_the_claim_does_not_look_like_one_at_it(row: Row) -> None:
    pair = pair_of(row(10.0, spread=0.05), row(10.204, spread=0.05))
    assert "+2.04 %" in table_of(Comparison((pair,), (), ()), ["latency_ms_p50"])
    assert "+2.04 %" in judged(rule_from("latency_ms_p50>+2%"), pair).seen


def test_bytes_that_are_the_same_in_every_process_have_no_interval(row: Row) -> None:
    table = table_of(Comparison((pair_of(row(), row()),), (), ()), ["peak_rss_bytes"])
    assert "80.000 MB" in table and "± 0" not in table


def test_what_gives_no_evidence_is_compared_with_nothing(row: Row) -> None:
    double = row(runtime=replace(row().runtime, name="selftest:busy"))
    assert "no evidence: selftest:busy is a double" in pair_of(row(), double, {"runtime"}).refused


def test_an_estimate_of_a_device_that_says_little_is_refused_and_no_defect(row: Row) -> None:
    absent = Absent("a data sheet does not say")
    device = replace(row().device, cpus=absent, usable_cpus=absent, memory_bytes=absent, machine=absent)
    estimated = row(device=device, evidence="estimated", repetitions=())
    assert not isinstance(estimated.latency, Absent)
    estimated = replace(estimated, latency=replace(estimated.latency, latency_ms_p50_low=absent))
    pair = pair_of(row(), estimated, {"device"})
    assert pair.refused == "the new result is estimated, not measured"
    assert str(pair.unlike[0]).endswith("→ a board: a CPU")
    assert estimate_of(estimated, "latency_ms_p50") == absent


def test_more_images_a_second_are_faster_and_more_bytes_are_larger(row: Row) -> None:
    pair = pair_of(row(10.0), row(8.0, process={"peak_rss_bytes": 160_000_000}))
    assert outcome(pair, "images_per_s") == "faster"
    assert outcome(pair, "peak_rss_bytes") == "larger"
    assert pair.changes["peak_rss_bytes"].percent == pytest.approx(100.0)


def test_a_comparison_turned_round_turns_every_outcome_round(row: Row) -> None:
    other = {"faster": "slower", "slower": "faster", "smaller": "larger", "larger": "smaller"}
    old, new = row(10.0), row(8.0, process={"peak_rss_bytes": 160_000_000})
    there, back = pair_of(old, new), pair_of(new, old)
    for figure in COMPARABLE:
        assert outcome(back, figure) == other.get(outcome(there, figure), outcome(there, figure)), figure


def test_a_figure_that_one_side_lacks_is_ambiguous_for_the_reason(row: Row) -> None:
    change = pair_of(row(), row()).changes["latency_ms_p99"]
    assert change.outcome == "ambiguous"
    assert "needs 662 samples" in change.why


def test_a_tail_has_the_spread_of_the_processes_tails(measurement: Make, repetition: Process) -> None:
    stalled = [repetition(samples_ns=(10_000_000,) * 80 + (stall * 10**6,) * 20) for stall in (20, 30, 40)]
    estimate = estimate_of(measurement(*stalled), "latency_ms_p90")
    assert isinstance(estimate, Estimate)
    assert estimate.value == 30.0
    assert estimate.high - estimate.value == pytest.approx(4.303 * 10.0 / 3**0.5)


def test_where_neighbours_widened_the_headline_tails_are_as_wide(row: Row) -> None:
    wide = row(verdicts=(NEIGHBOURS,))
    assert not isinstance(wide.latency, Absent)
    wide = replace(wide, latency=replace(wide.latency, latency_ms_p50_low=9.0, latency_ms_p50_high=11.0))
    tail, peak = estimate_of(wide, "latency_ms_p90"), estimate_of(wide, "peak_rss_bytes")
    assert isinstance(tail, Estimate) and isinstance(peak, Estimate)
    assert tail.half_percent == pytest.approx(10.0)
    assert peak.half_percent == 0.0


def test_every_comparable_figure_has_an_estimate_or_says_why_not(row: Row) -> None:
    absent = {name for name in COMPARABLE if isinstance(estimate_of(row(), name), Absent)}
    assert absent == {"latency_ms_p99", "device_ms_p50", "device_peak_bytes"}


@pytest.mark.parametrize("verdict", [CONTENDED, FEW, replace(CONTENDED, code="worker", level="failed")])
def test_what_is_not_valid_or_too_little_is_not_compared(row: Row, verdict: Verdict) -> None:
    for old, new in ((row(), row(verdicts=(verdict,))), (row(verdicts=(verdict,)), row())):
        pair = pair_of(old, new)
        assert pair.changes == {}
        assert "result is" in pair.refused


def test_what_was_estimated_is_not_compared(row: Row) -> None:
    assert pair_of(row(), row(evidence="estimated")).refused == "the new result is estimated, not measured"


def unlikes(row: Row) -> dict[str, Measurement]:
    plain = row()
    board = Device("another", "a CPU", 4, 2, 2**33, Absent("none"), Absent("none"), "Linux", "aarch64")
    return {
        "device": replace(plain, device=board),
        "power": replace(plain, device=replace(plain.device, power_mode="15W")),
        "runtime": replace(plain, runtime=replace(plain.runtime, version="9.9")),
        "model": replace(plain, artifact=replace(plain.artifact, sha256="f" * 64)),
        "scope": replace(plain, setup=replace(plain.setup, scope="with copies")),
        "setup": replace(plain, setup=replace(plain.setup, batch=8)),
        "inputs": replace(plain, settings={**plain.settings, "input_shapes": "x:1x4"}),
        "protocol": replace(plain, protocol="vlm-2"),
    }


@pytest.mark.parametrize("what", ["device", "power", "runtime", "model", "scope", "setup", "inputs", "protocol"])
def test_unlike_results_are_refused_unless_that_difference_was_asked_for(row: Row, what: str) -> None:
    old, new = row(), unlikes(row)[what]
    refused = compare(old, new).pairs[0]
    assert [difference.what for difference in refused.unlike] == [what]
    assert refused.changes == {}
    assert compare(old, new, {what}).pairs[0].changes
    assert not compare(old, new, {"nothing of this"}).pairs[0].changes


def test_sets_are_matched_by_row_and_the_rest_is_named(row: Row) -> None:
    plain = row()
    b8, s2 = (replace(plain, setup=replace(plain.setup, **change)) for change in ({"batch": 8}, {"streams": 2}))
    comparison = compare([plain, b8], [s2, plain])
    assert [pair.name for pair in comparison.pairs] == ["tiny onnxruntime fp32 b1 t2"]
    assert comparison.only_old == ("tiny onnxruntime fp32 b8 t2",)
    assert comparison.only_new == ("tiny onnxruntime fp32 b1 t2 s2",)


@pytest.mark.parametrize(
    "change", [{"fps": 30.0}, {"options": {"cuda_graph": True}}, {"threads": 1}, {"scope": "with copies"}]
)
def test_rows_that_are_set_up_otherwise_are_not_matched(row: Row, change: dict[str, Any]) -> None:
    plain = row()
    other = replace(plain, setup=replace(plain.setup, **change))
    with pytest.raises(VlmError, match="no row in common"):
        compare([plain], [other, replace(other, target="another")])


def test_a_row_twice_in_a_set_is_refused(row: Row) -> None:
    with pytest.raises(VlmError, match="two results of tiny"):
        compare([row()], [row(), row()])


@pytest.mark.parametrize(
    ("text", "limit", "in_percent"),
    [
        ("latency_ms_p50>+5%", 5.0, True),
        ("images_per_s<-5%", -5.0, True),
        ("peak_rss_bytes>=+10MB", 1e7, False),
        ("latency_ms_p99 > +0.5 ms", 0.5, False),
    ],
)
def test_a_rule_is_a_change_for_the_worse(text: str, limit: float, in_percent: bool) -> None:
    rule = rule_from(text)
    assert (rule.limit, rule.in_percent) == (limit, in_percent)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("latency_p50>+5%", "--fail-if 'latency_ms_p50>+5%'"),
        ("latency_ms_p50>5%", "--fail-if 'latency_ms_p50>+5%'"),
        ("latency_ms_p50<-5%", "--fail-if 'latency_ms_p50>+5%'"),
        ("images_per_s>+5%", "--fail-if 'images_per_s<-5%'"),
        ("latency_ms_p50", "--fail-if 'latency_ms_p50>+5%'"),
        ("latency_ms_p50>+5MB", "latency_ms_p50>+"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_to_type(text: str, hint: str) -> None:
    with pytest.raises(VlmError) as caught:
        rule_from(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "ms", "spread", "status"),
    [
        ("latency_ms_p50>+5%", 10.4, 0.001, "kept"),
        ("latency_ms_p50>+5%", 10.6, 0.001, "failed"),
        ("latency_ms_p50>+0.5ms", 10.6, 0.001, "failed"),
        ("latency_ms_p50>+0.7ms", 10.6, 0.001, "kept"),
        ("latency_ms_p50>+5%", 10.6, 0.08, "unsure"),
        ("latency_ms_p50>+1%", 10.15, 0.001, "unsure"),
        ("images_per_s<-5%", 10.6, 0.001, "failed"),
        ("latency_ms_p99>+5%", 10.6, 0.001, "unsure"),
    ],
)
def test_a_rule_fails_only_where_the_intervals_support_it(
    row: Row, text: str, ms: float, spread: float, status: str
) -> None:
    assert judged(rule_from(text), pair_of(row(10.0, spread), row(ms, spread))).status == status


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """The command on two sets, written as two workspaces: its exit code, document, and all that it printed."""

    def ran(old: list[Measurement], new: list[Measurement], *words: str) -> tuple[int, dict[str, Any], str]:
        folders = []
        for name, records in (("old", old), ("new", new)):
            workspace = Workspace(tmp_path / name)
            for i, record in enumerate(records):
                write_record(record, workspace.measurement("host", str(i)))
            folders.append(str(workspace.root))
        code = run_command(compare_parser(), compare_command, [*folders, "--json", *words])
        out, err = capsys.readouterr()
        *_, last = out.splitlines() or [""]
        return code, json.loads(last) if last.startswith("{") else {}, out + err

    return ran


def test_without_rules_the_command_only_tells(row: Row, gate: Callable[..., Any]) -> None:
    code, document, said = gate([row(10.0)], [row(12.0)])
    assert code == 0
    assert "slower" in said and "+20.0 %" in said
    assert document["rows"][0]["changes"]["latency_ms_p50"]["outcome"] == "slower"


def test_a_regression_is_exit_code_1(row: Row, gate: Callable[..., Any]) -> None:
    code, document, said = gate([row(10.0)], [row(12.0)], "--fail-if", "latency_ms_p50>+5%")
    assert code == 1
    assert "failed: tiny onnxruntime fp32 b1 t2: latency_ms_p50 +20.0 %" in said
    assert "no: 1 rules failed" in said
    assert document["rules"][0]["status"] == "failed"


def test_what_is_left_open_is_said_and_fails_strictly(row: Row, gate: Callable[..., Any]) -> None:
    old, new = row(10.0, 0.08), row(11.0, 0.08)
    code, _, said = gate([old], [new], "--fail-if", "latency_ms_p50>+5%")
    assert (code, "unsure: " in said) == (0, True)
    code, _, said = gate([old], [new], "--fail-if", "latency_ms_p50>+5%", "--strict")
    assert (code, "no: 1 rules are open" in said) == (1, True)


def test_a_row_that_new_lacks_is_said_and_fails_strictly(row: Row, gate: Callable[..., Any]) -> None:
    plain = row()
    b8 = replace(plain, setup=replace(plain.setup, batch=8))
    code, _, said = gate([plain, b8], [plain])
    assert (code, "only in OLD: tiny onnxruntime fp32 b8 t2" in said) == (0, True)
    assert gate([plain, b8], [plain], "--strict")[0] == 1


def test_an_invalid_result_is_exit_code_1_and_shows_no_figure(row: Row, gate: Callable[..., Any]) -> None:
    code, document, said = gate([row(10.0)], [row(77.0, verdicts=(CONTENDED,))])
    assert code == 1
    assert "not compared: the new result is invalid: contended" in said
    assert "no: 1 rows could not be compared" in said
    assert "77" not in said
    assert document["rows"][0]["changes"] == {}


def test_unlike_results_are_exit_code_2_with_their_differences_and_what_to_type(
    row: Row, gate: Callable[..., Any]
) -> None:
    other = unlikes(row)["runtime"]
    code, _, said = gate([row()], [other])
    assert code == 2
    assert "9.9" in said and "--unlike=runtime" in said
    code, _, said = gate([row()], [other], "--unlike=runtime")
    assert (code, "unlike: tiny" in said) == (0, True)
    assert gate([row()], [other], "--unlike")[0] == 0
    assert gate([row()], [other], "--unlike=model")[0] == 2


def test_a_word_that_unlike_does_not_know_is_refused() -> None:
    with pytest.raises(VlmError, match="'modle' is nothing that may differ"):
        may_differ_from("modle")
    assert may_differ_from("") == frozenset()


def test_a_machine_whose_own_kernels_slowed_down_is_named(row: Row, gate: Callable[..., Any]) -> None:
    slow = row(12.0, process={"canary": Canary(60.0, 60.0, 50.0, 50.0)})
    said = gate([row(10.0)], [slow])[2]
    assert "its own compute kernel took +20.0 %" in said
    assert "memory kernel" not in said


def test_memory_is_shown_in_megabytes_and_a_row_without_figures_in_one_line(row: Row) -> None:
    both = compare([row()], [row()])
    text = table_of(both, ("peak_rss_bytes", "latency_ms_p99"))
    assert "80.000 MB" in text
    assert "latency_ms_p99" not in text


def test_a_file_a_folder_and_a_workspace_are_read(row: Row, tmp_path: Path) -> None:
    file = Workspace(tmp_path).measurement("host", "tiny")
    write_record(row(), file)
    for path in (file, file.parent, file.parent.parent, tmp_path):
        assert list(measurements_at(path)) == [file]


def test_a_folder_without_measurements_and_a_damaged_file_are_refused(row: Row, tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="holds no measurement"):
        measurements_at(tmp_path)
    write_record(row(), tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(VlmError, match=r"b\.json"):
        measurements_at(tmp_path)


def test_an_old_value_of_nothing_has_no_percentage(row: Row) -> None:
    nothing = row()
    nothing = replace(nothing, memory=replace(nothing.memory, model_rss_bytes=0))
    assert isinstance(nothing.memory, Memory)
    change = pair_of(nothing, row()).changes["model_rss_bytes"]
    assert (change.outcome, change.why) == ("ambiguous", "the old value is 0")
