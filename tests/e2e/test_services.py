"""Services from outside: one with pages and a websocket, protected by the official client, behind the built gateway; the page that asks, in Chromium."""
import os
import re
import secrets
import subprocess
import sys
import urllib.parse

import pytest
import requests
import websocket
from harness import WORK, free_port, wait_until
from playwright.sync_api import sync_playwright
from test_browser import FLAGS

PROGRAM = '''
"""A service with pages, protected by the official client (configured by JUPYTERHUB_* only)."""
import json
import os
import sys

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado import ioloop, web, websocket

PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]


class WhoAmI(HubOAuthenticated, web.RequestHandler):
    @web.authenticated
    def get(self):
        self.set_header("content-type", "application/json")
        self.write(json.dumps(self.get_current_user()))


class Echo(web.RequestHandler):
    def check_xsrf_cookie(self):
        pass

    def post(self):
        self.set_header("x-length", str(len(self.request.body)))
        self.write(dict(self.request.headers))


class Short(web.RequestHandler):
    def get(self):
        self.set_status(404)
        self.set_header("content-type", "text/plain")
        self.write("nothing here")


class Socket(websocket.WebSocketHandler):
    def check_origin(self, origin):
        return True

    def on_message(self, message):
        self.write_message(self.request.headers["Host"] + " " + message)


app = web.Application([(PREFIX, WhoAmI), (PREFIX + "echo", Echo), (PREFIX + "short", Short), (PREFIX + "socket", Socket),
                       (PREFIX + "oauth_callback", HubOAuthCallbackHandler)], cookie_secret=os.urandom(32))
app.listen(int(sys.argv[1]), "127.0.0.1", max_buffer_size=1 << 30)
ioloop.IOLoop.current().start()
'''
CONFIG = """
[[service]]
name = "notes"
url = "http://127.0.0.1:{port}"
token_file = "{token}"
oauth_client_allowed_scopes = ["read:servers!user"]

[[role]]
name = "user"
scopes = ["self", "access:services!service=notes"]
"""


@pytest.fixture
def notes(fresh):
    """A hub with the service `notes`, which runs: (hub, url of the service)."""
    port, token = free_port(), WORK / "notes.token"
    token.write_text(secrets.token_hex(32) + "\n")
    token.chmod(0o600)
    hub = fresh(demo=False, config_lines=CONFIG.format(port=port, token=token))
    hub.start()
    program = WORK / "notes.py"
    program.write_text(PROGRAM)
    url = hub.url + "/services/notes/"
    env = dict(os.environ, JUPYTERHUB_API_TOKEN=token.read_text().strip(), JUPYTERHUB_API_URL=hub.url + "/hub/api", JUPYTERHUB_CLIENT_ID="service-notes",
               JUPYTERHUB_SERVICE_PREFIX="/services/notes/", JUPYTERHUB_SERVICE_NAME="notes", JUPYTERHUB_BASE_URL="/",
               JUPYTERHUB_OAUTH_CALLBACK_URL="/services/notes/oauth_callback", no_proxy="127.0.0.1")
    hub.service = subprocess.Popen([sys.executable, str(program), str(port)], env=env)
    wait_until(lambda: requests.get(url + "short", timeout=5).status_code == 404, 30, 0.1, "the service's first answer")
    hub.token_file = token
    yield hub, url
    hub.service.terminate()
    hub.service.wait(10)


def test_requests_and_websockets_go_through_as_they_are(notes):
    hub, url = notes
    short = requests.get(url + "short", timeout=10)
    assert (short.status_code, short.text) == (404, "nothing here")
    said = requests.post(url + "echo?a=1", data=b"x" * 3_000_000, headers={"X-Odd": "1"}, timeout=30)
    headers = {k.lower(): v for k, v in said.json().items()}
    assert said.headers["x-length"] == "3000000" and headers["x-odd"] == "1"
    assert headers["host"] == f"127.0.0.1:{hub.port}" and headers["x-forwarded-for"].endswith("127.0.0.1")

    def chunks():
        for _ in range(40):
            yield b"x" * (1 << 20)

    try:
        status = requests.post(url + "echo", data=chunks(), timeout=60).status_code
    except requests.ConnectionError:
        status = 413  # the answer may come before all was sent, and the connection be gone
    assert status == 413
    ws = websocket.create_connection("ws" + url[4:] + "socket", timeout=10)
    ws.send("hello")
    assert ws.recv() == f"127.0.0.1:{hub.port} hello"
    ws.close()
    assert requests.get(hub.url + "/services/notes?x", allow_redirects=False, timeout=10).headers["location"] == "/services/notes/?x"
    hub.service.terminate()
    hub.service.wait(10)
    gone = requests.get(url, timeout=10)
    assert gone.status_code == 503 and "does not answer" in gone.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_people_sign_in_without_javascript(notes, scheme):
    hub, url = notes
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1000, "height": 700}, color_scheme=scheme, java_script_enabled=False)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(url)
        page.get_by_label(re.compile("user", re.I)).fill("ada")
        page.get_by_label(re.compile("^password", re.I)).fill("ada-pass-12")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/hub/api/oauth2/authorize**")
        page.screenshot(path=str(WORK / f"authorize-{scheme}.png"))
        assert page.get_by_role("heading", level=1).inner_text() == "Sign in to JupyterHub service notes?"
        asked = page.locator("#gets li").all_inner_texts()
        assert len(asked) == 2 and "ada" in asked[0] and asked[1] == "See servers and their owners' names (only you)", asked
        page.get_by_role("button", name="Cancel").click()
        page.wait_for_url("**/services/notes/oauth_callback?error=access_denied**")
        page.goto(url)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(url)
        assert '"name": "ada"' in page.content() and "access:services!service=notes" in page.content()
        # the second time nobody is asked, and the home page leads there
        context.clear_cookies(name="service-notes")
        page.goto(hub.url + "/hub/home")
        page.get_by_role("link", name="notes").click()
        page.wait_for_url(url)
        page.goto(hub.url + "/hub/token")
        assert page.get_by_text("JupyterHub service notes").count() >= 1
        browser.close()


def test_a_client_on_another_address_gets_its_answer_from_the_form(notes):
    """A browser holds a form's target against the page's policy also when the answer redirects."""
    hub, _ = notes
    elsewhere, api = free_port(), hub.url + "/hub/api/services/away"
    admin = {"Authorization": "token " + hub.token("root-admin")}
    spec = {"api_token": secrets.token_hex(16), "oauth_redirect_uri": f"http://127.0.0.1:{elsewhere}/cb"}
    assert requests.post(api, json=spec, headers=admin, timeout=10).status_code == 201
    query = urllib.parse.urlencode({"client_id": "service-away", "response_type": "code", "state": "s"})
    server = subprocess.Popen([sys.executable, "-m", "http.server", str(elsewhere), "--bind", "127.0.0.1", "--directory", str(WORK / "state")],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
            page = browser.new_page()
            page.set_default_timeout(30_000)
            page.goto(f"{hub.url}/hub/api/oauth2/authorize?{query}")
            page.get_by_label(re.compile("user", re.I)).fill("root-admin")
            page.get_by_label(re.compile("^password", re.I)).fill("admin-pass-1")
            page.get_by_role("button", name="Sign in").click()
            page.get_by_text(f"http://127.0.0.1:{elsewhere}").wait_for()
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"http://127.0.0.1:{elsewhere}/cb?code=*&state=s")
            browser.close()
    finally:
        server.terminate()
        server.wait(10)


def test_the_configuration_rules_and_its_tokens_are_secrets(notes):
    hub, url = notes
    own = {"Authorization": "token " + hub.token_file.read_text().strip()}
    admin = {"Authorization": "token " + hub.token("root-admin")}
    me = requests.get(hub.url + "/hub/api/user", headers=own, timeout=10).json()
    assert (me["kind"], me["name"]) == ("service", "notes")
    assert requests.delete(hub.url + "/hub/api/services/notes", headers=admin, timeout=10).status_code == 405
    made = {"api_token": secrets.token_hex(16), "url": f"http://127.0.0.1:{free_port()}"}
    assert requests.post(hub.url + "/hub/api/services/made", json=made, headers=admin, timeout=10).status_code == 201
    hub.process.terminate()
    hub.process.wait(20)
    hub.token_file.chmod(0o644)
    refused = hub.run("serve", ok=False)
    assert refused.returncode == 64 and "everybody may read token_file" in refused.stderr + refused.stdout
    hub.token_file.chmod(0o600)
    text = hub.config_path().read_text()
    hub.config_path().write_text(text.replace(CONFIG.split("[[role]]")[0].format(port=re.search(r"127.0.0.1:(\d+)\"\ntoken_file", text)[1], token=hub.token_file), ""))
    hub.start()
    known = requests.get(hub.url + "/hub/api/services", headers=admin, timeout=10).json()
    assert list(known) == ["made"], "what the configuration no longer names is gone, what was made stays"
    assert requests.get(hub.url + "/hub/api/user", headers=own, timeout=10).status_code == 403
    assert requests.get(url, timeout=10).status_code == 404
    again = {"Authorization": "token " + made["api_token"]}
    assert requests.get(hub.url + "/hub/api/user", headers=again, timeout=10).json()["name"] == "made"
