"""What code in a notebook, a terminal or another user's engine can reach of the cluster and the broker: nothing."""
import os
import pathlib
import socket
import struct
import subprocess

import pytest
import reader
from reader import session

# Runs in a jail with the standard library; prints one line for each thing that it could reach.
PROBE = r"""
import os, pathlib, socket
found = []
for address in ADDRESSES:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, HOST)):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.settimeout(1)
        try:
            s.connect((host, address))
            found.append(f"port {address} on {host}")
        except OSError:
            pass
        finally:
            s.close()
for path in PATHS:
    try:
        pathlib.Path(path).open("rb").close()
        found.append(f"opened {path}")
    except OSError:
        pass
    if os.path.lexists(path):
        found.append(f"sees {path}")
    try:
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        found.append(f"connected to {path}")
    except OSError:
        pass
for proc in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if int(proc.name) != os.getpid() and b"carrel-broker" in (proc / "cmdline").read_bytes():
            found.append(f"sees the broker as {proc}")
    except OSError:
        pass
for root in ("/run", "/tmp", "/var", "/etc", "/home", "/opt", "/dev/shm"):
    for folder, _, files in os.walk(root):
        for name in files:
            if "broker" in name or "keytab" in name or name.startswith("krb5cc"):
                found.append(f"sees {folder}/{name}")
print("REACHED", found)
"""


@pytest.fixture(scope="module")
def carrel(cluster):
    made = reader.make("hdfs-attack", cluster).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def probe(cluster, carrel):
    """The probe's text, with every port and path that matters. An engine runs, so that its sockets are there."""
    opened = reader.Session(carrel, "ada")
    opened.ok("SELECT count(*) FROM tpch.nation")
    folder = opened.socket.parent.parent
    ports = sorted(cluster.settings.ports.values())
    assert len(ports) >= 6
    paths = [reader.WORK / "hdfs-attack.keytab", carrel.state / "broker.toml", carrel.state / "audit", carrel.state / "engine.toml", folder / "broker" / "broker.sock",
             "/run/broker/broker.sock", cluster.keytab("ada"), cluster.client_conf / "core-site.xml", folder.parent.parent / "spawnd.sock"]
    text = f"ADDRESSES = {ports}\nPATHS = {[str(p) for p in paths]}\nHOST = {socket.gethostbyname(socket.gethostname())!r}\n" + PROBE
    yield text
    opened.close()


def test_the_probe_bites_outside_a_jail(probe):
    done = subprocess.run(["python3", "-c", probe], capture_output=True, text=True, timeout=120)
    assert "port" in done.stdout and "keytab" in done.stdout and "sees the broker" in done.stdout, done.stdout + done.stderr


def test_a_python_kernel_reaches_nothing(carrel, probe):
    server = carrel.server("ada")
    kid = server.start_kernel("python3")
    ws = server.connect(kid)
    try:
        _, out = ws.execute(probe, 120)
        text = "".join(m["content"]["text"] for m in out if m["header"]["msg_type"] == "stream")
        assert text.strip() == "REACHED []", text
    finally:
        ws.close()
        server.stop_kernel(kid)


def test_a_terminal_reaches_nothing(carrel, probe):
    server = carrel.server("bob")
    server.start_server()
    server.call("PUT", "api/contents/probe.py", 201, json={"type": "file", "format": "text", "content": probe})
    name = server.call("POST", "api/terminals", 200).json()["name"]
    import json

    import websocket
    ws = websocket.create_connection(server.ws_url(f"terminals/websocket/{name}"), header=server.ws_headers, timeout=60)
    try:
        ws.send(json.dumps(["stdin", "python3 probe.py\n"]))
        seen = ""
        while "REACHED [" not in seen or "]" not in seen.split("REACHED [", 1)[1]:
            kind, *rest = json.loads(ws.recv())
            seen += rest[0] if kind == "stdout" else ""
        assert "REACHED []" in seen, seen
    finally:
        ws.close()
        server.call("DELETE", f"api/terminals/{name}")


def inside(pid, uid, script):
    """Runs a script as this uid in the namespaces of an engine, as code that broke out of it would."""
    command = ["nsenter", "--target", str(pid), "--mount", "--pid", "--net", "--ipc", "--uts", "--", "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
               "--no-new-privs", "--bounding-set=-all", "python3", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_an_engine_sees_its_own_door_to_the_broker_and_no_other(carrel, probe):
    if os.geteuid() != 0:
        pytest.fail("this test enters namespaces and needs root")
    with session(carrel, "ada") as ada, session(carrel, "bob") as bob:
        for opened in (ada, bob):
            opened.ok("SELECT count(*) FROM tpch.nation")
        pid = bob.engine_pid()
        uid = pathlib.Path(f"/proc/{pid}").stat().st_uid
        own = inside(pid, uid, "import os; print(sorted(os.listdir('/run/broker')), os.path.exists('/run/carrel'))")
        assert own.stdout.strip() == "['broker.sock'] False", own.stdout + own.stderr
        others = ada.socket.parent.parent / "broker" / "broker.sock"
        assert others.is_socket()
        reach = inside(pid, uid, f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(others)!r})")
        assert reach.returncode != 0 and "No such file" in reach.stderr, reach.stderr
        # even with the host's files before her, the door is somebody else's
        outside = subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "python3", "-c",
                                  f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(others)!r})"], capture_output=True, text=True)
        assert outside.returncode != 0 and "Permission denied" in outside.stderr, outside.stderr
        nothing = inside(pid, uid, probe.replace("/run/broker/broker.sock", "/nothing"))
        assert nothing.stdout.strip() == "REACHED ['sees /run/broker/broker.sock']", nothing.stdout + nothing.stderr


# --- what an engine that was taken over could say


class Door:
    """The broker's protocol by hand (docs/broker.md)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))

    def ask(self, request):
        import json
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.socket.sendall(struct.pack("<I", len(body)) + body)
        frames = []
        while True:
            head = self.read(5)
            length, kind = struct.unpack("<IB", head)
            frames.append((kind, self.read(length - 1)))
            if kind in (4, 5):
                return frames

    def read(self, n):
        data = b""
        while len(data) < n:
            part = self.socket.recv(n - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data


@pytest.fixture
def door(carrel):
    with session(carrel, "bob") as bob:
        bob.ok("SELECT 1")
        yield bob.socket.parent.parent / "broker" / "broker.sock"


def failure(frames):
    import json
    kind, body = frames[-1]
    assert kind == 5, frames
    return json.loads(body)


def test_a_name_cannot_be_sent(door):
    """bob's door is bob's: fields for a user are not known, and ada's files stay closed."""
    for extra in ({"user": "ada"}, {"hdfs_user": "ada"}, {"doas": "ada"}):
        assert failure(Door(door).ask({"op": "list", "at": "hdfs:///data/private/ada", "recursive": False, "purpose": {}, **extra}))["code"] == "bad_request"
    refused = failure(Door(door).ask({"op": "list", "at": "hdfs:///data/private/ada", "recursive": False, "purpose": {"statement": "ada", "dataset": "ada"}}))
    assert (refused["code"], refused["user"], refused["permission"]) == ("denied", "bob", "read and execute")


def test_wrong_and_oversized_questions_are_refused(door):
    good = {"op": "list", "at": "hdfs:///data/tpch", "recursive": False, "purpose": {}}
    for bad in (b"", b"{}", b"\xff\xfe", b"[" * 5000, {**good, "at": "hdfs:///data/../etc"}, {**good, "at": "/etc/passwd"}, {**good, "op": "write"},
                {"op": "check", "places": ["hdfs:///data"] * 1001, "purpose": {}}):
        link = Door(door)
        assert failure(link.ask(bad))["code"] == "bad_request"
        assert link.ask(good)[-1][0] == 4, "the connection is sound"
    link = Door(door)
    link.socket.sendall(struct.pack("<I", 1 << 30))
    with pytest.raises((ConnectionError, OSError)):
        link.read(5)


def test_reads_are_bounded_and_of_the_file_that_was_listed(door):
    import json
    at = "hdfs:///data/tpch/nation"
    entry = json.loads(Door(door).ask({"op": "list", "at": at, "recursive": True, "purpose": {}})[0][1])[0]
    read = {"op": "read", "file": f"{at}/{entry['path']}", "size": entry["size"], "modified_ms": entry["modified_ms"], "ranges": [[0, 4]], "purpose": {}}
    frames = Door(door).ask(read)
    assert frames == [(2, b"PAR1"), (4, b"")]
    for change, code in (({"size": entry["size"] + 1}, "changed"), ({"modified_ms": 1}, "changed"), ({"ranges": [[0, entry["size"] + 1]]}, "bad_request"),
                         ({"ranges": []}, "bad_request"), ({"ranges": [[4, 4]]}, "bad_request"), ({"ranges": [[0, 1]] * 5000}, "bad_request"),
                         ({"size": 1 << 60, "ranges": [[0, 1 << 59]]}, "bad_request"), ({"file": "hdfs:///data/tpch"}, "bad_request"), ({"file": at + "/none"}, "not_found")):
        assert failure(Door(door).ask({**read, **change}))["code"] == code, change


def test_too_many_connections_wait_and_harm_nobody(carrel, door):
    links = [Door(door) for _ in range(100)]
    with session(carrel, "ada") as ada:
        ada.ok("SELECT count(*) FROM tpch.nation")
    for link in links:
        link.socket.close()
    assert Door(door).ask({"op": "check", "places": ["hdfs:///data/tpch"], "purpose": {}})[-1][0] == 4
