"""Parameters in a notebook's metadata, in Chromium: every cell has them, also right after a restart, and a changed value counts at once."""
import os
import re

import nbformat
import pytest
from harness import WORK
from playwright.sync_api import expect, sync_playwright
from test_browser import FLAGS


@pytest.fixture(scope="module")
def page(carrel, ada):
    cells = [nbformat.v4.new_code_cell("SELECT count(*) AS n, :country AS asked FROM ads.clicks WHERE country = :country"),
             nbformat.v4.new_code_cell("CREATE OR REPLACE TABLE few AS SELECT * FROM range(100) t(i) LIMIT :few; SELECT count(*) AS kept FROM few", metadata={"parameters": {"few": 7}})]
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "carrel", "display_name": "Carrel SQL"}, "parameters": {"country": "br", "few": 3}}, cells=cells)
    ada.call("PUT", "api/contents/parameters.ipynb", 201, json={"type": "notebook", "format": "json", "content": notebook})
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1360, "height": 900}).new_page()
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.goto(carrel.url)
        page.get_by_label(re.compile("user", re.I)).fill("ada")
        page.get_by_label(re.compile("^password", re.I)).fill("ada-pass-12")
        page.get_by_role("button", name=re.compile("sign in|log in", re.I)).click()
        page.wait_for_url("**/user/ada/lab**")
        yield page
        page.screenshot(path=str(WORK / "browser-parameters-last.png"))
        browser.close()


def test_cells_have_the_notebooks_parameters(carrel, page):
    page.goto(f"{carrel.url}/user/ada/lab/workspaces/parameters/tree/parameters.ipynb")
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible()
    outputs = page.locator(".jp-NotebookPanel .jp-CodeCell .jp-OutputArea-output table")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(outputs.nth(0)).to_contain_text("br")
    expect(outputs.nth(0)).to_contain_text("81977")
    expect(outputs.nth(1)).to_contain_text("7")

    page.get_by_role("button", name="Restart the kernel and run all cells", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(page.locator(".jp-NotebookPanel .jp-CodeCell").nth(1)).to_contain_text("[2]:")
    expect(outputs.nth(0)).to_contain_text("81977")
    expect(outputs.nth(1)).to_contain_text("7")
    expect(page.locator(".jp-NotebookPanel .jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")).to_have_count(0)
