"""A workspace is read as it is: what cannot be read is said, and the rest is used."""

from pathlib import Path

import pytest

from vlm_contract.workspace import Workspace, default_workspace, safe_name


def test_a_damaged_record_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    path = Workspace(tmp_path).measurement("host", "damaged")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    found = Workspace(tmp_path).measurements()
    assert found.records == {}
    assert "damaged.json is damaged" in found.problems[0]


def test_a_temporary_file_of_a_killed_command_is_not_read(tmp_path: Path) -> None:
    path = Workspace(tmp_path).measurement("host", ".half")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert Workspace(tmp_path).measurements().problems == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [("resnet50", "resnet50"), ("../../etc", "_.._etc"), (".hidden", "hidden"), ("a b/c", "a_b_c"), ("", "_")],
)
def test_a_name_from_outside_never_leaves_its_folder(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_the_workspace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_WORKSPACE", "elsewhere")
    assert default_workspace() == Path("elsewhere")
    monkeypatch.delenv("VLM_WORKSPACE")
    assert default_workspace() == Path("workspace")
