"""The commands speak alike: exit codes, one paragraph an error, escaped text, a silent line where no terminal is."""

import argparse
import io
import json

import pytest

from vlm_contract import console
from vlm_contract.errors import CheckFailed, VlmError


def run(body: object, *words: str) -> int:
    def main(_options: argparse.Namespace) -> console.Outcome:
        if isinstance(body, BaseException):
            raise body
        assert isinstance(body, console.Outcome)
        return body

    return console.run_command(console.Parser("vlm-double", "A double of the tests."), main, words)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (console.Outcome(), 0),
        (console.Outcome(exit_code=1), 1),
        (CheckFailed("parity failed."), 1),
        (VlmError("no such model."), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_says_how_it_ended(body: object, code: int) -> None:
    assert run(body) == code


def test_an_error_is_one_paragraph_and_a_line_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    run(VlmError("Unknown model 'resnet5O'.", hint="vlm-train --model resnet50"))
    assert capsys.readouterr().err == "vlm-double: Unknown model 'resnet5O'.\nTry: vlm-train --model resnet50\n"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    run(VlmError("no."), "--debug")
    assert "Traceback" in capsys.readouterr().err


def test_a_defect_of_ours_is_not_dressed_as_a_users_error() -> None:
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())


def test_json_is_the_last_line_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run(console.Outcome({"latency_ms_p50": 1.5}), "--json")
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"latency_ms_p50": 1.5}


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (VlmError("no such \x1b model.", hint="vlm-train"), 2, {"error": "no such \x1b model.", "hint": "vlm-train"}),
        (CheckFailed("parity failed."), 1, {"error": "parity failed.", "hint": ""}),
        (
            KeyboardInterrupt(),
            130,
            {"error": "interrupted; what was finished is kept", "hint": "The same command continues."},
        ),
    ],
)
def test_json_is_the_last_line_of_stdout_after_an_error_too(
    body: object, code: int, said: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(body, "--json") == code
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1]) == said
    assert "\x1b" not in out
    assert err.startswith("vlm-double: ")
    run(body)
    assert capsys.readouterr().out == ""


def test_a_wrong_argument_beside_json_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(console.Outcome(), "--jsn", "--json") == 2
    assert "--jsn" in json.loads(capsys.readouterr().out)["error"]


def test_the_nearest_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    parser = console.Parser("vlm-double", "A double of the tests.", commands=("doctor", "compare"))
    assert console.run_command(parser, lambda _: console.Outcome(), ["doctr", "--quiet"]) == 2
    assert capsys.readouterr().err == "vlm-double: 'doctr' is no command of vlm-double.\nTry: vlm-double doctor\n"
    for words in (["something"], ["--quiet", "--zzzzz"]):
        assert console.run_command(parser, lambda _: console.Outcome(), words) == 2
        assert "Unrecognized arguments" in capsys.readouterr().err


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run(VlmError("bad name \x1b[2J."))
    assert "\x1b" not in capsys.readouterr().err
    assert "\x1b" not in console.plain_table(["name"], [["\x1b]0;x\x07"]])


def test_numbers_stand_right_and_words_left_in_a_table() -> None:
    assert console.plain_table(["model", "ms"], [["a", "1.5"], ["longer", "10.5"]]).splitlines() == [
        "model     ms",
        "──────  ────",
        "a        1.5",
        "longer  10.5",
    ]


def test_the_progress_line_is_silent_where_no_terminal_is() -> None:
    stream = io.StringIO()
    console.LiveLine(stream=stream).show("epoch 1")
    assert stream.getvalue() == ""


def test_the_progress_line_is_drawn_at_most_ten_times_a_second() -> None:
    now = iter([1.0, 1.0, 1.05, 1.2, 1.2])
    stream = Terminal()
    line = console.LiveLine(stream=stream, clock=lambda: next(now))
    for text in ("first", "too soon", "later"):
        line.show(text)
    assert "first" in stream.getvalue()
    assert "too soon" not in stream.getvalue()
    assert "later" in stream.getvalue()


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (60, "mobilenetv3-cifar10.onnx-fp32 b8  process 2 of 5  3 min left"),
        (50, "mobilenetv3…nx-fp32 b8  process 2 of 5  3 min left"),
        (30, "…8  process 2 of 5  3 min left"),
        (12, "… 3 min left"),
    ],
)
def test_a_narrow_terminal_shortens_the_name_and_never_the_time_left(width: int, text: str) -> None:
    full = "mobilenetv3-cifar10.onnx-fp32 b8  process 2 of 5  3 min left"
    assert console.clipped(full, width) == text
    assert console.clipped("one part that is long", 10) == "one part …"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_time_left_reads_as_a_person_would_say_it(seconds: float, text: str) -> None:
    assert console.time_left(seconds) == text


def test_progress_that_another_command_reads_comes_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(console.PROGRESS, "lines")
    stream, now = io.StringIO(), iter([10.0, 10.0, 10.5, 11.5, 11.5])
    line = console.LiveLine(stream=stream, clock=lambda: next(now))
    for text in ("one", "two", "th\x1bree"):
        line.show(text)
    line.clear()
    assert stream.getvalue() == "one\nth\\x1bree\n"


def test_the_nearest_of_a_mistyped_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(console.Outcome(), "--workspce", "w") == 2
    said = capsys.readouterr().err
    assert "'--workspce' is no option of vlm-double" in said
    assert "Try: vlm-double --workspace" in said
