"""Every kernel is in a jail: what hostile Python sees from inside one, and what an administrator is told about it."""
import json
import os

import pytest

LAYERS = ("mount", "pid", "net", "ipc", "uts", "landlock", "seccomp", "no_new_privs", "capabilities")

PROBE = r"""
import ctypes, glob, json, os, socket, subprocess
def tries(f):
    try:
        return ["ok", str(f())[:200]]
    except BaseException as e:
        return ["no", type(e).__name__]
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *a):
    r = libc.syscall(number, *a)
    if r == -1: raise OSError(ctypes.get_errno(), "refused")
    return r
def connect(where):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM); s.settimeout(2); s.connect(where)
out = {
  "uid": os.getuid(), "pids": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
  "caps": [l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")],
  "nnp": [l.split()[1] for l in open("/proc/self/status") if l.startswith("NoNewPrivs")],
  "seccomp": [l.split()[1] for l in open("/proc/self/status") if l.startswith("Seccomp:")],
  "env": dict(os.environ), "interfaces": [l.split(":")[0].strip() for l in open("/proc/net/dev").readlines()[2:]],
  "homes": os.listdir("/home"), "hostname": socket.gethostname(),
  "shadow": tries(lambda: open("/etc/shadow").read()),
  "database": tries(lambda: open(DATABASE).read(16)),
  "datasets": tries(lambda: os.listdir(DATASETS)),
  "write_usr": tries(lambda: open("/usr/x", "w")), "write_etc": tries(lambda: open("/etc/x", "w")), "write_root": tries(lambda: open("/x", "w")),
  "gateway": tries(lambda: connect(("127.0.0.1", PORT))),
  "mount": tries(lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, None)),
  "unshare": tries(lambda: call(272, 0x10000000)), "ptrace": tries(lambda: call(101, 16, 1, 0, 0)),
  "keyctl": tries(lambda: call(250, 0, -3, 1)), "bpf": tries(lambda: call(321, 0, 0, 0)), "userfaultfd": tries(lambda: call(323, 0)),
  "io_uring": tries(lambda: call(425, 8, ctypes.create_string_buffer(256))), "setuid": tries(lambda: os.setuid(0)),
  "vsock": tries(lambda: socket.socket(40, socket.SOCK_STREAM)), "packet": tries(lambda: socket.socket(17, socket.SOCK_RAW, 3)),
  "kill_init": tries(lambda: os.kill(-1, 0) if False else open("/proc/1/environ").read()),
  "sockets": glob.glob("/run/**/*.sock", recursive=True), "fds": sorted(os.listdir("/proc/self/fd")),
}
print("PROBE" + json.dumps(out))
"""


def probe(carrel, server):
    kid = server.start_kernel("python3")
    code = PROBE.replace("DATABASE", repr(str(carrel.state / "gateway" / "carrel.db"))).replace("DATASETS", repr(str(carrel.state / "datasets"))).replace("PORT", str(carrel.port))
    with server.connect(kid) as ws:
        reply, out = ws.execute(code, timeout=60)
        text = "".join(m["content"].get("text", "") for m in out)
        assert "PROBE" in text, (reply["content"], out)
    server.stop_kernel(kid)
    return json.loads(text.split("PROBE", 1)[1])


@pytest.fixture(scope="module")
def seen(carrel, ada):
    return probe(carrel, ada)


def test_refused_inside(carrel, seen):
    # What is asked for exists outside, else a refusal would say nothing.
    assert (carrel.state / "gateway" / "carrel.db").exists() and (carrel.state / "datasets" / "ads").exists()
    for what in ("shadow", "database", "datasets", "write_usr", "write_etc", "write_root", "gateway", "mount", "unshare", "ptrace", "keyctl", "bpf",
                 "userfaultfd", "io_uring", "setuid", "vsock", "packet", "kill_init"):
        assert seen[what][0] == "no", (what, seen[what])


def test_nothing_of_the_host_is_seen(carrel, seen):
    assert len(seen["pids"]) < 12 and os.getpid() not in seen["pids"]
    assert all(int(c, 16) == 0 for c in seen["caps"]) and seen["nnp"] == ["1"] and seen["seccomp"] == ["2"]
    assert set(seen["interfaces"]) <= {"lo"} and seen["homes"] == ["ada"]
    assert seen["hostname"] != os.uname().nodename
    assert not [k for k in seen["env"] if "TOKEN" in k or "SECRET" in k or "PASSWORD" in k]
    assert all(s.startswith(("/run/engine/", "/run/k/")) for s in seen["sockets"]), seen["sockets"]


def test_users_have_uids_of_their_own(carrel, seen, bob):
    other = probe(carrel, bob)
    assert seen["uid"] != other["uid"] and 0 not in (seen["uid"], other["uid"]) and os.getuid() not in (seen["uid"],)
    assert other["homes"] == ["bob"]


def test_the_layer_report_is_shown(carrel, ada):
    kid = ada.start_kernel()
    admin = carrel.server("root-admin")
    model = admin.hub("GET", "/users/ada").json()
    state = json.dumps(model["servers"][""]["state"])
    for layer in LAYERS:
        assert layer in state, (layer, state)
    assert kid in carrel.log() and "layers" in carrel.log()
    ada.stop_kernel(kid)


def test_gateway_is_not_root(carrel):
    status = open(f"/proc/{carrel.process.pid}/status").read()
    uids = [line for line in status.splitlines() if line.startswith("Uid:")][0].split()[1:]
    assert "0" not in uids, uids


def test_an_ordinary_user_s_carrel_has_jails_too(fresh):
    """Without root: user namespaces. What such a host cannot give is said; everything else holds."""
    uid = 64200 if os.getuid() == 0 else None
    carrel = fresh(uid=uid).start()
    server = carrel.server("ada")
    server.start_server()
    inside = probe(carrel, server)
    for what in ("shadow", "database", "datasets", "write_usr", "write_etc", "write_root", "gateway", "mount", "unshare", "ptrace", "keyctl", "bpf",
                 "userfaultfd", "io_uring", "setuid", "vsock", "packet", "kill_init"):
        assert inside[what][0] == "no", (what, inside[what])
    assert inside["homes"] == ["ada"] and all(int(c, 16) == 0 for c in inside["caps"]) and inside["seccomp"] == ["2"]
    assert '"sandbox.mode":"userns"' in carrel.log() and "uid off: shared" in carrel.log()
    kid = server.start_kernel()
    with server.connect(kid) as ws:
        reply, text, _ = server.sql(ws, "SELECT count(*) AS n FROM ads.clicks")
    assert reply["status"] == "ok" and "1000000" in text.replace(",", "")
    server.stop_kernel(kid)
