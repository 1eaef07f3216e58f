#!/usr/bin/env python3
"""Measure a hosted-notebook stack the way its users feel it. See README.md.

Every subcommand prints one JSON line on stdout and a table on stderr.
"""
import argparse, asyncio, collections, hashlib, hmac, json, math, os, pathlib, random, re, shutil, signal, socket, statistics
import subprocess, sys, tempfile, time, uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
TOOLS = pathlib.Path(os.environ.get("NB_TOOLS", str(HERE / "tools/target/release")))

# Cells for a Python kernel; a kernel that speaks another language overrides them by flag or in its target file.
FLOOD = "import sys\nfor i in range(100000):\n    print('line', i, 'of a short text')"
FLUSH = "import sys\nfor i in range({n}):\n    sys.stdout.write('line %d of a short text\\n' % i); sys.stdout.flush()"
BLOB = "from IPython.display import display\ndisplay({'text/plain': 'x' * 50_000_000}, raw=True)"
TRIVIAL = "1+1"


# ------------------------------------------------------------------ small helpers
def pct(v, p):
    if not v:
        return None
    s = sorted(v)
    return s[min(len(s) - 1, max(0, math.ceil(p / 100 * len(s)) - 1))]


def dist(v, unit="ms", scale=1.0):
    """Median, p90, p99, min, max, count of a list, scaled."""
    v = [x * scale for x in v]
    if not v:
        return {"n": 0}
    r = lambda x: round(x, 3)
    return {"n": len(v), "unit": unit, "min": r(min(v)), "p50": r(pct(v, 50)), "p90": r(pct(v, 90)), "p99": r(pct(v, 99)), "max": r(max(v))}


def load():
    a = os.getloadavg()
    return round(a[0], 2)


def show(out):
    def rows(d, pre=""):
        for k, v in d.items():
            if isinstance(v, dict) and "p50" in v:
                yield pre + k, f"p50 {v['p50']}  p90 {v['p90']}  p99 {v['p99']}  min {v['min']}  max {v['max']} {v['unit']} (n={v['n']})"
            elif isinstance(v, dict):
                yield from rows(v, pre + k + ".")
            elif isinstance(v, float):
                yield pre + k, f"{v:.3f}"
            else:
                yield pre + k, str(v)
    rs = list(rows(out))
    w = max((len(k) for k, _ in rs), default=0)
    for k, v in rs:
        print(f"  {k:<{w}}  {v}", file=sys.stderr)
    print(json.dumps(out), flush=True)


# ------------------------------------------------------------------ target
class Target:
    def __init__(self, d):
        self.d = d
        self.name = d.get("name", "target")
        self.kind = d.get("kind", "hub")
        self.url = d["url"].rstrip("/")
        self.token = d.get("token", "")
        self.pids = list(d.get("pids", []))
        self.h = {"Authorization": f"token {self.token}"} if self.token else {}
        self.kernel = d.get("kernel")
        self.trivial = d.get("trivial", TRIVIAL)
        self.flood = d.get("flood", FLOOD)
        self.flush = d.get("flush", FLUSH)
        self.blob = d.get("blob", BLOB)
        self.s = None
        self.sess = {}

    async def __aenter__(self):
        import aiohttp
        self.s = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=300))
        return self

    async def __aexit__(self, *a):
        await self.s.close()

    async def req(self, method, path, ok=(200, 201, 202, 204), **kw):
        async with self.s.request(method, self.url + path, headers=self.h, **kw) as r:
            b = await r.read()
            if ok and r.status not in ok:
                raise RuntimeError(f"{method} {path}: {r.status} {b[:300]!r}")
            return r.status, (json.loads(b) if b and "json" in r.headers.get("Content-Type", "") else b)

    def base(self, user):
        return f"/user/{user}" if self.kind == "hub" else ""

    async def ensure_users(self, n):
        """n named users u0000.. on the hub."""
        names = [f"u{i:04d}" for i in range(n)]
        have, off = set(), 0
        while True:
            _, page = await self.req("GET", f"/hub/api/users?limit=200&offset={off}")
            have |= {u["name"] for u in page}
            if len(page) < 200:
                break
            off += len(page)
        new = [x for x in names if x not in have]
        for i in range(0, len(new), 100):
            await self.req("POST", "/hub/api/users", json={"usernames": new[i:i + 100]})
        return names

    async def start_server(self, user):
        """Seconds from the POST that asks for a server to the first good answer from it."""
        if self.kind != "hub":
            return 0.0
        st, u = await self.req("GET", f"/hub/api/users/{user}", ok=(200, 404))
        if st == 404:
            await self.req("POST", f"/hub/api/users/{user}")
        home = self.d.get("home")
        if home:
            pathlib.Path(home, user).mkdir(parents=True, exist_ok=True)
        t = time.perf_counter()
        st, b = await self.req("POST", f"/hub/api/users/{user}/server", ok=(201, 202, 400))
        if st == 400 and b"already running" not in json.dumps(b).encode():
            raise RuntimeError(f"spawn {user}: {b}")
        if st == 202:
            await self.progress(self.s, f"/hub/api/users/{user}/server/progress", self.h)
        while True:
            async with self.s.get(self.url + f"/user/{user}/api/status", headers=self.h, allow_redirects=False) as r:
                await r.read()
                if r.status == 200:
                    return time.perf_counter() - t
            if time.perf_counter() - t > 300:
                raise RuntimeError(f"{user}: server never answered")
            await asyncio.sleep(0.005)

    async def progress(self, s, path, headers):
        async with s.get(self.url + path, headers=headers) as r:
            async for line in r.content:
                if line.startswith(b"data:"):
                    e = json.loads(line[5:])
                    if e.get("failed"):
                        raise RuntimeError(f"spawn failed: {e}")
                    if e.get("ready"):
                        return e

    async def stop_server(self, user):
        if self.kind != "hub":
            return
        await self.req("DELETE", f"/hub/api/users/{user}/server", ok=(202, 204, 400, 404))
        for _ in range(400):
            _, u = await self.req("GET", f"/hub/api/users/{user}")
            if not u.get("servers") and not u.get("pending"):
                return
            await asyncio.sleep(0.05)

    async def new_kernel(self, user):
        name = self.kernel or "python3"
        if not self.d.get("sessions_only"):
            st, k = await self.req("POST", self.base(user) + "/api/kernels", ok=(200, 201, 405), json={"name": name})
            if st != 405:
                return k["id"]
            self.d["sessions_only"] = True
        _, k = await self.req("POST", self.base(user) + "/api/sessions", json={"kernel": {"name": name}, "name": "b", "path": f"b{uuid.uuid4().hex}.ipynb", "type": "notebook"})
        self.sess[k["kernel"]["id"]] = k["id"]
        return k["kernel"]["id"]

    async def del_kernel(self, user, kid):
        if kid in self.sess:
            await self.req("DELETE", self.base(user) + f"/api/sessions/{self.sess.pop(kid)}", ok=None)
        else:
            await self.req("DELETE", self.base(user) + f"/api/kernels/{kid}", ok=None)

    def ws(self, user, kid, legacy=False):
        return {"url": self.url.replace("http", "ws", 1) + self.base(user) + f"/api/kernels/{kid}/channels?session_id={uuid.uuid4()}",
                "headers": self.h, "legacy": legacy}

    async def first_reply(self, user, kid, code):
        """Open the kernel's websocket, run a cell, wait for its reply and for idle."""
        w = self.ws(user, kid)
        mid = uuid.uuid4().hex
        msg = {"channel": "shell", "header": {"msg_id": mid, "session": w["url"].rsplit("=", 1)[1], "username": "bench", "msg_type": "execute_request",
               "version": "5.3", "date": "2026-01-01T00:00:00Z"}, "parent_header": {}, "metadata": {}, "buffers": [],
               "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}}
        text = ""
        async with self.s.ws_connect(w["url"], headers=self.h, max_msg_size=0) as ws:
            await ws.send_str(json.dumps(msg))
            reply = idle = None
            async for m in ws:
                if m.type.name not in ("TEXT", "BINARY"):
                    continue
                d = json.loads(m.data) if m.type.name == "TEXT" else {}
                if d.get("parent_header", {}).get("msg_id") != mid:
                    continue
                ty = d["header"]["msg_type"]
                if ty == "execute_reply":
                    reply = time.perf_counter()
                elif ty == "stream":
                    text += d["content"]["text"]
                elif ty == "status" and d["content"]["execution_state"] == "idle":
                    idle = time.perf_counter()
                if reply and idle:
                    return reply, text
        raise RuntimeError("socket closed before the reply")

    def procs(self):
        import peers
        if not self.pids:
            return []
        f = self.d.get("_file")
        if f:
            self.d = {**self.d, **json.loads(pathlib.Path(f).read_text())}
            self.pids = self.d["pids"]
        return peers.ours({"pids": self.pids, "kind": self.kind, "home": self.d.get("home")})


def wshot(cmd, job, timeout=900):
    p = subprocess.run([str(TOOLS / "wshot"), cmd], input=json.dumps(job) + "\n", capture_output=True, text=True, timeout=timeout)
    if not p.stdout.strip():
        raise RuntimeError(f"wshot {cmd}: {p.stderr[-500:]}")
    return json.loads(p.stdout.strip().splitlines()[-1])


async def awshot(cmd, job):
    return await asyncio.get_running_loop().run_in_executor(None, wshot, cmd, job)


# ------------------------------------------------------------------ memory
def role(cmd):
    c = " ".join(cmd)
    if "kernelgateway" in c:
        return "server"
    for r, pats in (("kernel", ("ipykernel", "xpython", "floorkernel", "evcxr", "-kernel", " kernel ")), ("proxy", ("configurable-http-proxy",)),
                    ("user_server", ("jupyterhub-singleuser", "jupyterhub.singleuser", "jupyter-labhub")), ("hub", ("bin/jupyterhub",))):
        if any(p in c for p in pats):
            return r
    return "server"


def pss(pids):
    """PSS, private and RSS of each process, KiB, by role."""
    out = collections.defaultdict(lambda: [0, 0, 0, 0])
    for p in pids:
        try:
            cmd = open(f"/proc/{p}/cmdline").read().split("\0")
            t = open(f"/proc/{p}/smaps_rollup").read()
        except OSError:
            continue
        if not cmd[0]:
            continue
        g = lambda k: int((re.search(rf"^{k}:\s+(\d+)", t, re.M) or [0, 0])[1])
        o = out[role(cmd)]
        o[0] += g("Pss"); o[1] += g("Private_Dirty") + g("Private_Clean"); o[2] += g("Rss"); o[3] += 1
    d = {k: {"procs": v[3], "pss_mib": round(v[0] / 1024, 2), "private_mib": round(v[1] / 1024, 2), "rss_mib": round(v[2] / 1024, 2)} for k, v in out.items()}
    d["total_pss_mib"] = round(sum(v[0] for v in out.values()) / 1024, 2)
    return d


def cpu(pids):
    """CPU seconds used so far by these processes and by children they have waited for.

    Wall times move with whatever else the machine does; this moves far less."""
    n = 0
    for p in pids:
        try:
            n += sum(int(x) for x in open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[11:15])
        except OSError:
            pass
    return n / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------ 1 spawn
async def cmd_spawn(a, t):
    """Login to server ready: the API path and the path a browser takes, each for fresh users."""
    import aiohttp
    res = {"api_s": [], "login_s": [], "browser_s": [], "cpu": []}
    if t.kind != "hub":
        return {"skipped": "not a hub"}
    tag = uuid.uuid4().hex[:5]

    async def api(i):
        u = f"s{tag}a{i}"
        res["api_s"].append(await t.start_server(u))
        return u

    async def browser(i):
        u = f"s{tag}b{i}"
        home = t.d.get("home")
        if home:
            pathlib.Path(home, u).mkdir(parents=True, exist_ok=True)
        if t.d.get("adduser"):  # a hub with real passwords: make the account first, outside the measured time
            subprocess.run([*t.d["adduser"], u], input="bench-pass-1\n", text=True, check=True, capture_output=True)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=300)) as s:
            nav = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
            t0 = time.perf_counter()
            async with s.get(t.url + "/hub/login", headers=nav) as r:
                m = re.search(r'name="_xsrf" value="([^"]+)"', await r.text())
            x = m[1] if m else ""
            async with s.post(t.url + "/hub/login", params={"_xsrf": x}, data={"username": u, "password": "bench-pass-1", "_xsrf": x}, headers=nav, allow_redirects=False) as r:
                await r.read()
                if r.status not in (302, 303):
                    raise RuntimeError(f"login: {r.status}")
            res["login_s"].append(time.perf_counter() - t0)
            async with s.get(t.url + "/hub/spawn", headers=nav) as r:
                await r.read()
                where = str(r.url.path)
            if "spawn-pending" in where:
                await t.progress(s, f"/hub/api/users/{u}/server/progress?_xsrf={x}", {"Referer": t.url + where, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"})
            while True:
                async with s.get(t.url + f"/user/{u}/lab", headers=nav) as r:
                    body = await r.text()
                    if r.status == 200 and r.url.path.startswith(f"/user/{u}/"):
                        break
                if time.perf_counter() - t0 > 300:
                    raise RuntimeError("never ready")
                await asyncio.sleep(0.01)
            res["browser_s"].append(time.perf_counter() - t0)
        return u

    users = []
    try:
        for f in (api, browser):
            for i in range(0, a.n, a.concurrency):
                c0 = cpu(t.procs())
                got = await asyncio.gather(*(f(i + j) for j in range(min(a.concurrency, a.n - i))))
                users += got
                if f is api:
                    res["cpu"].append((cpu(t.procs()) - c0) / len(got))
                if not a.keep:
                    await asyncio.gather(*(t.stop_server(u) for u in got))
                    users = []
    finally:
        for u in users if not a.keep else []:
            await t.stop_server(u)
    return {"concurrency": a.concurrency, "api_ready": dist(res["api_s"], "ms", 1e3), "cpu_per_spawn": dist(res["cpu"], "ms", 1e3), "login_only": dist(res["login_s"], "ms", 1e3),
            "browser_login_to_lab": dist(res["browser_s"], "ms", 1e3)}


# ------------------------------------------------------------------ 2 cold kernel
async def cmd_cold(a, t):
    await t.start_server(a.user)
    post, total, cp = [], [], []
    for i in range(a.n):
        c0 = cpu(t.procs())
        t0 = time.perf_counter()
        k = await t.new_kernel(a.user)
        t1 = time.perf_counter()
        r, _ = await t.first_reply(a.user, k, t.trivial)
        post.append(t1 - t0)
        total.append(r - t0)
        cp.append(cpu(t.procs()) - c0)
        await t.del_kernel(a.user, k)
    return {"post_kernels": dist(post, "ms", 1e3), "post_to_first_reply": dist(total, "ms", 1e3), "cpu_per_start": dist(cp, "ms", 1e3)}


# ------------------------------------------------------------------ 3 execute round trip
async def cmd_exec(a, t):
    users = [f"u{i:04d}" for i in range(a.users)] if t.kind == "hub" else ["-"] * a.users
    sem = asyncio.Semaphore(a.start_parallel)

    async def prep(u):
        async with sem:
            await t.start_server(u)
            k = await t.new_kernel(u)
            await t.first_reply(u, k, t.trivial)
            return k
    kids = await asyncio.gather(*(prep(u) for u in users))
    c0 = cpu(t.procs())
    try:
        r = await awshot("exec", {"targets": [t.ws(u, k, a.legacy) for u, k in zip(users, kids)], "code": t.trivial, "rounds": a.rounds, "warmup": 5, "think_ms": a.think})
        c1 = cpu(t.procs())
    finally:
        if not a.keep:
            await asyncio.gather(*(t.del_kernel(u, k) for u, k in zip(users, kids)), return_exceptions=True)
    return {"users": a.users, "cpu_ms_per_cell": round((c1 - c0) * 1e3 / max(1, len(r["done_us"]) + 5 * a.users), 3), "reply": dist(r["reply_us"], "ms", 1e-3), "reply_and_idle": dist(r["done_us"], "ms", 1e-3),
            "cells_per_s": round(len(r["done_us"]) / r["wall_s"], 1) if r["wall_s"] else None, "errors": r["errors"][:3], "n_errors": len(r["errors"])}


# ------------------------------------------------------------------ 4 iopub
async def cmd_iopub(a, t):
    await t.start_server(a.user)
    out = {}
    cells = {"lines_100k": t.flood, f"flushed_{a.flushed}": t.flush.replace("{n}", str(a.flushed)), "blob_50mb": t.blob}
    for name, code in cells.items():
        if a.only and a.only not in name:
            continue
        runs = []
        for _ in range(a.repeat):
            k = await t.new_kernel(a.user)
            await t.first_reply(a.user, k, t.trivial)
            c0 = cpu(t.procs())
            r = await awshot("flood", {"targets": [t.ws(a.user, k, a.legacy)], "code": code, "warmup": 1, "timeout_s": a.timeout})
            c1 = cpu(t.procs())
            await t.del_kernel(a.user, k)
            if "error" in r:
                runs.append({"error": r["error"]})
                continue
            s = max(r["idle_us"] or 0, r["last_us"] or 0, r["reply_us"]) / 1e6
            runs.append({"s": s, "cpu": c1 - c0, "msgs": r["msgs"], "lines": r["lines"], "mb": r["bytes"] / 1e6, "v1": r["v1"], "kinds": r["kinds"], "status": r["status"]})
        good = [x for x in runs if "s" in x]
        if not good:
            out[name] = {"error": runs[0]["error"] if runs else "no run"}
            continue
        m = sorted(good, key=lambda x: x["s"])[len(good) // 2]
        out[name] = {"runs": len(good), "cpu_s": round(statistics.median(x["cpu"] for x in good), 3), "seconds": round(m["s"], 4), "spread_s": [round(min(x["s"] for x in good), 4), round(max(x["s"] for x in good), 4)],
                     "ws_msgs": m["msgs"], "lines_received": m["lines"], "mb": round(m["mb"], 3), "msgs_per_s": round(m["msgs"] / m["s"], 1),
                     "lines_per_s": round(m["lines"] / m["s"], 1), "mb_per_s": round(m["mb"] / m["s"], 2), "v1_protocol": m["v1"], "status": m["status"]}
    return out


# ------------------------------------------------------------------ 5 REST
def wrk(url, token, secs, conns):
    p = subprocess.run(["wrk", "-t1", f"-c{conns}", f"-d{secs}s", "--latency", "--timeout", "30s", "-H", f"Authorization: token {token}", url],
                       capture_output=True, text=True)
    o = p.stdout
    g = lambda pat: (re.search(pat, o) or [None, None])[1]

    def ms(x):
        m = re.match(r"([\d.]+)(us|ms|s|m)$", x or "")
        return round(float(m[1]) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[m[2]], 3) if m else None
    r = {"requests": int(g(r"(\d+) requests in") or 0), "req_per_s": float(g(r"Requests/sec:\s+([\d.]+)") or 0), "p50_ms": ms(g(r"50%\s+(\S+)")), "p99_ms": ms(g(r"99%\s+(\S+)"))}
    bad = g(r"Non-2xx or 3xx responses: (\d+)")
    se = g(r"Socket errors: (.*)")
    if bad: r["non_2xx"] = int(bad)
    if se: r["socket_errors"] = se
    return r


async def cmd_rest(a, t):
    out, paths = {}, {}
    if t.kind == "hub":
        await t.ensure_users(a.users)
        paths["hub_users_default_page"] = "/hub/api/users"
        paths["hub_users_limit200"] = "/hub/api/users?limit=200"
        paths["hub_api_root"] = "/hub/api/"
    await t.start_server(a.user)
    b = t.base(a.user)
    root = pathlib.Path(t.d["home"], a.user) if t.kind == "hub" and t.d.get("home") else pathlib.Path(t.d["home"]) if t.d.get("home") else None
    if root:
        d = root / "many"
        if not d.exists():
            d.mkdir(parents=True)
            for i in range(a.files):
                (d / f"file{i:04d}.txt").write_text("hello\n")
    paths["contents_1000"] = f"{b}/api/contents/many"
    paths["status"] = f"{b}/api/status"
    paths["kernelspecs"] = f"{b}/api/kernelspecs"
    for name, p in paths.items():
        async with t.s.get(t.url + p, headers=t.h, allow_redirects=False) as r:
            body = await r.read()
            if r.status != 200:
                out[name] = {"unavailable": r.status}
                continue
        one = []
        for _ in range(3):
            t0 = time.perf_counter()
            async with t.s.get(t.url + p, headers=t.h) as r:
                await r.read()
            one.append(time.perf_counter() - t0)
        alone = statistics.median(one)
        c0 = cpu(t.procs())
        r = await asyncio.get_running_loop().run_in_executor(None, wrk, t.url + p, t.token, a.secs, a.conns)
        r["cpu_ms_per_req"] = round((cpu(t.procs()) - c0) * 1e3 / max(1, r["requests"]), 3)
        r["body_bytes"] = len(body)
        r["alone_ms"] = round(alone * 1e3, 2)
        out[name] = r
    if t.kind == "hub":
        t0 = time.perf_counter()
        n = off = 0
        while True:
            _, page = await t.req("GET", f"/hub/api/users?limit=200&offset={off}")
            n += len(page); off += len(page)
            if len(page) < 200:
                break
        out["hub_users_all_pages"] = {"users": n, "ms": round((time.perf_counter() - t0) * 1e3, 1)}
    return out


# ------------------------------------------------------------------ 6 memory
async def cmd_mem(a, t):
    levels = [int(x) for x in a.levels.split(",")]
    out, kids, started = {"levels": {}}, [], 0
    sem = asyncio.Semaphore(a.start_parallel)

    async def start(u):
        async with sem:
            await t.start_server(u)

    async def kern(u):
        async with sem:
            k = await t.new_kernel(u)
            await t.first_reply(u, k, t.trivial)
            return u, k
    for n in levels:
        us = [f"u{i:04d}" for i in range(n)] if t.kind == "hub" else ["-"] * n
        new = us[started:]
        started = n
        if t.kind == "hub" and new:
            await asyncio.gather(*(start(u) for u in new))
            await asyncio.sleep(a.settle)
            out["levels"][f"{n}_users_{len(kids)}_kernels"] = pss(t.procs())
        if new:
            kids += await asyncio.gather(*(kern(u) for u in new))
        await asyncio.sleep(a.settle)
        out["levels"][f"{n}_users_{len(kids)}_kernels"] = pss(t.procs())
        print(f"  at {n}: {out['levels'][f'{n}_users_{len(kids)}_kernels']}", file=sys.stderr)
    lo, hi = out["levels"][f"{levels[0]}_users_{levels[0]}_kernels"], out["levels"][f"{levels[-1]}_users_{levels[-1]}_kernels"]
    d = levels[-1] - levels[0]
    if d:
        per = (hi["total_pss_mib"] - lo["total_pss_mib"]) / d
        out["per_user_with_kernel_mib"] = round(per, 2)
        out["users_per_gib"] = round(1024 / per, 1) if per > 0 else None
        for r in ("user_server", "kernel", "server", "hub", "proxy"):
            if r in hi:
                out[f"{r}_mib_each"] = round(hi[r]["pss_mib"] / max(1, hi[r]["procs"]), 2)
    out["fixed_mib"] = lo["total_pss_mib"]
    if a.exec_rounds and kids:
        c0 = cpu(t.procs())
        r = await awshot("exec", {"targets": [t.ws(u, k) for u, k in kids], "code": t.trivial, "rounds": a.exec_rounds, "warmup": 3})
        out["exec_concurrent"] = {"users": len(kids), "reply": dist(r["reply_us"], "ms", 1e-3), "reply_and_idle": dist(r["done_us"], "ms", 1e-3),
                                  "cells_per_s": round(len(r["done_us"]) / r["wall_s"], 1), "cpu_ms_per_cell": round((cpu(t.procs()) - c0) * 1e3 / (len(r["done_us"]) + 3 * len(kids)), 3), "n_errors": len(r["errors"])}
        out["after_exec"] = pss(t.procs())
    if not a.keep:
        await asyncio.gather(*(t.del_kernel(u, k) for u, k in kids), return_exceptions=True)
        if t.kind == "hub":
            await asyncio.gather(*(t.stop_server(u) for u, _ in kids), return_exceptions=True)
    return out


# ------------------------------------------------------------------ 7 hub restart
async def cmd_restart(a, t):
    if t.kind != "hub" or not t.d.get("restart") or not t.d.get("hub_pid"):
        return {"skipped": "needs a hub target file with hub_pid and restart"}
    await t.start_server(a.user)
    k = await t.new_kernel(a.user)
    await t.first_reply(a.user, k, a.set_cell)
    downs, users, survived, reach = [], [], 0, 0
    for i in range(a.n):
        t.procs()
        pid = json.loads(pathlib.Path(t.d["_file"]).read_text())["hub_pid"] if t.d.get("_file") else t.d["hub_pid"]
        os.kill(pid, signal.SIGKILL if a.kill else signal.SIGTERM)
        while True:
            try:
                s = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
                if s == "Z":
                    break
            except OSError:
                break
            await asyncio.sleep(0.01)
        try:  # while the hub is away, does the user's server still answer?
            async with t.s.get(t.url + f"/user/{a.user}/api/status", headers=t.h, allow_redirects=False) as r:
                reach += r.status == 200
        except Exception:
            pass
        t0 = time.perf_counter()
        subprocess.run(t.d["restart"], check=True, capture_output=True)
        while True:
            try:
                async with t.s.get(t.url + "/hub/api/user", headers=t.h) as r:
                    if r.status == 200 or (r.status == 404 and b"user" in await r.read()):
                        break
            except Exception:
                pass
            try:
                async with t.s.get(t.url + "/hub/api/users?limit=1", headers=t.h) as r:
                    if r.status == 200:
                        break
            except Exception:
                pass
            await asyncio.sleep(0.01)
        downs.append(time.perf_counter() - t0)
        while True:
            async with t.s.get(t.url + f"/user/{a.user}/api/status", headers=t.h, allow_redirects=False) as r:
                if r.status == 200:
                    break
            if time.perf_counter() - t0 > 120:
                break
            await asyncio.sleep(0.01)
        users.append(time.perf_counter() - t0)
        try:
            _, text = await asyncio.wait_for(t.first_reply(a.user, k, a.get_cell), 60)
            survived += "4242" in text
        except Exception as e:
            print("  after restart:", e, file=sys.stderr)
    return {"signal": "KILL" if a.kill else "TERM", "api_answers_after": dist(downs, "ms", 1e3), "user_server_answers_after": dist(users, "ms", 1e3),
            "user_server_reachable_while_down": f"{reach}/{a.n}", "kernel_state_survived": f"{survived}/{a.n}"}


# ------------------------------------------------------------------ 8 idle websockets
async def cmd_idlews(a, t):
    users = [f"u{i:04d}" for i in range(a.users)] if t.kind == "hub" else ["-"] * a.users
    kids = []
    for u in users:
        await t.start_server(u)
        k = await t.new_kernel(u)
        await t.first_reply(u, k, t.trivial)
        kids.append(k)
    probe = {"targets": [t.ws(users[0], kids[0])], "code": t.trivial, "rounds": a.rounds, "warmup": 5}
    await asyncio.sleep(1)
    before, base = pss(t.procs()), await awshot("exec", probe)
    fd0 = sum(nfd(p) for p in t.procs())
    job = {"targets": [t.ws(users[i % len(users)], kids[i % len(users)]) for i in range(a.n)], "timeout_s": 120, "connect_parallel": a.parallel}
    p = subprocess.Popen([str(TOOLS / "wshot"), "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdin.write(json.dumps(job) + "\n"); p.stdin.flush()
    r = json.loads(await asyncio.get_running_loop().run_in_executor(None, p.stdout.readline))
    await asyncio.sleep(2)
    after, fd1 = pss(t.procs()), sum(nfd(x) for x in t.procs())
    try:
        held = await asyncio.wait_for(awshot("exec", {**probe, "targets": [t.ws(users[0], kids[0])], "timeout_s": 60}), 180)
    except Exception as e:
        held = {"reply_us": [], "done_us": [], "errors": [str(e)]}
    p.stdin.close()
    tail = p.stdout.read().strip()
    p.wait()
    for u, k in zip(users, kids):
        await t.del_kernel(u, k)
    return {"asked": a.n, "opened": r["open"], "still_open": json.loads(tail)["alive"] if tail else None, "kernels": a.users, "errors": dict(list(r["errors"].items())[:3]), "open_wall_s": round(r["wall_s"], 2),
            "connect": dist(r["connect_us"], "ms", 1e-3), "pss_before_mib": before["total_pss_mib"], "pss_after_mib": after["total_pss_mib"],
            "kib_per_socket": round((after["total_pss_mib"] - before["total_pss_mib"]) * 1024 / max(1, r["open"]), 1),
            "fds_per_socket": round((fd1 - fd0) / max(1, r["open"]), 1),
            "exec_before": dist(base["done_us"], "ms", 1e-3), "exec_while_held": dist(held["done_us"], "ms", 1e-3), "exec_errors": held["errors"][:2]}


def nfd(p):
    try:
        return len(os.listdir(f"/proc/{p}/fd"))
    except OSError:
        return 0


# ------------------------------------------------------------------ 9 kernel alone
class RawKernel:
    """A kernel process and plain zmq sockets to it, with as little client work as we can do."""

    def __init__(self, argv, env=None, transport="tcp"):
        import zmq
        self.zmq = zmq
        self.ctx = zmq.Context()
        self.dir = tempfile.mkdtemp(prefix="nbk")
        self.key = uuid.uuid4().hex.encode()
        self.sess = uuid.uuid4().hex
        names = ("shell", "iopub", "stdin", "control", "hb")
        if transport == "tcp":
            socks = [socket.socket() for _ in names]
            for s in socks:
                s.bind(("127.0.0.1", 0))
            ports = [s.getsockname()[1] for s in socks]
            for s in socks:
                s.close()
            ip = "127.0.0.1"
        else:
            ports, ip = [1, 2, 3, 4, 5], self.dir + "/k"
        self.c = {"transport": transport, "ip": ip, "key": self.key.decode(), "signature_scheme": "hmac-sha256", "kernel_name": ""}
        self.c.update({f"{n}_port": p for n, p in zip(names, ports)})
        f = self.dir + "/conn.json"
        with open(f, "w") as fh:
            json.dump(self.c, fh)
        argv = [x.replace("{connection_file}", f).replace("{resource_dir}", "") for x in argv]
        self.t0 = time.perf_counter()
        self.p = subprocess.Popen(argv, env={**{k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")}, **(env or {})},
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        ep = lambda n: (f"tcp://{ip}:{self.c[n + '_port']}" if transport == "tcp" else f"ipc://{ip}-{self.c[n + '_port']}")
        self.shell, self.iopub = self.ctx.socket(zmq.DEALER), self.ctx.socket(zmq.SUB)
        self.shell.linger = self.iopub.linger = 0
        for s in (self.shell, self.iopub):
            s.setsockopt(zmq.RECONNECT_IVL, 2)
        self.iopub.setsockopt(zmq.RCVHWM, 0)
        self.iopub.subscribe(b"")
        self.shell.connect(ep("shell")); self.iopub.connect(ep("iopub"))
        self.poll = zmq.Poller()
        self.poll.register(self.shell, zmq.POLLIN); self.poll.register(self.iopub, zmq.POLLIN)

    def send(self, ty, content):
        mid = uuid.uuid4().hex
        h = json.dumps({"msg_id": mid, "session": self.sess, "username": "b", "date": "2026-01-01T00:00:00.000000Z", "msg_type": ty, "version": "5.3"}).encode()
        parts = [h, b"{}", b"{}", json.dumps(content).encode()]
        m = hmac.new(self.key, digestmod=hashlib.sha256)
        for x in parts:
            m.update(x)
        self.shell.send_multipart([b"<IDS|MSG>", m.hexdigest().encode()] + parts)
        return mid.encode()

    def run(self, code=None, timeout=60.0, count=False):
        """Seconds to reply, seconds to idle, output messages, bytes."""
        zmq = self.zmq
        t = time.perf_counter()
        mid = self.send(*(("kernel_info_request", {}) if code is None else
                          ("execute_request", {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True})))
        reply = idle = None
        n = size = lines = 0
        while reply is None or idle is None:
            ev = dict(self.poll.poll(int(max(1, (t + timeout - time.perf_counter()) * 1e3))))
            if not ev:
                raise TimeoutError
            if self.iopub in ev:
                for _ in range(1000):
                    try:
                        f = self.iopub.recv_multipart(zmq.NOBLOCK)
                    except zmq.Again:
                        break
                    d = f.index(b"<IDS|MSG>")
                    if mid not in f[d + 3]:
                        continue
                    hd = f[d + 2]
                    if b'"status"' in hd:
                        if b'"idle"' in f[d + 5]:
                            idle = time.perf_counter() - t
                    elif b'"stream"' in hd or b'"display_data"' in hd:
                        n += 1
                        size += len(f[d + 5])
                        lines += f[d + 5].count(b"\\n")
            if self.shell in ev:
                f = self.shell.recv_multipart()
                if any(mid in x for x in f):
                    reply = time.perf_counter() - t
        return reply, idle, n, size, lines

    def drain(self, code, timeout=60.0):
        """As run with count, but counted by tools/zdrain: a Python client would be the slowest part."""
        d = subprocess.Popen([str(TOOLS / "zdrain"), f"127.0.0.1:{self.c['iopub_port']}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            d.stdout.readline()
            time.sleep(0.3)  # a subscription has no acknowledgement
            self.poll.unregister(self.iopub)
            self.iopub.close()
            time.sleep(0.1)
            t = time.perf_counter()
            mid = self.send("execute_request", {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True})
            d.stdin.write(mid.decode() + "\n"); d.stdin.flush()
            if not self.shell.poll(int(timeout * 1e3)):
                raise TimeoutError
            self.shell.recv_multipart()
            reply = time.perf_counter() - t
            try:
                r = json.loads(d.communicate(timeout=timeout)[0].strip().splitlines()[-1])
            except subprocess.TimeoutExpired:
                raise RuntimeError("no idle: the kernel lost messages")
            return reply, max(r["s"], reply), r["msgs"], r["bytes"], r["lines"]
        finally:
            d.kill(); d.wait()
            self.iopub = self.ctx.socket(self.zmq.SUB)
            self.iopub.linger = 0
            self.iopub.setsockopt(self.zmq.RCVHWM, 0)
            self.iopub.subscribe(b"")
            self.iopub.connect(f"tcp://127.0.0.1:{self.c['iopub_port']}")
            self.poll.register(self.iopub, self.zmq.POLLIN)

    def ready(self, timeout=60.0):
        """Seconds from exec of the kernel to its first kernel_info_reply."""
        zmq = self.zmq
        self.send("kernel_info_request", {})
        end = time.perf_counter() + timeout
        while time.perf_counter() < end:
            if self.shell.poll(100):
                self.shell.recv_multipart()
                t = time.perf_counter() - self.t0
                # Wait until iopub is joined up too, so that later runs see their idle.
                for _ in range(50):
                    try:
                        self.run(None, 0.5)
                        return t
                    except TimeoutError:
                        continue
                raise RuntimeError("iopub silent")
            if self.p.poll() is not None:
                raise RuntimeError(f"kernel exited {self.p.returncode}")
        raise TimeoutError

    def stop(self):
        self.p.kill(); self.p.wait()
        self.ctx.destroy(0)
        shutil.rmtree(self.dir, ignore_errors=True)


async def cmd_kernel(a, t=None):
    argv = json.loads(a.argv) if a.argv else None
    if not argv:
        from jupyter_client.kernelspec import KernelSpecManager
        argv = KernelSpecManager().get_kernel_spec(a.kernel).argv
    start, first, pssv, cpu = [], [], [], []
    for i in range(a.n):
        k = RawKernel(argv, transport=a.transport)
        try:
            start.append(k.ready())
            first.append(k.run(a.trivial)[0])
            await asyncio.sleep(0.5)
            import peers
            d = pss(peers.tree([k.p.pid]))
            pssv.append(d["total_pss_mib"])
            st = open(f"/proc/{k.p.pid}/stat").read().rsplit(")", 1)[1].split()
            cpu.append((int(st[11]) + int(st[12])) / os.sysconf("SC_CLK_TCK"))
        finally:
            k.stop()
    k = RawKernel(argv, transport=a.transport)
    try:
        k.ready()
        for _ in range(20):
            k.run(a.trivial)
        rr = [k.run(a.trivial) for _ in range(a.rounds)]
        out = {"argv0": os.path.basename(argv[0]), "transport": a.transport, "start_to_kernel_info": dist(start, "ms", 1e3), "start_cpu": dist(cpu, "s"), "first_execute": dist(first, "ms", 1e3),
               "idle_pss": dist(pssv, "MiB"), "exec_reply": dist([r[0] for r in rr], "us", 1e6), "exec_reply_and_idle": dist([max(r[0], r[1]) for r in rr], "us", 1e6)}
        for name, code in (("lines_100k", a.flood), ("flushed", a.flush.replace("{n}", str(a.flushed))), ("blob_50mb", a.blob)):
            if not code or code == "-":
                continue
            best = []
            for _ in range(a.repeat):
                r = k.drain(code, 180) if a.transport == "tcp" else k.run(code, 180, True)
                best.append((max(r[0], r[1]), r))
            best.sort(key=lambda x: x[0])
            s, r = best[len(best) // 2]
            out[name] = {"runs": len(best), "seconds": round(s, 4), "spread_s": [round(best[0][0], 4), round(best[-1][0], 4)], "msgs": r[2], "lines": r[4], "msgs_per_s": round(r[2] / s, 1),
                         "lines_per_s": round(r[4] / s, 1), "mb_per_s": round(r[3] / 1e6 / s, 2)}
    finally:
        k.stop()
    return out


# ------------------------------------------------------------------ floor and self-check
async def cmd_floor(a, t=None):
    """What this machine can do at best: process start, loopback, zmq. No peer involved."""
    j = lambda *c: json.loads(subprocess.run([str(TOOLS / c[0]), *map(str, c[1:])], capture_output=True, text=True, check=True).stdout)
    out = {}
    child = a.child or str(TOOLS / "hello")
    for m in ("plain", "ns", "sandbox"):
        try:
            r = j("floorspawn", m, a.n, "--", child)
            out[f"spawn_{m}_first_byte"] = dist(r["first_byte_us"], "us")
        except subprocess.CalledProcessError as e:
            out[f"spawn_{m}_first_byte"] = {"error": e.stderr[-200:]}
    for c in (["python3", "-c", "print(1)"], ["python3", "-S", "-c", "print(1)"]):
        exe = sys.executable
        r = j("floorspawn", "plain", 10, "--", exe, *c[1:])
        out["spawn_python" + ("_S" if "-S" in c else "")] = dist(r["first_byte_us"], "us")
    for m in ("tcp", "unix", "zmq-tcp", "zmq-ipc"):
        out[f"rtt_{m}"] = dist(j("rtt", m, 5000)["rtt_us"], "us")
    import zmq, threading
    ctx = zmq.Context()
    s = ctx.socket(zmq.ROUTER); port = s.bind_to_random_port("tcp://127.0.0.1")

    def echo():
        while True:
            f = s.recv_multipart()
            if f[-1] == b"q":
                return
            s.send_multipart(f)
    th = threading.Thread(target=echo); th.start()
    d = ctx.socket(zmq.DEALER); d.connect(f"tcp://127.0.0.1:{port}")
    v = []
    for _ in range(2000):
        t0 = time.perf_counter(); d.send_multipart([b"<IDS|MSG>", b"x" * 200, b"y" * 200]); d.recv_multipart(); v.append(time.perf_counter() - t0)
    d.send_multipart([b"q"]); th.join(); ctx.destroy(0)
    out["rtt_pyzmq_tcp"] = dist(v, "us", 1e6)
    return out


async def cmd_selfcheck(a, t):
    """The generator against the canned floor server: its own ceiling. Point --target at floor.json."""
    out = {}
    k = await t.new_kernel("-")
    for leg in (False, True):
        n = "legacy" if leg else "v1"
        r = await awshot("exec", {"targets": [t.ws("-", k, leg)], "code": "1", "rounds": 2000, "warmup": 50})
        out[f"exec_1_{n}"] = dist(r["done_us"], "us")
        r = await awshot("exec", {"targets": [t.ws("-", k, leg)] * 50, "code": "1", "rounds": 200, "warmup": 5})
        out[f"exec_50_{n}"] = {**dist(r["done_us"], "us"), "cells_per_s": round(len(r["done_us"]) / r["wall_s"])}
        r = await awshot("flood", {"targets": [t.ws("-", k, leg)], "code": "%flood 100000", "warmup": 1})
        s = r["idle_us"] / 1e6
        out[f"flood_{n}"] = {"msgs": r["msgs"], "msgs_per_s": round(r["msgs"] / s), "mb_per_s": round(r["bytes"] / 1e6 / s, 1)}
        r = await awshot("flood", {"targets": [t.ws("-", k, leg)], "code": "%blob 50", "warmup": 1})
        out[f"blob_{n}"] = {"seconds": round(r["idle_us"] / 1e6, 4), "mb_per_s": round(r["bytes"] / r["idle_us"], 1)}
    out["rest"] = wrk(t.url + "/api/status", t.token, 3, 16)
    return out


# ------------------------------------------------------------------ side by side
def numbers(d, pre=""):
    for k, v in d.items():
        if isinstance(v, dict):
            if "p50" in v:
                yield pre + k + ".p50", v["p50"]
                yield pre + k + ".p99", v["p99"]
            else:
                yield from numbers(v, pre + k + ".")
        elif isinstance(v, (int, float)) and not isinstance(v, bool):
            yield pre + k, v


HIGHER = re.compile(r"per_s|per_gib|survived|opened|lines_received")


def side(argv):
    """side A.json B.json ROUNDS SUBCOMMAND ARGS...: A B A B ..., medians and ratios."""
    A, B, rounds, cmd, rest = argv[0], argv[1], int(argv[2]), argv[3], argv[4:]
    got = {A: [], B: []}
    for i in range(rounds):
        for f in (A, B):
            c = [sys.executable, __file__, cmd] + (["--kernel-file", f] if cmd == "kernel" else ["--target", f]) + rest
            p = subprocess.run(c, stdout=subprocess.PIPE, text=True)
            if p.returncode == 0 and p.stdout.strip():
                got[f].append(json.loads(p.stdout.strip().splitlines()[-1]))
            else:
                print(f"  {f} round {i}: failed", file=sys.stderr)
    med = {}
    for f in (A, B):
        acc = collections.defaultdict(list)
        for r in got[f]:
            for k, v in numbers(r):
                acc[k].append(v)
        med[f] = acc
    out = {"cmd": cmd, "a": A, "b": B, "rounds": rounds, "rows": []}
    for k in med[A]:
        if k not in med[B] or k in ("load1",):
            continue
        a, b = statistics.median(med[A][k]), statistics.median(med[B][k])
        better = None
        if a and b:
            better = round(b / a if HIGHER.search(k) else a / b, 3)
        out["rows"].append({"measure": k, "a": a, "a_range": [min(med[A][k]), max(med[A][k])], "b": b, "b_range": [min(med[B][k]), max(med[B][k])], "b_is_better_by": better})
    w = max((len(r["measure"]) for r in out["rows"]), default=10)
    print(f"  {'measure':<{w}}  {'A':>14} {'B':>14}  B better by", file=sys.stderr)
    for r in out["rows"]:
        print(f"  {r['measure']:<{w}}  {r['a']:>14.4g} {r['b']:>14.4g}  {r['b_is_better_by']}", file=sys.stderr)
    print(json.dumps(out))


# ------------------------------------------------------------------ command line
def main():
    if len(sys.argv) > 1 and sys.argv[1] == "side":
        return side(sys.argv[2:])
    p = argparse.ArgumentParser(description=__doc__)
    sub = p.add_subparsers(dest="cmd", required=True)

    def add(name, target=True, **kw):
        q = sub.add_parser(name, **kw)
        if target:
            e = os.environ.get
            q.add_argument("--target", default=e("NB_TARGET"), help="target file (JSON)")
            q.add_argument("--url", default=e("NB_URL")); q.add_argument("--kind", default=e("NB_KIND", "hub"), choices=["hub", "server"])
            q.add_argument("--token", default=e("NB_TOKEN", "")); q.add_argument("--pid", type=int, action="append", default=[])
            q.add_argument("--kernel", default=e("NB_KERNEL")); q.add_argument("--user", default="u0000")
            for c in ("trivial", "flood", "flush", "blob"):
                q.add_argument(f"--{c}", default=None)
        return q
    q = add("spawn"); q.add_argument("-n", type=int, default=5); q.add_argument("--concurrency", type=int, default=1); q.add_argument("--keep", action="store_true")
    q = add("cold"); q.add_argument("-n", type=int, default=10)
    q = add("exec"); q.add_argument("--users", type=int, default=1); q.add_argument("--rounds", type=int, default=300); q.add_argument("--think", type=int, default=0)
    q.add_argument("--legacy", action="store_true"); q.add_argument("--keep", action="store_true"); q.add_argument("--start-parallel", type=int, default=4)
    q = add("iopub"); q.add_argument("--flushed", type=int, default=20000); q.add_argument("--repeat", type=int, default=3); q.add_argument("--only"); q.add_argument("--legacy", action="store_true"); q.add_argument("--timeout", type=int, default=120)
    q = add("rest"); q.add_argument("--users", type=int, default=1000); q.add_argument("--files", type=int, default=1000); q.add_argument("--secs", type=int, default=5); q.add_argument("--conns", type=int, default=16)
    q = add("mem"); q.add_argument("--levels", default="0,10,50"); q.add_argument("--settle", type=float, default=3); q.add_argument("--keep", action="store_true")
    q.add_argument("--exec-rounds", type=int, default=0, help="afterwards, this many cells on every kernel at once"); q.add_argument("--start-parallel", type=int, default=4)
    q = add("restart"); q.add_argument("-n", type=int, default=3); q.add_argument("--kill", action="store_true")
    q.add_argument("--set-cell", default="kept = 4242"); q.add_argument("--get-cell", default="print(kept)")
    q = add("idlews"); q.add_argument("-n", type=int, default=1000); q.add_argument("--users", type=int, default=10); q.add_argument("--parallel", type=int, default=16); q.add_argument("--rounds", type=int, default=100)
    q = add("kernel", target=False)
    q.add_argument("--kernel", default="python3"); q.add_argument("--argv", help="JSON list, {connection_file} replaced"); q.add_argument("--kernel-file", help="JSON: argv, trivial, flood, flush, blob")
    q.add_argument("-n", type=int, default=10); q.add_argument("--rounds", type=int, default=500); q.add_argument("--repeat", type=int, default=3); q.add_argument("--flushed", type=int, default=20000)
    q.add_argument("--transport", default="tcp", choices=["tcp", "ipc"])
    q.add_argument("--trivial", default=TRIVIAL); q.add_argument("--flood", default=FLOOD); q.add_argument("--flush", default=FLUSH); q.add_argument("--blob", default=BLOB)
    q = add("floor", target=False); q.add_argument("-n", type=int, default=200); q.add_argument("--child")
    add("selfcheck")
    a = p.parse_args()

    async def go():
        fn = globals()["cmd_" + a.cmd]
        head = {"cmd": a.cmd, "at": time.strftime("%Y-%m-%dT%H:%M:%S"), "load1": load()}
        if a.cmd in ("kernel", "floor"):
            if getattr(a, "kernel_file", None):
                d = json.loads(pathlib.Path(a.kernel_file).read_text())
                a.argv = json.dumps(d["argv"])
                for c in ("trivial", "flood", "flush", "blob"):
                    if c in d:
                        setattr(a, c, d[c])
            return {**head, **await fn(a)}
        d = json.loads(pathlib.Path(a.target).read_text()) if a.target else {"url": a.url, "kind": a.kind, "token": a.token, "pids": a.pid}
        if a.target:
            d["_file"] = a.target
        for c in ("kernel", "trivial", "flood", "flush", "blob"):
            if getattr(a, c):
                d[c] = getattr(a, c)
        async with Target(d) as t:
            return {**head, "target": t.name, **await fn(a, t)}
    try:
        import uvloop
        out = uvloop.run(go())
    except ImportError:
        out = asyncio.run(go())
    show(out)


if __name__ == "__main__":
    main()
