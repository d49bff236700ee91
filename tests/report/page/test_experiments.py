"""The experiment log, from what studies left in the workspace."""

from dataclasses import replace
from pathlib import Path

from vlm_contract.codec import Absent, write_record
from vlm_contract.workspace import Workspace
from vlm_report.page.experiments import experiment_log
from vlm_report.study.state import PLAN_FILE, STATE_FILE, Standing, StudyPlan, StudyState, folder_of, holder_here

DONE = Standing(
    key="k", given="g", became="done", said=Absent("nothing"), made=(), log="", machine="double board",
    began_utc="2001-01-01T00:00:00+00:00", seconds=125.0, attempts=1, work=1.0, cpu_s=1.0, gpu_s=0.0,
)  # fmt: skip


def kept(root: Path, holder: object) -> Workspace:
    workspace = Workspace(root)
    steps = {
        "train/one": DONE,
        "train/two": replace(DONE, became="failed", said="out of memory"),
        "export/one": replace(DONE, became="running"),
        "profile/one": replace(DONE, became="stopped", said="the study was killed"),
    }
    state = StudyState("double", holder, steps)  # type: ignore[arg-type]
    write_record(state, folder_of(workspace, "double") / STATE_FILE)
    return workspace


def lines(workspace: Workspace) -> dict[str, list[str]]:
    return {text.title: [line.text for line in (*text.lines, *text.folded)] for text in experiment_log(workspace)}


def test_steps_stand_by_what_became_of_them(tmp_path: Path) -> None:
    assert lines(kept(tmp_path, holder_here("local"))) == {
        "double: completed": ["☑ train/one, 2 min 05 s on double board"],
        "double: in progress": ["☐ export/one, 2 min 05 s on double board"],
        "double: failed": ["☐ train/two, 2 min 05 s on double board: out of memory"],
        "double: cut off": ["☐ profile/one, 2 min 05 s on double board: the study was killed"],
    }


def test_what_was_asked_for_and_never_began_is_planned(tmp_path: Path) -> None:
    workspace = kept(tmp_path, Absent("nobody"))
    write_record(StudyPlan(("train/one", "train/three", "report")), folder_of(workspace, "double") / PLAN_FILE)
    assert lines(workspace)["double: planned"] == ["☐ train/three", "☐ report"]


def test_what_runs_under_nobody_was_cut_off(tmp_path: Path) -> None:
    found = lines(kept(tmp_path, Absent("nobody")))
    assert "double: in progress" not in found
    assert len(found["double: cut off"]) == 2


def test_a_damaged_log_is_told_and_hides_no_other(tmp_path: Path) -> None:
    workspace = kept(tmp_path, Absent("nobody"))
    damaged = folder_of(workspace, "another") / STATE_FILE
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    first, *rest = experiment_log(workspace)
    assert first.lead is not None
    assert "is damaged" in first.lead.text
    assert rest


def test_no_study_leaves_no_log(tmp_path: Path) -> None:
    assert list(experiment_log(Workspace(tmp_path))) == []
