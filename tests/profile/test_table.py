"""A row shows what its interval supports, and no figure that may not be used."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Measurement, Pacing, Repetition, Sustained, Verdict, Window
from vlm_profile.table import sentences_of, supported, tables_of

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
    (table,) = tables_of([measurement(*[repetition(ms) for ms in (9.9, 10.0, 10.1)])])
    assert table.splitlines()[2].split() == ["tiny", "onnxruntime", "1", "2", "10.0", "0.2", "—", "100", "80", "valid"]


def test_an_invalid_row_shows_none_unless_asked(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    record = replace(measurement(*[repetition()] * 5), verdicts=(CONTENDED,))
    assert tables_of([record])[0].splitlines()[2].split()[4:] == ["—"] * 5 + ["invalid:", "contended"]
    assert "10.000" in tables_of([record], show_invalid=True)[0]


def test_quick_figures_are_labelled(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    record = measurement(*[repetition()] * 5)
    (table,) = tables_of([replace(record, settings={**record.settings, "mode": "quick"})])
    assert table.endswith("valid (quick)")


def test_streams_and_options_stand_in_the_row(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    record = measurement(*[repetition()] * 5)
    setup = replace(record.setup, streams=4, options={"spinning": False, "cpus": "0,1"})
    (table,) = tables_of([replace(record, setup=setup)])
    assert "onnxruntime, cpus 0,1, spinning off, 4 streams" in table


def test_frames_have_a_table_of_their_own(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    record = measurement(*[repetition(ms) for ms in (9.9, 10.0, 10.1)])
    paced = replace(
        record,
        setup=replace(record.setup, fps=30.0),
        throughput=Absent("frames came at 30 a second"),
        pacing=Pacing(frames=500, dropped=7, late=9, deadline_ms=1000 / 30),
    )
    first, second = tables_of([paced])
    assert first.splitlines()[2].split()[-3:] == ["—", "80", "valid"]
    assert second.splitlines()[2].split() == [
        "tiny",
        "1",
        "30",
        "10.0",
        "—",
        "33.3",
        "9",
        "of",
        "493",
        "7",
        "of",
        "500",
    ]


def test_a_sustained_run_shows_where_it_began_and_where_it_settled(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    windows = (Window(10.0, 10.0, 2000.0, Absent("no sensor")), Window(20.0, 12.5, 1500.0, 71.25))
    record = replace(measurement(repetition()), sustained=Sustained(windows, 12.5, 10.0))
    _, table = tables_of([record])
    assert table.splitlines()[2].split() == ["tiny", "1", "10", "12.5", "10", "2000", "1500", "71.2"]


def test_every_verdict_is_a_sentence_and_controls_no_terminal(measurement: Callable[..., Measurement]) -> None:
    record = measurement(verdicts=(CONTENDED, replace(CONTENDED, code="worker", seen="\x1b[2J")))
    first, second = sentences_of([record])
    assert (
        first == "tiny onnxruntime fp32 b1 t2: contended (invalid): foreign CPU 80 %; limit: 10 %. Stop what else runs."
    )
    assert "\x1b" not in second
