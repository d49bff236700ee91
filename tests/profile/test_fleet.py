"""Several targets at once: what one of them does costs the others nothing."""

import sys
import time
from pathlib import Path

import pytest

from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_profile.fleet import Answer, Member, measure_fleet, members_of, without

SILENT = LiveLine(quiet=True)


def double(folder: Path, body: str) -> tuple[str, str]:
    """A command in the place of vlm-profile, which says so: it measures nothing."""
    script = folder / "double_of_vlm_profile.py"
    script.write_text(f"import json, sys, time\ntarget = sys.argv[sys.argv.index('--target') + 1]\n{body}\n")
    return sys.executable, str(script)


def test_targets_and_hosts_go_together_in_their_order() -> None:
    expected = (Member("jetson", "user@a"), Member("rpi5", "user@b"), Member("host"))
    assert members_of("jetson,rpi5,host", "user@a,user@b", None) == expected


def test_more_hosts_than_targets_are_refused() -> None:
    with pytest.raises(VlmError, match="--host names 2 boards, and --target 1"):
        members_of("jetson", "user@a,user@b", None)


def test_two_boards_of_one_name_are_refused() -> None:
    with pytest.raises(VlmError, match="'rpi5' is named twice"):
        members_of("rpi5,rpi5", "user@a,user@b", None)


def test_a_fleet_file_names_boards(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[[board]]\ntarget = "jetson"\nhost = "user@a"\n[[board]]\ntarget = "host"\n')
    assert members_of("host", "", file) == (Member("jetson", "user@a"), Member("host"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[boards]]\ntarget = "jetson"\n', "boards"),
        ('[[board]]\ntarget = "jetson"\nhsot = "a"\n', "hsot"),
        ("[[board]]\ntarget = 3\n", "target"),
        ("board = []\n", "names no board"),
        ("board = [[]]\n", "board"),
        ("[[board\n", "no fleet"),
    ],
)
def test_a_wrong_fleet_file_is_refused_by_what_is_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    with pytest.raises(VlmError, match=sentence):
        members_of("host", "", file)


def test_a_member_is_given_its_own_target_and_all_other_words() -> None:
    words = ["--target", "a,b", "--quick", "--host=x,y", "--artifact", "m.onnx", "--fleet", "f.toml", "--batch", "1"]
    assert without(words) == ["--quick", "--artifact", "m.onnx", "--batch", "1"]


def test_one_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    body = """
if target == "jetson":
    print("vlm-profile: user@a cannot be reached.", file=sys.stderr)
    sys.exit(2)
print("a table")
print(json.dumps({"measurements": [], "target": target}))
"""
    answers = measure_fleet(["--quick"], members_of("jetson,rpi5", "user@a", None), SILENT, double(tmp_path, body))
    assert answers[Member("jetson", "user@a")] == Answer(2, {}, "vlm-profile: user@a cannot be reached.")
    assert answers[Member("rpi5")].code == 0
    assert answers[Member("rpi5")].summary == {"measurements": [], "target": "rpi5"}


def test_boards_run_side_by_side_and_this_machine_after_them(tmp_path: Path) -> None:
    body = "began = time.time(); time.sleep(1); print(json.dumps({'began': began, 'ended': time.time()}))"
    members = members_of("host,jetson,rpi5", "", None)
    here, *boards = (each.summary for each in measure_fleet([], members, SILENT, double(tmp_path, body)).values())
    assert max(board["began"] for board in boards) < min(board["ended"] for board in boards)
    assert here["began"] > max(board["ended"] for board in boards)


def test_a_member_that_answers_with_no_document_answers_with_nothing(tmp_path: Path) -> None:
    (answer,) = measure_fleet([], members_of("rpi5", "", None), SILENT, double(tmp_path, "print('[1, 2]')")).values()
    assert answer == Answer(0, {}, "")


def test_an_interrupted_fleet_leaves_no_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "ended"
    body = f"""
import signal
def end(*_):
    open({str(marker)!r}, "w").close()
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
print("ready", file=sys.stderr, flush=True)
time.sleep(60)
"""

    class Interrupting(LiveLine):
        def show(self, text: str) -> None:
            if "ready" in text:
                raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        measure_fleet([], members_of("rpi5", "", None), Interrupting(quiet=True), double(tmp_path, body))
    assert marker.exists()
    assert time.monotonic() - began < 30
