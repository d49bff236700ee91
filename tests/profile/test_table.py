"""A row shows what its interval supports, and no figure that may not be used."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_contract.measurement import Estimate, Measurement, Pacing, Repetition, Sustained, Verdict, Window
from vlm_profile.table import kept_sentences, sentences_of, supported, tables_of, two_digits, warnings_of

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
        (4.5678, 12.0, "5"),
        (0.045678, 12.0, "0.05"),
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


def test_rows_with_the_same_verdict_share_a_sentence(measurement: Callable[..., Measurement]) -> None:
    batches = (1, 2, 4, 8, 16)
    plain = measurement(verdicts=(CONTENDED,))
    records = [replace(plain, setup=replace(plain.setup, batch=batch)) for batch in batches]
    row = "tiny onnxruntime fp32 b{} t2".format
    assert sentences_of(records[:2]) == [
        f"{row(1)}; {row(2)}: contended (invalid): foreign CPU 80 %; limit: 10 %. Stop what else runs."
    ]
    (sentence,) = sentences_of(records)
    assert sentence.startswith(f"{row(1)}; {row(2)}; {row(4)}; and 2 more: contended (invalid): foreign CPU 80 %;")
    seen = [
        replace(record, verdicts=(replace(CONTENDED, seen=f"foreign CPU {n} %"),)) for n, record in enumerate(records)
    ]
    assert sentences_of(seen) == [
        f"5 rows: contended (invalid): {row(1)}: foreign CPU 0 %; {row(2)}: foreign CPU 1 %; {row(4)}: foreign CPU 2 %"
        "; and 2 more; limit: 10 %. Stop what else runs."
    ]


def test_verdicts_that_differ_in_limit_or_level_are_sentences_of_their_own(
    measurement: Callable[..., Measurement],
) -> None:
    others = (replace(CONTENDED, level="warning"), replace(CONTENDED, limit="5 %"))
    assert len(sentences_of([measurement(verdicts=(CONTENDED,)), *(measurement(verdicts=(v,)) for v in others)])) == 3


# Where, and how figures were come by

LONG = "mobilenetv3_large_100-fashion-mnist.onnx-fp16"
EMULATOR = "NVIDIA Jetson Orin Nano (emulator)"


@pytest.fixture
def jetson_row(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> Callable[..., Measurement]:
    """A row that was measured on a Jetson in a power mode."""

    def made(mode: str = "15W", **changes: object) -> Measurement:
        row = measurement(*[repetition()] * 5)
        return replace(row, target="jetson-nano", device=replace(row.device, power_mode=mode), **changes)

    return made


@pytest.fixture
def estimated_row(jetson_row: Callable[..., Measurement]) -> Callable[..., Measurement]:
    """The same figures as an estimate."""

    def made(rung: str = "specifications", **changes: object) -> Measurement:
        estimate = Estimate(rung, "a double", 80.0, 1.5, 1.5, (), {}, "measure it")
        return jetson_row(evidence="estimated", estimate=estimate, **changes)

    return made


def test_rows_of_this_machine_stand_under_no_title(
    repetition: Callable[..., Repetition], measurement: Callable[..., Measurement]
) -> None:
    (table,) = tables_of([measurement(repetition())])
    assert table.startswith("artifact ")


def test_the_title_says_where_rows_were_measured(jetson_row: Callable[..., Measurement]) -> None:
    (table,) = tables_of([jetson_row()])
    assert table.splitlines()[0] == "Measured: target jetson-nano, power mode 15W"
    assert table.splitlines()[2].startswith("artifact ")


def test_what_differs_between_rows_is_a_column(
    jetson_row: Callable[..., Measurement], measurement: Callable[..., Measurement]
) -> None:
    (table,) = tables_of([jetson_row(), jetson_row("7W"), measurement()])
    title, _, header, _, *rows = table.splitlines()
    assert title == "Measured"
    assert header.split("  ")[0] == "target"
    assert [row.split()[:3] for row in rows] == [
        ["jetson-nano", "15W", "tiny"],
        ["jetson-nano", "7W", "tiny"],
        ["host", "—", "tiny"],
    ]


def test_estimates_are_titled_so_and_so_are_the_measured_rows_beside_them(
    estimated_row: Callable[..., Measurement], measurement: Callable[..., Measurement]
) -> None:
    measured, estimates = tables_of([estimated_row(), measurement()])
    assert measured.startswith("Measured: target host\n")
    assert estimates.startswith(
        "Estimated, not measured: target jetson-nano, power mode 15W, rung specifications\n\nartifact"
    )
    assert "≈ p50 ms" in estimates
    assert "≈" not in measured


def test_estimates_of_long_names_fit_100_columns(estimated_row: Callable[..., Measurement]) -> None:
    rows = [estimated_row(artifact=replace(estimated_row().artifact, name=LONG)), estimated_row("calibrated")]
    (table,) = tables_of(rows)
    assert "calibrated" in table
    assert max(map(len, table.splitlines())) <= 100 + len("specifications  ")
    (table,) = tables_of(rows[:1])
    assert max(map(len, table.splitlines())) <= 100


@pytest.mark.parametrize(
    ("value", "text"),
    [(287.4, "290"), (16040.0, "16000"), (2.04, "2.0"), (0.996, "1.0"), (0.3, "0.30"), (0.01234, "0.012")],
)
def test_an_estimate_has_two_digits(value: float, text: str) -> None:
    assert two_digits(value) == text


def test_rows_of_an_emulator_are_told_once(jetson_row: Callable[..., Measurement]) -> None:
    device = replace(jetson_row().device, name=EMULATOR)
    (sentence,) = warnings_of(
        [jetson_row(), replace(jetson_row(), device=device), replace(jetson_row(), device=device)]
    )
    assert sentence == f"jetson-nano: {EMULATOR} is no device: no report, comparison or estimate takes these rows."
    assert warnings_of([jetson_row()]) == []


def test_kept_rows_of_one_folder_are_one_sentence(measurement: Callable[..., Measurement]) -> None:
    kept = {Path(f"measurements/rpi5/{name}.json"): measurement() for name in "ab"}
    assert kept_sentences(kept) == ["kept: 2 rows in measurements/rpi5 (valid; --again measures them anew)"]
    kept[Path("measurements/rpi5/c.json")] = measurement(verdicts=(CONTENDED,))
    assert kept_sentences(kept)[1] == "kept: measurements/rpi5/c.json (invalid; --again measures it anew)"


def test_what_stands_of_a_target_out_of_reach_is_told_without_what_cannot_be_done(
    measurement: Callable[..., Measurement],
) -> None:
    kept = {Path(f"measurements/rpi5/{name}.json"): measurement() for name in "ab"}
    assert kept_sentences(kept, kept.keys()) == ["kept: 2 rows in measurements/rpi5 (valid; measured before)"]
