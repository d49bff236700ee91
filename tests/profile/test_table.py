"""A row shows what its interval supports, and no figure that may not be used."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from vlm_contract.measurement import Measurement, Repetition, Verdict
from vlm_profile.table import sentences_of, supported, table_of

CONTENDED = Verdict("contended", "invalid", "foreign CPU 80 %", "10 %", "Stop what else runs.")


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (4.5678, 0.034, "4.57"),
        (4.5678, 0.34, "4.6"),
        (4.5678, 2.0, "5"),
        (1234.5, 56.0, "1230"),
        (0.0123456, 0.00056, "0.0123"),
        (5.0, 0.0, "5.000"),
    ],
)
def test_figures_have_the_digits_that_their_interval_supports(value: float, half: float, text: str) -> None:
    assert supported(value, half) == text


def test_a_valid_row_shows_its_figures(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    cells = table_of([measurement(*[repetition(ms) for ms in (9.9, 10.0, 10.1)])]).splitlines()[2].split()
    assert cells == ["tiny", "fp32", "1", "2", "10.0", "0.2", "—", "100", "80", "valid"]


def test_an_invalid_row_shows_none_unless_asked(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    record = replace(measurement(*[repetition()] * 5), verdicts=(CONTENDED,))
    assert table_of([record]).splitlines()[2].split()[4:] == ["—"] * 5 + ["invalid:", "contended"]
    assert "10.000" in table_of([record], show_invalid=True)


def test_quick_figures_are_labelled(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    record = measurement(*[repetition()] * 5)
    assert table_of([replace(record, settings={**record.settings, "mode": "quick"})]).endswith("valid (quick)")


def test_every_verdict_is_a_sentence_and_controls_no_terminal(measurement: Callable[..., Measurement]) -> None:
    record = measurement(verdicts=(CONTENDED, replace(CONTENDED, code="worker", seen="\x1b[2J")))
    first, second = sentences_of([record])
    assert first == "tiny b1 t2: contended (invalid): foreign CPU 80 %; limit: 10 %. Stop what else runs."
    assert "\x1b" not in second
