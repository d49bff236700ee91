"""The report's files: what they show, what they never show, and what a hostile name becomes in them."""

import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlm_contract.workspace import Workspace
from vlm_report.page.markdown import markdown_of
from vlm_report.page.notes import notes_of
from vlm_report.recommendation import recommendations_of
from vlm_report.records import records_of
from vlm_report.render import SCHEMA, report_of, write_report

EXPECTED = Path(__file__).parent / "expected_report.md"
HOSTILE = "double<script>alert(1)</script>|`x`\x1b[31m\n# [l](javascript:1)-fp32"
# The sections of the results document that the report fills, in its order, with what the toolkit adds.
SECTIONS = [
    "Benchmark", "Exported artifacts", "Training", "Sample efficiency", "Comparison summary", "Key findings",
    "Recommendations", "Rankings", "Training time", "Next steps", "Figures", "Experiment log", "Notes",
]  # fmt: skip
MARKS = ("≈ est.", "† rep.")
FIGURE = "figures/latency-vs-accuracy-host.svg"


def written(workspace: Workspace) -> dict[str, str]:
    """The text of each file; of a PNG its first bytes."""
    records = records_of(workspace)
    paths = write_report(records, recommendations_of(records))
    return {str(path.relative_to(workspace.report)): path.read_bytes().decode(errors="replace") for path in paths}


def elements(page: str) -> set[str]:
    found: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.add(tag)  # type: ignore[method-assign]
    parser.feed(page)
    return found


@pytest.mark.usefixtures("doubles")
def test_the_markdown_is_the_expected_file(workspace: Workspace) -> None:
    """`UPDATE_EXPECTED=1 pytest tests/report` writes it anew; read the difference before it is committed."""
    text = written(workspace)["report.md"]
    if os.environ.get("UPDATE_EXPECTED"):
        EXPECTED.write_text(text)
    assert text == EXPECTED.read_text()


@pytest.mark.usefixtures("doubles")
def test_the_same_records_give_the_same_bytes(workspace: Workspace) -> None:
    assert written(workspace) == written(workspace)


@pytest.mark.usefixtures("doubles")
def test_both_pages_have_the_sections_in_one_order(workspace: Workspace) -> None:
    files = written(workspace)
    assert re.findall(r"^## (.*)$", files["report.md"], re.MULTILINE) == SECTIONS
    assert re.findall(r"<h2 [^>]*>([^<]*)</h2>", files["report.html"]) == SECTIONS


@pytest.mark.usefixtures("doubles")
def test_figures_of_what_is_not_valid_stand_nowhere(workspace: Workspace) -> None:
    files = written(workspace)
    for name, text in files.items():
        assert "30.12" not in text, name  # the latency of the contended double
    assert "invalid: contended" in files["report.md"]
    assert "vlm-profile --target host --again" in files["report.html"]


@pytest.mark.usefixtures("doubles")
def test_every_frame_has_a_csv_file_and_every_chart_a_drawing_of_each_kind(workspace: Workspace) -> None:
    files = written(workspace)
    tables = {name for name in files if name.endswith(".csv")}
    assert {"tables/benchmark.csv", "tables/training.csv", "tables/provenance.csv"} <= tables
    drawn = {name.removesuffix(".svg") for name in files if name.endswith(".svg")}
    assert FIGURE.removesuffix(".svg") in drawn
    assert {name.removesuffix(".png") for name in files if name.endswith(".png")} == drawn
    for name in drawn:
        assert f"]({name}.svg)" in files["report.md"]
        assert files[f"{name}.png"][1:4] == "PNG"


@pytest.mark.usefixtures("doubles")
def test_no_nan_and_no_stand_in_for_what_is_absent(workspace: Workspace) -> None:
    files = written(workspace)
    report = json.loads(files["report.json"], parse_constant=pytest.fail)
    assert report["schema"] == SCHEMA
    lean = next(row for row in report["benchmark"] if row["artifact"] == "double-lean.onnx-fp32")
    assert lean["peak_rss_bytes"] == {"absent": "no process read a memory counter"}
    for name in ("tables/benchmark.csv", "tables/training.csv"):
        assert not re.search(r"(^|,)(nan|none|inf|null)(,|$)", files[name], re.IGNORECASE | re.MULTILINE)
    assert "peak_rss_bytes: no process read a memory counter" in files["tables/benchmark.csv"]


def test_a_hostile_name_is_text_everywhere(
    workspace: Workspace, keep: Callable[..., None], double: SimpleNamespace
) -> None:
    keep(
        double.card(HOSTILE, device=HOSTILE),
        double.manifest(HOSTILE, backbone=HOSTILE, precision="fp32"),
        double.measurement(HOSTILE),
        double.measurement(HOSTILE, batch=8, verdicts=(double.contended,)),
    )
    files = written(workspace)
    for name, text in files.items():
        assert "\x1b" not in text or name.endswith(".png")
        assert not name.endswith(".svg") or "script" not in elements(text)
    assert "alert(1)</script>" not in files["report.html"]
    markdown = re.sub(r"(`+)[^`].*?\1(?!`)", "", files["report.md"])  # without code spans
    assert not re.search(r"(?<!\\)<script", markdown)
    assert not re.search(r"(?<!\\)\[l", markdown)
    assert not any(line.startswith("# [") for line in markdown.splitlines())
    rows = [line for line in files["report.md"].splitlines() if line.startswith("|")]
    assert rows
    assert all(row.endswith("|") for row in rows)


@pytest.mark.usefixtures("doubles")
def test_rows_of_a_table_have_as_many_cells_as_its_heading(workspace: Workspace) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", written(workspace)["report.md"], re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


@pytest.mark.usefixtures("doubles")
def test_nothing_to_plot_is_a_sentence_and_no_stale_file(
    workspace: Workspace, keep: Callable[..., None], double: SimpleNamespace
) -> None:
    written(workspace)
    stale = workspace.report / "tables" / "of-an-older-version.csv"
    stale.write_text("")
    assert (workspace.report / FIGURE).exists()
    for path, record in workspace.measurements().records.items():
        path.unlink()
        keep(double.measurement(record.artifact.name, verdicts=(double.contended,)))
    files = written(workspace)
    assert "### Not drawn" in files["report.md"]
    assert not (workspace.report / FIGURE).exists()
    assert not stale.exists()


@pytest.mark.usefixtures("doubles")
def test_a_chosen_format_is_written_alone(workspace: Workspace) -> None:
    records = records_of(workspace)
    written = write_report(records, recommendations_of(records), ("md",))
    assert {path.suffix for path in written} == {".md", ".svg", ".png"}


@pytest.mark.usefixtures("doubles")
def test_unreadable_records_come_first(workspace: Workspace) -> None:
    (workspace.root / "measurements" / "host" / "damaged.json").write_text("{")
    files = written(workspace)
    for name in ("report.md", "report.html"):
        body = files[name].partition("<h1>")[2] or files[name]
        assert body.index("damaged.json") < body.index("Benchmark")


def test_the_markdown_marks_each_figure_that_was_not_measured(double: SimpleNamespace) -> None:
    estimate = double.estimate("double-fp32", 9.0, target="jetson-orin-nano")
    records = double.all(double.manifest("double-fp32"), double.measurement("double-fp32"), estimate,
                         double.reported_run(), double.reported_model())  # fmt: skip
    text = markdown_of(report_of(records, recommendations_of(records)).document)
    marked = {mark: [line for line in text.splitlines() if line.startswith("|") and mark in line] for mark in MARKS}
    (estimated,) = (line for line in marked["≈ est."] if "double-runtime" in line and "estimated" in line)
    assert estimated.count("≈ est.") == 4  # latency, throughput, two of memory; the accuracy was measured
    assert all("Double-Net" in line or "Doubles" in line for line in marked["† rep."])
    (trained,) = (line for line in marked["† rep."] if "Heavy overfitting" in line)
    assert trained.count("† rep.") == 6  # two accuracies, two losses, the gap, the time


def test_an_observation_of_a_model_names_it(double: SimpleNamespace) -> None:
    records = double.all(double.trained("net", validation=50.0, gap=40.0))
    text = markdown_of(report_of(records, recommendations_of(records)).document)
    assert "- net: heavy overfitting on doubles" in text


def test_a_document_is_named_once_however_many_rows_it_gave(double: SimpleNamespace) -> None:
    records = double.all(double.reported_run(), double.reported_run("Other"), double.reported_model())
    assert [note for note in notes_of(records) if note.startswith("Reported by")] == [
        f"Reported by: double.md (sha256 {'a' * 64})."
    ]
