"""Checks of 71-more-contents-api.yaml: as `api_case` in run.py, on what that file does not cover."""
import os
import time
from types import SimpleNamespace

import requests


def check(name, c: SimpleNamespace):
    """`c`: A, B (servers), k (attacker's kernel), py(code), cpath, get_any, get_file, hd, n, home, pub, priv, ok, Kernel, Terminal, kernel_name."""
    return {"other_user": other_user, "checkpoint_link": checkpoint_link, "terminal_cwd": terminal_cwd, "kernel_cwd": kernel_cwd, "write_fifo": write_fifo,
            "deep_json": deep_json, "race_delete": race_delete, "race_rename": race_rename, "hardlink_read": hardlink_read, "smuggle": smuggle}[name](c)


def other_user(c):
    bad = []
    theirs = requests.get(c.B.url + "/api/kernels", headers=c.B.h, timeout=10).json()
    tries = [("GET", "/api/contents"), ("GET", "/api/kernels"), ("GET", "/api/terminals"), ("PUT", "/api/contents/x-" + c.n), ("POST", "/api/terminals"), ("GET", "/files/x"),
             ("POST", "/api/kernels")] + [("DELETE", "/api/kernels/" + k["id"]) for k in theirs] + [("POST", f"/api/kernels/{k['id']}/interrupt") for k in theirs]
    for method, path in tries:
        body = {"type": "file", "format": "text", "content": "x"} if method == "PUT" else {} if method == "POST" else None
        r = requests.request(method, c.B.url + path, headers=c.A.h, json=body, timeout=10, allow_redirects=False)
        if r.status_code < 300:
            bad.append((method, path, r.status_code))
    # And below the own prefix by the other's ids.
    for k in theirs:
        for method, path in (("GET", "/api/kernels/" + k["id"]), ("POST", f"/api/kernels/{k['id']}/interrupt"), ("DELETE", "/api/kernels/" + k["id"])):
            r = c.A.req(method, path)
            if r.status_code < 300:
                bad.append((method, path, r.status_code))
    return c.ok(bad, "%d requests refused" % (len(tries) + 3 * len(theirs)))


def checkpoint_link(c):
    c.py('open(h + "/ck-" + N + ".txt", "w").write("own"); os.symlink(HD + "/w", h + "/.ipynb_checkpoints-" + N)\n'
         'import shutil; d = h + "/ckd-" + N; os.mkdir(d); open(d + "/f.txt", "w").write("own"); os.symlink(HD + "/w", d + "/.ipynb_checkpoints")')
    before = sorted(os.listdir(c.hd + "/w"))
    p = c.home("ckd") + "/f.txt"
    seen = [c.A.req("POST", c.cpath(p) + "/checkpoints").status_code, c.A.req("GET", c.cpath(p) + "/checkpoints").status_code]
    c.py('os.symlink(HD + "/private", h + "/ckl-" + N + ".txt")')
    seen.append(c.A.req("POST", c.cpath(c.home("ckl") + ".txt") + "/checkpoints").status_code)
    after = sorted(os.listdir(c.hd + "/w"))
    for extra in set(after) - set(before):
        os.unlink(c.hd + "/w/" + extra)
    return c.ok("checkpoint written outside: %s" % (set(after) - set(before)) if after != before else "", "statuses %s" % seen)


def terminal_cwd(c):
    c.py('os.symlink(HD, h + "/tc-" + N)')
    bad = []
    for cwd in ("../../../..", c.hd, "/", "/etc", c.home("tc"), c.home("tc") + "/w"):
        r = c.A.req("POST", "/api/terminals", json={"cwd": cwd})
        if r.status_code >= 300:
            continue
        t = c.Terminal(c.A, r.json()["name"])
        t.w.send('["stdin", "echo AT-$(pwd -P)-END\\r"]')
        t.pump("-END\r", 8)
        text = t.buf.replace("\r", "")
        if c.hd in text or "AT-/-END" in text.split("\n", 1)[-1] or "AT-/etc-END" in text.split("\n", 1)[-1]:
            bad.append((cwd, text[-60:]))
        t.close()
    return c.ok(bad, "always in the home")


def kernel_cwd(c):
    c.py('os.symlink(HD, h + "/kc-" + N)')
    bad = []
    for path in ("../../..", "/etc", c.home("kc"), c.home("kc") + "/w"):
        r = c.A.req("POST", "/api/kernels", json={"name": c.kernel_name, "path": path}, timeout=60)
        if r.status_code >= 300:
            continue
        k = c.Kernel(c.A, c.kernel_name, r.json()["id"])
        text, _ = k.run("import os; print('AT-' + os.getcwd())", 30)
        if c.hd in text or "AT-/etc" in text or text.strip().endswith("AT-/"):
            bad.append((path, text[-60:]))
        k.close()
    return c.ok(bad, "always in the home")


def write_fifo(c):
    c.py('os.mkfifo(h + "/wf-" + N)')
    bad, status = "", 0
    try:
        status = c.A.req("PUT", c.cpath(c.home("wf")), json={"type": "file", "format": "text", "content": "x"}, timeout=8).status_code
    except requests.Timeout:
        bad = "request hung"
    if not c.A.alive():
        bad = "gateway hung"
    c.py('p = h + "/wf-" + N\nif os.path.exists(p) and not os.path.isfile(p): fd = os.open(p, os.O_RDWR | os.O_NONBLOCK); time.sleep(0.2); os.close(fd)')
    return c.ok(bad, "status %s" % status)


def deep_json(c):
    deep = "[" * 200000 + "]" * 200000
    c.py('d = "[" * 200000 + "]" * 200000\nopen(h + "/dj-" + N + ".ipynb", "w").write(\'{"nbformat":4,"nbformat_minor":5,"metadata":{"x":%s},"cells":[]}\' % d)')
    seen = []
    for call in (lambda: c.A.req("GET", c.cpath(c.home("dj") + ".ipynb") + "?content=1", timeout=20),
                 lambda: c.A.req("PUT", c.cpath(c.home("dk") + ".ipynb"), data='{"type":"notebook","content":%s}' % deep, timeout=20),
                 lambda: c.A.req("POST", "/api/kernels", data=deep, timeout=20)):
        try:
            seen.append(call().status_code)
        except requests.RequestException as e:
            seen.append(type(e).__name__)
    return c.ok("" if c.A.alive() and all(isinstance(s, int) for s in seen) and c.get_file(c.home("none"))[0] == 404 else "broke: %s" % seen, "statuses %s" % seen)


def _race(c, request, hit, heal):
    """A folder that is by turns a real one and a link to the outside, while `request` works below it."""
    c.py('a, b = h + "/rr-" + N, h + "/rs-" + N\nos.mkdir(h + "/rreal-" + N); os.symlink("rreal-" + N, a)\n'
         'def _flip():\n    end = time.time() + 9\n    while time.time() < end:\n        try:\n            open(h + "/rreal-" + N + "/f", "a").close()\n'
         '            os.symlink(HD + "/w", b); os.rename(b, a); time.sleep(0.0005)\n            os.symlink("rreal-" + N, b); os.rename(b, a); time.sleep(0.0005)\n'
         '        except OSError: pass\nthreading.Thread(target=_flip, daemon=True).start()')
    end, tries, bad, seen = time.time() + 6, 0, "", {}
    while time.time() < end and not bad:
        tries += 1
        try:
            s = request().status_code
            seen[s] = seen.get(s, 0) + 1
        except requests.RequestException:
            seen["timeout"] = seen.get("timeout", 0) + 1
        if hit():
            bad = "a foreign file was changed after %d tries" % tries
            heal()
    time.sleep(max(0, end + 3.2 - time.time()))
    return c.ok(bad, "%d tries, statuses %s" % (tries, seen))


def _heal(c):
    with open(c.hd + "/w/f", "w") as f:
        f.write("ORIG" + c.n)
    os.chmod(c.hd + "/w/f", 0o666)


def race_delete(c):
    return _race(c, lambda: c.A.req("DELETE", c.cpath(c.home("rr") + "/f"), timeout=8), lambda: not os.path.exists(c.hd + "/w/f"), lambda: _heal(c))


def race_rename(c):
    prefix = c.cpath("")[len("/api/contents/"):]
    return _race(c, lambda: c.A.req("PATCH", c.cpath(c.home("rr") + "/f"), json={"path": prefix + c.home("rt")}, timeout=8), lambda: not os.path.exists(c.hd + "/w/f"), lambda: _heal(c))


def hardlink_read(c):
    c.py('try: os.link(HD + "/public", h + "/hl-" + N)\nexcept OSError as e: print(e)')
    return c.ok(c.pub in c.get_any(c.home("hl")))


def smuggle(c):
    """Other ways to name a path or a person: headers that proxies use, absolute forms, odd methods."""
    bad = []
    victim = c.B.url.split("//", 1)[1].split("/", 1)[-1] + "/api/contents"
    for headers in ({"X-Original-URL": "/" + victim}, {"X-Rewrite-URL": "/" + victim}, {"X-Carrel-Prefix": "/user/bob/"}, {"X-Forwarded-Prefix": "/user/bob"},
                    {"X-Forwarded-User": "bob"}, {"X-Remote-User": "bob"}, {"Remote-User": "root-admin"}, {"X-HTTP-Method-Override": "DELETE"}):
        r = requests.get(c.A.url + "/api/contents", headers={**c.A.h, **headers}, timeout=10, allow_redirects=False)
        if "canary-" in r.text or r.status_code in (204,):
            bad.append(headers)
    for token in ("", "x", c.A.h["Authorization"].split()[-1][:-1]):
        r = requests.get(c.A.url + "/api/contents", headers={"Authorization": "token " + token}, timeout=10, allow_redirects=False)
        if r.status_code == 200:
            bad.append("token %r" % token)
    return c.ok(bad)
