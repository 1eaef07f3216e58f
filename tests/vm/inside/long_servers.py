"""Whole servers and services in jails of their own, with every layer on: bounds by version 2 groups, homes by project quotas. (Of a long run only.)"""
import json
import pathlib
import re

import pytest
import requests
from guest import FORK, PATIENT, jails_of
from harness import wait_until

SERVICE = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getuid()} {open('/proc/self/cgroup').read().strip()}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 10101), Handler).serve_forever()
"""
WRITE = """
import errno
try:
    with open('big', 'wb', 0) as f:
        for _ in range(80): f.write(b'x' * (1 << 20))
    print('wrote all')
except OSError as e: print(errno.errorcode[e.errno])
os.remove('big')
"""


@pytest.fixture(scope="module")
def carrel(serve_module):
    script = pathlib.Path("/run/service/web.py")
    script.parent.mkdir()
    script.write_text(SERVICE)
    config = {"classic": {"enabled": True}, "limits.classic": {"memory": "768MiB", "processes": 96, "cpus": 1.5},
              "limits.service": {"memory": "128MiB", "processes": 16}, "limits.together": {"disk": "64MiB"}}
    service = f'[[service]]\nname = "web"\ncommand = ["/usr/bin/python3", "{script}"]\nurl = "http://127.0.0.1:10101"\npaths = ["{script}"]'
    carrel = serve_module("servers", config, people=(), more=service)
    carrel.add_user("ada", "ada-pass-12")
    return carrel


def model(ada):
    return ada.hub("GET", "/users/ada?include_stopped_servers=1").json()["servers"][""]


@pytest.fixture(scope="module")
def ada(carrel):
    ada = carrel.server("ada")
    assert ada.hub("POST", "/users/ada/server", json={"profile": "classic"}).status_code == 202
    settled = wait_until(lambda: (m := model(ada))["pending"] is None and m, PATIENT, 0.5, "the classic server's start")
    assert settled["ready"], ada.hub("GET", "/users/ada/server/progress").text
    return ada


@pytest.fixture(scope="module")
def kernel(ada):
    kid = ada.start_kernel("python3")
    with ada.connect(kid, "json") as ws:
        yield ws


def text_of(ws, code):
    reply, out = ws.execute(code, timeout=PATIENT)
    return "".join(m["content"].get("text", "") for m in out) or str(reply["content"])


def jail_of(carrel, profile):
    return next(jail for jail in jails_of(carrel) if jail["profile"] == profile)


def leaf_of(carrel, jail):
    found = list(carrel.group.glob(f"carrel-*/u-{jail['user']}/{jail['id']}.main"))
    assert len(found) == 1, [str(p) for p in carrel.group.rglob("*") if p.is_dir()]
    return found[0]


def bounds(leaf):
    return tuple((leaf / file).read_text().strip() for file in ("memory.max", "pids.max", "cpu.max"))


def test_a_classic_server_has_every_layer_on(carrel, ada, kernel):
    jail = jail_of(carrel, "classic")
    assert {layer: state for layer, state in jail["layers"].items() if not state.startswith("on") and layer != "io"} == {}
    assert jail["layers"]["disk"] == "on: project quota"
    assert bounds(leaf_of(carrel, jail)) == (str(768 << 20), "96", "150000 100000")
    assert text_of(kernel, "print(6 * 7, open('/proc/self/cgroup').read())").split() == ["42", "0::/"]


def test_its_bounds_are_felt(kernel):
    stopped = re.search(r"stopped 11 (\d+)", text_of(kernel, FORK))
    assert stopped and 40 < int(stopped.group(1)) < 96, stopped
    assert text_of(kernel, WRITE) == "EDQUOT\n"


def test_a_service_has_every_layer_on(carrel):
    answer = wait_until(lambda: (r := requests.get(carrel.url + "/services/web/", timeout=30)).ok and r.text, PATIENT, 0.5, "the service's page")
    jail = jail_of(carrel, "service")
    off = {layer: state for layer, state in jail["layers"].items() if not state.startswith("on") and layer not in ("io", "cpu")}
    assert off == {}, off
    assert answer == f"{jail['uid']} 0::/"
    assert bounds(leaf_of(carrel, jail))[:2] == (str(128 << 20), "16")


def test_a_stop_leaves_no_group(carrel, ada):
    leaf = leaf_of(carrel, jail_of(carrel, "classic"))
    assert ada.hub("DELETE", "/users/ada/server").status_code in (202, 204)
    wait_until(lambda: not leaf.exists() and not leaf.parent.exists(), PATIENT, 0.2, "the group's end")
    carrel.stop()
    wait_until(lambda: not [p for p in carrel.group.glob("carrel-*") if p.name != "carrel-main"], PATIENT, 0.2, "the end of all groups")
    assert json.loads((carrel.state / "spawnd" / "uids.json").read_text())["users"]
