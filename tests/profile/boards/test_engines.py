"""Engines are kept here, whole, and are those that were kept."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_profile.boards import engines
from vlm_profile.boards.engines import Kept, key_of


def writing(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def test_an_engine_is_found_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "engines")
    assert kept.found("a" * 16) is None
    path = kept.keep("a" * 16, writing(b"engine"))
    assert kept.found("a" * 16) == path
    assert path.read_bytes() == b"engine"
    assert kept.found("b" * 16) is None


def test_an_engine_with_other_bytes_than_were_kept_is_none(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    path = kept.keep("a" * 16, writing(b"engine"))
    path.write_bytes(b"other")
    assert kept.found("a" * 16) is None
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        path.write_bytes(b"eng")
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        Kept(tmp_path).keep("a" * 16, fails)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_half_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".arriving-1234").mkdir()
    (tmp_path / ".arriving-1234" / "engine").write_bytes(b"eng")
    path = Kept(tmp_path).keep("a" * 16, writing(b"engine"))
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_stays_within_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "KEPT_BYTES", 25)
    kept = Kept(tmp_path)
    for age, letter in enumerate("abcd"):
        path = kept.keep(letter * 16, writing(letter.encode() * 10))
        os.utime(path, (1000 + age, 1000 + age))
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["c", "d"]


def test_a_key_tells_each_part_from_the_others() -> None:
    assert key_of("ab", ["c"]) == key_of("ab", ["c"])
    assert len({key_of("ab", ["c"]), key_of("a", ["bc"]), key_of("ab", ["c", ""]), key_of("ab", "c")}) == 4
