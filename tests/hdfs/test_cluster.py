"""The development HDFS itself: security is on for real, permissions hold for stock clients, nothing listens beyond loopback, nothing stays behind."""
import filecmp
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest
from cluster import Cluster

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "dev" / "hdfs" / "cluster.py"


def listening(pid):
    """The local addresses, in the kernel's hexadecimal, on which a process takes TCP connections or UDP datagrams."""
    inodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(fd)))
        except FileNotFoundError:
            pass
    found = []
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state and fields[9] in inodes:
                found.append((table, fields[1].split(":")[0]))
    return found


def processes_of(folder):
    """Every process whose command line or environment names the folder."""
    found = []
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            text = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if int(proc.name) != os.getpid() and f"{folder}/".encode() in text:
            found.append(proc.name)
    return found


def variant(cluster, folder, **changes):
    """A copy of the client's configuration with other values in core-site.xml."""
    shutil.copytree(cluster.client_conf, folder)
    site = folder / "core-site.xml"
    text = site.read_text()
    for key, value in changes.items():
        name = "hadoop." + key.replace("_", ".")
        text, n = re.subn(rf"(<name>{re.escape(name)}</name><value>)[^<]*", rf"\g<1>{value}", text)
        assert n == 1, name
    site.write_text(text)
    return folder


def test_everything_runs_and_a_second_start_changes_nothing(cluster):
    before = cluster.status()
    assert list(before) == ["kdc", "namenode", "datanode1", "datanode2"] and all(before.values())
    again = Cluster(cluster.folder).start()
    assert {k: v[0] for k, v in again.status().items()} == {k: v[0] for k, v in before.items()}
    assert again.times["all"] < 5


def test_only_loopback_listens(cluster):
    ports = 0
    for name, (pid, *_) in cluster.status().items():
        found = listening(pid)
        assert found, name
        for table, address in found:
            # 127.0.0.1 as a number, or the same inside IPv6.
            assert address in ("0100007F", "0000000000000000FFFF00000100007F"), (name, table, address)
        ports += len(found)
    assert ports >= 10


def test_a_reader_gets_the_bytes_that_were_loaded(cluster, hadoop, datasets, tmp_path):
    source = next(p for p in sorted((datasets / "tpch" / "lineitem").iterdir()) if p.suffix == ".parquet")
    hadoop.fs("-get", f"/data/tpch/lineitem/{source.name}", tmp_path / "copy", user="ada").ok()
    assert filecmp.cmp(source, tmp_path / "copy", shallow=False)
    said = hadoop.fs("-stat", "%b %o %r %u %g", f"/data/tpch/lineitem/{source.name}", user="ada").ok().out.split()
    size, block, replicas, owner, group = said
    assert int(size) > int(block) and replicas == "2" and (owner, group) == ("hdfs", "analysts"), said


@pytest.mark.parametrize("user, path, may", [
    ("ada", "/data/ads", True), ("bob", "/data/ads", False),
    ("ada", "/data/private/ada", True), ("bob", "/data/private/ada", False),
    ("ada", "/data/shared/events", True), ("bob", "/data/shared/events", True),
    ("ada", "/data/plain/cities", True), ("bob", "/data/tpch/lineitem", True),
])
def test_permissions_hold_for_a_stock_client(hadoop, user, path, may):
    done = hadoop.fs("-ls", path, user=user)
    if may:
        assert done.rc == 0 and "Found" in done.out, done
    else:
        assert done.rc == 1 and f"Permission denied: user={user}, access=READ_EXECUTE" in done.err, done


def test_the_broker_may_impersonate_and_nobody_else(hadoop):
    assert hadoop.fs("-ls", "/data/ads", user="carrel-broker", doas="ada").rc == 0
    denied = hadoop.fs("-ls", "/data/shared/events", user="carrel-broker", doas="eve")
    assert denied.rc == 1 and "Permission denied: user=eve" in denied.err, denied
    assert "Permission denied: user=carrel-broker" in hadoop.fs("-ls", "/data/ads", user="carrel-broker").err
    other = hadoop.fs("-ls", "/data/tpch", user="bob", doas="ada")
    assert other.rc == 1 and "bob@CARREL.TEST is not allowed to impersonate ada" in other.err, other


def test_no_login_no_answer(cluster, tmp_path):
    with cluster.shell(variant(cluster, tmp_path / "simple", security_authentication="simple")) as shell:
        done = shell.fs("-ls", "/data/plain", user=None)
    assert done.rc == 1 and "SIMPLE authentication is not enabled" in done.err, done


def test_less_than_privacy_is_refused(cluster, tmp_path):
    with cluster.shell(variant(cluster, tmp_path / "open", rpc_protection="authentication")) as shell:
        done = shell.fs("-ls", "/data/plain", user="ada")
    assert done.rc == 1 and "No common protection layer" in done.err, done


def test_one_datanode_is_enough_to_read_and_a_namenode_comes_back(cluster, hadoop):
    cluster.datanode_stop(1, kill=True)
    try:
        assert hadoop.fs("-cat", "/data/plain/cities/cities.csv", user="ada").ok().out.startswith("city,")
    finally:
        cluster.datanode_start(1)
    cluster.namenode_stop(kill=True)
    cluster.namenode_start()
    assert cluster.state()["NumLiveDataNodes"] == 2
    # The shell notices once that its connection to the old one is gone.
    hadoop.fs("-ls", "/", user="ada")
    assert hadoop.fs("-cat", "/data/plain/cities/cities.csv", user="ada").ok().out.startswith("city,")


def test_every_replica_of_a_block_can_be_found(cluster, hadoop):
    # What tests that damage blocks build on.
    said = hadoop.fs("-stat", "%n", "/data/plain/cities/cities.csv").ok()
    assert said.out.strip() == "cities.csv"
    blocks = {p.name for p in (cluster.folder / "data").rglob("blk_*") if not p.name.endswith(".meta")}
    assert blocks and all(len(cluster.block_files(b)) == 2 for b in blocks)


def test_run_loads_and_ctrl_c_leaves_nothing(tmp_path):
    folder = tmp_path / "own"
    command = [sys.executable, PROGRAM, "run", folder, "--datanodes", "1", "--broker-ticket-life", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        said = []
        for line in child.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        assert any("hdfs://localhost:" in line for line in said), "".join(said)
        own = Cluster(folder)
        assert own.status()["datanode1"] and len(processes_of(folder)) >= 3
        env = own.kerberos.environment() | {"KRB5CCNAME": f"FILE:{tmp_path}/ccache", "LC_ALL": "C"}
        subprocess.run(["kinit", "-kt", own.keytab("carrel-broker"), "carrel-broker"], env=env, check=True)
        assert "krbtgt/CARREL.TEST" in subprocess.run(["klist"], env=env, check=True, capture_output=True, text=True).stdout
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
        assert child.wait(30) == 0, rest
    assert not any(own.status().values())
    assert processes_of(folder) == []


def test_the_command_line_says_what_is_wrong(cluster, tmp_path):
    def call(*words, **env):
        done = subprocess.run([sys.executable, PROGRAM, *map(str, words)], capture_output=True, text=True, env=os.environ | env)
        return done.returncode, done.stdout + done.stderr

    assert call("status", tmp_path / "none")[0] == 64
    assert call("start", tmp_path / "none", "--datanodes", "0")[0] == 64
    assert call("datanode-stop", cluster.folder, "7") == (64, "DataNode 7: this cluster has 1 to 2\n")
    code, said = call("status", cluster.folder)
    assert code == 0 and "2 live DataNodes" in said
    (tmp_path / "empty").mkdir()
    code, said = call("start", tmp_path / "none", PATH=str(tmp_path / "empty"))
    assert code == 69 and "deploy/setup/system hdfs" in said
    # A Maven that reaches nothing.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "mvn").write_text("#!/bin/sh\necho 'Could not transfer artifact' >&2\nexit 1\n")
    (fake / "mvn").chmod(0o755)
    code, said = call("start", tmp_path / "none", CACHE=str(tmp_path / "cache"), PATH=f"{fake}:{os.environ['PATH']}")
    assert code == 69 and "Maven could not fetch Hadoop" in said and "Could not transfer artifact" in said
    assert not list((tmp_path / "cache").iterdir())
