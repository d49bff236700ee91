"""The page in a browser: what it asks for, how it reads by keyboard, pointer, phone and on paper."""

import json
import time
from typing import Any

import pytest

from vlm_report.page.document import Document

pytestmark = pytest.mark.slow
HOST = "#table-benchmark-host"
OPENS_MS = 1000


def column(tab: Any, name: str) -> list[str]:
    """The cells of a column of the host's table, in their order."""
    cells: list[str] = tab.run(
        f"(t => [...t.tBodies[0].rows].map(r => r.cells[[...t.tHead.rows[0].cells]"
        f".findIndex(c => c.textContent.includes({json.dumps(name)}))].textContent))"
        f"(document.querySelector('{HOST} table'))"
    )
    return cells


def latencies(tab: Any) -> list[str]:
    return [text.partition(" (")[0] for text in column(tab, "Latency p50")]


def test_it_opens_at_once_and_asks_for_nothing_but_itself(browse: Any) -> None:
    tab = browse()
    took = [tab.run("performance.getEntriesByType('navigation')[0].loadEventEnd")]
    for _ in range(2):  # another command may have had the CPUs
        tab.open(tab.path)
        took.append(tab.run("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(took) < OPENS_MS
    assert {url.partition("#")[0] for url in tab.requests} == {tab.path.resolve().as_uri()}
    assert tab.complaints == []


def test_a_heading_sorts_by_keyboard_up_down_and_back(browse: Any) -> None:
    tab = browse()
    before = latencies(tab)
    heading = f"[...document.querySelectorAll('{HOST} thead th')].find(h => h.textContent.includes('Latency p50'))"
    tab.run(f"{heading}.querySelector('button').focus()")
    seen = []
    for key in ("Enter", " ", "Enter"):
        tab.press(key)
        seen.append((tab.run(f"{heading}.getAttribute('aria-sort')"), latencies(tab)))
    (up, rising), (down, falling), (none, again) = seen
    numbers = sorted((text for text in before if text[0].isdigit()), key=float)
    assert (up, down, none) == ("ascending", "descending", None)
    assert rising[: len(numbers)] == numbers
    assert falling[: len(numbers)] == numbers[::-1]
    assert rising[-1] == falling[-1]  # what is absent stays last
    assert not rising[-1][0].isdigit()
    assert again == before


def test_sorting_reaches_times_and_words(browse: Any) -> None:
    tab = browse()
    values = "['50 s', '2 min 01 s', '~1 h 10 min', '10 s (5 s–16 s)', '−3.5', '11.2 (10.8–11.7)', '600', '5,000']"
    assert tab.run(f"{values}.map(numberIn)") == [50, 121, 4200, 10, -3.5, 11.2, 600, 5000]


def test_the_filter_keeps_rows_that_hold_every_word(browse: Any) -> None:
    tab = browse()
    assert len(tab.texts(f"{HOST} tbody tr")) == 7
    box = f"document.querySelector('{HOST}').previousElementSibling.querySelector('input')"
    tab.run(f"{box}.value = 'NET_1 fp32', {box}.dispatchEvent(new Event('input'))")
    (row,) = tab.texts(f"{HOST} tbody tr")
    assert row.startswith("double_net_1")
    assert tab.texts("output")[0] == "1 of 7 rows"


def test_a_record_is_told_on_focus_and_goes_with_escape(browse: Any) -> None:
    tab = browse()
    tab.run(f"document.querySelector('{HOST} thead button').focus()")
    while not tab.run("document.activeElement.matches('a.source')"):
        tab.press("Tab")
    (told,) = tab.texts("#origin")
    for part in ("measurements/host/double_net_0", "double board", "double-runtime 0.0", "vlm-1", "2001-01-01"):
        assert part in told
    assert tab.run("document.activeElement.getAttribute('aria-describedby')") == "origin"
    tab.press("Escape")
    assert tab.texts("#origin") == []


def test_a_figure_tells_its_own_record_to_the_pointer_and_keeps_it_when_clicked(browse: Any) -> None:
    """An accuracy is of the artifact's manifest, a latency of the measurement."""
    tab = browse()
    tab.point(f"{HOST} td[data-r]")
    tab.wait("!document.getElementById('origin').hidden")
    assert "artifacts/double_net_0" in tab.texts("#origin")[0]
    tab.point(f"{HOST} tbody td.number:not([data-r]):not(.absent)", click=True)
    assert "measurements/host/double_net_0" in tab.texts("#origin")[0]
    tab.point("header summary", scroll=False)
    time.sleep(0.5)  # more than the pointer's absence hides what was not clicked
    assert tab.texts("#origin")
    tab.point(f"{HOST} thead th", click=True, scroll=False)
    assert tab.texts("#origin") == []


def test_an_absent_figure_tells_why_when_clicked(browse: Any) -> None:
    tab = browse()
    tab.point(f"{HOST} td.absent", click=True)
    assert tab.texts("#origin")[0].startswith("Why")
    assert "run-queue wait 14.0 %" in tab.texts("#origin")[0]


def test_the_picks_stay_in_sight(browse: Any) -> None:
    tab = browse()
    tab.run("scrollTo(0, 3000)")
    assert tab.run("document.querySelector('header').getBoundingClientRect().top") == 0
    assert "jetson-orin-nano" in tab.texts("header")[0]
    assert tab.run("document.querySelector('header').offsetHeight < innerHeight / 2")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_down_alone(browse: Any, dark: bool) -> None:
    tab = browse(width=390, height=844, dark=dark)
    assert tab.run("document.documentElement.scrollWidth") == 390
    assert tab.run("document.querySelector('header').offsetHeight") < 60
    assert tab.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)"
    )
    tab.point("header summary", click=True)
    assert tab.run("document.documentElement.scrollWidth") == 390
    assert tab.run("document.querySelector('header').offsetHeight < innerHeight / 2")


def test_on_paper_nothing_is_cut_off_and_nothing_is_folded(browse: Any) -> None:
    """A4 landscape with its margins is 1032 pixels wide."""
    tab = browse(width=1032, dark=True)
    tab.emulate("print")
    tab.run("dispatchEvent(new Event('beforeprint'))")
    assert tab.run("[...document.querySelectorAll('table, .notes')].filter(e => e.scrollWidth > 1032).length") == 0
    assert tab.run("[...document.querySelectorAll('details:not([open])')].length") == 0
    assert tab.run("getComputedStyle(document.querySelector('header')).position") == "static"
    assert tab.run("getComputedStyle(document.body).color") == "rgb(26, 28, 30)"
    assert tab.texts(".tools, nav, figure button") == []
    assert tab.pdf().startswith(b"%PDF")


def test_without_script_tables_are_tables_and_marks_are_links(browse: Any) -> None:
    tab = browse(script=False)
    assert len(tab.texts(f"{HOST} tbody tr")) == 7
    assert tab.texts("button, input, #origin") == []
    assert (
        tab.run("location.hash = document.querySelector('a.source').hash, document.querySelector(':target').id") == "r1"
    )


def test_a_chart_comes_to_life_within_the_policy(browse: Any, document: Document) -> None:
    tab = browse()
    drawn = tab.run("document.querySelector('figure svg').getBoundingClientRect().width")
    tab.run("document.querySelector('figure button').focus()")
    tab.press("Enter")
    tab.wait("document.querySelector('.live svg .mark-symbol path')", seconds=20)
    assert tab.run("document.querySelector('.live svg').getBoundingClientRect().width") >= drawn
    assert tab.run("document.querySelector('figure button')?.closest('figure') !== document.querySelector('figure')")
    for button in range(len(tab.texts("figure button"))):
        tab.run("document.querySelector('figure button').click()")
        tab.wait(f"document.querySelectorAll('.live svg').length == {button + 2}", seconds=20)
    assert tab.complaints == []
