"""Shares: a code opens a server to a second person, in Carrel's own servers and in classic ones; taken back, it is closed, also for who is in."""
import json
import os
import re
import urllib.parse

import pytest
import requests
import websocket
from harness import WORK, wait_until
from playwright.sync_api import sync_playwright
from test_browser import FLAGS
from test_classic import running, with_classic

ROLE = """
[[role]]
name = "user"
scopes = ["self", "shares!user", "read:users:name"]
"""


class Person:
    """Somebody's browser: signed in at the hub, follows redirects, keeps cookies."""

    def __init__(self, carrel, user):
        self.carrel, self.http = carrel, requests.Session()
        self.http.trust_env = False
        self.http.headers["Sec-Fetch-Mode"] = "navigate"
        self.get("/hub/login")
        form = {"username": user, "password": f"{user}-pass-12", "_xsrf": self.cookie("_xsrf", "/hub/")}
        done = self.http.post(carrel.url + "/hub/login?next=%2Fhub%2Fhome", form, timeout=30)
        assert done.status_code == 200 and user in done.text, done.text[:500]

    def get(self, path, **kw):
        return self.http.get(urllib.parse.urljoin(self.carrel.url, path), timeout=60, **kw)

    def post(self, path, **form):
        return self.http.post(urllib.parse.urljoin(self.carrel.url, path), {**form, "_xsrf": self.cookie("_xsrf", "/hub/")}, timeout=60)

    def cookie(self, name, path):
        return next(c.value for c in self.http.cookies if c.name == name and c.path == path)

    def websocket(self, path):
        held = "; ".join(f"{c.name}={c.value}" for c in self.http.cookies if path.startswith(c.path))
        # as a browser: an origin, and whatever cookies belong to the address
        return websocket.create_connection("ws" + self.carrel.url[4:] + path, cookie=held, origin=self.carrel.url, timeout=20,
                                           subprotocols=["v1.kernel.websocket.jupyter.org"] if "/kernels/" in path else None)


def closes(ws, within=10):
    """Whether a websocket is closed soon, whatever else comes."""
    ws.settimeout(within)
    try:
        while ws.recv_frame().opcode != websocket.ABNF.OPCODE_CLOSE:
            pass
    except (websocket.WebSocketConnectionClosedException, ConnectionError):
        pass
    except websocket.WebSocketTimeoutException:
        return False
    return True


def offer(server, **body):
    made = server.hub("POST", f"/share-codes/{server.user}/", json=body)
    assert made.status_code == 200, made.text
    return made.json()


def accept(person, made):
    page = person.get(made["accept_url"])
    assert page.status_code == 200 and "Accept" in page.text
    return person.post("/hub/accept-share", code=made["code"])


def terminal_of(server):
    return f"/user/{server.user}/terminals/websocket/" + server.call("POST", "api/terminals").json()["name"]


def test_a_code_opens_a_server_and_taking_it_back_closes_it(fresh):
    carrel = fresh(demo=False, config_lines=ROLE).start()
    ada, bob = carrel.server("ada"), Person(carrel, "bob")
    ada.start_server()
    kid = ada.start_kernel()
    assert bob.get("/user/ada/lab").status_code == 403
    # looking at the page is not enough
    made = offer(ada)
    bob.get(made["accept_url"])
    assert bob.get("/user/ada/lab").status_code == 403
    inside = accept(bob, made)
    assert inside.status_code == 200 and "/user/ada/lab" in inside.url, (inside.status_code, inside.url)
    assert "/user/ada/" in bob.get("/hub/home").text
    assert bob.get("/user/ada/api/status").status_code == 200
    # what is shared is this server: nothing else of hers, and no part of the hub
    assert bob.get("/hub/api/users/ada/tokens").status_code == 404
    kernel = bob.websocket(f"/user/ada/api/kernels/{kid}/channels?session_id=bobs")
    events = bob.websocket("/user/ada/api/events/subscribe")
    terminal = bob.websocket(terminal_of(ada))
    own = ada.connect(kid)
    terminal.send(json.dumps(["stdin", "echo $((6*7)) > from-bob.txt\r"]))
    written = carrel.state / "homes" / "ada" / "from-bob.txt"
    wait_until(lambda: written.exists() and written.read_text() == "42\n", 20, what="what bob typed, among ada's files")
    # another one's going does not touch bob
    assert ada.hub("PATCH", "/shares/ada/", json={"user": "root-admin"}).json() == {}
    assert not closes(events, 2)
    assert ada.hub("PATCH", "/shares/ada/", json={"user": "bob"}).json() == {}
    assert closes(kernel) and closes(events) and closes(terminal)
    assert bob.get("/user/ada/lab").status_code == 403
    with pytest.raises(websocket.WebSocketBadStatusException):
        bob.websocket(f"/user/ada/api/kernels/{kid}/channels")
    assert ada.sql(own, "SELECT 42 AS x")[0]["status"] == "ok"
    own.close()


def test_a_guest_leaves_with_the_group_and_with_the_login(fresh):
    carrel = fresh(demo=False).start()
    ada, root = carrel.server("ada"), carrel.server("root-admin")
    ada.start_server()
    assert root.hub("POST", "/groups/g", json={"users": ["bob"]}).status_code == 201
    assert root.hub("POST", "/shares/ada/", json={"group": "g"}).status_code == 200
    for leave in (lambda: root.hub("DELETE", "/groups/g/users", json={"users": ["bob"]}), lambda: bob.get("/hub/logout")):
        root.hub("POST", "/groups/g/users", json={"users": ["bob"]})
        bob = Person(carrel, "bob")
        assert bob.get("/user/ada/lab").status_code == 200
        events = bob.websocket("/user/ada/api/events/subscribe")
        assert not closes(events, 1)
        leave()
        assert closes(events)


def test_a_classic_server_is_shared_too():
    carrel = with_classic("shares-classic").start()
    try:
        ada, bob, root = running(carrel, "ada"), Person(carrel, "bob"), carrel.server("root-admin")
        by_token = carrel.server("bob")
        asked = bob.get("/user/ada/lab")
        assert asked.status_code == 403, asked.url
        assert root.hub("POST", "/shares/ada/", json={"user": "bob"}).status_code == 200
        asked = bob.get("/user/ada/lab")
        assert asked.status_code == 200 and "/oauth2/authorize" in asked.url and "Sign in to" in asked.text
        scopes = re.search(r'name="scopes" value="([^"]*)"', asked.text).group(1)
        inside = bob.post(asked.url, answer="yes", scopes=scopes)
        assert inside.status_code == 200 and "/user/ada/lab" in inside.url, (inside.status_code, inside.url)
        assert bob.get("/user/ada/api/status").status_code == 200
        headers = {"Authorization": "token " + by_token.token}
        status = lambda: requests.get(ada.url + "api/status", headers=headers, allow_redirects=False, timeout=30).status_code  # noqa: E731
        assert status() == 200
        terminal, events = bob.websocket(terminal_of(ada)), bob.websocket("/user/ada/api/events/subscribe")
        assert not closes(events, 1)
        assert root.hub("DELETE", "/shares/ada/").status_code == 204
        assert closes(terminal) and closes(events)
        # the server itself would believe for minutes what the hub told it before
        assert status() == 403
        assert bob.get("/user/ada/lab").status_code == 403
        assert bob.get("/user/ada/api/status", headers={"Sec-Fetch-Mode": "cors"}).status_code == 403
        ada.call("GET", "api/status", 200)
    finally:
        carrel.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_works_without_javascript(fresh, scheme):
    carrel = fresh(demo=False, config_lines=ROLE).start()
    ada = carrel.server("ada")
    ada.start_server()
    made = offer(ada, scopes=["access:servers", "read:servers"], expires_in=600)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1000, "height": 700}, color_scheme=scheme, java_script_enabled=False)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(carrel.url + made["accept_url"])
        page.get_by_label(re.compile("user", re.I)).fill("bob")
        page.get_by_label(re.compile("^password", re.I)).fill("bob-pass-12")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/hub/accept-share?code=**")
        assert page.get_by_role("heading", name="Use ada's server?").is_visible()
        assert page.locator("#gets li").count() == 2
        page.screenshot(path=str(WORK / f"accept-share-{scheme}.png"))
        page.get_by_role("button", name="Accept").click()
        page.wait_for_url("**/user/ada/lab**")
        page.goto(carrel.url + "/hub/home")
        page.screenshot(path=str(WORK / f"shared-with-you-{scheme}.png"))
        page.get_by_role("link", name="ada's server").click()
        page.wait_for_url("**/user/ada/lab**")
        browser.close()
