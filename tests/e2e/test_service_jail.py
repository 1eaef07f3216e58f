"""Services with a command: an unmodified idle culler ends an idle server; a service with pages is shown, started again when it dies, shut in, found again and ended."""
import json
import os
import pathlib
import subprocess

import pytest
import requests
import websocket

from harness import Carrel, wait_until

# A service as somebody writes one: pages, a websocket, and whatever is asked of it about where it is.
WEB = r'''
import base64, hashlib, http.server, json, os, socket, urllib.error, urllib.request
def tries(f):
    try: return f()
    except Exception as e: return "no: " + type(e).__name__
def get(url):
    request = urllib.request.Request(url, headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    try: return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as e: return e.code
def connect(where):
    s = socket.socket(); s.settimeout(3); s.connect(where); return "in"
hub = os.environ["JUPYTERHUB_API_URL"]
def report(gateway):
    kept = os.path.join(os.environ["HOME"], "kept")
    with open(kept, "a") as f: f.write("x")
    return {"uid": os.getuid(), "pid": os.getpid(), "env": dict(os.environ), "homes": os.listdir("/home"), "starts": len(open(kept).read()),
            "hub": get(hub + "/"), "users": get(hub + "/users"), "groups": get(hub + "/groups"), "beside": get(hub.removesuffix("/hub/api") + "/hub/login"),
            "gateway": tries(lambda: connect(("127.0.0.1", gateway))), "wide": tries(lambda: connect(("10.0.0.1", 80))),
            "interfaces": [l.split(":")[0].strip() for l in open("/proc/net/dev").readlines()[2:]]}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.endswith("/die"): os._exit(9)
        if self.headers.get("Upgrade") == "websocket":
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101); self.send_header("Upgrade", "websocket"); self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()); self.end_headers()
            self.wfile.write(b"\x81\x05hello"); self.wfile.flush(); self.close_connection = True; return
        body = json.dumps({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, **report(int(self.headers.get("X-Ask", "1")))}).encode()
        self.send_response(200); self.send_header("Content-Type", "application/json"); self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "mine=1; Path=/services/web/"); self.send_header("Set-Cookie", "jupyterhub-hub-login=x; Path=/hub/"); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
print("the pages are there", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", 10101), Handler).serve_forever()
'''


@pytest.fixture(scope="module")
def carrel():
    c = Carrel("service-jail", demo=False)
    c.add_user("root-admin", "admin-pass-1", admin=True)
    c.add_user("ada", "ada-pass-12")
    script = c.state / "web.py"
    script.write_text(WEB)
    c.edit_config(f"""
[[service]]
name = "idle-culler"
command = ["{{prefix}}/share/classic/bin/python", "-m", "jupyterhub_idle_culler", "--timeout=3", "--cull-every=1"]

[[service]]
name = "web"
command = ["/usr/bin/python3", "{script}"]
url = "http://127.0.0.1:10101"
paths = ["{script}"]
environment = {{ COLOUR = "red" }}

[[role]]
name = "idle-culler"
scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
services = ["idle-culler"]

[[role]]
name = "web"
scopes = ["list:users"]
services = ["web"]
""")
    c.start()
    yield c
    c.stop()


def jails(carrel):
    return [jail for jail in json.loads(carrel.run("jails", "--json").stdout) if jail["profile"] == "service"]


def web(carrel, path="", **kw):
    return requests.get(carrel.url + "/services/web/" + path, timeout=30, **kw)


@pytest.fixture(scope="module")
def seen(carrel):
    wait_until(lambda: web(carrel).status_code == 200, 60, 0.2, "the service's pages")
    return web(carrel, "a/b?c=d", headers={"X-Ask": str(carrel.port)})


def test_its_pages_are_shown_below_its_address(carrel, seen):
    told = seen.json()
    assert told["path"] == "/services/web/a/b?c=d"
    assert told["headers"]["x-forwarded-proto"] == "http" and told["headers"]["host"].endswith(str(carrel.port))
    assert "mine" in seen.cookies and [c.name for c in seen.cookies] == ["mine"], "it sets cookies for its own address only"
    ws = websocket.create_connection(carrel.url.replace("http", "ws") + "/services/web/ws", timeout=20)
    assert ws.recv() == "hello"
    ws.close()


def test_it_is_told_what_jupyterhub_tells_its_own(seen):
    env = seen.json()["env"]
    for name, want in {"JUPYTERHUB_SERVICE_NAME": "web", "JUPYTERHUB_SERVICE_PREFIX": "/services/web/", "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:10101", "JUPYTERHUB_CLIENT_ID": "service-web",
                       "JUPYTERHUB_OAUTH_CALLBACK_URL": "/services/web/oauth_callback", "JUPYTERHUB_BASE_URL": "/", "COLOUR": "red"}.items():
        assert env[name] == want, name
    assert len(env["JUPYTERHUB_API_TOKEN"]) > 30 and not [name for name in env if name.startswith("CARREL")]


def test_it_is_shut_in_with_what_its_role_gives(carrel, seen):
    told = seen.json()
    assert told["hub"] == 200 and told["users"] == 200 and told["groups"] == 403 and told["beside"] == 404, told
    assert told["gateway"].startswith("no") and told["wide"].startswith("no") and told["interfaces"] == ["lo"], told
    mine = next(jail for jail in jails(carrel) if "web" in jail["user"])
    assert told["homes"] == [mine["user"]] and told["uid"] == mine["uid"]
    if os.getuid() == 0:
        uids = json.loads((carrel.state / "spawnd" / "uids.json").read_text())["users"]
        assert len(set(uids.values())) == len(uids) and uids[mine["user"]] == mine["uid"]
        assert (carrel.state / "homes" / mine["user"]).stat().st_mode & 0o777 == 0o700
    token = told["env"]["JUPYTERHUB_API_TOKEN"]
    assert token not in (carrel.runtime() / "spawnd.log").read_text() and token not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
    assert "the pages are there" in (carrel.runtime() / "spawnd.log").read_text()


def test_no_user_can_be_that_account(carrel):
    account = next(jail["user"] for jail in jails(carrel) if "web" in jail["user"])
    carrel.add_user(account, "some-pass-12")
    server = carrel.server(account)
    server.start_server()
    server.call("PUT", "api/contents/mine.txt", 201, json={"type": "file", "format": "text", "content": "x"})
    assert not (carrel.state / "homes" / account / "mine.txt").exists()


def test_one_that_dies_comes_back_after_a_pause_and_keeps_its_folder(carrel):
    before = web(carrel).json()
    assert web(carrel, "die").status_code in (502, 503)
    wait_until(lambda: web(carrel).status_code == 200, 60, 0.2, "the next one")
    after = web(carrel).json()
    assert after["starts"] > before["starts"] and "ended with code 9" in carrel.log()


def test_a_killed_gateway_finds_them_again(carrel):
    before = {jail["id"]: jail["pid"] for jail in jails(carrel)}
    token = web(carrel).json()["env"]["JUPYTERHUB_API_TOKEN"]
    carrel.kill9()
    carrel.start()
    wait_until(lambda: web(carrel).status_code == 200, 30, 0.2, "the adopted service")
    assert {jail["id"]: jail["pid"] for jail in jails(carrel)} == before
    told = web(carrel).json()
    assert told["env"]["JUPYTERHUB_API_TOKEN"] == token and told["users"] == 200, "its token is still good"


def test_the_idle_culler_ends_a_server_that_nobody_uses(carrel):
    ada = carrel.server("ada")
    ada.start_server()
    assert ada.hub("GET", "/users/ada").json()["servers"][""]["ready"]
    wait_until(lambda: not ada.hub("GET", "/users/ada").json()["servers"], 60, 0.5, "the end of an idle server")
    assert "Culling server ada" in (carrel.runtime() / "spawnd.log").read_text()


def test_a_stop_in_order_ends_them(carrel):
    ids = [jail["id"] for jail in jails(carrel)]
    assert len(ids) == 2
    carrel.process.terminate()
    carrel.process.wait(30)
    assert not [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if any(i in line for i in ids)]
    assert not list((carrel.runtime() / "jails").iterdir())
    carrel.start()
    wait_until(lambda: web(carrel).status_code == 200, 60, 0.2, "the service of the next gateway")
