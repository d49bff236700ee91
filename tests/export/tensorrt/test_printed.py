"""Outputs as trtexec prints them: read to the number, and refused where they are anything else."""

import math
import re
import tracemalloc
from array import array
from pathlib import Path

import numpy as np
import pytest

from vlm_contract.errors import CheckFailed, VlmError
from vlm_export.tensorrt import printed as module
from vlm_export.tensorrt.printed import Printed, printed_outputs, printing_error


def text_of(values: str, dimensions: str = "2x2", name: str = "logits") -> str:
    """As trtexec lays it out."""
    return f'[\n  {{ "name" : "{name}"\n  , "dimensions" : "{dimensions}"\n  , "values" : [ {values} ]\n  }}\n]\n'


def read(text: str, folder: Path) -> tuple[Printed, ...]:
    (folder / "outputs.json").write_text(text)
    return printed_outputs(folder / "outputs.json")


def test_numbers_are_read_as_they_are_printed(tmp_path: Path) -> None:
    (output,) = read(text_of("0.25, -1.5, 1e-05, 3"), tmp_path)
    assert output == Printed("logits", (2, 2), array("d", (0.25, -1.5, 1e-05, 3.0)))


def test_what_is_no_number_is_read_as_such(tmp_path: Path) -> None:
    (output,) = read(text_of("nan, -nan, inf, -inf"), tmp_path)
    assert [math.isnan(value) for value in output.values] == [True, True, False, False]
    assert output.values[2:].tolist() == [math.inf, -math.inf]


def test_several_outputs_are_read_and_long_ones_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 7)
    numbers = [index / 8 for index in range(1000)]
    first = text_of(", ".join(map(str, numbers)), "10x100")
    both = first.strip()[:-1] + "," + text_of("7", "1", "second").strip()[1:]
    assert [(each.name, each.values.tolist()) for each in read(both, tmp_path)] == [
        ("logits", numbers),
        ("second", [7]),
    ]


def test_a_number_that_no_machine_holds_is_an_infinity(tmp_path: Path) -> None:
    (output,) = read(text_of(f"1, 2, 1e999, {'9' * 400}"), tmp_path)
    assert output.values.tolist() == [1, 2, math.inf, math.inf]


@pytest.mark.parametrize("name", ["a[3]{x}", 'quo\\"te', "two: three, four"])
def test_an_output_may_have_any_name(tmp_path: Path, name: str) -> None:
    (output,) = read(text_of("1", "1", name), tmp_path)
    assert output.name == name.replace("\\", "")


def test_outputs_without_a_number_are_read(tmp_path: Path) -> None:
    assert read(text_of("", "1x0"), tmp_path) == (Printed("logits", (1, 0), array("d")),)


def test_a_file_of_many_numbers_takes_little_more_memory_than_its_numbers(tmp_path: Path) -> None:
    text = text_of("0," * 600_000 + "0", "600001")
    tracemalloc.start()
    (output,) = read(text, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(text) + 2 * output.values.itemsize * len(output.values)


def test_a_file_of_very_many_outputs_is_refused(tmp_path: Path) -> None:
    one = text_of("1", "1").strip()[1:-1]
    with pytest.raises(CheckFailed, match="over 1000 outputs"):
        read(f"[{','.join([one] * 1001)}]", tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n", "no list of outputs"),
        ("Segmentation fault", "no list of outputs"),
        (text_of("1, 2, 3, 4")[:-20], "no list of outputs"),
        ("[" * 100_000, "no list of outputs"),
        ("[" * 100_000 + "]", "not its name, its dimensions and its values"),
        ("[]", "no list of outputs"),
        ("{}", "no list of outputs"),
        ("[3]", "not its name, its dimensions and its values"),
        (text_of("1, 2, 3"), "has 3 values"),
        (text_of("1, 2, 3, 4, 5"), "has 5 values"),
        (text_of('1, 2, "3", 4'), "not its name, its dimensions and its values"),
        (text_of("1, 2, true, 4"), "holds what is no number"),
        (text_of("1, 2, , 4"), "holds what is no number"),
        (text_of("1, 2, 3 3, 4"), "holds what is no number"),
        (text_of("1, 2, 3, 4", "2x-2"), "no such dimensions"),
        (text_of("1, 2, 3, 4", "9999999999"), "no such dimensions"),
    ],
)
def test_what_trtexec_does_not_write_is_damaged(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=f"outputs is damaged: .*{re.escape(reason)}"):
        read(text, tmp_path)


def test_a_name_in_an_error_controls_no_terminal(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        read(text_of("1, 2", "3", r"\u001b[2J"), tmp_path)
    assert "has 2 values" in str(caught.value) and str(caught.value).isprintable()


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 20)
    with pytest.raises(VlmError, match="limit"):
        read(text_of("1, 2, 3, 4"), tmp_path)


@pytest.mark.parametrize(("largest", "error"), [(0.5, 5e-7), (1.0, 5e-6), (9.99, 5e-6), (10.0, 5e-5), (123456, 0.5)])
def test_printing_loses_half_of_the_last_digit(largest: float, error: float) -> None:
    assert printing_error(largest) == pytest.approx(error)
    assert printing_error(0.0) == 0


def test_no_number_is_further_from_its_print() -> None:
    numbers = np.random.RandomState(0).uniform(-1, 1, 5000) * 10.0 ** np.random.RandomState(1).uniform(-3, 3, 5000)
    lost = np.array([abs(number - float(f"{number:.6g}")) for number in numbers])
    bound = np.array([printing_error(abs(number)) for number in numbers])
    assert (lost <= bound * (1 + 1e-9)).all()
    assert (lost > 0.9 * bound).any()
