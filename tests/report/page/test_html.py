"""The page as text: what it may run, how it names records and evidence, and what a hostile name becomes in it."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from types import SimpleNamespace

import pytest

from vlm_report.cells import Cell, Column, Note, Table
from vlm_report.page.document import Document, Figure, Section
from vlm_report.page.html import PAGE_BYTES, html_of
from vlm_report.recommendation import recommendations_of
from vlm_report.render import report_of

HOSTILE = "double</script><script>alert(1)</script><!--\x1b[31m&\"'><img src=x onerror=alert(2)>"
PAIRS = (  # text on a ground: each must be readable in both themes
    *((text, ground) for text in ("ink", "soft", "accent", "estimated", "reported") for ground in ("paper", "tint")),
    ("ink", "raised"), ("soft", "raised"), ("accent", "raised"), ("bad", "paper"),
)  # fmt: skip


class Elements(HTMLParser):
    """What elements and attributes a page has, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.values: dict[str, list[str]] = {}
        self.scripts: list[tuple[str, str]] = []  # type and text
        self._kind: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.values.setdefault(name, []).append(value or "")
        self._kind = dict(attrs).get("type") or "" if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._kind is not None:
            self.scripts.append((self._kind, data))
            self._kind = None


def policy(page: str) -> dict[str, list[str]]:
    (text,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    return {name: values for name, *values in (part.split() for part in unescape(text).split(";"))}


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, by WCAG 2.2."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids="-on-".join)
def test_text_is_readable_in_both_themes(pair: tuple[str, str], theme: int) -> None:
    css = files("vlm_report.page").joinpath("page.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", css.split(":root {")[1 + theme]))
    assert contrast(*(colours[name] for name in pair)) >= 4.5


def test_black_on_white_has_the_contrast_that_the_guideline_gives_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_no_script_runs_but_those_that_the_policy_names(page: str) -> None:
    allowed, scripts = policy(page), dict(Elements(page).scripts)
    (own,) = (text for kind, text in Elements(page).scripts if not kind)
    assert allowed["default-src"] == ["'none'"]
    assert len(allowed["script-src"]) == 2
    assert f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" in allowed["script-src"]
    assert scripts.keys() == {"", "application/json", "application/gzip"}


def test_the_page_names_nothing_outside_itself(page: str) -> None:
    found = Elements(page)
    assert not found.tags & {"link", "img", "iframe", "object", "base", "form"}
    assert not {"src", "srcset", "onload", "onclick", "onerror"} & found.values.keys()
    assert all(link.startswith("#") for link in found.values["href"])
    assert "url(" not in page.replace("url(#", "")
    assert len(page.encode()) < PAGE_BYTES


def test_every_link_lands_on_one_element(page: str) -> None:
    found = Elements(page).values
    assert len(set(found["id"])) == len(found["id"])
    assert {link[1:] for link in found["href"]} <= set(found["id"])
    assert {f"r{number}" for numbers in found["data-r"] for number in numbers.split()} <= set(found["id"])
    assert set(found["aria-labelledby"]) <= set(found["id"])


def test_every_figure_that_was_not_measured_says_so_in_its_cell(page: str) -> None:
    for target, mark in (("jetson-orin-nano", "≈ est."), ("gtx1660ti", "† rep.")):
        (table,) = re.findall(rf'id="table-benchmark-{target}".*?</table>', page, re.DOTALL)
        rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", table)
        latencies = re.findall(r'<td class="number">([^<]*(?:<span[^>]*>[^<]*</span>)?)</td>', "".join(rows))
        assert rows
        assert sum(mark in cell for cell in latencies) >= len(rows)
    (host,) = re.findall(r'id="table-benchmark-host".*?</table>', page, re.DOTALL)
    assert 'class="mark' not in host


def test_every_absent_cell_has_its_note_below(page: str) -> None:
    for table, body in re.findall(r'id="(table-[^"]+)"[^>]*>\n<table>(.*?)</table>', page, re.DOTALL):
        numbers = set(re.findall(r"<sup>(\d+)</sup>", body))
        assert {f"{table}-{number}" for number in numbers} <= set(Elements(page).values["id"])
        assert all("<sup>" in cell for cell in re.findall(r"<td[^>]*>—.*?</td>", body))


def test_a_hostile_name_is_text_everywhere(double: SimpleNamespace) -> None:
    records = double.all(
        double.trained(HOSTILE, run="double-run"),
        double.manifest("double-fp32", backbone=HOSTILE, run=HOSTILE, versions={HOSTILE: HOSTILE}),
        double.measurement("double-fp32", device=replace(double.device, name=HOSTILE)),
        double.reported_run(HOSTILE, notes=HOSTILE),
    )
    records = replace(records, problems=(HOSTILE,))
    page = html_of(report_of(records, recommendations_of(records)).document)
    found = Elements(page)
    assert "\x1b" not in page
    assert HOSTILE[:20] in unescape(page)
    assert not found.tags & {"img"}
    assert [kind for kind, text in found.scripts if "alert" in text and kind != "application/json"] == []
    for kind, text in found.scripts:
        if kind == "application/json":
            json.loads(text)


def test_drawings_side_by_side_share_no_name(document: Document) -> None:
    clipped = '<svg xmlns="http://www.w3.org/2000/svg"><clipPath id="clip0"/><g clip-path="url(#clip0)"/></svg>'
    figures = tuple(Figure(name, name, "", {}, clipped) for name in ("one", "two"))
    page = html_of(replace(document, sections=(Section("figures", "Figures", figures),)))
    assert re.findall(r'id="([a-z]+-clip0)"', page) == ["one-clip0", "two-clip0"]
    assert re.findall(r"url\(#([^)]+)\)", page) == ["one-clip0", "two-clip0"]


def a_long_table(rows: int, note: str) -> tuple[Table, Table]:
    """A table whose every row has a record and a note of its own, and the table of those records."""
    columns = (Column("Model", ("model",), numeric=False), Column("Latency", ("latency_ms_p50",)))
    paths = [f"measurements/double/{index}.json" for index in range(rows)]
    notes = tuple(Note(f"{index} {note}", "") for index in range(rows))
    cells = tuple((Cell(f"double {index}"), Cell("—", index + 1)) for index in range(rows))
    records = tuple((path,) for path in paths)
    kinds = ("measured",) * rows
    benchmark = Table("benchmark", "Benchmark", "", columns, cells, notes, "benchmark", records, kinds)
    listed = tuple((Cell(path), Cell("1")) for path in paths)
    return benchmark, Table("provenance", "Provenance", "", columns, listed, (), "provenance", records, kinds)


@pytest.mark.parametrize(("note", "rows"), [("short", 300), ("long " * 3000, 150)])
def test_a_table_too_long_for_a_page_says_where_the_rest_is(document: Document, note: str, rows: int) -> None:
    """The first rows stand there, with their notes and their records and no others."""
    page = html_of(replace(document, sections=(Section("all", "All", a_long_table(1000, note)),)))
    assert len(page.encode()) <= PAGE_BYTES
    assert f"{rows} of 1000 rows, the first: tables/benchmark.csv beside this page has all." in page
    assert len(re.findall(r'<tr id="r\d+">', page)) == len(re.findall(r'<li value="\d+"', page)) == rows
    assert f"{rows} of 1000 rows, those that a row above names: tables/provenance.csv" in page
