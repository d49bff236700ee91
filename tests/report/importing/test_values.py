"""What a cell says, in the unit of its column."""

import pytest

from vlm_contract.codec import Absent
from vlm_report.importing.documents import Cell
from vlm_report.importing.values import value_of


@pytest.mark.parametrize(
    ("column", "text", "scale", "value"),
    [
        ("latency_ms_p50", "9.89", 1.0, 9.89),
        ("latency_ms_p50", "1.5 s", 1.0, 1500.0),
        ("images_per_s", "1,133.44", 1.0, 1133.44),
        ("validation_accuracy_percent", "51.58%", 1.0, 51.58),
        ("parameters", "4.21", 1e6, 4_210_000),
        ("parameters", "4.21 M", 1.0, 4_210_000),
        ("wall_s", "~50 min", None, 3000),
        ("wall_s", "1 h 10 min", None, 4200),
        ("wall_s", "90", 1.0, 90),
        ("samples", "5,000", 1.0, 5000),
        ("train_loss", "1.32e-2", 1.0, 0.0132),
        ("train_loss", "0", 1.0, 0),
        ("validation_accuracy_percent", "0", 1.0, 0),
    ],
)
def test_a_number_is_read_in_its_unit(column: str, text: str, scale: float | None, value: float) -> None:
    found, finding = value_of(column, Cell(text, column, scale))
    assert finding is None
    assert found == pytest.approx(value)


@pytest.mark.parametrize(
    ("column", "text", "scale", "code", "level"),
    [
        ("validation_loss", "NaN", 1.0, "nonfinite", "invalid"),
        ("train_loss", "-inf", 1.0, "nonfinite", "invalid"),
        ("peak_memory_bytes", "0.0", 1e6, "zero_memory", "warning"),
        ("latency_ms_p50", "0", 1.0, "nonpositive", "invalid"),
        ("images_per_s", "-3", 1.0, "nonpositive", "invalid"),
        ("validation_loss", "-0.1", 1.0, "negative", "invalid"),
        ("validation_accuracy_percent", "100.5", 1.0, "percent", "invalid"),
        ("latency_ms_p50", "9,89", 1.0, "unreadable", "warning"),
        ("latency_ms_p50", "1.4-1.5", 1.0, "unreadable", "warning"),
        ("latency_ms_p50", "fast", 1.0, "unreadable", "warning"),
        ("latency_ms_p50", "3 parsecs", 1.0, "unreadable", "warning"),
        ("latency_ms_p50", "1e999", 1.0, "unreadable", "warning"),
        ("latency_ms_p50", "9" * 900, 1.0, "unreadable", "warning"),
        ("wall_s", "50", None, "unreadable", "warning"),
        ("epochs", "99.5", 1.0, "unreadable", "warning"),
    ],
)
def test_what_cannot_be_is_absent_with_what_the_document_says(
    column: str, text: str, scale: float | None, code: str, level: str
) -> None:
    found, finding = value_of(column, Cell(text, column, scale))
    assert finding is not None
    assert (finding.verdict.code, finding.verdict.level) == (code, level)
    assert isinstance(found, Absent)
    assert f"the document says {text}" in found.reason
