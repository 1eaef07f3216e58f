"""The side panel in Chromium, beside an SQL and a Python notebook: finds a dataset, opens columns and statistics, inserts names into a cell."""
import re

import nbformat
import pytest
from browsing import signed_in
from harness import WORK
from playwright.sync_api import expect

CELLS = {"carrel": "SELECT ", "python3": "%carrel SELECT "}


@pytest.fixture(scope="module")
def page(carrel, ada):
    for kernel in CELLS:
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": kernel, "display_name": kernel}}, cells=[nbformat.v4.new_code_cell("")])
        ada.call("PUT", f"api/contents/panel-{kernel}.ipynb", 201, json={"type": "notebook", "format": "json", "content": notebook})
    with signed_in(carrel, "browser-panel-last") as page:
        yield page


def opened(carrel, page, kernel):
    """The panel beside the notebook of this kernel."""
    page.goto(f"{carrel.url}/user/ada/lab/workspaces/panel-{kernel}/tree/panel-{kernel}.ipynb")
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible()
    tab = page.locator(".lm-TabBar-tab[data-id='carrel-data']")
    if "lm-mod-current" not in tab.get_attribute("class"):
        tab.click()
    return page.locator("#carrel-data")


@pytest.mark.parametrize("kernel", CELLS)
def test_a_dataset_is_found_opened_and_inserted(carrel, page, kernel):
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    panel = opened(carrel, page, kernel)
    expect(panel.get_by_role("button", name="tpch.region", exact=True)).to_be_visible()

    panel.get_by_role("searchbox").fill("impressions clicked")
    expect(panel.get_by_role("button", name="tpch.region", exact=True)).to_be_hidden()
    clicks = panel.get_by_role("button", name="ads.clicks", exact=True)
    clicks.click()
    expect(clicks).to_have_attribute("aria-expanded", "true")
    columns = panel.get_by_role("list", name="Columns of ads.clicks")
    expect(columns.locator(":scope > li")).to_have_count(12)
    expect(panel).to_contain_text("rows 1,000,000")
    columns.get_by_role("button", name="country", exact=True).click()
    statistics = panel.get_by_role("table", name="Statistics of country")
    expect(statistics.get_by_role("row", name="min br")).to_be_visible()
    expect(statistics.get_by_role("row", name=re.compile("^distinct "))).to_be_visible()
    expect(statistics.get_by_role("row", name="count 1000000")).to_be_visible()

    editor = page.locator(".jp-NotebookPanel .jp-CodeCell .cm-content").first
    editor.click()
    page.keyboard.type(CELLS[kernel])
    panel.get_by_role("button", name="Insert country", exact=True).click()
    page.keyboard.type(", count(*) AS n FROM ")
    panel.get_by_role("button", name="Insert ads.clicks", exact=True).click()
    expect(editor).to_have_text(CELLS[kernel] + "country, count(*) AS n FROM ads.clicks")
    page.keyboard.type(" GROUP BY country ORDER BY country")
    page.keyboard.press("Control+Enter")
    output = page.locator(".jp-NotebookPanel .jp-OutputArea-output").last
    expect(output).to_contain_text("97630")
    page.screenshot(path=str(WORK / f"browser-panel-{kernel}.png"))

    panel.get_by_role("searchbox").fill("")
    make = {"carrel": "CREATE OR REPLACE TABLE looked AS SELECT 1 AS x", "python3": "%carrel CREATE OR REPLACE TABLE looked AS SELECT 1 AS x"}
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.type(make[kernel])
    page.keyboard.press("Control+Enter")
    expect(panel.get_by_role("button", name="looked", exact=True)).to_be_visible()
    query = {"carrel": "SELECT * FROM looked LIMIT 100", "python3": 'carrel.sql("SELECT * FROM looked LIMIT 100")'}
    editor.click()
    page.keyboard.press("Control+a")
    panel.get_by_role("button", name="Insert a query of looked").click()
    expect(editor).to_have_text(query[kernel])

    page.get_by_role("button", name="Restart the kernel", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(panel.get_by_role("button", name="looked", exact=True)).to_have_count(0)
    expect(panel.get_by_role("button", name="ads.clicks", exact=True)).to_be_visible()
    assert problems == []


def test_a_kernel_that_somebody_else_restarted_is_asked_again(carrel, ada, page):
    panel = opened(carrel, page, "carrel")
    clicks = panel.get_by_role("button", name="ads.clicks", exact=True)
    expect(clicks).to_be_visible()
    kid = next(one["kernel"]["id"] for one in ada.call("GET", "api/sessions", 200).json() if one["path"] == "panel-carrel.ipynb")
    ada.call("POST", f"api/kernels/{kid}/restart", 200)
    clicks.click()
    expect(panel).to_contain_text("look again")
    panel.get_by_role("button", name="Look again").click()
    expect(panel.get_by_role("list", name="Columns of ads.clicks")).to_be_visible()
