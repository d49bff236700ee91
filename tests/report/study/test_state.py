"""The state of a study: what stands, who holds it, and what a damaged file says."""

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_report.study import state
from vlm_report.study.state import Holder, Ledger, Standing, holder_here, is_at_work, ledger_of, made_of
from vlm_report.study.steps import Needs, Step

TRAIN = Step("train/a", "train", (), (), "train key", Needs())
EXPORT = Step("export/a", "export", (), (TRAIN.id,), "export key", Needs())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two steps, done."""
    found = Ledger(Workspace(tmp_path), "study", Absent("nothing ran yet"), {})
    for step in (TRAIN, EXPORT):
        (tmp_path / step.stage).write_text(f"what {step.id} made")
        found.set(step.id, a_standing(found, step))
    return found


def a_standing(ledger: Ledger, step: Step) -> Standing:
    made = made_of(ledger.workspace, [ledger.workspace.root / step.stage])
    return Standing(
        step.key, ledger.given_to(step), "done", Absent("nothing was wrong"), made, "", "vm",
        "2001-01-01T00:00:00+00:00", 1.0, 1, 1.0, 2.0, 0.0,
    )  # fmt: skip


def test_what_was_written_is_read(ledger: Ledger) -> None:
    assert ledger_of(ledger.workspace, "study").steps == ledger.steps


def test_a_step_stands_under_its_own_key_alone(ledger: Ledger) -> None:
    assert ledger.stands(EXPORT)
    assert not ledger.stands(replace(EXPORT, key="another"))


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("something of other bytes")])
def test_a_step_whose_product_is_gone_or_another_does_not_stand(ledger: Ledger, spoil: Any) -> None:
    spoil(ledger.workspace.root / "export")
    assert not ledger.stands(EXPORT)
    assert ledger.stands(TRAIN)


def test_a_product_of_the_same_size_and_other_bytes_is_another(ledger: Ledger) -> None:
    path = ledger.workspace.root / "export"
    path.write_text(path.read_text()[::-1])
    assert not ledger.stands(EXPORT)


def test_a_large_file_is_told_by_its_size(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "HASHED_BYTES", 4)
    (made,) = made_of(ledger.workspace, [ledger.workspace.root / "export"])
    assert isinstance(made.sha256, Absent)
    assert state.is_there(ledger.workspace, made)


def test_a_step_that_was_given_something_else_does_not_stand(ledger: Ledger) -> None:
    (ledger.workspace.root / "train").write_text("trained again, otherwise")
    ledger.set(TRAIN.id, a_standing(ledger, TRAIN))
    assert not ledger.stands(EXPORT)


def test_what_a_killed_run_left_running_was_stopped(ledger: Ledger) -> None:
    ledger.steps[EXPORT.id] = replace(ledger.steps[EXPORT.id], became="running")
    ledger.take_stopped()
    assert ledger.steps[EXPORT.id].became == "stopped"
    assert ledger.steps[TRAIN.id].became == "done"


def test_a_process_at_work_is_told_from_a_later_one_of_its_number() -> None:
    here = holder_here("local")
    assert is_at_work(here)
    assert not is_at_work(replace(here, ticks=here.ticks + 1))


def test_a_process_that_has_ended_is_at_work_no_more() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        holder = Holder(platform.node(), process.pid, state._ticks(process.pid), "local")
        assert is_at_work(holder)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_at_work(holder), "it waits to be reaped"
    assert not is_at_work(holder)


def test_a_damaged_state_is_named(ledger: Ledger) -> None:
    (ledger.folder / "state.json").write_text("{")
    with pytest.raises(VlmError, match=r"state\.json is damaged"):
        ledger_of(ledger.workspace, "study")
