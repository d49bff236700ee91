"""Orders to a board and its answers, both ways through JSON."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.codec import decode, encode
from vlm_contract.errors import CheckFailed, VlmError
from vlm_profile.boards.errands import Environment, Order, Refusal, answer, answered, order_of
from vlm_profile.protocol import QUICK
from vlm_profile.rows import Request
from vlm_targets.ssh import Done

REQUEST = Request(
    target="rpi5",
    artifacts=(Path("here/model.onnx"),),
    batches="auto",
    threads=2,
    streams=(1, 2),
    runtime="onnxruntime",
    input_shapes={"x": (1, 3)},
    protocol=QUICK.within(7.0),
    seed=3,
    wait_quiet_s=5.0,
    again=True,
)
# What is settled before an order is sent: by whom it is measured, and engines, which a board is never sent.
SETTLED = {"clocks_locked", "target", "trusted", "host", "target_files", "lock_clocks", "estimate", "power_mode"}


def test_an_order_carries_the_whole_request(tmp_path: Path) -> None:
    order: Order = decode(Order, json.loads(json.dumps(encode(order_of(REQUEST, ("model-0/model.onnx",))))))
    there = order.request(tmp_path)
    assert there == replace(REQUEST, target="host", artifacts=(tmp_path / "model-0/model.onnx",))
    assert {field.name for field in fields(Request)} - {field.name for field in fields(Order)} <= SETTLED


def done(answer: Any, code: int = 0, err: str = "") -> Done:
    return Done(code, f"a word of a library\n{json.dumps(answer)}\n", err)


def test_the_last_line_is_the_answer() -> None:
    said = done({"Environment": {"python": "/p", "made": True}})
    assert answered(said, Environment, "pi") == Environment("/p", made=True)


def test_an_error_there_is_the_same_error_here(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise CheckFailed("no\x1b[2J", hint="type this")

    assert answer(refuse) == 1
    with pytest.raises(CheckFailed, match=r"^pi: no\\x1b\[2J$") as caught:
        answered(Done(1, capsys.readouterr().out, ""), Environment, "pi")
    assert caught.value.hint == "type this"


def test_a_full_disk_there_is_said_here(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device", "/home/pi/x")

    assert answer(fail) == 2
    with pytest.raises(VlmError, match=r"pi: /home/pi/x: No space left on device\.") as caught:
        answered(Done(2, capsys.readouterr().out, ""), Environment, "pi")
    assert caught.value.hint.startswith("df -h")


@pytest.mark.parametrize(
    "said",
    [
        Done(0, "", ""),
        Done(0, "no answer\n", ""),
        Done(0, "[" * 100_000, ""),
        done([]),
        done({"Stored": {}}),
        done({"Environment": {"python": 3, "made": True}}),
        done({"Environment": {"python": "/p", "made": True}, "other": 1}),
        done({"Environment": {"python": "/p", "made": True}}, code=1),
        done({"Refusal": {"message": "no"}}, code=2),
        Done(137, "", "Traceback …\nKilled\x1b[2J"),
    ],
)
def test_what_is_no_answer_is_refused(said: Done) -> None:
    with pytest.raises(VlmError, match=rf"The toolkit on pi ended with exit code {said.code} and no answer") as caught:
        answered(said, Environment, "pi")
    assert not isinstance(caught.value, CheckFailed)
    assert str(caught.value).isprintable()


def test_a_refusal_is_a_paragraph_at_most() -> None:
    said = done({"Refusal": {"message": "x" * 10_000, "hint": "y" * 10_000, "exit_code": 2}}, code=2)
    with pytest.raises(VlmError) as caught:
        answered(said, Refusal, "pi")
    assert len(str(caught.value)) < 700
    assert len(caught.value.hint) < 700
