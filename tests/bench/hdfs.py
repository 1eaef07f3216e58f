"""The engine over the broker beside Hadoop's own client on the same files, in one run: `make bench-hdfs`.

A kerberised HDFS (deploy/dev/hdfs, servers with the full JIT, blocks of 64 MiB), a Carrel on it, one table of 32 columns of 8 bytes that no
encoding or compression makes smaller, so that bytes are what is measured, and the cheapest aggregate that has to look at all of them.
`hdfs dfs -cat` is timed without its JVM's start: the time for a tiny file is taken off. pyarrow's libhdfs would be the closer peer; no registry has its native part.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as pq

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "hdfs"), str(TESTS.parent / "deploy" / "dev" / "hdfs")]
import reader  # noqa: E402
from cluster import Cluster  # noqa: E402
from devhdfs.artifacts import java  # noqa: E402
from devhdfs.processes import stat  # noqa: E402
from engine import command  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "5"))
COLUMNS, ROWS, FILES = 32, 262_144, 4


def make_table(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for n in range(FILES):
        if not (folder / f"part-{n}.parquet").exists():
            table = pa.table({f"c{i}": rng.integers(0, 1 << 62, ROWS) for i in range(COLUMNS)})
            pq.write_table(table, folder / f"part-{n}.parquet", compression="none", use_dictionary=False, row_group_size=65_536)
    return sum(p.stat().st_size for p in folder.glob("*.parquet"))


def login(cluster):
    """A ticket for ada, for Hadoop's own client."""
    env = {**cluster.kerberos.environment(), "KRB5CCNAME": f"FILE:{cluster.folder}/ada.ccache"}
    subprocess.run(["kinit", "-kt", str(cluster.keytab("ada")), "ada@CARREL.TEST"], env=env, check=True)
    return env


def cat(cluster, env, path):
    """Seconds of `hdfs dfs -cat`, the start of its JVM included."""
    words = java(cluster.artifacts, cluster.client_conf, cluster.kerberos.conf, "512m", full_jit=True) + ["org.apache.hadoop.fs.FsShell", "-cat", path]
    begun = time.perf_counter()
    subprocess.run(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def first_row(opened, sql):
    """From sending a statement until its first row is here."""
    with flight.FlightClient(f"grpc+unix://{opened.socket}") as client:
        list(client.list_actions())  # connected
        begun = time.perf_counter()
        info = client.get_flight_info(flight.FlightDescriptor.for_command(command("CommandStatementQuery", {1: sql})))
        assert next(iter(client.do_get(info.endpoints[0].ticket))).data.num_rows > 0
        return time.perf_counter() - begun


def processor(cluster, carrel, session):
    """Processor seconds so far of everybody who takes part."""
    pids = {"data nodes": [d.pid() for d in cluster.datanodes], "broker": [reader.broker_pid(carrel)], "engine": [session.engine_pid()]}
    return {name: sum(int(n) for pid in some for n in stat(pid)[11:13]) / os.sysconf("SC_CLK_TCK") for name, some in pids.items()}


def pss(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024


def spread(values, unit):
    return f"median {statistics.median(values):.1f} {unit} (min {min(values):.1f}, max {max(values):.1f}, n={len(values)})"


def main():
    folder = reader.WORK / "hdfs-bench"
    Cluster(folder).destroy()
    cluster = Cluster(folder, block_size=64 << 20, full_jit=True).start()
    carrel = None
    try:
        size = make_table(reader.WORK / "bench-wide")
        with cluster.shell() as shell:
            shell.fs("-mkdir", "-p", "/data/bench", "/data/tiny", "/data/tpch", "/data/ads").ok()
            shell.fs("-put", "-f", reader.WORK / "bench-wide", "/data/bench/wide").ok()
            tiny = reader.WORK / "tiny.csv"
            tiny.write_text("a,b\n1,2\n")
            shell.fs("-put", "-f", tiny, "/data/tiny").ok()
        cluster.load(None)
        carrel = reader.make("hdfs-bench-carrel", cluster).start()
        print(f"table: {size / 1e6:.0f} MB in {FILES} files, {COLUMNS} columns")
        with reader.session(carrel, "ada") as ada:
            ada.ok("SELECT 1")
            env = login(cluster)
            print(f"broker, idle: {pss(reader.broker_pid(carrel)):.1f} MiB PSS")
            everything = "SELECT " + ", ".join(f"bit_xor(c{i}) AS x{i}" for i in range(COLUMNS)) + " FROM 'hdfs:///data/bench/wide'"
            engine, stock, spent = [], [], []
            for _ in range(ROUNDS):
                before = processor(cluster, carrel, ada)
                stats = ada.stats(everything)
                spent.append({name: now - before[name] for name, now in processor(cluster, carrel, ada).items()})
                assert stats["bytes_scanned"] > 0.95 * size
                engine.append(size / 1e6 / (stats["elapsed_ms"] / 1e3))
                start = cat(cluster, env, "/data/tiny/tiny.csv")
                stock.append(size / 1e6 / (cat(cluster, env, "/data/bench/wide/*.parquet") - start))
            print("full scan, engine over broker:", spread(engine, "MB/s"))
            print("  processor seconds a scan:", ", ".join(f"{name} {statistics.median(s[name] for s in spent):.2f}" for name in spent[0]))
            print("hdfs dfs -cat:                ", spread(stock, "MB/s"))
            print(f"ratio of medians: {statistics.median(engine) / statistics.median(stock):.2f} (aim: at least 0.9)")
            one = ada.stats("SELECT sum(c5 % 1000) FROM 'hdfs:///data/bench/wide'")
            stored = sum(pq.ParquetFile(p).metadata.row_group(g).column(5).total_compressed_size
                         for p in (reader.WORK / "bench-wide").glob("*.parquet") for g in range(ROWS // 65_536))
            print(f"one column: {one['bytes_scanned'] / 1e6:.2f} MB read for {stored / 1e6:.2f} MB stored, {one['bytes_scanned'] / stored:.3f}x (aim: at most 1.2x)")
            small = "SELECT a + b AS s FROM 'hdfs:///data/tiny'"
            first_row(ada, small)
            print("warm small query, first row:  ", spread([first_row(ada, small) * 1e3 for _ in range(ROUNDS * 6)], "ms"), "(aim: < 50 ms)")
            print(f"broker, after the scans: {pss(reader.broker_pid(carrel)):.1f} MiB PSS")
    finally:
        if carrel:
            carrel.stop()
        cluster.destroy()


if __name__ == "__main__":
    main()
