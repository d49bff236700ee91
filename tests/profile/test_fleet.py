"""Several targets at once: what one of them does costs the others nothing."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_contract.codec import read_record, write_record
from vlm_contract.console import LiveLine
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Measurement, Repetition
from vlm_profile import fleet
from vlm_profile.fleet import Answer, Member, measure_fleet, measure_members, members_of, side_by_side, without

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


@pytest.mark.parametrize(
    ("targets", "hint"), [("jetson,", "--target jetson"), ("a,,b", "--target a,b"), (",", "--target jetson")]
)
def test_a_missing_name_is_refused(targets: str, hint: str) -> None:
    with pytest.raises(VlmError, match="a name is missing beside a comma") as caught:
        members_of(targets, "", None)
    assert caught.value.hint == hint


@pytest.mark.parametrize(("targets", "hosts"), [("jetson", ""), ("host", "user@a")])
def test_a_fleet_file_and_targets_beside_it_are_refused(tmp_path: Path, targets: str, hosts: str) -> None:
    with pytest.raises(VlmError, match=r"--fleet .*fleet\.toml says which targets there are"):
        members_of(targets, hosts, tmp_path / "fleet.toml")


def test_two_boards_of_one_name_are_refused() -> None:
    with pytest.raises(VlmError, match="'rpi5' is named twice"):
        members_of("rpi5,rpi5", "user@a,user@b", None)


def test_two_aliases_of_one_target_are_one_name_twice() -> None:
    with pytest.raises(VlmError, match="'jetson-orin-nano' is named twice"):
        members_of("jetson,jetson-orin-nano", "user@a,user@b", None)


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


def test_a_target_that_is_this_machine_comes_last_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "is_here", lambda target: target.name == "gtx1660ti")
    body = "began = time.time(); time.sleep(0.5); print(json.dumps({'began': began, 'ended': time.time()}))"
    members = members_of("gtx1660ti,rpi5", "", None)
    here, board = (each.summary for each in measure_fleet([], members, SILENT, double(tmp_path, body)).values())
    assert here["began"] > board["ended"]


def test_a_damaged_record_costs_its_own_row_alone_and_each_is_read_once(
    tmp_path: Path,
    measurement: Callable[..., Measurement],
    repetition: Callable[..., Repetition],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("jetson", "rpi5"):
        write_record(measurement(repetition()), tmp_path / f"{name}.json")
    (tmp_path / "damaged.json").write_text("{")
    body = f"""
files = {{"jetson": ["jetson", "damaged"], "rpi5": ["rpi5"], "rpi4": []}}[target]
folder = {str(tmp_path)!r}
rows = [{{"file": f"{{folder}}/{{name}}.json", "kept": name == "rpi5", "out_of_reach": True}} for name in files]
print(json.dumps({{"measurements": rows, "error": "nothing was measured"}}))
"""
    read: list[Path] = []

    def counted(kind: type[Measurement], path: Path) -> Measurement:
        read.append(path)
        return read_record(kind, path)

    monkeypatch.setattr(fleet, "read_record", counted)
    members = members_of("jetson,rpi5,rpi4", "", None)
    measured, failed = measure_members([], members, SILENT, double(tmp_path, body))
    assert [path.stem for path in measured.records] == ["jetson", "rpi5"]
    assert [path.stem for path in measured.kept] == ["rpi5"]
    assert measured.out_of_reach == frozenset(measured.records)
    damaged, nothing = failed
    assert damaged.startswith("jetson: ") and "damaged.json" in damaged
    assert nothing == "rpi4: nothing was measured"
    assert len(read) == 3


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


def test_what_members_do_fits_one_line_and_who_says_little_leaves_room() -> None:
    told = {"jetson": "done", "rpi5": "tiny.onnx-fp16 b1  process 2 of 5  0.38 ms  1 min 20 s left"}
    assert side_by_side(told, 200) == "jetson: done | rpi5: tiny.onnx-fp16 b1  process 2 of 5  0.38 ms  1 min 20 s left"
    line = side_by_side(told, 70)
    assert len(line) <= 70
    assert line.startswith("jetson: done | rpi5: ")
    assert line.endswith("1 min 20 s left")


def test_a_member_that_failed_says_what_to_type() -> None:
    answer = Answer(2, {"error": "user@a cannot be reached\x1b[2J.", "hint": "ssh user@a true"})
    assert answer.failure == r"user@a cannot be reached\x1b[2J. Try: ssh user@a true"
    assert Answer(1, {}, "its last words").failure == "its last words"
