#!/usr/bin/env python3
"""A real, kerberised HDFS on loopback for development and tests: one NameNode, a few DataNodes, a private KDC, all state below one folder.

On the command line: `cluster.py start DIR`, `load DIR DATASETS`, `status DIR`, `stop DIR`, … (`--help`). In tests: `Cluster(folder).start()`.
README.md beside this file says what the cluster holds and how it differs from a production one.
"""
import argparse
import concurrent.futures
import contextlib
import fcntl
import json
import pathlib
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from devhdfs import Unavailable, Usage, artifacts, datasets, kerberos, pair, settings  # noqa: E402
from devhdfs.processes import Process, wait_until  # noqa: E402
from devhdfs.shell import Shell  # noqa: E402

NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
MADE = ("kdc", "keytabs", "conf", "tls", "data", "logs", "run", "loaded.json")


class Cluster:
    """One cluster in one folder. Options count at the first start; later ones keep what is there."""

    def __init__(self, folder, **options):
        self.folder = pathlib.Path(folder).resolve()
        self.settings = settings.Settings.load(self.folder)
        self.first = self.settings is None
        if not re.fullmatch(r"[\w./+@-]+", str(self.folder)):
            raise Usage(f"{self.folder}: Hadoop takes no spaces or special characters in the folder's path; choose another")
        if self.first:
            self.settings = settings.Settings(**options)
            self.settings.check()
        self.namenodes = [Process(name, self.folder) for name in self.settings.namenodes()]
        self.namenode = self.namenodes[0]
        self.datanodes = [Process(name, self.folder) for name in self.settings.names()]
        self.kerberos = kerberos.Kerberos(self.folder, self.settings.ports.get("kdc"), self.settings.clock_skew)
        self.times = {}
        self._artifacts = None

    # -- what clients need

    @property
    def url(self):
        return self.settings.url

    @property
    def client_conf(self):
        """core-site.xml, hdfs-site.xml and krb5.conf for any client."""
        return self.folder / "conf" / "client"

    @property
    def artifacts(self):
        if not self._artifacts:
            self._artifacts = artifacts.fetch()
        return self._artifacts

    def keytab(self, name):
        return self.kerberos.keytab(name)

    def shell(self, conf=None):
        return Shell(self, conf)

    def block_files(self, block):
        """Where the DataNodes keep a block, by its name (blk_…): one path per replica, for tests that damage it."""
        return sorted(p for p in (self.folder / "data").glob(f"datanode*/current/BP-*/current/*/subdir*/subdir*/{block}"))

    # -- life

    def start(self):
        """Starts what is not running and waits until the cluster takes reads and writes. The first start makes everything."""
        begin = time.monotonic()
        with self.locked():
            artifacts.need("krb5kdc", "kdb5_util", "kadmin.local", "java", "keytool")
            with self.timed("fetch"):
                _ = self.artifacts
            if self.first:
                with self.timed("make"):
                    self.make()
            self.check_ports()
            try:
                self.start_servers()
            except BaseException:
                self.end_servers(kill=True)
                raise
        self.times["all"] = time.monotonic() - begin
        return self

    def start_servers(self):
        with self.timed("servers"):
            self.kerberos.start(settings.listening)
            settings.write(self.folder, self.settings)
            for process in self.namenodes:
                process.start(self.server(process.name) + [NAMENODE], self.kerberos.environment())
            for n in range(1, len(self.datanodes) + 1):
                self.datanode_start(n, wait=False)
            if self.settings.standby:
                pair.elect(self)
            self.wait_ready()

    def make(self):
        """Realm, keytabs, keystore and an empty file system; the mark is written last, so a half-made cluster is made again."""
        for name in MADE:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        s = self.settings
        s.choose_ports()
        s.password = secrets.token_hex(16)
        for name in ("keytabs", "tls", "data", "logs", "run"):
            (self.folder / name).mkdir(mode=0o700)
        self.kerberos = kerberos.Kerberos(self.folder, s.ports["kdc"], s.clock_skew)
        self.kerberos.write_conf()
        settings.write(self.folder, s)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            jobs = [pool.submit(self.kerberos.create, s.broker_ticket_life), pool.submit(self.make_keystore), pool.submit(self.format)]
            for job in jobs:
                job.result()
        s.save(self.folder)
        self.first = False

    def make_keystore(self):
        keytool = artifacts.need("keytool")[0]
        store = ["-keystore", str(self.folder / "tls" / "keystore.p12"), "-storepass", self.settings.password, "-alias", "hdfs"]
        self.quietly([keytool, "-genkeypair", *store, "-storetype", "pkcs12", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650",
                      "-dname", "CN=localhost", "-ext", "san=dns:localhost,ip:127.0.0.1"])
        self.quietly([keytool, "-exportcert", "-rfc", *store, "-file", str(self.folder / "tls" / "certificate.pem")])

    def format(self):
        """Touches no network, so it runs beside the making of the realm, as hdfs by name: that user owns the root folder."""
        self.quietly(self.server("format") + [NAMENODE, "-format", "-nonInteractive"], HADOOP_USER_NAME="hdfs")
        if self.settings.standby:
            shutil.copytree(self.folder / "data" / "name", self.folder / "data" / "name-standby")

    def quietly(self, command, **env):
        env = self.kerberos.environment() | env
        done = subprocess.run(command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Unavailable(f"{pathlib.Path(command[0]).name} {command[-1]} failed ({done.returncode}):\n" + artifacts.tail(done.stdout + done.stderr))

    def server(self, name):
        full = self.settings.full_jit and name in self.settings.names()
        return artifacts.java(self.artifacts, self.folder / "conf" / name, self.kerberos.conf, "256m", full_jit=full)

    def check_ports(self):
        """A port that something else took meanwhile, said before the server's log says it worse."""
        owners = {"kdc": self.kerberos.process} | {p.name: p for p in [*self.namenodes, *self.datanodes]}
        for name, port in self.settings.ports.items():
            if not owners[name.split("-")[0]].pid() and settings.listening(port):
                raise Unavailable(f"port {port} ({name}) is in use by another program: end that one, or delete {self.folder} for a cluster with new ports")

    def wait_ready(self, seconds=90):
        datanodes = [d for d in self.datanodes if d.pid() and not d.paused()]
        wait_until(lambda: self.ready(datanodes), seconds, "a NameNode out of safe mode with every DataNode", [self.namenode, *datanodes])

    def ready(self, datanodes):
        """Each DataNode says that it is registered, and the NameNode that it has the reports of all: a killed one counts as live for a while.

        Of a pair's NameNodes one may be down, and one that took over has no new reports for hours but knows the blocks all the same.
        """
        state, pair_of_them = self.state(), self.settings.standby
        if not state or state["FSState"] != "Operational" or state["NumLiveDataNodes"] < len(datanodes):
            return False
        if state["NumStaleStorages"] and not pair_of_them:
            return False
        for datanode in datanodes:
            info = self.jmx("Hadoop:service=DataNode,name=DataNodeInfo", datanode.name)
            actors = json.loads(info.get("BPServiceActorInfo") or "[]") if info else []
            running = [a["ActorState"] == "RUNNING" for a in actors]
            if not (any(running) if pair_of_them else running and all(running)):
                return False
        return True

    def state(self):
        return self.jmx("Hadoop:service=NameNode,name=FSNamesystemState", self.settings.standby and pair.active(self) or "namenode")

    def jmx(self, bean, server="namenode"):
        """A bean of a server, None while it doesn't answer."""
        port = self.settings.ports[f"{server}-https"]
        context = ssl.create_default_context(cafile=str(self.folder / "tls" / "certificate.pem"))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(f"https://127.0.0.1:{port}/jmx?qry={bean}", timeout=5) as answer:
                beans = json.load(answer)["beans"]
        except (OSError, ValueError):
            return None
        return beans[0] if beans else None

    def stop(self, kill=False):
        """Ends every process of the cluster; what it holds stays in the folder."""
        with self.locked():
            self.end_servers(kill)

    def end_servers(self, kill):
        servers = [*self.datanodes, *self.namenodes]
        for process in servers:
            process.end(kill)
        for process in servers:
            process.wait_gone()
        self.kerberos.process.end(kill)
        self.kerberos.process.wait_gone()

    def destroy(self):
        """Stops it and removes what it made."""
        self.stop(kill=True)
        for name in (*MADE, settings.MARK, "lock"):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.first = True

    # -- single servers, for tests of faults

    def namenode_start(self, wait=True):
        self.namenode.start(self.server("namenode") + [NAMENODE], self.kerberos.environment())
        if wait:
            self.wait_ready()

    def namenode_stop(self, kill=False):
        self.namenode.end(kill)
        self.namenode.wait_gone()

    def activate(self, name):
        """Makes one of a pair of NameNodes ("namenode", "standby") the active one; the other, if it runs, must be standby."""
        pair.activate(self, name)
        self.wait_ready()

    def datanode(self, n):
        if not 1 <= n <= len(self.datanodes):
            raise Usage(f"DataNode {n}: this cluster has 1 to {len(self.datanodes)}")
        return self.datanodes[n - 1]

    def datanode_start(self, n, wait=True):
        process = self.datanode(n)
        process.start(self.server(process.name) + [DATANODE], self.kerberos.environment())
        if wait:
            self.wait_ready()

    def datanode_stop(self, n, kill=False):
        process = self.datanode(n)
        process.end(kill)
        process.wait_gone()

    def datanode_pause(self, n):
        """It keeps its connections and answers nothing."""
        self.datanode(n).pause()

    def datanode_resume(self, n):
        self.datanode(n).resume()

    # -- content

    def load(self, folder):
        """Copies <folder>/<schema>/<table>/… to /data and lays the permission examples beside it; gives what it did."""
        return datasets.load(self, pathlib.Path(folder) if folder else None)

    def status(self):
        """Process → (pid, resident KiB, proportional KiB), None for one that is not running."""
        return {p.name: (p.pid(), *p.memory()) if p.pid() else None for p in [self.kerberos.process, *self.namenodes, *self.datanodes]}

    # -- small things

    @contextlib.contextmanager
    def locked(self):
        """Two commands at once on one folder wait for each other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def timed(self, what):
        begin = time.monotonic()
        yield
        self.times[what] = time.monotonic() - begin


USE = """
HDFS is up: {url} (realm {realm}), started in {seconds:.1f} s.
  client configuration   export HADOOP_CONF_DIR={conf} KRB5_CONFIG={conf}/krb5.conf
  a ticket               KRB5CCNAME={folder}/ccache kinit -kt {folder}/keytabs/ada.keytab ada
  a stock command        {program} fs {folder} ada -ls -R /data
  the broker's keytab    {folder}/keytabs/carrel-broker.keytab
  logs                   {folder}/logs"""


def report(cluster):
    for name, found in cluster.status().items():
        print(f"{name:10}  " + (f"pid {found[0]:<8} {found[1] / 1024:6.0f} MiB resident" if found else "not running"))
    state = cluster.state() if cluster.namenode.pid() else None
    if state:
        print(f"{cluster.url}: {state['FSState']}, {state['NumLiveDataNodes']} live DataNodes, {state['FilesTotal']} files and folders, "
              f"{state['BlocksTotal']} blocks")


def serve(cluster, data):
    """Start, load, say how to use it, and stop on Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        cluster.start()
        print(cluster.load(data))
        print(USE.format(url=cluster.url, realm=kerberos.REALM, conf=cluster.client_conf, folder=cluster.folder, program=sys.argv[0],
                         seconds=cluster.times["all"]))
        print("Ctrl-C stops it.", flush=True)
        while not stop.wait(1):
            cluster.namenode.check()
    finally:
        print("stopping", flush=True)
        cluster.stop()


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, text, *numbers):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("dir", metavar="DIR", help="the cluster's folder")
        for number in numbers:
            sub.add_argument(number, metavar=number.upper(), type=int)
        return sub

    for name, text in (("start", "start what is not running; the first time, make it"), ("run", "start, load DATASETS, stop on Ctrl-C")):
        sub = command(name, text)
        sub.add_argument("--datanodes", type=int, default=2, help="at the first start (2); 5 allow the erasure-coding policy RS-3-2")
        sub.add_argument("--block-size", type=int, default=1 << 20, help="bytes, at the first start (1 MiB)")
        sub.add_argument("--broker-ticket-life", type=int, metavar="SECONDS", help="of carrel-broker's tickets, at the first start (1 day)")
        sub.add_argument("--clock-skew", type=int, metavar="SECONDS", default=300, help="that Kerberos forgives, at the first start (300)")
        sub.add_argument("--standby", action="store_true", help="a second NameNode that can take over, at the first start")
        sub.add_argument("--full-jit", action="store_true", help="DataNodes start in twice the CPU time and then send faster: for measuring")
    sub.add_argument("--datasets", help="<schema>/<table>/… to copy to /data")
    command("stop", "end every process, keep the content")
    command("destroy", "stop, and remove what was made")
    command("status", "processes, memory, blocks")
    command("load", "copy datasets to /data, with the permission examples").add_argument("datasets", metavar="DATASETS", nargs="?")
    for name in ("namenode-stop", "namenode-start"):
        command(name, "for tests of faults")
    for name in ("datanode-stop", "datanode-start", "datanode-pause", "datanode-resume"):
        command(name, "for tests of faults", "n")
    sub = command("fs", "a stock `hdfs dfs` command as a user that has a keytab")
    sub.add_argument("user", metavar="USER", choices=sorted(kerberos.PRINCIPALS))
    sub.add_argument("words", metavar="ARGUMENT", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def main(argv):
    args = parse(argv)
    options = {k: v for k, v in vars(args).items() if k in ("datanodes", "block_size", "broker_ticket_life", "clock_skew", "full_jit", "standby")}
    cluster = Cluster(args.dir, **options)
    if cluster.first and args.command not in ("start", "run", "destroy"):
        raise Usage(f"no cluster in {args.dir}; `start` makes one")
    if args.command == "run":
        serve(cluster, args.datasets)
    elif args.command == "load":
        print(cluster.load(args.datasets))
    elif args.command == "status":
        report(cluster)
    elif args.command == "fs":
        with cluster.shell() as shell:
            done = shell.fs(*args.words, user=args.user)
        sys.stdout.write(done.out)
        sys.stderr.write(done.err)
        return done.rc
    else:
        getattr(cluster, args.command.replace("-", "_"))(*([args.n] if "n" in args else []))
        if args.command == "start":
            print(f"{cluster.url} is up, started in {cluster.times['all']:.1f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Usage as e:
        print(e, file=sys.stderr)
        sys.exit(64)
    except (Unavailable, OSError) as e:
        print(e, file=sys.stderr)
        sys.exit(69)
    except KeyboardInterrupt:
        sys.exit(130)
