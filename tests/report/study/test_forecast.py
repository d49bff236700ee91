"""The time left, from what is done."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.workspace import Workspace
from vlm_report.study.board import cost_in_words, left_in_words, lines_of, price_of, summary_line
from vlm_report.study.forecast import Forecast, forecast_of
from vlm_report.study.matrix import Cost
from vlm_report.study.run import Now, Progress
from vlm_report.study.state import Ledger, Standing
from vlm_report.study.steps import Needs, Stage, Step

FREE = Cost(Absent("not given"), Absent("not given"), "")


def a_step(id: str, model: str = "", work: float = 1.0, *, whole: bool = False) -> Step:
    stage: Stage = id.partition("/")[0]  # type: ignore[assignment]
    return Step(id, stage, (), (), "key", Needs(whole=whole), model=model, work=work)


def a_standing(seconds: float, work: float, became: str = "done", attempts: int = 1) -> Standing:
    return Standing(
        "key", "given", became, Absent("nothing was wrong"), (), "", "vm", "2001-01-01T00:00:00+00:00",
        seconds, attempts, work, cpu_s=2 * seconds, gpu_s=0.0,
    )  # type: ignore[arg-type]  # fmt: skip


def a_progress(
    steps: Mapping[Step, Now], standings: dict[str, Standing], running: dict[str, float] | None = None, beside: int = 1
) -> Progress:
    ledger = Ledger(Workspace(Path("workspace")), "study", Absent("nothing ran yet"), standings)
    under_way = {id: (seconds, 2.0, 0, "vm") for id, seconds in (running or {}).items()}
    return Progress(
        {step.id: step for step in steps}, {step.id: now for step, now in steps.items()}, ledger, under_way, beside
    )


def test_a_model_takes_as_long_as_before_for_each_unit_of_work() -> None:
    done, left = a_step("train/a1", "a", 100), a_step("train/a2", "a", 300)
    other = a_step("train/b1", "b", 100)
    standings = {done.id: a_standing(10, 100), other.id: a_standing(50, 100)}
    steps = {done: Now.DONE, other: Now.DONE, left: Now.WAITING}
    assert forecast_of(a_progress(steps, standings)) == Forecast(30, 0)


def test_a_model_that_was_never_timed_takes_as_long_as_its_stage() -> None:
    done, other, left = a_step("train/a", "a"), a_step("train/b", "b"), a_step("train/c", "c")
    standings = {done.id: a_standing(10, 1), other.id: a_standing(30, 1)}
    steps = {done: Now.DONE, other: Now.DONE, left: Now.WAITING}
    assert forecast_of(a_progress(steps, standings)) == Forecast(20, 0)


def test_a_stage_that_was_never_timed_makes_the_time_left_a_lower_bound() -> None:
    done, left, export = a_step("train/a", "a"), a_step("train/b", "a"), a_step("export/a", "a")
    progress = a_progress({done: Now.DONE, left: Now.WAITING, export: Now.WAITING}, {done.id: a_standing(90, 1)})
    assert forecast_of(progress) == Forecast(90, 1)
    assert left_in_words(progress) == "more than 1 min 30 s left"


def test_before_anything_was_timed_no_time_is_given() -> None:
    assert left_in_words(a_progress({a_step("train/a"): Now.WAITING}, {})) == "time left not known yet"


def test_what_runs_has_run_for_a_while_and_steps_side_by_side_share_the_time() -> None:
    done, running, left = a_step("train/a", "a"), a_step("train/b", "a"), a_step("train/c", "a")
    steps = {done: Now.DONE, running: Now.RUNNING, left: Now.WAITING}
    assert forecast_of(a_progress(steps, {done.id: a_standing(10, 1)}, {running.id: 4.0}, beside=2)).seconds == 8


def test_steps_that_take_the_whole_machine_share_it_with_none() -> None:
    done = a_step("profile/a", "a", whole=True)
    steps = {
        done: Now.DONE,
        a_step("profile/b", "a", whole=True): Now.WAITING,
        a_step("profile/c", "a", whole=True): Now.WAITING,
    }
    assert forecast_of(a_progress(steps, {done.id: a_standing(10, 1)}, beside=4)).seconds == 20


def test_a_step_that_was_cut_off_once_tells_no_time() -> None:
    done, left = a_step("train/a", "a"), a_step("train/b", "a")
    progress = a_progress({done: Now.DONE, left: Now.WAITING}, {done.id: a_standing(10, 1, attempts=2)})
    assert forecast_of(progress) == Forecast(0, 1)


def test_a_failed_step_is_no_time_left() -> None:
    done, failed = a_step("train/a", "a"), a_step("train/b", "a")
    progress = a_progress({done: Now.DONE, failed: Now.FAILED}, {done.id: a_standing(10, 1)})
    assert left_in_words(progress) == "no time left"


def test_hours_have_a_price_where_the_study_gives_one() -> None:
    progress = a_progress({a_step("train/a"): Now.DONE}, {"train/a": a_standing(1800, 1)})
    assert cost_in_words(progress, FREE) == "1.00 CPU-hours"
    assert cost_in_words(progress, Cost(0.25, Absent("not given"), "EUR")) == "1.00 CPU-hours, 0.25 EUR"


def test_hours_of_a_kind_without_a_price_make_the_whole_price_absent() -> None:
    assert isinstance(price_of(1.0, 2.0, Cost(0.25, Absent("not given"), "EUR")), Absent)
    assert price_of(1.0, 2.0, Cost(0.25, 0.5, "EUR")) == 1.25


def test_the_table_counts_steps_by_stage(tmp_path: Path) -> None:
    steps = {
        a_step("train/a"): Now.DONE, a_step("train/b"): Now.RUNNING, a_step("train/c"): Now.FAILED,
        a_step("export/c"): Now.BLOCKED, a_step("report"): Now.WAITING,
    }  # fmt: skip
    lines = lines_of("study x", a_progress(steps, {"train/a": a_standing(3600, 1)}, {"train/b": 65.0}), FREE)
    assert lines[0].startswith("study x: 1 of 5 steps done, 1 failed, ")
    assert [line.split() for line in lines[3:6]] == [
        ["train", "1", "1", "1", "0"], ["export", "0", "0", "0", "1"], ["report", "0", "0", "0", "1"],
    ]  # fmt: skip
    assert lines[6] == "train/b on vm, 1 min 05 s: "


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb"])
def test_no_name_moves_the_cursor(name: str) -> None:
    progress = a_progress({a_step("train/a"): Now.RUNNING}, {}, {"train/a": 1.0})
    assert name not in summary_line(name, progress, FREE)
