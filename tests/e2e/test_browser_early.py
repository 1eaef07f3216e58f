"""A cell that is run before its notebook has a kernel, in Chromium: it waits and then runs. JupyterLab alone leaves it unrun and says nothing.

What the page asks for is held back here until the key is pressed, so that nothing depends on who is faster.
"""
import json
import re

import nbformat
import pytest
from browsing import signed_in
from playwright.sync_api import expect

CELLS = {"carrel": ["SELECT 40 + 1", "SELECT 40 + 2"], "python3": ["40 + 1", "40 + 2"], "gone": ["40 + 1", "40 + 2"]}
SESSIONS = re.compile(r"/api/sessions(\?|$)")
CHECKPOINTS = re.compile(r"/api/contents/early[^/]*/checkpoints")


class Held:
    """Requests of one method to an address, kept waiting until `answer`."""

    def __init__(self, page, method, address):
        self.page, self.method, self.address = page, method, address
        self.waiting, self.held = [], True
        page.route(address, self.came)

    def came(self, route):
        if self.held and route.request.method == self.method:
            self.waiting.append(route)
        else:
            route.continue_()

    def come(self):
        for _ in range(600):
            if self.waiting:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"the page did not ask for {self.address.pattern}")

    def answer(self, **instead):
        """By the server, or with what is given `instead`. Later ones are the server's."""
        self.held = False
        for route in self.waiting:
            route.fulfill(**instead) if instead else route.continue_()


@pytest.fixture(scope="module")
def page(carrel, ada):
    with signed_in(carrel, "browser-early-last") as page:
        yield page


@pytest.fixture
def opened(carrel, ada, page, request):
    """opened(kernel, method, address): a new notebook in front, whose page still waits for the answer to this request."""

    def open_(kernel, method, address):
        name = f"early-{request.node.name}".replace("[", "-").replace("]", "")
        metadata = {"kernelspec": {"name": kernel, "display_name": kernel}}
        notebook = nbformat.v4.new_notebook(metadata=metadata, cells=[nbformat.v4.new_code_cell(code) for code in CELLS[kernel]])
        ada.call("PUT", f"api/contents/{name}.ipynb", json={"type": "notebook", "format": "json", "content": notebook})
        held = Held(page, method, address)
        page.goto(f"{carrel.url}/user/ada/lab/workspaces/{name}/tree/{name}.ipynb")
        held.come()
        expect(page.locator(".jp-NotebookPanel .jp-CodeCell")).to_have_count(2)
        return held

    yield open_
    page.unroute(SESSIONS)
    page.unroute(CHECKPOINTS)
    for session in ada.call("GET", "api/sessions", 200).json():
        ada.call("DELETE", f"api/sessions/{session['id']}", 204)


def run_both(page):
    page.locator(".jp-NotebookPanel .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Control+Enter")


def prompts(page, *texts):
    expect(page.locator(".jp-NotebookPanel .jp-CodeCell .jp-InputPrompt")).to_have_text(list(texts))


def both_ran(page, first=1):
    prompts(page, f"[{first}]:", f"[{first + 1}]:")
    output = page.locator(".jp-NotebookPanel .jp-CodeCell .jp-OutputArea-output")
    expect(output.nth(0)).to_contain_text("41")
    expect(output.nth(1)).to_contain_text("42")
    expect(page.locator(".jp-Dialog")).to_have_count(0)


def select(dialog, kernel):
    expect(dialog).to_contain_text("Select Kernel")
    dialog.locator("select").select_option(label=kernel)
    dialog.get_by_role("button", name="Select Kernel").click()


@pytest.mark.parametrize("kernel", ["carrel", "python3"])
def test_cells_wait_while_the_kernel_is_started(page, opened, kernel):
    held = opened(kernel, "POST", SESSIONS)
    run_both(page)
    prompts(page, "[*]:", "[*]:")
    held.answer()
    both_ran(page)


def test_cells_wait_until_the_notebook_asks_for_its_kernel(ada, page, opened):
    started = []
    count = lambda request: started.append(request) if request.method == "POST" and SESSIONS.search(request.url) else None  # noqa: E731
    page.on("request", count)
    held = opened("python3", "GET", CHECKPOINTS)
    run_both(page)
    prompts(page, "[*]:", "[*]:")
    assert not started
    held.answer()
    both_ran(page)
    page.remove_listener("request", count)
    assert len(started) == 1
    assert len(ada.call("GET", "api/kernels", 200).json()) == 1


def test_a_cell_whose_kernel_does_not_start_is_left_as_it_was(page, opened):
    held = opened("python3", "POST", SESSIONS)
    run_both(page)
    prompts(page, "[*]:", "[*]:")
    held.answer(status=500, content_type="application/json", body=json.dumps({"message": "no room for another kernel"}))
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("no room for another kernel")
    prompts(page, "[ ]:", "[ ]:")
    dialog.get_by_role("button", name="Ok").click()
    # JupyterLab goes on to ask which kernel to take, once.
    select(dialog, "Python 3")
    run_both(page)
    both_ran(page)


def test_cells_run_again_after_the_kernel_was_shut_down(page, opened):
    opened("python3", "POST", SESSIONS).answer()
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible()
    run_both(page)
    both_ran(page)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Shut Down Kernel", exact=True).click()
    expect(page.get_by_role("button", name="No Kernel").first).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    both_ran(page)


def test_a_notebook_of_an_unknown_kernel_asks_which_to_take(page, opened):
    held = opened("gone", "GET", CHECKPOINTS)
    run_both(page)
    prompts(page, "[*]:", "[*]:")
    held.answer()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Select Kernel")
    page.wait_for_timeout(4000)  # a person takes longer over it than a cell has patience with a notebook that does nothing
    prompts(page, "[*]:", "[*]:")
    dialog.get_by_role("button", name="No Kernel").click()
    prompts(page, "[ ]:", "[ ]:")
    # The next one asks again.
    page.locator(".jp-NotebookPanel .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Control+Enter")
    select(dialog, "Python 3")
    prompts(page, "[1]:", "[ ]:")


def test_cells_wait_for_the_answer_which_kernel_to_take(page, opened):
    held = opened("gone", "GET", CHECKPOINTS)
    run_both(page)
    held.answer()
    select(page.locator(".jp-Dialog"), "Python 3")
    both_ran(page)
