"""A document is read as a person reads it: its tables, and what stands around them."""

import pytest

from vlm_contract.errors import VlmError
from vlm_report.importing.documents import Contents
from vlm_report.importing.markdown import contents_of_markdown, plain

TABLE = "| Model | Latency (ms) |\n|---|--:|\n| **one** | 1.5 |\n| two | - |\n"


def contents(text: str) -> Contents:
    return contents_of_markdown(text, "double.md")


def test_emphasis_and_dashes_are_no_part_of_a_cell() -> None:
    one, two = contents(TABLE).rows
    assert (one.cells["model"].text, one.cells["latency_ms_p50"].text) == ("one", "1.5")
    assert (one.figures, two.figures) == (("latency_ms_p50",), ())


def test_tables_in_fences_and_comments_are_no_tables() -> None:
    with pytest.raises(VlmError, match="holds no table"):
        contents(f"```\n{TABLE}```\n<!--\n{TABLE}-->\n")


def test_a_heading_says_the_data_and_the_samples_of_its_table_alone() -> None:
    first, _, second, _ = contents(f"## CIFAR-10 - Small (5,000 samples)\n\n{TABLE}\n## Other\n\n{TABLE}").rows
    assert (first.cells["data"].text, first.cells["samples"].text) == ("CIFAR-10", "5,000")
    assert "samples" not in second.cells


def test_what_a_section_says_comes_before_what_the_document_says() -> None:
    text = f"## A\n{TABLE}\n**Hardware**: this one\n## B\n{TABLE}\n## End\n**Hardware**: that one\n"
    first, _, second, _ = contents(text).rows
    assert (first.cells["device"].text, second.cells["device"].text) == ("this one", "that one")


def test_the_unit_of_a_heading_scales_its_column_and_an_unknown_one_leaves_it_out() -> None:
    found = contents("| Model | Latency (s) | Throughput (img/h) |\n|---|---|---|\n| one | 2 | 3 |\n")
    (row,) = found.rows
    assert row.cells["latency_ms_p50"].scale == 1000
    assert "images_per_s" not in row.cells
    assert "Throughput (img/h)" in found.left_out[0]


def test_a_table_of_nothing_known_is_named_and_left_out() -> None:
    found = contents(f"{TABLE}\n## Ratios\n\n| Model | Charm |\n|---|---|\n| one | 5 |\n")
    assert len(found.rows) == 2
    assert found.left_out[0].startswith("Ratios: none of its columns (Model, Charm)")


def test_rows_are_filled_up_and_escaped_bars_are_text() -> None:
    text = "| Model | Latency (ms) | Notes |\n|---|---|---|\n| a \\| b | 1 |\n"
    (row,) = contents(text).rows
    assert row.cells["model"].text == "a | b"
    assert "notes" not in row.cells


def test_names_keep_their_underscores() -> None:
    assert plain("`mobilenetv3_large_100`") == "mobilenetv3_large_100"
    assert plain("_emphasis_ and [a link](https://example.com)") == "emphasis and a link"
