"""Starts the built programs in a scratch state and speaks to them as a person's tools do.

`Carrel` owns one state folder and one gateway on a free loopback port; a session-wide one serves most tests, tests that break things start
their own. Nothing here knows a type of ours: programs, ports and files only.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

import requests

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance" / "server"))
from kernelws import KernelWS  # noqa: E402

PREFIX = pathlib.Path(os.environ.get("CARREL_TEST_PREFIX", "/opt/carrel"))
WORK = pathlib.Path(os.environ.get("CARREL_TEST_DIR", "/var/lib/carrel-test"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(check, seconds=10, step=0.01, what="the condition"):
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(step)


class Carrel:
    """One state folder and, between start() and stop(), one running gateway."""

    def __init__(self, name, demo=True, config_lines="", uid=None):
        # Everything as this ordinary user, as if she had started it; None: as whoever runs the tests.
        self.identity = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        self.environment = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
        self.state = WORK / "state" / name
        if self.state.exists():
            # A run that was killed may have left its jails behind.
            subprocess.run(self.command("stop"), capture_output=True, timeout=60, env=self.environment, **self.identity)
            shutil.rmtree(self.state)
        self.state.parent.mkdir(parents=True, exist_ok=True)
        os.chmod(WORK, 0o755)
        os.chmod(self.state.parent, 0o755)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = WORK / f"{name}.log"
        if uid is not None:
            self.state.mkdir()
            os.chown(self.state, uid, uid)
        self.process = None
        self.passwords = {}
        self.run("init", "--prefix", str(PREFIX), "--port", str(self.port))
        if config_lines:
            self.edit_config(config_lines)
        if demo:
            self.link_demo()

    # -- command line

    def command(self, *words):
        head = 2 if words[0] in ("user", "token", "limits") else 1
        return [str(PREFIX / "bin" / "carrel"), *words[:head], "--state", str(self.state), *words[head:]]

    def run(self, *words, ok=True, **kw):
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120, env=self.environment, **self.identity, **kw)
        assert not ok or done.returncode == 0, f"carrel {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def link_demo(self):
        """The demo data are made once per test run and copied by hard links."""
        made = WORK / "demo"
        engine = [str(PREFIX / "bin" / "carrel-engine"), "demo", "--out", str(made)]
        subprocess.run(engine, check=True, capture_output=True, timeout=300)
        target = self.state / "datasets"
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(made, target, copy_function=os.link)

    def config_path(self):
        return self.state / "carrel.toml"

    def runtime(self):
        """Sockets and jails; where they lie by default is in docs/config.md, paths.runtime."""
        key = hashlib.sha256(str(self.state).encode()).hexdigest()[:8]
        uid = self.identity.get("user", os.getuid())
        return pathlib.Path("/run/carrel" if uid == 0 else f"/tmp/carrel-{uid}") / key

    def edit_config(self, lines):
        """Appends whole tables."""
        with self.config_path().open("a") as f:
            f.write("\n" + lines + "\n")

    def set_config(self, table, **values):
        """Sets keys of a table that the template already has."""
        head = f"\n[{table}]\n"
        text = self.config_path().read_text()
        assert head in text, table
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        self.config_path().write_text(text.replace(head, head + lines, 1))

    # -- life

    def start(self, wait=True):
        log = self.log_path.open("ab")
        self.process = subprocess.Popen(self.command("serve"), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        start_new_session=True, env=self.environment, **self.identity)
        if wait:
            wait_until(self.answers, 20, what="the gateway's first answer")
        return self

    def answers(self):
        assert self.process.poll() is None, "the gateway ended:\n" + self.log()[-3000:]
        try:
            return requests.get(self.url + "/hub/health", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def kill9(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        """Ends the gateway, every jail and the spawner."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.run("stop", ok=False)

    # -- callers

    def add_user(self, name, password, admin=False):
        words = ["user", "add", name, "--password-stdin"] + (["--admin"] if admin else [])
        self.run_in(words, password + "\n")
        self.passwords[name] = password

    def run_in(self, words, text):
        argv = self.command(*words)
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, env=self.environment, **self.identity)
        assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def token(self, user, *words):
        out = self.run_in(["token", "create", user, *words], "")
        return re.search(r"[0-9a-zA-Z_-]{24,}", out).group(0)

    def server(self, user):
        return UserServer(self, user, self.token(user))


class UserServer:
    """The Jupyter Server API of one user, by token: what kernelws.KernelWS expects of a server, and a little more."""

    def __init__(self, carrel, user, token):
        self.carrel, self.user, self.token = carrel, user, token
        self.url = f"{carrel.url}/user/{urllib.parse.quote(user)}/"
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = "token " + token
        self.ws_headers = ["Authorization: token " + token]

    def ws_url(self, path):
        return "ws" + self.url[4:] + path

    def call(self, method, path, expect=None, **kw):
        kw.setdefault("timeout", 60)
        kw.setdefault("allow_redirects", False)
        r = self.http.request(method, self.url + path, **kw)
        if expect is not None:
            assert r.status_code == expect, f"{method} {path}: {r.status_code} {r.text[:500]}"
        return r

    def hub(self, method, path, **kw):
        return self.http.request(method, self.carrel.url + "/hub/api" + path, timeout=30, allow_redirects=False, **kw)

    def start_server(self):
        r = self.hub("POST", f"/users/{self.user}/server")
        assert r.status_code in (201, 202, 400), r.text

    def start_kernel(self, name="carrel", path=None):
        body = {"name": name}
        if path:
            body["path"] = path
        return self.call("POST", "api/kernels", 201, json=body).json()["id"]

    def stop_kernel(self, kid):
        self.call("DELETE", f"api/kernels/{kid}")

    def connect(self, kid, proto="v1", session_id=None):
        return KernelWS(self, kid, proto, session_id)

    def sql(self, ws, code, timeout=60):
        """Runs a cell; gives (reply content, text of the last result or display, all outputs)."""
        reply, out = ws.execute(code, timeout)
        texts = [m["content"]["data"].get("text/plain", "") for m in out if m["header"]["msg_type"] in ("execute_result", "display_data")]
        return reply["content"], (texts[-1] if texts else ""), out

