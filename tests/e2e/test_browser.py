"""A person in Chromium: logs in, sees the launcher, opens the welcome notebook, runs all of it, saves, reloads; a screenshot is kept."""
import os
import re
import time

import pytest
from harness import WORK
from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def page(carrel, ada):
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1360, "height": 900})
        page = context.new_page()
        page.set_default_timeout(30_000)
        yield page
        page.screenshot(path=str(WORK / "browser-last.png"))
        browser.close()


def test_person_runs_the_welcome_notebook(carrel, page):
    outside = []
    page.on("request", lambda r: outside.append(r.url) if not r.url.startswith((carrel.url, "data:", "blob:")) else None)
    page.goto(carrel.url)
    page.get_by_label(re.compile("user", re.I)).fill("ada")
    page.get_by_label(re.compile("^password", re.I)).fill("ada-pass-12")
    begun = time.monotonic()
    page.get_by_role("button", name=re.compile("sign in|log in", re.I)).click()
    page.wait_for_url("**/user/ada/lab**")
    tile = page.locator(".jp-LauncherCard[title='Carrel SQL'], .jp-LauncherCard:has-text('Carrel SQL')").first
    expect(tile).to_be_visible()
    took = time.monotonic() - begun
    page.screenshot(path=str(WORK / "browser-launcher.png"))

    page.locator(".jp-DirListing-item", has_text="welcome.ipynb").dblclick()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    code_cells = page.locator(".jp-CodeCell")
    count = code_cells.count()
    assert count >= 8
    last = code_cells.nth(count - 1).locator(".jp-InputPrompt")
    last.scroll_into_view_if_needed()
    expect(last).to_have_text(re.compile(r"\[\d+\]:"), timeout=60_000)
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-OutputArea-output table").count() >= 3
    page.locator(".jp-WindowedPanel-outer").first.evaluate("panel => { panel.scrollTop = 0 }")
    expect(page.locator(".jp-OutputArea-output table").first).to_be_visible()
    page.wait_for_timeout(500)  # the cells that came into view are drawn
    page.screenshot(path=str(WORK / "browser-notebook.png"))

    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    page.reload()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()
    expect(page.locator(".jp-OutputArea-output table").first).to_be_visible()
    assert outside == [], f"the page asked the outside world: {outside[:5]}"
    print(f"login to launcher: {took:.2f} s")
    assert took < 10  # the aim (3 s) is measured by the benchmark; this bound only catches a broken page
