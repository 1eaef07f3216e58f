"""The engine's SQL beside DataFusion, DuckDB and polars from PyPI, on the same Parquet files in one run: `make bench-sql`.

TPC-H, 22 queries, SUMMARIZE, and what a user waits for: the engine's start, and a completion while a heavy query runs. All take turns
query by query, so that a change in the machine's load meets all of them; of each query the quickest round counts, since noise only
adds. Answers go to the client whole: Carrel's through Flight SQL to another process, the others' in their own.
"""
import json
import math
import os
import pathlib
import queue
import signal
import statistics
import sys
import tempfile
import time

import datafusion
import duckdb
import polars as pl

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "sql"), str(TESTS / "bench")]
import engine as engines  # noqa: E402
from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402
from jupyter_client.manager import KernelManager  # noqa: E402

SCALE = float(os.environ.get("SCALE", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
QUERIES = sorted((TESTS / "sql" / "queries").glob("q*.sql"))
TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


class Carrel:
    """One engine and one connection, as a kernel has them."""

    name = "carrel"

    def __init__(self, data):
        self.engine = engines.Engine(data)
        self.client = self.engine.flight()

    def run(self, text):
        return engines.query(self.client, text).num_rows

    def close(self):
        self.client.close()
        self.engine.close()


class DataFusion:
    """PyPI's wheel with its own defaults."""

    name = "datafusion"

    def __init__(self, data):
        self.context = datafusion.SessionContext()
        self.context.sql("CREATE SCHEMA tpch").collect()
        for table in TABLES:
            self.context.sql(f"CREATE EXTERNAL TABLE tpch.{table} STORED AS PARQUET LOCATION '{data}/tpch/{table}/'").collect()

    def run(self, text):
        return sum(batch.num_rows for batch in self.context.sql(text).collect())

    def close(self):
        pass


class DuckDB:
    """PyPI's wheel; Parquet is read in place, as by the others."""

    name = "duckdb"

    def __init__(self, data):
        self.connection = duckdb.connect()
        self.connection.execute("CREATE SCHEMA tpch")
        for table in TABLES:
            self.connection.execute(f"CREATE VIEW tpch.{table} AS SELECT * FROM read_parquet('{data}/tpch/{table}/*.parquet')")

    def run(self, text):
        return self.connection.execute(text).to_arrow_table().num_rows

    def close(self):
        self.connection.close()


class Polars:
    """PyPI's wheel, streaming; its SQL has no schemas."""

    name = "polars"

    def __init__(self, data):
        self.context = pl.SQLContext({table: pl.scan_parquet(f"{data}/tpch/{table}/*.parquet") for table in TABLES})

    def run(self, text):
        return self.context.execute(text.replace("tpch.", "")).collect(engine="streaming").height

    def close(self):
        pass


def timed(work, *arguments):
    begun = time.perf_counter()
    rows = work(*arguments)
    return time.perf_counter() - begun, rows


def tpch(data):
    runners = [kind(data) for kind in (Carrel, DataFusion, DuckDB, Polars)]
    best = {runner.name: {} for runner in runners}
    try:
        for path in QUERIES:
            text = path.read_text().replace("{fraction}", format(0.0001 / SCALE, "f"))
            rows = {}
            for _ in range(ROUNDS):
                for runner in runners:
                    try:
                        seconds, rows[runner.name] = timed(runner.run, text)
                    except pl.exceptions.PolarsError as error:
                        print(f"  polars cannot answer {path.stem}: {str(error).splitlines()[0][:80]}")
                        best["polars"][path.stem] = math.nan
                        continue
                    known = best[runner.name].get(path.stem, math.inf)
                    best[runner.name][path.stem] = min(known, seconds)
            assert len(set(rows.values())) == 1, f"{path.stem}: the answers differ in length: {rows}"
            print(f"{path.stem}  " + "  ".join(f"{r.name} {best[r.name][path.stem] * 1e3:7.0f} ms" for r in runners), flush=True)
    finally:
        for runner in runners:
            runner.close()
    total = {name: sum(times.values()) for name, times in best.items()}
    ours = best["carrel"]
    for name, times in best.items():
        if name != "carrel":
            mean = statistics.geometric_mean(ours[q] / t for q, t in times.items() if not math.isnan(t))
            print(f"TPC-H {SCALE:g}: carrel {total['carrel']:.2f} s, {name} {total[name]:.2f} s, "
                  f"ratio {total['carrel'] / total[name]:.2f}, geometric mean {mean:.2f}")
    print("(aim: at most 1.15 of DataFusion's)")


def summarize(data):
    """Without Carrel's cache: a new engine each time."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        carrel, duck = Carrel(data), DuckDB(data)
        try:
            carrel.run("SELECT count(*) FROM tpch.lineitem")
            duck.run("SELECT count(*) FROM tpch.lineitem")
            ours.append(timed(carrel.run, "SUMMARIZE tpch.lineitem")[0])
            again = timed(carrel.run, "SUMMARIZE tpch.lineitem")[0]
            theirs.append(timed(duck.run, "SUMMARIZE tpch.lineitem")[0])
        finally:
            carrel.close()
            duck.close()
    print(f"SUMMARIZE lineitem: carrel {min(ours):.2f} s (again, from its cache: {again * 1e3:.0f} ms), duckdb {min(theirs):.2f} s, "
          f"ratio {min(ours) / min(theirs):.2f} (aim: at most 1)")


def start_of_the_engine(data):
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        engine = engines.Engine(data)
        times.append((time.perf_counter() - begun) * 1e3)
        engine.close()
    print(f"engine, process to the answer of SELECT 1: median {statistics.median(times):.0f} ms, max {max(times):.0f} (aim: < 100 ms)")


def completion(data):
    """What Tab costs while a query keeps all processors busy."""
    with tempfile.TemporaryDirectory() as folder:
        carrel = engines.Engine(data)
        spec = pathlib.Path(folder) / "carrel"
        spec.mkdir()
        described = json.loads((TESTS.parent / "kernel/kernelspec/kernel.json").read_text())
        described["argv"][0] = os.environ["CARREL_KERNEL"]
        (spec / "kernel.json").write_text(json.dumps(described))
        manager = KernelManager(kernel_name="carrel", kernel_spec_manager=KernelSpecManager(kernel_dirs=[folder], ensure_native_kernel=False))
        manager.start_kernel(env={**os.environ, "CARREL_ENGINE": carrel.uri})
        client = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=30)
            client.execute_interactive("SELECT 1", timeout=30, output_hook=lambda _: None)
            heavy = client.execute("SELECT count(*) FROM tpch.lineitem a JOIN tpch.lineitem b ON a.l_suppkey = b.l_suppkey AND a.l_tax < b.l_tax")
            time.sleep(0.5)
            text = "SELECT l.l_ FROM tpch.lineitem l JOIN tpch.orders o ON o.o_orderkey = l.l_orderkey"
            times = []
            for _ in range(200):
                begun = time.perf_counter()
                asked = client.complete(text, len("SELECT l.l_"))
                while True:
                    reply = client.get_shell_msg(timeout=10)
                    assert reply["parent_header"]["msg_id"] != heavy, "the heavy query ended too early to say anything"
                    if reply["parent_header"]["msg_id"] == asked:
                        break
                times.append((time.perf_counter() - begun) * 1e3)
                assert "l_orderkey" in " ".join(reply["content"]["matches"])
            times.sort()
            begun = time.perf_counter()
            client.control_channel.send(client.session.msg("interrupt_request", {}))
            while client.get_shell_msg(timeout=30)["parent_header"]["msg_id"] != heavy:
                pass
            stopped = (time.perf_counter() - begun) * 1e3
            print(f"completion during a heavy join, n=200: p50 {times[100]:.1f} ms, p99 {times[197]:.1f} ms (aim: p99 < 50 ms); "
                  f"interrupt to reply {stopped:.0f} ms (aim: < 1 s)")
        except queue.Empty:
            sys.exit("the kernel did not answer in time")
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            carrel.stop(signal.SIGKILL)
            carrel.close()


def main():
    wanted = os.environ.get("ONLY", "tpch summarize start completion").split()
    data = engines.demo_data(scale=SCALE, clicks=1_000)
    print(f"engine: {engines.binary()}; datafusion {datafusion.__version__}, duckdb {duckdb.__version__}, polars {pl.__version__}; load {os.getloadavg()[0]:.1f}")
    for name, measure in {"tpch": tpch, "summarize": summarize, "start": start_of_the_engine, "completion": completion}.items():
        if name in wanted:
            measure(data)


if __name__ == "__main__":
    main()
