"""Parameters in a notebook's metadata, in Chromium: every cell has them, also right after a restart."""

import nbformat
import pytest
from browsing import signed_in
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def page(carrel, ada):
    cells = [nbformat.v4.new_code_cell("SELECT count(*) AS n, :country AS asked FROM ads.clicks WHERE country = :country"),
             nbformat.v4.new_code_cell("CREATE OR REPLACE TABLE few AS SELECT * FROM range(100) t(i) LIMIT :few; SELECT count(*) AS kept FROM few", metadata={"parameters": {"few": 7}})]
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "carrel", "display_name": "Carrel SQL"}, "parameters": {"country": "br", "few": 3}}, cells=cells)
    ada.call("PUT", "api/contents/parameters.ipynb", 201, json={"type": "notebook", "format": "json", "content": notebook})
    with signed_in(carrel, "browser-parameters-last") as page:
        yield page


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
