"""A person in Chromium who chooses a full Python server: waits for it, signs in to it without noticing, runs a cell; and what becomes of a stranger, and of scripts of a
server that one may not enter."""
import os
import re

import pytest
from harness import WORK, Carrel, wait_until
from playwright.sync_api import expect, sync_playwright
from test_browser import FLAGS

# A server's own page, as its owner could make one: it would act as whoever looks at it.
HANDLER = '''
from jupyter_server.base.handlers import JupyterHandler
class Evil(JupyterHandler):
    def get(self):
        self.set_header("Content-Type", "text/html")
        self.set_header("Set-Cookie", "jupyterhub-hub-login=mine; Path=/hub/")
        self.finish("<title>quiet</title><script>document.title = 'ran'; fetch('/hub/home').then(r => r.text()).then(t => { document.title = t.includes('Sign out') ? 'acts for you' : 'ran' })</script>")
def _load_jupyter_server_extension(app):
    app.web_app.add_handlers(".*$", [(app.base_url + "evil", Evil)])
def _jupyter_server_extension_points():
    return [{"module": "evil"}]
'''


@pytest.fixture(scope="module")
def carrel():
    c = Carrel("classic-browser", demo=False)
    for user in ("ada", "bob"):
        c.add_user(user, f"{user}-pass-12")
    c.set_config("classic", enabled=True)
    c.start()
    yield c
    c.stop()


@pytest.fixture
def visitor(carrel):
    """visitor(): a page of a browser of its own."""
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        expect.set_options(timeout=30_000)
        pages = []

        def make(scheme="light"):
            page = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme=scheme).new_page()
            page.set_default_timeout(60_000)
            pages.append(page)
            return page

        yield make
        for number, page in enumerate(pages):
            page.screenshot(path=str(WORK / f"browser-classic-{number}.png"))
        browser.close()


def sign_in(page, carrel, user, to=""):
    page.goto(carrel.url + to)
    page.get_by_label(re.compile("user", re.I)).fill(user)
    page.get_by_label(re.compile("^password", re.I)).fill(f"{user}-pass-12")
    page.get_by_role("button", name=re.compile("sign in|log in", re.I)).click()


def test_person_chooses_waits_and_runs_a_cell(carrel, visitor):
    page = visitor()
    sign_in(page, carrel, "ada")
    expect(page.get_by_role("heading", name="Start ada's server")).to_be_visible()
    page.screenshot(path=str(WORK / "browser-classic-choice.png"))
    page.get_by_role("button", name="Full Python server").click()
    expect(page.get_by_role("heading", name="Your server is starting")).to_be_visible()
    page.wait_for_url("**/user/ada/lab**")
    tile = page.locator(".jp-LauncherCard[data-category='Notebook']", has_text="Python 3").first
    expect(tile).to_be_visible()
    tile.click()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first).to_be_visible()
    page.wait_for_timeout(1500)  # the front end settles its session before it may run cells
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.type("import os; print(6*7, os.environ['JUPYTERHUB_USER'])")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output", has_text="42 ada").first).to_be_visible()
    page.keyboard.press("Control+s")
    page.get_by_role("button", name=re.compile("rename", re.I)).click()  # asked once for a file that has no name yet
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    page.screenshot(path=str(WORK / "browser-classic-notebook.png"))
    # and again, with the cookies that are there
    page.goto(carrel.url + "/hub/home")
    page.get_by_role("link", name="Open JupyterLab").click()
    page.wait_for_url("**/user/ada/lab**")
    expect(page.locator("#jp-main-dock-panel, .jp-LabShell").first).to_be_visible()
    # signing out ends it in that server too
    page.goto(carrel.url + "/hub/logout")
    page.goto(carrel.url + "/user/ada/lab")
    page.wait_for_url("**/hub/login**")


def test_another_user_is_not_let_in(carrel, visitor):
    running(carrel, "ada")
    page = visitor("dark")
    sign_in(page, carrel, "bob", "/hub/login?next=%2Fhub%2Fhome")
    page.wait_for_url("**/hub/home")
    page.goto(carrel.url + "/user/ada/lab")
    expect(page.get_by_text(re.compile("do not have permission", re.I))).to_be_visible()


def test_scripts_of_a_server_that_one_may_not_enter_do_not_run(carrel, visitor):
    bob = running(carrel, "bob")
    home = carrel.state / "homes" / "bob"
    uid, gid = home.stat().st_uid, home.stat().st_gid
    packages = home / "packages"
    config = home / ".jupyter"
    for folder in (packages, config):
        folder.mkdir(exist_ok=True)
        os.chown(folder, uid, gid)
    (packages / "evil.py").write_text(HANDLER)
    (config / "jupyter_server_config.py").write_text(f"import sys; sys.path.insert(0, '/home/bob/packages')\nc.ServerApp.jpserver_extensions = {{'evil': True}}")
    assert bob.hub("DELETE", "/users/bob/server").status_code in (202, 204)
    bob = running(carrel, "bob")
    assert "acts for you" in bob.call("GET", "evil", 200).text
    victim = visitor()
    sign_in(victim, carrel, "ada", "/hub/login?next=%2Fhub%2Fhome")
    victim.wait_for_url("**/hub/home")
    before = victim.context.cookies(carrel.url + "/hub/home")
    victim.goto(carrel.url + "/user/bob/evil")
    victim.wait_for_timeout(1500)
    assert victim.title() == "quiet"
    assert victim.context.cookies(carrel.url + "/hub/home") == before
    # the owner's own browser may run it: it is bob's own session
    owner = visitor()
    sign_in(owner, carrel, "bob", "/hub/login?next=%2Fhub%2Fhome")
    owner.wait_for_url("**/hub/home")
    owner.goto(carrel.url + "/user/bob/lab")
    owner.wait_for_url("**/user/bob/lab**")
    owner.goto(carrel.url + "/user/bob/evil")
    wait_until(lambda: owner.title() != "quiet", 30, 0.1, "the owner's script")


def running(carrel, user):
    server = carrel.server(user)
    state = lambda: server.hub("GET", f"/users/{user}?include_stopped_servers=1").json()["servers"].get("", {})  # noqa: E731
    wait_until(lambda: not state().get("pending"), 60, 0.1)
    if not state().get("ready"):
        assert server.hub("POST", f"/users/{user}/server", json={"profile": "classic"}).status_code == 202
        wait_until(lambda: state().get("ready"), 120, 0.1, "a classic server")
    return server
