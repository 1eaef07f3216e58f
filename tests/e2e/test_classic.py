"""The profile classic: an unmodified jupyterhub-singleuser of the user's in one jail, started, used, killed around, ended, and shut in."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
import requests
import websocket

from harness import Carrel, wait_until

SUITE = pathlib.Path(__file__).resolve().parent.parent / "conformance" / "hub"
# On a machine in software everything takes longer.
PATIENCE = 120 * int(os.environ.get("CARREL_TEST_PATIENCE", "1"))


def with_classic(name, people=("ada", "bob", "eve"), **settings):
    carrel = Carrel(name, demo=False)
    carrel.add_user("root-admin", "admin-pass-1", admin=True)
    for user in people:
        carrel.add_user(user, f"{user}-pass-12")
    carrel.set_config("classic", enabled=True, **settings)
    return carrel


@pytest.fixture(scope="module")
def carrel():
    c = with_classic("classic", activity_seconds=5, users=["ada", "bob"], groups=["python"]).start()
    yield c
    c.stop()


def model(server, name=""):
    return server.hub("GET", f"/users/{server.user}?include_stopped_servers=1").json()["servers"][name]


def start(server, name="", options=None):
    path = f"/users/{server.user}/servers/{name}" if name else f"/users/{server.user}/server"
    r = server.hub("POST", path, json={"profile": "classic"} if options is None else options)
    assert r.status_code == 202, r.text
    settled = wait_until(lambda: (m := model(server, name))["pending"] is None and m, PATIENCE, 0.1, "the classic server's start")
    return settled


def running(carrel, user):
    server = carrel.server(user)
    if not server.hub("GET", f"/users/{user}").json()["servers"].get("", {}).get("ready"):
        assert start(server)["ready"], server.hub("GET", f"/users/{user}/server/progress").text
    return server


def stop(server):
    assert server.hub("DELETE", f"/users/{server.user}/server").status_code in (202, 204)
    wait_until(lambda: server.user not in [j["user"] for j in jails(server.carrel)], 30, 0.1, "the end of the jail")


def jails(carrel):
    return json.loads(carrel.run("jails", "--json").stdout)


@pytest.fixture(scope="module")
def ada(carrel):
    return running(carrel, "ada")


class Python:
    """A kernel of the server's own."""

    def __init__(self, server):
        self.server, self.kid = server, server.start_kernel("python3")
        self.ws = server.connect(self.kid, "json")

    def __call__(self, code, timeout=60):
        reply, out = self.ws.execute(code, timeout)
        printed = "".join(m["content"]["text"] for m in out if m["header"]["msg_type"] == "stream")
        assert reply["content"]["status"] == "ok", (reply["content"], printed)
        return printed

    def close(self):
        self.ws.close()
        self.server.stop_kernel(self.kid)


@pytest.fixture
def python(ada):
    kernel = Python(ada)
    yield kernel
    kernel.close()


def test_it_is_started_by_an_option_and_answers_for_itself(carrel, ada, python):
    assert model(ada)["user_options"] == {"profile": "classic"}
    assert ada.call("GET", "api/status", 200).headers["Server"].startswith("TornadoServer")
    assert ada.call("GET", "lab", 200).headers["X-JupyterHub-Version"] == "6.1.1"
    assert python("print(6*7)") == "42\n"
    mine = [j for j in jails(carrel) if j["user"] == "ada"]
    assert [j["profile"] for j in mine] == ["classic"], mine
    report = mine[0]["layers"]
    assert all(report[layer] == "on" for layer in ("mount", "pid", "net", "ipc", "uts", "landlock", "seccomp", "no_new_privs", "capabilities")), report
    assert "c-" in carrel.log() and "jail built" in carrel.log()
    # the files are those that Carrel's own server shows
    ada.call("PUT", "api/contents/from-classic.txt", 201, json={"type": "file", "format": "text", "content": "x"})
    assert (carrel.state / "homes" / "ada" / "from-classic.txt").read_text() == "x"


def test_a_body_is_streamed_both_ways(ada):
    big = "x" * (24 << 20)
    ada.call("PUT", "api/contents/big.txt", 201, json={"type": "file", "format": "text", "content": big})
    r = ada.call("GET", "files/big.txt", 200, stream=True)
    assert sum(len(part) for part in r.iter_content(1 << 16)) == len(big)


def test_a_terminal_works(ada):
    name = ada.call("POST", "api/terminals", 200).json()["name"]
    ws = websocket.create_connection(ada.ws_url(f"terminals/websocket/{name}"), header=ada.ws_headers, timeout=30)
    ws.send(json.dumps(["stdin", "echo $((6*7)) $HOME; tty\r"]))
    seen = ""
    while "/dev/pts/" not in seen:
        kind, *rest = json.loads(ws.recv())
        seen += rest[0] if kind == "stdout" and rest else ""
    assert "42 /home/ada" in seen
    ws.close()
    ada.call("DELETE", f"api/terminals/{name}", 204)


def test_who_may_not_is_told_and_a_group_may(carrel):
    eve, admin = carrel.server("eve"), carrel.server("root-admin")
    r = eve.hub("POST", "/users/eve/server", json={"profile": "classic"})
    assert r.status_code == 403 and "[classic]" in r.json()["message"], r.text
    assert eve.hub("POST", "/users/eve/server", json={"profile": "docker"}).status_code == 400
    assert eve.hub("POST", "/users/eve/server").status_code == 201
    assert eve.hub("DELETE", "/users/eve/server").status_code == 204
    assert admin.hub("POST", "/groups/python").status_code == 201
    assert admin.hub("POST", "/groups/python/users", json={"users": ["eve"]}).status_code == 200
    assert start(eve)["ready"]
    assert eve.call("GET", "api/status", 200).headers["Server"].startswith("TornadoServer")
    stop(eve)
    # the next start asks for what was asked for last, unless it says otherwise
    assert eve.hub("POST", "/users/eve/server", json={"profile": "carrel"}).status_code == 201
    assert "Server" not in eve.call("GET", "api/status", 200).headers
    assert eve.hub("DELETE", "/users/eve/server").status_code == 204


def test_a_named_one_runs_beside_the_others(ada):
    assert start(ada, "gpu")["ready"]
    r = ada.call("GET", "gpu/api/status", 200)
    assert r.headers["Server"].startswith("TornadoServer")
    assert ada.call("POST", "gpu/api/kernels", 201, json={"name": "python3"}).json()["id"] not in [k["id"] for k in ada.call("GET", "api/kernels").json()]
    assert ada.hub("DELETE", "/users/ada/servers/gpu", json={"remove": True}).status_code == 204
    assert ada.call("GET", "api/status", 200)


def test_its_token_is_of_the_role_and_opens_nothing_more(carrel, ada, python):
    token = python("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
    me = {"Authorization": "token " + token}
    ask = lambda method, path, **kw: requests.request(method, carrel.url + path, headers=me, timeout=30, allow_redirects=False, **kw)  # noqa: E731
    whoami = ask("GET", "/hub/api/user").json()
    assert whoami["name"] == "ada" and {"users:activity!user=ada", "access:servers!server=ada/"} <= set(whoami["scopes"])
    for method, path in (("GET", "/users"), ("POST", "/users/ada/tokens"), ("GET", "/users/ada/tokens"), ("DELETE", "/users/ada/server"), ("POST", "/users/ada/server"), ("GET", "/users/bob"),
                         ("POST", "/users/bob/activity"), ("GET", "/groups"), ("POST", "/shutdown"), ("GET", "/proxy"), ("GET", "/info")):
        assert ask(method, "/hub/api" + path).status_code in (403, 404), (method, path)
    assert ask("GET", "/user/bob/api/status").status_code in (403, 404, 424)
    # it is not on any command line, and not among the files of the state
    assert token not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
    assert token not in (carrel.runtime() / "spawnd.log").read_text() and token not in carrel.log()
    assert subprocess.run(["grep", "-rqF", token, str(carrel.state / "gateway"), str(carrel.runtime())]).returncode == 1


REACH = r"""
import glob, json, os, socket, urllib.error, urllib.request
def tries(f):
    try: return f()
    except Exception as e: return "no: " + type(e).__name__
def get(url, **headers):
    try: return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10).status
    except urllib.error.HTTPError as e: return e.code
def connect(where, family=socket.AF_INET):
    s = socket.socket(family); s.settimeout(3); s.connect(where); return "in"
hub = os.environ["JUPYTERHUB_API_URL"]
root = hub.removesuffix("/hub/api")
print("REACH" + json.dumps({
  "interfaces": [l.split(":")[0].strip() for l in open("/proc/net/dev").readlines()[2:]], "routes": open("/proc/net/route").read().count("\n"),
  "hub": get(hub + "/"), "beside": [get(root + p) for p in ("/hub/login", "/hub/home", "/user/bob/api/status", "/", "/hub/static/carrel.css")],
  "users": get(hub + "/users"), "cookie": get(hub + "/user", Cookie="jupyterhub-hub-login=COOKIE"),
  "gateway": tries(lambda: connect(("127.0.0.1", PORT))), "metadata": tries(lambda: connect(("169.254.169.254", 80))), "wide": tries(lambda: connect(("10.0.0.1", 443))),
  "sockets": sorted(glob.glob("/run/**/*.sock", recursive=True)), "swap": tries(lambda: os.unlink("/run/hub/hub.sock")),
  "homes": os.listdir("/home"), "pids": len([p for p in os.listdir("/proc") if p.isdigit()]), "init": tries(lambda: open("/proc/1/environ").read()),
}))
"""


def test_the_hubs_api_is_all_that_it_reaches(carrel, ada, python):
    running(carrel, "bob")
    browser = requests.Session()
    page = browser.get(carrel.url + "/hub/login")
    login = browser.post(carrel.url + "/hub/login", data={"username": "root-admin", "password": "admin-pass-1", "_xsrf": browser.cookies.get("_xsrf", path="/hub/")}, allow_redirects=False)
    assert page.status_code == 200 and login.status_code == 302
    cookie = next(c.value for c in browser.cookies if c.name == "jupyterhub-hub-login")
    seen = json.loads(python(REACH.replace("PORT", str(carrel.port)).replace("COOKIE", cookie)).split("REACH")[1])
    assert seen["interfaces"] == ["lo"] and seen["routes"] == 1, seen
    assert seen["hub"] == 200 and seen["beside"] == [404] * 5 and seen["users"] == 403, seen
    assert seen["cookie"] == 403, "a cookie is no credential here"
    assert all(seen[way].startswith("no") for way in ("gateway", "metadata", "wide", "swap", "init")), seen
    assert seen["sockets"] == ["/run/hub/hub.sock"] and seen["homes"] == ["ada"] and seen["pids"] < 20, seen


def test_a_wrong_password_there_locks_nobody_else_out(carrel, ada, python):
    code = """
import json, os, urllib.error, urllib.request
def tries(name):
    body = json.dumps({"auth": {"username": name, "password": "wrong"}}).encode()
    request = urllib.request.Request(os.environ["JUPYTERHUB_API_URL"] + "/users/" + name + "/tokens", body, {"X-Forwarded-For": "127.0.0.1", "Content-Type": "application/json"})
    try: return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as e: return e.code
print([tries("nobody-%d" % n) for n in range(60)])
"""
    assert set(json.loads(python(code))[-5:]) == {429}
    r = requests.post(carrel.url + "/hub/api/users/ada/tokens", json={"auth": {"username": "ada", "password": "ada-pass-12"}}, timeout=30)
    assert r.status_code == 201, r.text


def test_nothing_of_it_works_in_a_strangers_browser(carrel, ada):
    stranger = requests.get(ada.url + "lab", allow_redirects=False, timeout=30)
    assert stranger.status_code == 302 and "/hub/api/oauth2/authorize" in stranger.headers["Location"]
    assert "sandbox" in stranger.headers["Content-Security-Policy"]
    foreign = requests.get(ada.url + "lab", headers={"Authorization": "token " + carrel.token("bob")}, allow_redirects=False, timeout=30)
    assert foreign.status_code == 403 and "default-src 'none'" in foreign.headers["Content-Security-Policy"], "the gateway's own answer"
    assert "sandbox" not in ada.call("GET", "lab", 200).headers["Content-Security-Policy"]
    assert all("Path=/user/ada/" in c for c in stranger.raw.headers.getlist("set-cookie"))


def test_a_killed_gateway_finds_it_again_and_its_kernels_go_on(carrel, ada):
    kernel = Python(ada)
    before = kernel("import os; kept = 41; print(os.getpid())")
    pid = next(j["pid"] for j in jails(carrel) if j["user"] == "ada")
    kernel.ws.start_execute("import time\nopen('begun.txt', 'w')\nfor n in range(60): time.sleep(0.1)\nopen('went-on.txt', 'w').write(str(kept + 1))")
    home = carrel.state / "homes" / "ada"
    wait_until(lambda: (home / "begun.txt").exists(), 30, what="the beginning of the cell")
    carrel.kill9()
    carrel.start()
    wait_until(lambda: ada.call("GET", "api/status").status_code == 200, 30, what="the adopted server")
    assert model(ada)["ready"] and next(j["pid"] for j in jails(carrel) if j["user"] == "ada") == pid
    wait_until(lambda: (home / "went-on.txt").exists() and (home / "went-on.txt").read_text() == "42", 60, what="the rest of the cell")
    kernel.ws = ada.connect(kernel.kid, "json")
    assert kernel("print(os.getpid(), kept + 1)") == f"{before.strip()} 42\n"
    # the way to the hub is there again: it reports that it is used
    seen = model(ada)["last_activity"]
    kernel("1")
    wait_until(lambda: model(ada)["last_activity"] > seen, 40, 0.5, "an activity report after the restart")
    kernel.close()


def test_a_killed_spawnd_finds_it_again(carrel, ada, python):
    spawner = json.loads(carrel.run("jails", "--spawner").stdout)["pid"]
    os.kill(spawner, 9)
    wait_until(lambda: spawned_again(carrel, spawner), 20, 0.1, "the next spawnd")
    assert python("print(6*7)") == "42\n"
    assert [j["profile"] for j in jails(carrel) if j["user"] == "ada"] == ["classic"]
    assert json.loads(python(REACH.replace("PORT", "1").replace("COOKIE", "x")).split("REACH")[1])["hub"] == 200


def spawned_again(carrel, before):
    done = carrel.run("jails", "--spawner", ok=False)
    return done.returncode == 0 and json.loads(done.stdout)["pid"] != before


def left_of(carrel, jail):
    """Where anything of a jail could be left: processes, mounts, groups, sockets, files."""
    groups = subprocess.run(["find", "/sys/fs/cgroup", "-type", "d", "-name", f"*{jail}*"], capture_output=True, text=True).stdout.split()
    files = [str(p) for p in [*carrel.runtime().rglob(f"*{jail}*"), *(carrel.state / "scratch").rglob(f"*{jail}*")]]
    mounts = [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if jail in line]
    sockets = [line for line in pathlib.Path("/proc/net/unix").read_text().splitlines() if jail in line]
    return groups + files + mounts + sockets


def processes(uid):
    return [p.name for p in pathlib.Path("/proc").glob("[0-9]*") if owner(p) == uid]


def owner(path):
    try:
        return path.stat().st_uid
    except OSError:
        return None


def test_a_stop_leaves_nothing(carrel):
    bob = running(carrel, "bob")
    kernel = Python(bob)
    kernel("import subprocess; subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM HUP; sleep 1000']); 1")
    jail = next(j for j in jails(carrel) if j["user"] == "bob")
    token = kernel("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
    assert left_of(carrel, jail["id"]) and (os.getuid() != 0 or processes(jail["uid"]))
    assert "Server at /user/bob/" in [t["note"] for t in bob.hub("GET", "/users/bob/tokens").json()["api_tokens"]]
    stop(bob)
    assert left_of(carrel, jail["id"]) == []
    if os.getuid() == 0:
        assert processes(jail["uid"]) == []
    assert "Server at /user/bob/" not in [t["note"] for t in bob.hub("GET", "/users/bob/tokens").json()["api_tokens"]]
    assert requests.get(carrel.url + "/hub/api/user", headers={"Authorization": "token " + token}, timeout=20).status_code == 403
    assert bob.call("GET", "api/status").status_code == 424


def test_one_that_ends_by_itself_is_stopped_and_the_page_says_why(carrel):
    bob = running(carrel, "bob")
    jail = next(j for j in jails(carrel) if j["user"] == "bob")
    assert bob.call("POST", "api/shutdown").status_code == 200
    wait_until(lambda: model(bob)["stopped"], 30, 0.1, "the hub's notice")
    assert left_of(carrel, jail["id"]) == []
    told = bob.hub("GET", "/users/bob/server/progress").text
    assert '"failed":true' in told and "ended with code 0" in told, told
    assert start(bob)["ready"]
    stop(bob)


@pytest.mark.timeout(PATIENCE * 4)
def test_one_that_cannot_start_says_what_it_wrote(fresh):
    carrel = with_classic("classic-failing", start_seconds=20)
    try:
        carrel.start()
        ada = carrel.server("ada")
        ada.start_server()
        ada.call("PUT", "api/contents/x.py", 201, json={"type": "file", "format": "text", "content": "raise SystemExit('no such luck today')"})
        assert ada.hub("DELETE", "/users/ada/server").status_code == 204
        config = carrel.state / "homes" / "ada" / ".jupyter"
        config.mkdir(exist_ok=True)
        (carrel.state / "homes" / "ada" / "x.py").rename(config / "jupyter_server_config.py")
        os.chmod(config, 0o755)
        failed = start(ada)
        assert failed["stopped"]
        told = ada.hub("GET", "/users/ada/server/progress").text
        assert '"failed":true' in told and "no such luck today" in told, told
        # one that hangs
        (config / "jupyter_server_config.py").write_text("import time\nprint('about to hang', flush=True)\ntime.sleep(1000)")
        assert start(ada)["stopped"]
        told = ada.hub("GET", "/users/ada/server/progress").text
        assert "did not answer within 20 s" in told and "about to hang" in told, told
        assert jails(carrel) == []
        (config / "jupyter_server_config.py").unlink()
        assert start(ada)["ready"]
    finally:
        carrel.stop()


@pytest.mark.timeout(PATIENCE * 3)
def test_one_that_nobody_uses_is_ended(fresh):
    carrel = with_classic("classic-idle", idle_seconds=5, activity_seconds=1)
    try:
        carrel.start()
        ada = carrel.server("ada")
        assert start(ada)["ready"]
        # no request of ours may keep it alive
        wait_until(lambda: jails(carrel) == [], 90, 0.5, "the end of an idle server")
        assert "ended for idleness" in carrel.log()
    finally:
        carrel.stop()


@pytest.mark.timeout(600)
def test_the_hubs_conformance_suite_for_single_user_servers():
    hub = Carrel("classic-conformance", demo=False)
    try:
        for name, password, admin in (("root-admin", "admin-pass-1", True), ("alice", "alice-pass-1", False), ("bob", "bob-pass-1x", False)):
            hub.add_user(name, password, admin)
        hub.set_config("classic", enabled=True, activity_seconds=5)
        hub.start()
        # The suite starts servers without options: the last ones count.
        alice = hub.server("alice")
        assert start(alice)["ready"]
        env = {"HUB_URL": hub.url, "ADMIN_TOKEN": hub.token("root-admin"), "USER2_PASSWORD": "bob-pass-1x", "HUB_WITHOUT": "", "KERNEL_NAME": "python3"}
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "test_singleuser.py"], cwd=SUITE, env={**os.environ, **env},
                              capture_output=True, text=True, timeout=480)
        print(done.stdout[-6000:])
        assert done.returncode == 0 and " passed" in done.stdout and "skipped tests: 0" in done.stdout, done.stdout[-6000:] + done.stderr[-2000:]
    finally:
        hub.stop()


def test_an_ordinary_users_carrel_has_them_too(fresh):
    carrel = fresh("classic-userns", demo=False, uid=64200 if os.getuid() == 0 else None)
    carrel.set_config("classic", enabled=True)
    carrel.start()
    assert json.loads(carrel.run("jails", "--spawner").stdout)["mode"] == "userns"
    ada = carrel.server("ada")
    assert start(ada)["ready"], ada.hub("GET", "/users/ada/server/progress").text
    kernel = Python(ada)
    seen = json.loads(kernel(REACH.replace("PORT", str(carrel.port)).replace("COOKIE", "x")).split("REACH")[1])
    assert seen["hub"] == 200 and seen["interfaces"] == ["lo"] and seen["homes"] == ["ada"] and seen["gateway"].startswith("no"), seen
    kernel.close()
    stop(ada)


def test_off_unless_turned_on(fresh):
    carrel = fresh("classic-off", demo=False).start()
    r = carrel.server("ada").hub("POST", "/users/ada/server", json={"profile": "classic"})
    assert r.status_code == 403 and "[classic]" in r.json()["message"]
