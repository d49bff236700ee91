"""One screen says what can be measured here, and what would spoil it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Device
from vlm_profile import doctor
from vlm_profile.__main__ import main
from vlm_profile.doctor import Diagnosis, Usable, diagnose, shown
from vlm_profile.machine import Fault
from vlm_profile.preflight import Preflight

DIAGNOSIS = Diagnosis(
    device=Device("a board", "a CPU", 4, 4, 2**33, Absent("no driver names one"), "15W", "Linux 6", "aarch64"),
    state={"governor": "schedutil"},
    runtimes=(
        Usable("onnxruntime", ("onnx",), "1.32.0", ""),
        Usable("tensorrt", ("engine",), "", "no driver: install it"),
        Usable("torch-cuda", ("checkpoint",), "", "no driver: install it"),
    ),
    sensors={"power_w VDD_IN": 4.25},
    faults=(Fault("the governor is schedutil", "echo performance"),),
    noise=("others use 50 % of a CPU of ours (limit: 10)",),
)


def test_everything_that_was_found_is_on_one_screen() -> None:
    lines = "\n".join(shown(DIAGNOSIS)).splitlines()
    text = "\n".join(lines)
    assert len(lines) < 30
    assert max(map(len, lines)) <= 110
    for words in ("a board, a CPU", "15W", "no driver names one", "1.32.0", "VDD_IN 4.25", "schedutil", "50 %"):
        assert words in text
    assert "not tensorrt, torch-cuda: no driver: install it" in lines
    assert lines[lines.index("! the governor is schedutil") + 1].strip() == "echo performance"


def test_a_machine_without_faults_is_told_so() -> None:
    assert "Nothing was found" in "\n".join(shown(replace(DIAGNOSIS, faults=(), noise=())))


@pytest.mark.parametrize(("usable", "code"), [(True, 0), (False, 1)])
def test_where_no_runtime_can_be_used_the_check_says_no(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], usable: bool, code: int
) -> None:
    found = DIAGNOSIS if usable else replace(DIAGNOSIS, runtimes=DIAGNOSIS.runtimes[1:])
    monkeypatch.setattr(doctor, "diagnose", lambda: found)
    assert main(["doctor", "--json"]) == code
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["faults"] == [{"seen": "the governor is schedutil", "remedy": "echo performance"}]
    assert document["device"]["power_mode"] == "15W"


def test_this_machine_is_diagnosed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "onnxruntime" in capsys.readouterr().out


def test_what_the_look_read_is_shown_also_where_a_second_look_would_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = Preflight((), {}, {"power_w package-0 (RAPL)": 9.0}, {"power_w package-0 (RAPL)": 9.5})
    monkeypatch.setattr(doctor, "preflight", lambda root: looked)
    assert diagnose(Path("/")).sensors == {"power_w package-0 (RAPL)": 9.5}
