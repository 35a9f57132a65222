"""The page of a report in a browser: `nox -s page`.

The session sets CHROMIUM, the path of the browser, and AXE, the path of axe.min.js. With PAGE_SCREENSHOTS, a
folder, screenshots are kept there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from polywheel.report.model import RunReport
from polywheel.report.page import render_page, write_page
from polywheel.report.read import merge
from support.reports import make_report, with_texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.page

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\u202eabc\u2066 \x1b[31mred\x1b]0;owned\x07 \x00 \ud800",
    "__proto__",
)
REPORTS = {
    "empty": make_report(0),
    "one failure": make_report(60, (7,)),
    "all failed": make_report(60, range(60), errors=40),
    "500 builds": make_report(500, range(0, 500, 11)),
    "5000 builds": make_report(5000, range(0, 5000, 9)),
    "no times": replace(
        make_report(20),
        builds=tuple(replace(b, slot=None, started=None) for b in make_report(20).builds),
    ),
    "hostile": with_texts(make_report(12, (3, 4)), HOSTILE[0]),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = os.environ["CHROMIUM"]
        chromium = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield chromium
        chromium.close()


class Opened:
    """A page in the browser. Whatever it loads and every error is noted."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        self.page: Page = browser.new_context(**options).new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        self.page.on("request", lambda request: self._note(request.url, path))
        self.page.goto(path.as_uri())
        while not self.page.evaluate("performance.getEntriesByName('grid-complete').length"):
            self.page.wait_for_timeout(20)

    def _note(self, url: str, path: Path) -> None:
        if url.partition("#")[0] != path.as_uri():
            self.problems.append(f"loads {url}")

    def texts(self, selector: str) -> list[str]:
        texts: list[str] = self.page.locator(selector).all_inner_texts()
        return texts

    def count(self) -> str:
        return str(self.page.locator("#count").inner_text())

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.dataset.job"))


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    opened: list[Opened] = []

    def open_report(report: RunReport, against: RunReport | None = None, **options: Any) -> Opened:
        path = tmp_path / f"{len(opened)}.html"
        write_page(report, path, against=against)
        opened.append(Opened(browser, path, **options))
        return opened[-1]

    yield open_report
    for entry in opened:
        assert entry.problems == []
        entry.page.context.close()


def keep(page: Page, name: str, *, whole: bool = False) -> None:
    if folder := os.environ.get("PAGE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name.replace(' ', '-')}.png", full_page=whole)


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(show: Any, name: str, scheme: str) -> None:
    page = show(REPORTS[name], color_scheme=scheme).page
    keep(page, f"{name} {scheme}")
    script = Path(os.environ["AXE"]).read_text(encoding="utf-8")
    page.evaluate(f"() => {{ {script}; window.axe = axe }}")
    found = violations(page)
    if REPORTS[name].jobs:
        page.evaluate("document.getElementById('timeline').scrollIntoView()")
        page.wait_for_timeout(100)
        page.locator("#grid button").first.click()
        keep(page, f"{name} {scheme} details")
        found += violations(page)
    assert found == []


def violations(page: Page) -> list[str]:
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert result["passes"]
    return [
        f"{entry['impact']} {entry['id']}: {entry['nodes'][0]['html']:.200}"
        for entry in result["violations"]
        if entry["impact"] in {"serious", "critical", "moderate"}
    ]


@pytest.mark.parametrize("name", REPORTS)
def test_360_pixels_are_enough(show: Any, name: str) -> None:
    page = show(REPORTS[name], viewport={"width": 360, "height": 740}).page
    page.evaluate("document.getElementById('timeline').scrollIntoView()")
    keep(page, f"{name} phone")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    if REPORTS[name].jobs:
        page.locator("#grid button").first.click()
        keep(page, f"{name} phone details")
        assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 360


@pytest.mark.parametrize("name", ["500 builds", "5000 builds"])
def test_how_long_a_page_takes_to_open(show: Any, name: str) -> None:
    """Times depend on the machine: they are printed, and only a multiple of the aim is an error."""
    page = show(REPORTS[name]).page
    times = {
        mark: page.evaluate(f"performance.getEntriesByName('{mark}')[0].startTime")
        for mark in ("first-contentful-paint", "page-shown", "grid-complete")
    }
    sys.stderr.write(
        f"\n{name}: {json.dumps({key: round(value) for key, value in times.items()})}\n"
    )
    assert times["page-shown"] < 5000
    assert page.locator("#grid td button").count() == len(REPORTS[name].jobs)


def test_failures_come_first_and_each_cause_once(show: Any) -> None:
    opened = show(REPORTS["all failed"])
    headings = opened.texts("h2:visible")
    assert headings[:2] == ["Failures: 40 causes", "Wheels"]
    assert len(opened.texts(".failure")) == 12
    opened.page.get_by_role("button", name="Show 28 more causes").click()
    assert len(opened.texts(".failure")) == 40
    opened.page.locator(".failure .link").first.click()
    assert opened.page.locator("dialog h2").inner_text() == opened.texts(".failure .link")[0]
    opened = show(make_report(60, range(60), errors=1))
    assert len(opened.texts(".failure")) == 1
    assert len(opened.texts(".failure .link")) == 12
    opened.page.get_by_role("button", name="Show 48 more", exact=True).click()
    assert len(opened.texts(".failure .link")) == 60


def test_filters(show: Any) -> None:
    opened = show(REPORTS["500 builds"])
    assert opened.count() == "500 wheels"
    opened.page.get_by_label("Property").select_option("blas :: library :: mkl")
    with_mkl = sum("blas :: library :: mkl" in job.properties for job in REPORTS["500 builds"].jobs)
    assert opened.count() == f"{with_mkl} of 500 wheels"
    opened.page.get_by_label("Text").fill("AARCH64 cp312")
    opened.page.wait_for_timeout(300)
    rows = opened.texts("#grid tbody th")
    assert opened.count() == f"{len(rows)} of 500 wheels"
    assert all("mkl" in row for row in rows)
    button = opened.page.locator("#filter-states button", has_text="failed").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert all("failed" in text for text in opened.texts("#grid td button"))
    opened.page.get_by_label("Text").fill("no such wheel")
    opened.page.wait_for_timeout(300)
    assert opened.count() == "0 of 500 wheels"
    opened.page.get_by_role("button", name="Clear the filters").click()
    opened.page.wait_for_timeout(100)
    assert opened.count() == "500 wheels"


def test_keys(show: Any) -> None:
    opened = show(REPORTS["one failure"])
    page = opened.page
    ids = [job.id for job in REPORTS["one failure"].jobs]
    page.locator("#grid button[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert opened.focused() == ids[21]
    page.keyboard.press("End")
    assert opened.focused() == ids[39]
    page.keyboard.press("ArrowRight")  # there is nothing
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    assert opened.focused() == ids[0]
    assert page.locator("#grid button[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("dialog h2").inner_text() == ids[0]
    assert page.url.endswith(f"#job={ids[0]}")
    page.keyboard.press("Escape")
    assert opened.focused() == ids[0]
    assert "#" not in page.url
    page.goto(f"{page.url}#job={ids[5]}")
    page.reload()
    assert page.locator("dialog h2").inner_text() == ids[5]


def test_the_log_can_be_searched(show: Any, tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_text("One\ntwo <b>one</b>\n.\n" * 30, encoding="utf-8")
    report = make_report(1, (0,))
    opened = show(replace(report, builds=(replace(report.builds[0], log=str(log)),)))
    page = opened.page
    page.locator("#grid button").click()
    page.get_by_label("Search in the log").fill("one")
    assert page.locator("mark").count() == 60
    assert page.locator("dialog [role=status]").last.inner_text() == "1 of 60"
    page.get_by_role("button", name="Previous").click()
    assert page.locator("dialog [role=status]").last.inner_text() == "60 of 60"
    page.get_by_label("Search in the log").fill(".")
    assert page.locator("mark").count() == 30
    page.get_by_label("Search in the log").fill("(")
    assert page.locator("dialog [role=status]").last.inner_text() == "not found"
    page.get_by_role("button", name="Copy the command").click()
    page.wait_for_timeout(100)
    assert "cop" in page.locator("#command ~ [role=status]").inner_text()


def test_changes_of_sizes(show: Any) -> None:
    report = make_report(3)
    sizes = (100, 200, 100)
    earlier = replace(
        report,
        jobs=tuple(
            replace(job, size=size) for job, size in zip(report.jobs[:2], sizes, strict=False)
        ),
    )
    jobs = tuple(
        replace(job, size=size) for job, size in zip(report.jobs, (125, 100, 7), strict=True)
    )
    opened = show(replace(report, jobs=jobs), against=earlier)
    texts = [text.splitlines()[0] for text in opened.texts("#grid td button")]
    assert texts == ["✓ 125 B ▲25%", "✓ 100 B ▼50%", "✓ 7 B new"]
    names = opened.page.locator("#grid td button").evaluate_all("all => all.map(b => b.ariaLabel)")
    assert "larger by 25%" in names[0]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_texts_of_strangers(show: Any, tmp_path: Path, text: str) -> None:
    log = tmp_path / "hostile.log"
    with log.open("wb") as file:
        file.truncate(200 << 20)  # zeros, as NUL bytes
        file.seek(0, os.SEEK_END)
        file.write((f"\nerror: {text}\n" * 3).encode("utf-8", "replace") + b"\xff\xfe invalid\n")
    report = with_texts(make_report(12, (3, 4)), text)
    report = replace(report, builds=tuple(replace(b, log=str(log)) for b in report.builds))
    assert len(render_page(report)) < 2 << 20
    opened = show(report, against=report)
    page = opened.page
    for button in page.locator("#grid td button").all():
        button.click()
        assert "invalid" in page.locator("pre.log").last.inner_text()
        assert not {"\u202e", "\u2066", "\x1b", "\x00", "\x07"} & set(
            page.locator("body").inner_text()
        )
        page.keyboard.press("Escape")
    assert page.title().startswith("Wheels of ")
    assert page.locator("img, iframe, script:not([type])").count() == 1


def test_slots_of_two_machines(show: Any) -> None:
    report = make_report(40)
    parts = [
        replace(report, builds=report.builds[some], jobs=report.jobs[some])
        for some in (slice(20), slice(20, 40))
    ]
    opened = show(merge(parts))
    opened.page.evaluate("document.getElementById('timeline').scrollIntoView()")
    opened.page.wait_for_timeout(200)
    slots = opened.texts("#timeline tbody th")
    assert slots == sorted(slots, key=lambda text: [*map(int, text.split("."))])
    assert {text.partition(".")[0] for text in slots} == {"1", "2"}
    assert opened.page.locator("#timeline rect").count() == 40
    assert "40 builds on" in opened.page.locator("#time-summary").inner_text()


def test_less_motion_and_forced_colours(show: Any) -> None:
    page = show(REPORTS["one failure"], reduced_motion="reduce", forced_colors="active").page
    page.locator("#grid button").first.click()
    assert page.evaluate("document.getAnimations().length") == 0
