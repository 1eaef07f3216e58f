"""Bad input and faults: each a clear message, nothing lost."""
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
import requests
import websocket
from harness import PREFIX, wait_until
from test_main_job import log_in


def error_of(out):
    errors = [m["content"] for m in out if m["header"]["msg_type"] == "error"]
    assert len(errors) == 1, out
    return errors[0]


# -- kernels

def test_a_kernel_whose_program_is_not_there_is_told_at_its_start(fresh):
    """And no kernel is left that never answers."""
    spec = PREFIX / "share" / "kernels" / "nonesuch"
    spec.mkdir()
    try:
        (spec / "kernel.json").write_text(json.dumps({"argv": ["/usr/bin/nonesuch", "-f", "{connection_file}"], "display_name": "No such", "language": "sql"}))
        ada = fresh(demo=False).start().server("ada")
        ada.start_server()
        r = ada.call("POST", "api/kernels", json={"name": "nonesuch"})
        assert r.status_code == 502 and r.json()["message"].startswith("the kernel did not start: /usr/bin/nonesuch cannot be started: No such file or directory"), r.text
        assert ada.call("GET", "api/kernels", 200).json() == []
        assert not [jail for jail in json.loads(ada.carrel.run("jails", "--json").stdout) if jail["profile"] == "kernel"]
    finally:
        shutil.rmtree(spec)


# -- people and cookies

def test_wrong_password(carrel):
    s, r = log_in(carrel, "bob", "not-it")
    assert r.status_code == 403 and "password" in r.text.lower()
    _, unknown = log_in(carrel, "nobody-here", "not-it")
    strip = lambda t: re.sub(r'value="[^"]*"|nonce="[^"]*"|[0-9a-f-]{20,}', "", t).replace("nobody-here", "bob")  # noqa: E731
    assert unknown.status_code == 403 and strip(unknown.text) == strip(r.text), "the answer tells which names exist"


def test_many_wrong_passwords_are_slowed(fresh):
    carrel = fresh(demo=False).start()
    for _ in range(30):
        _, r = log_in(carrel, "bob", "guess")
        if r.status_code == 429:
            break
    assert r.status_code == 429 and int(r.headers["Retry-After"]) > 0
    assert re.search(r"\d+ (second|minute)", r.text)


def test_forged_and_stale_cookies_lead_to_login(carrel):
    for value in ("forged", "x" * 5000, "Yh2!|forged|sig"):
        r = requests.get(carrel.url + "/hub/home", cookies={"jupyterhub-hub-login": value}, allow_redirects=False, timeout=10)
        assert r.status_code == 302 and r.headers["Location"].startswith("/hub/login"), r.status_code
    s, r = log_in(carrel, "ada", "ada-pass-12")
    s.get(carrel.url + r.headers["Location"])
    jar = requests.utils.dict_from_cookiejar(s.cookies)
    s.get(carrel.url + "/hub/logout", timeout=10)
    r = requests.get(carrel.url + "/hub/home", cookies=jar, allow_redirects=False, timeout=10)
    assert r.status_code == 302, "a logged-out cookie still opens the page"


def test_a_neighbours_server_is_closed(carrel, ada, bob):
    for path in ("api/kernels", "api/contents", "lab"):
        r = requests.get(bob.url + path, headers={"Authorization": "token " + ada.token}, allow_redirects=False, timeout=10)
        assert r.status_code in (403, 404), (path, r.status_code)


def test_cookie_writes_need_xsrf(carrel):
    s, r = log_in(carrel, "ada", "ada-pass-12")
    s.get(carrel.url + r.headers["Location"])
    bare = s.post(carrel.url + "/user/ada/api/kernels", json={"name": "carrel"}, timeout=10)
    assert bare.status_code == 403
    xsrf = [c.value for c in s.cookies if c.name == "_xsrf" and c.path == "/user/ada/"][0]
    good = s.post(carrel.url + "/user/ada/api/kernels", json={"name": "carrel"}, headers={"X-XSRFToken": xsrf}, timeout=30)
    assert good.status_code == 201
    s.delete(carrel.url + "/user/ada/api/kernels/" + good.json()["id"], headers={"X-XSRFToken": xsrf}, timeout=30)


# -- requests

def test_unknown_kernelspec(ada):
    r = ada.call("POST", "api/kernels", json={"name": "cobol"})
    assert r.status_code in (400, 404, 500) and "cobol" in r.json()["message"]


def test_oversized_bodies_and_frames(ada):
    r = ada.call("POST", "api/kernels", data=b"{" + b" " * (40 << 20), headers={"Content-Type": "application/json"})
    assert r.status_code == 413, r.status_code
    kid = ada.start_kernel()
    ws = ada.connect(kid)
    with pytest.raises((websocket.WebSocketException, OSError)):
        for _ in range(12):
            ws.ws.send_binary(b"\0" * (100 << 20))
        while True:
            if ws.ws.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE:
                raise OSError("closed")
    with ada.connect(kid) as ws:  # the kernel never noticed
        assert ada.sql(ws, "SELECT 1")[0]["status"] == "ok"
    ada.stop_kernel(kid)


def test_garbage_frames_do_not_end_the_kernel(ada):
    kid = ada.start_kernel()
    for blob in (b"", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"\xff" * 8, json.dumps({"channel": "shell"}).encode()):
        ws = ada.connect(kid)
        ws.ws.send_binary(blob)
        ws.close()
    with ada.connect(kid) as ws:
        assert ada.sql(ws, "SELECT 1")[0]["status"] == "ok"
    ada.stop_kernel(kid)


# -- cells

def test_unknown_dataset_and_column(cell):
    reply, _, out = cell("SELECT *\nFROM ads.click")
    e = error_of(out)
    assert reply["status"] == "error" and e["ename"] == "UnknownDataset"
    text = "\n".join(re.sub(r"\x1b\[[0-9;]*m", "", line) for line in e["traceback"])
    assert "ads.clicks" in text and len(text.splitlines()) <= 4
    source, caret = [(a, b) for a, b in zip(text.splitlines(), text.splitlines()[1:]) if "^" in b][0]
    assert source[caret.index("^"):].startswith("ads.click")

    _, _, out = cell("SELECT countri FROM ads.clicks")
    e = error_of(out)
    text = "\n".join(re.sub(r"\x1b\[[0-9;]*m", "", line) for line in e["traceback"])
    assert e["ename"] == "UnknownColumn" and "country" in text
    source, caret = [(a, b) for a, b in zip(text.splitlines(), text.splitlines()[1:]) if "^" in b][0]
    assert source[caret.index("^"):].startswith("countri")


@pytest.mark.parametrize("statement", ["INSERT INTO ads.clicks VALUES (1)", "DELETE FROM ads.clicks", "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc'",
                                       "SELECT * FROM ads.clicks PIVOT (sum(x) FOR y IN (1))", "GRANT ALL ON x TO y", "SELECT 1 +", "SELEC 1"])
def test_unsupported_sql_is_refused_with_a_position(cell, statement):
    reply, _, out = cell(statement)
    e = error_of(out)
    assert reply["status"] == "error"
    text = "\n".join(e["traceback"])
    assert "^" in text and "DataFusion" not in text and "panicked" not in text and "Arrow" not in text


def test_files_outside_are_refused(cell):
    for path in ("/etc/passwd", "../../etc/passwd", "/proc/self/environ", "/scratch/x.parquet"):
        reply, _, out = cell(f"SELECT * FROM '{path}'")
        assert reply["status"] == "error", path
        assert "root:" not in json.dumps([m["content"] for m in out])


def test_corrupt_parquet(fresh):
    carrel = fresh()
    table = carrel.state / "datasets" / "ads" / "broken"
    table.mkdir()
    (table / "part.parquet").write_bytes(b"PAR1" + b"\x00" * 100 + b"PAR1")
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    kid = ada.start_kernel()
    with ada.connect(kid) as ws:
        reply, _, out = ada.sql(ws, "SELECT * FROM ads.broken")
        e = error_of(out)
        assert e["ename"] == "CorruptFile" and "part.parquet" in e["evalue"], e
        assert str(carrel.state) not in json.dumps(e)
        assert ada.sql(ws, "SELECT count(*) FROM ads.clicks")[0]["status"] == "ok"
    ada.stop_kernel(kid)


def test_interrupt_of_a_long_query(cell):
    ws = cell.ws
    cell("CREATE TABLE kept AS SELECT 1 AS x")
    for query in ("SELECT sum(a.l_quantity * b.l_discount) FROM tpch.lineitem a CROSS JOIN tpch.lineitem b",
                  "SELECT a.l_comment || b.l_comment AS t FROM tpch.lineitem a, tpch.lineitem b ORDER BY t LIMIT 10"):
        mid = ws.start_execute(query)
        ws.until(lambda m: m["header"]["msg_type"] == "execute_input")
        time.sleep(1.0)
        asked = time.monotonic()
        cell.server.call("POST", f"api/kernels/{cell.kid}/interrupt", 204)
        reply, out = ws.finish(mid, 10)
        assert time.monotonic() - asked < 1.0, "the prompt came back late"
        assert reply["content"]["status"] == "error" and error_of(out)["ename"] == "Cancelled"
        wait_until(lambda: cpu_of_engines(cell.server) < 0.2, 4, 0.1, what="idle processors")
        assert cell("SELECT x FROM kept")[0]["status"] == "ok"


def cpu_of_engines(server):
    """Share of one processor that the user's engines take, over a fifth of a second."""
    def ticks():
        total = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if open(f"/proc/{pid}/comm").read().strip() == "carrel-engine":
                    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
                    total += int(fields[11]) + int(fields[12])
            except OSError:
                pass
        return total
    a = ticks()
    time.sleep(0.2)
    return (ticks() - a) / os.sysconf("SC_CLK_TCK") / 0.2


def test_memory_limit_is_a_typed_error_and_tables_stay(fresh):
    carrel = fresh(config_lines="")
    text = carrel.config_path().read_text()
    assert re.search(r"^#?\s*memory_limit", text, re.M), "the engine's memory limit is a documented key"
    carrel.config_path().write_text(re.sub(r"(?m)^#?\s*memory_limit\s*=.*$", 'memory_limit = "16MiB"', text))
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    kid = ada.start_kernel()
    with ada.connect(kid) as ws:
        assert ada.sql(ws, "CREATE TABLE kept AS SELECT 7 AS x")[0]["status"] == "ok"
        # A join keeps one side in memory whole: this one cannot spill.
        reply, _, out = ada.sql(ws, "SELECT count(*) FROM tpch.lineitem a JOIN tpch.lineitem b ON a.l_comment = b.l_comment", 120)
        e = error_of(out)
        assert e["ename"] == "MemoryLimit", e
        assert "16" in e["evalue"], e["evalue"]
        reply, text, _ = ada.sql(ws, "SELECT x FROM kept")
        assert reply["status"] == "ok" and "7" in text
    ada.stop_kernel(kid)


# -- processes

def processes(name, user=None):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/comm").read().strip() == name[:15]:
                found.append(int(pid))
        except OSError:
            pass
    return found


def test_killed_kernel_is_restarted_and_said(ada):
    before = set(processes("carrel-kernel"))
    kid = ada.start_kernel()
    with ada.connect(kid) as ws:
        ada.sql(ws, "SELECT 1")
        (pid,) = set(processes("carrel-kernel")) - before
        os.kill(pid, signal.SIGKILL)
        ws.until(lambda m: m["header"]["msg_type"] == "status" and m["content"]["execution_state"] in ("restarting", "autorestarting"), 20)
        wait_until(lambda: ada.call("GET", f"api/kernels/{kid}").json()["execution_state"] == "idle", 20)
        assert ada.sql(ws, "SELECT 2")[0]["status"] == "ok"
    ada.stop_kernel(kid)


def test_killed_engine_loses_no_tables(ada):
    before = set(processes("carrel-engine"))
    kid = ada.start_kernel()
    with ada.connect(kid) as ws:
        ada.sql(ws, "CREATE TABLE kept AS SELECT 5 AS x")
        (pid,) = set(processes("carrel-engine")) - before
        os.kill(pid, signal.SIGKILL)
        replies = [ada.sql(ws, "SELECT x FROM kept") for _ in range(2)]
        assert replies[-1][0]["status"] == "ok" and "5" in replies[-1][1]
    ada.stop_kernel(kid)


def test_killed_desk_comes_back(bob):
    before = set(processes("carrel-desk"))
    bob.call("PUT", "api/contents/kept.txt", 201, json={"type": "file", "format": "text", "content": "here"})
    mine = set(processes("carrel-desk")) - before or set(processes("carrel-desk"))
    for pid in mine:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: bob.call("GET", "api/contents/kept.txt").status_code == 200, 10)
    assert bob.call("GET", "api/contents/kept.txt", 200).json()["content"] == "here"


def test_full_disk_keeps_the_old_file(fresh):
    carrel = fresh(demo=False)
    homes = carrel.state / "homes"
    homes.mkdir(exist_ok=True)
    if os.getuid() != 0:
        pytest.fail("this test mounts a small tmpfs and needs root")
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    ada.call("PUT", "api/contents/a.txt", 201, json={"type": "file", "format": "text", "content": "old"})
    home = next(p for p in homes.iterdir() if p.name.startswith("ada"))
    owner = home.stat()
    carrel.run("stop")
    carrel.process.wait(20)
    old = (home / "a.txt").read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=256k,uid={owner.st_uid},gid={owner.st_gid},mode=700", "tmpfs", str(home)], check=True)
    try:
        (home / "a.txt").write_bytes(old)
        os.chown(home / "a.txt", owner.st_uid, owner.st_gid)
        carrel.start()
        r = ada.call("PUT", "api/contents/a.txt", json={"type": "file", "format": "text", "content": "x" * (1 << 20)})
        assert r.status_code in (507, 500, 413) and re.search("disk|space|full", r.json()["message"]), r.text
        assert ada.call("GET", "api/contents/a.txt", 200).json()["content"] == "old"
        kid = ada.start_kernel()
        with ada.connect(kid) as ws:
            assert ada.sql(ws, "SELECT 1")[0]["status"] == "ok"
        ada.stop_kernel(kid)
    finally:
        carrel.stop()
        subprocess.run(["umount", "-l", str(home)], check=True)


def test_port_taken_and_second_serve(carrel, fresh):
    second = subprocess.run(carrel.command("serve"), capture_output=True, text=True, timeout=20)
    assert second.returncode == 69
    assert str(carrel.process.pid) in second.stdout + second.stderr and carrel.url in second.stdout + second.stderr
    other = fresh("port-taken", demo=False)
    text = other.config_path().read_text().replace(str(other.port), str(carrel.port))
    other.config_path().write_text(text)
    taken = subprocess.run(other.command("serve"), capture_output=True, text=True, timeout=20)
    assert taken.returncode == 69 and str(carrel.port) in taken.stdout + taken.stderr
    assert requests.get(carrel.url + "/hub/health", timeout=5).status_code == 200


def test_wrong_configuration_is_refused_before_a_port_opens(fresh):
    carrel = fresh(demo=False)
    carrel.edit_config("[gatway]\nlisten = 1")
    done = subprocess.run(carrel.command("serve"), capture_output=True, text=True, timeout=20)
    assert done.returncode == 64 and "gatway" in done.stderr and "gateway" in done.stderr


def test_check_names_every_layer(carrel):
    done = carrel.run("check", ok=False)
    for layer in ("mount", "pid", "net", "ipc", "uts", "seccomp", "landlock", "cgroup"):
        assert layer in done.stdout, layer
    admin = carrel.server("root-admin")
    model = admin.hub("GET", "/users/ada?include_stopped_servers=1").json()
    assert PREFIX.exists() and "layers" in json.dumps(model), model


def test_start_is_quick(fresh):
    carrel = fresh(demo=False).start()
    carrel.process.terminate()
    carrel.process.wait(20)
    begun = time.monotonic()
    carrel.start()
    assert time.monotonic() - begun < 2.0


def test_a_second_thread_of_users(ada, bob):
    """Two users at once: kernels answer while a neighbour computes."""
    kids = [(s, s.start_kernel()) for s in (ada, bob)]
    sockets = [s.connect(k) for s, k in kids]
    busy = threading.Thread(target=lambda: sockets[0].execute("SELECT count(*) FROM tpch.lineitem a, tpch.supplier b WHERE a.l_comment < b.s_comment", 120))
    busy.start()
    assert bob.sql(sockets[1], "SELECT 1", 20)[0]["status"] == "ok"
    ada.call("POST", f"api/kernels/{kids[0][1]}/interrupt", 204)
    busy.join(60)
    for (s, k), ws in zip(kids, sockets):
        ws.close()
        s.stop_kernel(k)
