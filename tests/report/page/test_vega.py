"""Vega in a page: made once, kept, and let run by its sha256 alone."""

import base64
import gzip
import hashlib
from pathlib import Path

import pytest

from vlm_report.page.vega import cache_folder, packed_vega

SCRIPT = "double();"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A double of vl-convert's bundle, and of the user's cache; the calls of it."""
    import vl_convert

    calls: list[str] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def bundle(snippet: str) -> str:
        calls.append(snippet)
        return SCRIPT

    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    return calls


def test_it_is_made_once_and_kept(made: list[str]) -> None:
    assert packed_vega() == packed_vega()
    assert len(made) == 1
    assert [path.read_text() for path in cache_folder().iterdir()] == [SCRIPT]


def test_what_is_unpacked_is_what_the_policy_names(made: list[str]) -> None:
    packed = packed_vega()
    script = gzip.decompress(base64.b64decode(packed.text))
    assert script == SCRIPT.encode()
    assert packed.source == f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def test_a_cache_that_cannot_be_written_costs_time_and_no_more(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "vlm-edge").write_text("a file in the place of the folder")
    assert packed_vega() == packed_vega()
    assert len(made) == 2
