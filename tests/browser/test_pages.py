"""Pages of reports in a real browser: no request, no serious finding of axe-core, and paper that says the same.

Needs `make pages` (playwright, axe-core) and a Chromium on this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infoexchange.cli import main
from infoexchange.cli.pages.log import log_page
from infoexchange.verdict import Check, Verdict
from messages import officer_acknowledgement
from reporting import NAMES, account_of, busy_exchange, records_of

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make pages`")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed: `make pages`")

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; try: apt install chromium")

# No sandbox, since tests may run as root; nothing in the background, since nothing may be asked of a network.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with each verdict, and evidence judged and not."""
    folder = tmp_path_factory.mktemp("pages")
    exchange = busy_exchange()
    records = records_of(exchange)
    failed = (Check("root", Verdict.TOTAL_FAILED, "bad_proof", "the entries do not give the signed root"),)
    for name, account in {
        "passed": account_of(exchange, records),
        "open": account_of(exchange, [None if r.index % 9 == 3 else r for r in records]),
        "failed": account_of(exchange, records, checks=failed),
        "empty": account_of(exchange, []),
    }.items():
        (folder / f"{name}.html").write_bytes(log_page(account, ["infoexchange audit verify-log LOG"]))
    sender = exchange.mailbox(NAMES[0])
    digest = sender.send(officer_acknowledgement(), to=NAMES[2:4]).subject.envelope_digest
    file, roots = folder / "some.ixev", folder / "roots.pb"
    file.write_bytes(sender.evidence(digest).raw)
    roots.write_bytes(exchange.community.roots.raw)
    show = ["evidence", "show", str(file), "--json", "--html"]
    assert main([*show, str(folder / "evidence.html"), "--roots", str(roots)]) == 0
    assert main([*show, str(folder / "unjudged.html")]) == 0
    return folder


NAMED = ("passed", "open", "failed", "empty", "evidence", "unjudged")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.mark.parametrize("name", NAMED)
def test_a_page_asks_for_nothing_and_says_nothing_on_the_console(browser, pages, name):
    page = browser.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda problem: said.append(str(problem)))
    page.goto((pages / f"{name}.html").as_uri())
    page.wait_for_load_state("networkidle")
    assert (asked, said) == ([(pages / f"{name}.html").as_uri()], [])
    page.close()


@pytest.mark.parametrize(("name", "width"), [("passed", 1200), ("open", 360), ("failed", 1200), ("evidence", 360)])
def test_nobody_is_shut_out(browser, pages, name, width):
    # axe-core is put into the page, which its own policy forbids to everybody else.
    page = browser.new_page(viewport={"width": width, "height": 800}, bypass_csp=True)
    page.goto((pages / f"{name}.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(page).response
    worst = [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"] if v["impact"] in SERIOUS]
    assert worst == []
    assert len(found["passes"]) > 20  # it did look
    sideways = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not sideways
    page.close()


def test_axe_finds_what_it_should(browser, pages):
    """The check can fail: without its language and with pale text the same page has serious findings."""
    page = browser.new_page(bypass_csp=True)
    page.goto((pages / "passed.html").as_uri())
    page.evaluate("document.documentElement.removeAttribute('lang'); document.body.style.color = '#ccc'")
    found = {v["id"] for v in axe.Axe().run(page).response["violations"] if v["impact"] in SERIOUS}
    assert {"html-has-lang", "color-contrast"} <= found
    page.close()


def test_the_keyboard_reaches_the_report_first(browser, pages):
    page = browser.new_page()
    page.goto((pages / "passed.html").as_uri())
    page.keyboard.press("Tab")
    focused = page.evaluate("[document.activeElement.hash, document.activeElement.getBoundingClientRect().left >= 0]")
    assert focused == ["#main", True]
    page.close()


@pytest.mark.parametrize("name", ["open", "evidence"])
def test_paper_shows_what_is_folded_on_the_screen(browser, pages, name):
    page = browser.new_page()
    page.goto((pages / f"{name}.html").as_uri())
    page.emulate_media(media="print")
    heights = page.evaluate(
        "[...document.querySelectorAll('details p')].map(p => p.checkVisibility() && p.offsetHeight)"
    )
    assert all(heights)
    hidden = page.evaluate("['nav', '.skip'].map(s => getComputedStyle(document.querySelector(s)).display)")
    assert hidden == ["none", "none"]
    pdf = page.pdf(prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
    page.close()
