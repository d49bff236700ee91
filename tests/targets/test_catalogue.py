"""Targets are data files, found by name or alias."""

from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_targets.catalogue import known_targets, target_named


def test_the_host_is_known_by_name_and_alias() -> None:
    assert target_named("host").name == target_named("localhost").name == "host"


def test_no_two_targets_share_a_name() -> None:
    names = [name for target in known_targets() for name in (target.name, *target.aliases)]
    assert len(names) == len(set(names))


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(VlmError, match="nearest: host") as caught:
        target_named("hots")
    assert caught.value.hint == "--target host"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "board"', "aliases: missing|title: missing"),
        ('name = "b"\ntitle = "b"\naliases = []\nnmae = 1', "did you mean name"),
        ("name =", "Invalid value"),
    ],
)
def test_a_wrong_data_file_is_named_with_its_field(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "board.toml").write_text(text)
    with pytest.raises(VlmError, match=problem) as caught:
        target_named("board", tmp_path)
    assert "board.toml" in str(caught.value)
