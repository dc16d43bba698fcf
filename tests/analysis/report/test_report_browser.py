"""The report of a study as a browser shows it: alone, sorted, searched, printed, and deaf to hostile texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gliolake.analysis.report.report import report
from gliolake.analysis.study.published import show
from gliolake.storage.lake import Lake
from tests.support.browser import chromium, resize, visit

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

A4 = 703
"""Pixels of a page's width between its margins."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(finished: Any, hostile: Lake, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of the finished study, and of the one with hostile texts."""
    folder = tmp_path_factory.mktemp("pages")
    files = {"finished": folder / "finished.html", "hostile": folder / "hostile.html"}
    report(finished.lake, files["finished"], progress=False)
    report(hostile, files["hostile"], progress=False)
    return files


@pytest.fixture
def see(browser: Chrome, pages: dict[str, Path]) -> Callable[..., Any]:
    """Open a report, then ask scripts of it."""

    def open_page(name: str = "finished", **size: int) -> Callable[..., Any]:
        console, asked = visit(browser, pages[name], **size)
        assert console == []
        assert {url for url in asked if not url.startswith("data:")} == {pages[name].as_uri()}
        return browser.execute_script

    return open_page


def find(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element("css selector", selector)


@pytest.mark.parametrize("name", ["finished", "hostile"])
def test_the_page_opens_without_a_complaint_and_asks_for_nothing(see: Any, name: str) -> None:
    ask = see(name)
    assert ask("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    broken = """return [...document.querySelectorAll('img, svg')]
        .filter(e => !e.getBoundingClientRect().width || !e.getBoundingClientRect().height || e.naturalWidth === 0)
        .map(e => e.outerHTML.slice(0, 200))"""
    assert ask(broken) == []
    assert ask("return document.images.length") > 0
    assert ask("return [...document.images].filter(e => e.alt.length < 20).length") == 0


def test_hostile_text_is_text(see: Any) -> None:
    ask = see("hostile")
    assert ask("return document.title") == "made, repeated: MGMT methylation from MRI"
    assert ask("return document.scripts.length") == 1
    assert ask("return document.querySelectorAll('[onerror], [onfocus], [autofocus]').length") == 0
    assert ask("return document.querySelectorAll('style').length") == 1
    assert "<script>document.title" in ask("return document.querySelector('#table_1 tbody th:first-child').textContent")
    assert "</svg></style>" in ask("return document.querySelector('#leaks').textContent")


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["finished", "hostile"])
def test_only_tables_scroll_sideways(see: Any, name: str, width: int) -> None:
    ask = see(name, width=width)
    ask("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert ask("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert ask("window.scrollTo(500, 0); return window.scrollX") == 0
    outside = """return [...document.querySelectorAll('main *')]
        .filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest('.scroll') && !e.closest('.unseen'))
        .map(e => e.outerHTML.slice(0, 100))"""
    assert ask(outside) == []


def column(ask: Any, part: str, place: int) -> list[str]:
    return ask(f"return [...document.querySelectorAll('#{part} tbody tr')].map(row => row.cells[{place}].textContent)")


def test_a_table_is_sorted_by_a_click_and_by_keys(browser: Chrome, see: Any, finished: Any) -> None:
    ask = see()
    rows = [row for row in show(finished.lake, "table_1").rows if row["metric"] == "auc"]
    plain = [row["label"] for row in rows]
    rising = sorted((row for row in rows if row["reproduced"] is not None), key=lambda row: row["reproduced"])
    unknown = [row["label"] for row in rows if row["reproduced"] is None]
    heading = find(browser, "#table_1 thead th:nth-child(3)")
    button = heading.find_element("tag name", "button")
    assert column(ask, "table_1", 0) == plain
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(ask, "table_1", 0) == [row["label"] for row in rising] + unknown
    button.send_keys(" ")
    assert heading.get_attribute("aria-sort") == "descending"
    falling = sorted(rising, key=lambda row: -row["reproduced"])
    assert column(ask, "table_1", 0) == [row["label"] for row in falling] + unknown
    button.send_keys("\ue007")
    assert heading.get_attribute("aria-sort") is None
    assert column(ask, "table_1", 0) == plain
    words = find(browser, "#table_1 thead th:first-child button")
    words.send_keys("\ue007")
    assert column(ask, "table_1", 0) == sorted(plain, key=lambda label: label.replace("-", ""))
    button.click()
    assert ask("return document.querySelectorAll('#table_1 [aria-sort]').length") == 1


def test_the_search_keeps_matching_rows_of_all_tables_and_counts_them(browser: Chrome, see: Any) -> None:
    ask = see()
    everything = ask("return document.querySelectorAll('tbody tr').length")
    field = find(browser, "#search")
    field.send_keys("BROKEN 0.600")
    visible = "return [...document.querySelectorAll('tbody tr')].filter(r => !r.hidden).map(r => r.textContent)"
    kept = ask(visible)
    assert kept
    assert all("BROKEN" in row and "0.600" in row for row in kept)
    parts = "return new Set([...document.querySelectorAll('tbody tr:not([hidden])')].map(r => r.closest('.part'))).size"
    assert find(browser, "#found").text == f"{len(kept)} of {everything} rows match, in {ask(parts)} tables"
    field.clear()
    field.send_keys("corrected t")  # stands in a table that is folded
    assert ask("return document.querySelector('#comparisons-tests .fold').open")
    assert find(browser, "#comparisons-tests tbody tr:not([hidden])").is_displayed()
    assert not find(browser, "#flow tbody").is_displayed()
    field.send_keys("\ue009a\ue000\ue017")
    assert len(ask(visible)) == everything
    assert not ask("return document.querySelector('#comparisons-tests .fold').open")
    field.send_keys("nothing has these words")
    assert find(browser, "#found").text == f"0 of {everything} rows match, in 0 tables"


def test_headings_and_anchors_are_in_order(see: Any) -> None:
    ask = see()
    levels = ask("return [...document.querySelectorAll('h1,h2,h3,h4')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    named = ask("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(named) == len(set(named))
    linked = ask("return [...document.querySelectorAll('a[href^=\"#\"]')].map(e => e.hash.slice(1))")
    assert set(linked) <= set(named)
    assert ask("return document.documentElement.lang") == "en"
    assert ask("return [...document.querySelectorAll('table')].filter(t => !t.caption || !t.tHead).length") == 0


def test_a_key_leads_past_the_contents_to_the_answer(browser: Chrome, see: Any) -> None:
    ask = see()
    find(browser, "body").send_keys("\ue004")
    assert ask("return document.activeElement.className") == "skip"
    ring = "return getComputedStyle(document.activeElement).outlineStyle"
    assert ask(ring) == "solid"
    browser.switch_to.active_element.send_keys("\ue007")
    assert ask("return document.activeElement.id") == "content"


def test_in_print_nothing_sticks_is_cut_off_or_hidden(browser: Chrome, see: Any) -> None:
    ask = see()
    resize(browser, A4, media="print")
    stuck = """return [...document.querySelectorAll('body *')]
        .filter(e => ['sticky', 'fixed'].includes(getComputedStyle(e).position)).map(e => e.outerHTML.slice(0, 100))"""
    assert ask(stuck) == []
    # Provenance and comparisons lie across the page, where there is more room.
    cut = """return [...document.querySelectorAll('main table, main img')]
        .filter(e => !e.closest('#provenance, #comparisons, details'))
        .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map(e => e.closest('.part').id)"""
    assert ask(cut) == []
    assert ask("return document.querySelector('#table_1 .query code').checkVisibility()")
    assert not find(browser, ".search").is_displayed()
    resize(browser, A4)


def test_without_a_script_everything_is_there(browser: Chrome, see: Any, pages: dict[str, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, pages["finished"])
        assert not find(browser, ".search").is_displayed()
        assert find(browser, "#table_1 tbody tr").is_displayed()
        assert browser.find_elements("css selector", "thead button") == []
        find(browser, "#comparisons-tests summary").click()
        assert find(browser, "#comparisons-tests tbody tr").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
