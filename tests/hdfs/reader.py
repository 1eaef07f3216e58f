"""A Carrel whose datasets lie on the test cluster, and one user's Carrel SQL session in it, asked by cells and by Flight SQL."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pyarrow.flight as flight

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS / "sql")]
from engine import query  # noqa: E402
from harness import PREFIX, WORK, Carrel, wait_until  # noqa: E402,F401

PEOPLE = ("ada", "bob", "eve", "demo")


def have_user(name):
    """The broker's own user, which an administrator makes once."""
    if subprocess.run(["getent", "passwd", name], stdout=subprocess.DEVNULL).returncode != 0:
        subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name], check=True)


def make(name, cluster, lines="", timeout=60, keytab=None, krb5=None):
    """A Carrel that is not started yet. Its catalogs are the cluster's; no dataset lies on this machine."""
    own = WORK / f"{name}.keytab"
    own.unlink(missing_ok=True)
    shutil.copy(keytab or cluster.keytab("carrel-broker"), own)
    os.chmod(own, 0o400)
    if os.geteuid() == 0:
        have_user("carrel-broker")
        shutil.chown(own, "carrel-broker", "carrel-broker")
    conf = cluster.client_conf
    hdfs = f"""
[hdfs]
config = "{conf}"
principal = "carrel-broker@CARREL.TEST"
keytab = "{own}"
krb5 = "{krb5 or conf / 'krb5.conf'}"
timeout_seconds = {timeout}
"""
    carrel = Carrel(name, demo=False)
    # the template has the tables already, with every key commented out
    text = carrel.config_path().read_text().replace("\n[hdfs]\n", "\n" + hdfs, 1)
    catalogs = "".join(f'\n[[catalog]]\nname = "{schema}"\npath = "hdfs:///data/{schema}"\n' for schema in ("tpch", "ads", "private", "many"))
    carrel.config_path().write_text(text + catalogs + '\n[[dataset]]\nname = "town.events"\npath = "hdfs:///data/shared/events"\n' + lines)
    for user in PEOPLE:
        carrel.add_user(user, "long-password-1")
    return carrel


class Session:
    """A kernel of a user's. `rows` and `table` go to its engine's own socket as a stock Flight SQL client does."""

    def __init__(self, carrel, user):
        self.carrel, self.user = carrel, user
        self.server = carrel.server(user)
        self.server.start_server()
        self.kid = self.server.start_kernel()
        self.ws = self.server.connect(self.kid)
        self.used = time.monotonic()

    def cell(self, code, timeout=60):
        """(reply content, plain text of all results, error as one text)."""
        if time.monotonic() - self.used > 40:
            # this client answers no pings while nobody reads, so the gateway gives it up
            self.ws.close()
            self.ws = self.server.connect(self.kid)
        self.used = time.monotonic()
        reply, out = self.ws.execute(code, timeout)
        kinds = [(m["header"]["msg_type"], m["content"]) for m in out]
        text = "\n".join(c["data"].get("text/plain", "") for t, c in kinds if t in ("execute_result", "display_data", "update_display_data"))
        error = "\n".join("\n".join([c["ename"], c["evalue"], *c["traceback"]]) for t, c in kinds if t == "error")
        return reply["content"], text, error

    def ok(self, code, timeout=60):
        reply, text, error = self.cell(code, timeout)
        assert reply["status"] == "ok", error
        return text

    def fails(self, code, timeout=60):
        reply, text, error = self.cell(code, timeout)
        assert reply["status"] == "error", text
        return error

    @property
    def socket(self):
        return next(pathlib.Path(jail["socket"]).parent / "engine" / "engine.sock" for jail in self.jails() if self.kid in jail["id"])

    def jails(self):
        return json.loads(self.carrel.run("jails", "--json").stdout)

    def engine_pid(self):
        """The engine's process on this machine."""
        uid = next(jail["uid"] for jail in self.jails() if self.kid in jail["id"])
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (proc / "cmdline").read_bytes()
                if b"carrel-engine" in command.split(b"\0")[0] and proc.stat().st_uid == uid:
                    return int(proc.name)
        raise AssertionError("no engine runs")

    def table(self, sql):
        with flight.FlightClient(f"grpc+unix://{self.socket}") as client:
            return query(client, sql)

    def rows(self, sql):
        return [tuple(row.values()) for row in self.table(sql).to_pylist()]

    def stats(self, sql):
        """What `carrel.stats` says of a statement after it was fetched."""
        from engine import command
        with flight.FlightClient(f"grpc+unix://{self.socket}") as client:
            info = client.get_flight_info(flight.FlightDescriptor.for_command(command("CommandStatementQuery", {1: sql})))
            for endpoint in info.endpoints:
                client.do_get(endpoint.ticket).read_all()
            handle = info.app_metadata
            return json.loads(next(client.do_action(flight.Action("carrel.stats", handle))).body.to_pybytes())

    def close(self):
        self.ws.close()
        self.server.stop_kernel(self.kid)


@contextlib.contextmanager
def session(carrel, user):
    opened = Session(carrel, user)
    try:
        yield opened
    finally:
        opened.close()


def audit(carrel):
    lines = []
    for path in sorted((carrel.state / "audit").glob("hdfs-*.jsonl")):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines


def broker_pid(carrel):
    config = str(carrel.state / "broker.toml").encode()
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (proc / "cmdline").read_bytes()
            if b"serve" in command and config in command and b"carrel-broker" in pathlib.Path(os.readlink(proc / "exe")).name.encode():
                return int(proc.name)
    return None


def timed(work):
    begun = time.monotonic()
    done = work()
    return done, time.monotonic() - begun
