"""A plot as a person sees it in unmodified JupyterLab: drawn by the browser from the document alone, in the light and the dark theme; screenshots are kept."""
import json
import os
import re

import nbformat
import pytest
from harness import WORK
from playwright.sync_api import expect, sync_playwright
from test_browser import FLAGS

CELLS = [
    "SELECT l_shipmode AS mode, l_returnflag AS flag, count(*) AS items FROM tpch.lineitem GROUP BY 1, 2\n"
    "VISUALISE mode AS x, items AS y, flag AS fill\nDRAW bar\nLABEL title => 'Items by mode'",
    "SELECT date_trunc('month', o_orderdate) AS month, sum(o_totalprice) AS revenue FROM tpch.orders GROUP BY 1\n"
    "VISUALISE month AS x, revenue AS y\nDRAW line\nDRAW point",
    "SELECT l_quantity AS quantity FROM tpch.lineitem VISUALISE quantity AS x DRAW histogram",
]


@pytest.fixture(scope="module")
def notebook(ada):
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "carrel", "display_name": "Carrel SQL", "language": "sql"}})
    book.cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    ada.call("PUT", "api/contents/plots.ipynb", json={"type": "notebook", "format": "json", "content": book})
    return "plots.ipynb"


def channel(page, selector):
    """The first colour channel of an element's background."""
    colour = page.locator(selector).first.evaluate("e => getComputedStyle(e).backgroundColor")
    return int(re.search(r"\d+", colour).group(0))


def choose(ada, theme):
    ada.call("PUT", "lab/api/settings/@jupyterlab/apputils-extension:themes", 204, json={"raw": json.dumps({"theme": theme})})


def test_plots_are_drawn_in_both_themes(carrel, ada, notebook):
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1360, "height": 1500}).new_page()
        page.set_default_timeout(30_000)
        outside, wrong = [], []
        page.on("request", lambda r: outside.append(r.url) if not r.url.startswith((carrel.url, "data:", "blob:")) else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{carrel.url}/user/ada/lab/workspaces/plots/tree/{notebook}")
        page.get_by_label(re.compile("user", re.I)).fill("ada")
        page.get_by_label(re.compile("^password", re.I)).fill("ada-pass-12")
        page.get_by_role("button", name=re.compile("sign in|log in", re.I)).click()
        expect(page.locator(".jp-NotebookPanel")).to_be_visible()
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        drawn = page.locator(".jp-RenderedVegaCommon5 .marks")
        expect(drawn).to_have_count(len(CELLS), timeout=60_000)
        assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        for at in range(len(CELLS)):
            box = drawn.nth(at).bounding_box()
            assert box["width"] > 200 and box["height"] > 100, box
        page.screenshot(path=str(WORK / "browser-plots-light.png"))
        assert channel(page, ".jp-Notebook") > 200

        # the notebook keeps its plots; Lab comes back in the dark
        page.keyboard.press("Escape")
        page.keyboard.press("Control+s")
        expect(page.locator(".jp-mod-dirty")).to_have_count(0)
        choose(ada, "JupyterLab Dark")
        page.reload()
        expect(page.locator("body[data-jp-theme-name='JupyterLab Dark']")).to_have_count(1)
        expect(drawn).to_have_count(len(CELLS))
        page.wait_for_timeout(500)  # the last one is painted
        page.screenshot(path=str(WORK / "browser-plots-dark.png"))
        assert channel(page, ".jp-Notebook") < 60
        choose(ada, "JupyterLab Light")
        browser.close()
    assert outside == [], f"the page asked the outside world: {outside[:5]}"
    assert wrong == [], wrong
