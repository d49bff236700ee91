"""`vlm-profile targets` lists what is known, and says what can be done with it."""

import json

import pytest

from vlm_profile.__main__ import main


def test_every_known_target_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--json"]) == 0
    *table, document = capsys.readouterr().out.splitlines()
    names = [target["name"] for target in json.loads(document)["targets"]]
    assert {"gtx1660ti", "jetson-orin-nano", "rpi5", "host"} <= set(names)
    assert all(any(line.startswith(name) for line in table) for name in names)


def test_one_target_is_shown_with_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "show", "jetson"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("jetson-orin-nano: ")
    assert "https://www.techpowerup.com/gpu-specs/jetson-orin-nano-8-gb.c4082" in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["jetson"], "vlm-profile targets show jetson"),
        (["show"], "vlm-profile targets show jetson-orin-nano"),
        (["show", "jetsn"], "vlm-profile targets show jetson\n"),
        (["list"], "vlm-profile targets show jetson-orin-nano"),
    ],
)
def test_a_mistyped_request_says_what_to_type(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", *words]) == 2
    assert hint in capsys.readouterr().err
