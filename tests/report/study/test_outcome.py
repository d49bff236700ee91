"""What the end of a command means."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.workspace import Workspace
from vlm_report.study.engines import Ended
from vlm_report.study.outcome import Outcome, last_words, outcome_of
from vlm_report.study.steps import Needs, Step

PROFILE = Step("profile/host/a", "profile", (), (), "key", Needs())


def outcome(folder: Path, code: int, summary: Any = None, log: str = "") -> Outcome:
    (folder / "out").write_text("a table\n" + (json.dumps(summary) + "\n" if summary is not None else ""))
    (folder / "log").write_text(log)
    ended = Ended(PROFILE.id, code, 1.0, 2, 0, "vm")
    return outcome_of(PROFILE, ended, folder / "out", folder / "log", Workspace(folder))


def rows(folder: Path, *statuses: str) -> dict[str, Any]:
    (folder / "record.json").write_text("{}")
    return {"measurements": [{"file": str(folder / "record.json"), "status": status} for status in statuses]}


def test_valid_rows_are_done_without_a_word(tmp_path: Path) -> None:
    found = outcome(tmp_path, 0, rows(tmp_path, "valid"))
    assert (found.done, found.said) == (True, "")
    assert [made.path for made in found.made] == ["record.json"]


def test_rows_that_are_not_valid_are_done_and_counted(tmp_path: Path) -> None:
    found = outcome(tmp_path, 1, rows(tmp_path, "valid", "invalid", "failed", "invalid"))
    assert (found.done, found.said) == (True, "4 rows: 1 failed, 2 invalid")


def test_a_check_that_said_no_and_left_nothing_is_a_failure(tmp_path: Path) -> None:
    found = outcome(tmp_path, 1, log="vlm-train: the loss is NaN\nat batch 3.\nTry: --lr 1e-4\n")
    assert (found.done, found.said) == (False, "it ended with 1: vlm-train: the loss is NaN at batch 3. Try: --lr 1e-4")


@pytest.mark.parametrize("summary", [{}, {"measurements": 3}, {"measurements": [{}]}, [], "text"])
def test_an_end_that_does_not_say_what_was_made_is_a_failure(tmp_path: Path, summary: Any) -> None:
    assert not outcome(tmp_path, 0, summary).done


def test_a_file_that_is_named_and_not_there_is_a_failure(tmp_path: Path) -> None:
    found = outcome(tmp_path, 0, {"measurements": [{"file": str(tmp_path / "nowhere"), "status": "valid"}]})
    assert not found.done
    assert "nowhere" in found.said


@pytest.mark.parametrize(
    ("code", "said"),
    [(2, "it ended with 2: it said nothing"), (-11, "SIGSEGV"), (-9, "as the system does when memory is short")],
)
def test_an_end_without_words_is_named(tmp_path: Path, code: int, said: str) -> None:
    assert said in outcome(tmp_path, code).said


def test_the_last_words_of_a_traceback_are_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Traceback (most recent call last):\n  File\nValueError: \x1b[31mno\n\n")
    assert last_words(tmp_path / "log") == "ValueError: \\x1b[31mno"


def test_long_last_words_are_cut(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x" * 100_000)
    assert len(last_words(tmp_path / "log")) == 600
