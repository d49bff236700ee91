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
from vlm_report.recommendation import recommend
from vlm_report.records import records_of
from vlm_report.render import FIGURE_FILE, write_report

EXPECTED = Path(__file__).parent / "expected_report.md"
HOSTILE = "double<script>alert(1)</script>|`x`\x1b[31m\n# [l](javascript:1)-fp32"


def written(workspace: Workspace) -> dict[str, str]:
    records = records_of(workspace)
    paths = write_report(records, recommend(records))
    return {str(path.relative_to(workspace.report)): path.read_text() for path in paths}


class Tags(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")


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
def test_figures_of_what_is_not_valid_stand_nowhere(workspace: Workspace) -> None:
    files = written(workspace)
    for name, text in files.items():
        assert "30.12" not in text, name  # the latency of the contended double
    assert "invalid: contended" in files["report.md"]
    assert "vlm-profile --target host --again" in files["report.html"]


@pytest.mark.usefixtures("doubles")
def test_the_page_fetches_nothing_and_runs_nothing(workspace: Workspace) -> None:
    page = written(workspace)["report.html"]
    tags = Tags(page)
    assert not tags.elements & {"script", "link", "img", "iframe", "object", "a"}
    assert not {"src", "onload", "onclick", "href", "xlink:href"} & tags.attributes.keys()
    assert "url(" not in page.replace("url(#", "")
    assert len(page) < 1_000_000


@pytest.mark.usefixtures("doubles")
def test_every_absent_cell_of_the_page_gives_its_reason(workspace: Workspace) -> None:
    page = written(workspace)["report.html"]
    dashes = re.findall(r"<td[^>]*>—", page)
    assert dashes
    assert all(re.search(r'title="[^"]+"', dash) for dash in dashes)


@pytest.mark.usefixtures("doubles")
def test_no_nan_and_no_stand_in_for_what_is_absent(workspace: Workspace) -> None:
    files = written(workspace)
    report = json.loads(files["report.json"], parse_constant=pytest.fail)
    lean = next(row for row in report["benchmark"] if row["artifact"] == "double-lean.onnx-fp32")
    assert lean["peak_rss_bytes"] == {"absent": "no process read a memory counter"}
    for name in ("tables/benchmark.csv", "tables/training.csv"):
        assert not re.search(r"\b(nan|none|inf)\b", files[name], re.IGNORECASE)
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
    for text in files.values():
        assert "\x1b" not in text
    assert "script" not in Tags(files["report.html"]).elements
    assert "script" not in Tags(files[FIGURE_FILE]).elements
    markdown = re.sub(r"(`+)[^`].*?\1(?!`)", "", files["report.md"])  # without code spans
    assert not re.search(r"(?<!\\)<script", markdown)
    assert not re.search(r"(?<!\\)\[l", markdown)
    assert not any(line.startswith("# [") for line in markdown.splitlines())
    rows = [line for line in files["report.md"].splitlines() if line.startswith("|")]
    assert all(row.endswith("|") for row in rows)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {14, 15, 6}


@pytest.mark.usefixtures("doubles")
def test_nothing_to_plot_is_a_sentence_and_no_stale_figure(
    workspace: Workspace, keep: Callable[..., None], double: SimpleNamespace
) -> None:
    figure = workspace.report / FIGURE_FILE
    written(workspace)
    assert figure.exists()
    for path, record in workspace.measurements().records.items():
        path.unlink()
        keep(double.measurement(record.artifact.name, verdicts=(double.contended,)))
    files = written(workspace)
    assert "No plot:" in files["report.md"]
    assert "<svg" not in files["report.html"]
    assert not figure.exists()


@pytest.mark.usefixtures("doubles")
def test_unreadable_records_come_first(workspace: Workspace) -> None:
    (workspace.root / "measurements" / "host" / "damaged.json").write_text("{")
    files = written(workspace)
    for name in ("report.md", "report.html"):
        body = files[name].partition("<h1>")[2] or files[name]
        assert body.index("damaged.json") < body.index("Rule:")
