"""The profile kernel+proxy as a notebook meets it: plain Python reaches what is allowed and nothing else, the refusal says whom to ask, others' ways are out of reach."""
import http.server
import json
import os
import pathlib
import signal
import subprocess
import threading

import pytest

from harness import Carrel, wait_until

ASK = "the platform team"


class Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"x" * int(self.path.removeprefix("/"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def web():
    """A server of this machine's, which stands for one of the company's."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(scope="module")
def networked(web):
    if os.geteuid() == 0 and subprocess.run(["getent", "passwd", "carrel-proxy"], stdout=subprocess.DEVNULL).returncode != 0:
        subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "carrel-proxy"], check=True)
    carrel = Carrel("networked")
    for user, admin in {"root-admin": True, "ada": False, "bob": False}.items():
        carrel.add_user(user, "long-password-1", admin=admin)
    carrel.set_config("network", ask=ASK)
    carrel.set_config("network.hosts", **{"files": ["127.0.0.1"], "ml-files": ["127.0.0.1"]})
    carrel.edit_config(f"""
[[allow]]
hosts = ["files:{web}", "localhost:{web}"]

[[allow]]
group = "ml"
hosts = ["ml-files:{web}"]

[[profile]]
name = "kernel+proxy"
kernel = "python3"
""")
    carrel.start()
    admin = carrel.server("root-admin")
    assert admin.hub("POST", "/groups/ml").status_code == 201
    assert admin.hub("POST", "/groups/ml/users", json={"users": ["bob"]}).status_code == 200
    yield carrel
    carrel.stop()


class Python:
    def __init__(self, carrel, user):
        self.server = carrel.server(user)
        self.server.start_server()
        self.kid = self.server.start_kernel("python3")
        self.ws = self.server.connect(self.kid)

    def __call__(self, code, timeout=60):
        reply, out = self.ws.execute(code, timeout)
        printed = "".join(m["content"]["text"] for m in out if m["header"]["msg_type"] == "stream")
        error = "".join(m["content"]["evalue"] for m in out if m["header"]["msg_type"] == "error")
        assert reply["content"]["status"] == "ok" or error
        return printed, error

    def fetch(self, address):
        return self(f"import urllib.request\nprint(len(urllib.request.urlopen('http://{address}', timeout=20).read()))")


@pytest.fixture
def python(networked):
    made = []

    def make(user="ada"):
        made.append(Python(networked, user))
        return made[-1]

    yield make
    for kernel in made:
        kernel.ws.close()
        kernel.server.stop_kernel(kernel.kid)


TUNNEL = """
import http.client, os, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
c = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=20)
c.set_tunnel("{host}", {port})
try:
    c.request("GET", "/100000")
    print(len(c.getresponse().read()))
except OSError as e:
    print(e)
"""


def lines(carrel, event=None):
    found = [json.loads(line) for path in sorted((carrel.state / "network").glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [line for line in found if event in (None, line["event"])]


def test_what_is_allowed_is_reached_with_nothing_changed(python, networked, web):
    kernel = python()
    assert kernel.fetch(f"files:{web}/1000") == ("1000\n", "")
    assert kernel(TUNNEL.format(host="files", port=web)) == ("100000\n", "")
    def told():
        return [line for line in lines(networked, "close") if line["received"] >= 100_000]

    wait_until(told, what="the tunnel's last line")
    assert [(line["user"], line["host"], line["port"], line["address"]) for line in told()] == [("ada", "files", web, "127.0.0.1")]
    assert kernel.kid in told()[0]["kernel"] and told()[0]["verdict"] == "allowed"


def test_what_is_not_is_refused_and_says_whom_to_ask(python, web):
    kernel = python()
    for address in ("packages.example/1", f"ml-files:{web}/1", "169.254.169.254/1", "10.0.0.1/1"):
        printed, error = kernel.fetch(address)
        assert printed == "" and "403" in error and ASK in error, (address, error)
        assert address.split("/")[0].split(":")[0] in error, error
    printed, _ = kernel(TUNNEL.format(host="example.org", port=443))
    assert "403" in printed and "example.org" in printed and ASK in printed


def test_a_name_that_leads_to_this_machine_is_no_way_in(python, networked, web):
    kernel = python()
    # allowed by its name only: where it leads to is the machine's own loopback
    printed, error = kernel(TUNNEL.format(host="localhost", port=web))
    assert error == "" and "403" in printed, printed
    printed, error = kernel(TUNNEL.format(host="127.0.0.1", port=networked.port))
    assert error == "" and "403" in printed, printed
    # and loopback itself is the jail's own, past the proxy
    assert "refused" in kernel.fetch(f"127.0.0.1:{networked.port}/hub/api/")[1]


def test_a_group_reaches_more(python, web):
    assert python("bob").fetch(f"ml-files:{web}/10") == ("10\n", "")


def test_there_is_no_other_way(python, web):
    kernel = python()
    printed, _ = kernel(f"""
import socket
for family, where in ((socket.AF_INET, ("127.0.0.1", {web})), (socket.AF_INET, ("10.0.0.1", 80))):
    s = socket.socket(family)
    s.settimeout(5)
    print(s.connect_ex(where) != 0)
""")
    assert printed == "True\nTrue\n"
    # the one socket that is there is the kernel's own, and no name in a request is believed
    printed, _ = kernel(f"""
import os, socket
print(sorted(os.listdir("/run/proxy")))
s = socket.socket(socket.AF_UNIX)
s.connect("/run/proxy/proxy.sock")
s.sendall(b"CONNECT ml-files:{web} HTTP/1.1\\r\\nHost: x\\r\\nX-User: bob\\r\\nProxy-Authorization: Basic Ym9iOg==\\r\\n\\r\\n")
print(s.recv(12))
try:
    os.unlink("/run/proxy/proxy.sock")
except OSError as e:
    print(type(e).__name__)
""")
    assert printed.startswith("['proxy.sock']\nb'HTTP/1.1 403'\n"), printed
    assert printed.splitlines()[2] in ("PermissionError", "OSError"), printed


def test_a_sql_kernel_and_a_terminal_have_none(networked):
    ada = networked.server("ada")
    ada.start_server()
    kid = ada.start_kernel("carrel")
    jails = json.loads(networked.run("jails", "--json").stdout)
    assert not next(jail for jail in jails if kid in jail["id"])["proxy"]
    ada.stop_kernel(kid)


def proxy_pid(carrel):
    config = str(carrel.state).encode()
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (proc / "cmdline").read_bytes()
            name = pathlib.Path(os.readlink(proc / "exe")).name
        except OSError:
            continue
        if name == "carrel-proxy" and config in command:
            return int(proc.name)
    return None


def test_a_proxy_that_is_killed_comes_back(python, networked, web):
    kernel = python()
    assert kernel.fetch(f"files:{web}/5") == ("5\n", "")
    before = wait_until(lambda: proxy_pid(networked), what="a proxy")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: proxy_pid(networked) not in (None, before), what="the next proxy")
    assert kernel.fetch(f"files:{web}/6") == ("6\n", "")


def test_the_gateway_may_go_and_come(python, networked, web):
    kernel = python()
    networked.kill9()
    networked.start()
    kernel.ws = kernel.server.connect(kernel.kid)
    assert kernel.fetch(f"files:{web}/7") == ("7\n", "")
