"""Datasets on a real, kerberised HDFS as a data scientist uses them: what she may see, every format, files written over the years, how much is read."""
import datetime
import decimal
import json
import pathlib

import duckdb
import nbformat
import pyarrow as pa
import pyarrow.csv
import pyarrow.flight as flight
import pyarrow.parquet as pq
import pytest
import reader
from reader import audit, session

WELCOME = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "skeleton" / "welcome.ipynb"


@pytest.fixture(scope="module")
def carrel(cluster):
    made = reader.make("hdfs-data", cluster).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def ada(carrel):
    with session(carrel, "ada") as opened:
        opened.ok("SELECT 1")
        yield opened


@pytest.fixture(scope="module")
def place(hadoop, tmp_path_factory):
    """place(path, {name: bytes or table}): files on the cluster, readable for everybody."""
    def put(path, files):
        local = tmp_path_factory.mktemp("files") / "d"
        for name, content in files.items():
            file = local / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pa.Table):
                pq.write_table(content, file)
            else:
                file.write_bytes(content)
        hadoop.fs("-mkdir", "-p", path).ok()
        hadoop.fs("-put", "-f", "-t", "16", *sorted(local.iterdir()), path).ok()
        return path
    return put


# --- what she may see


def names(text):
    return {line.split()[0] for line in text.splitlines() if "." in line.split(" ")[0]}


def test_everybody_sees_what_the_cluster_lets_her_read(carrel):
    seen = {}
    for user in ("ada", "bob", "eve"):
        with session(carrel, user) as opened:
            seen[user] = names(opened.ok("SHOW DATASETS"))
    for user in seen:
        assert "tpch.lineitem" in seen[user]
    assert {"ads.clicks", "private.ada", "town.events"} <= seen["ada"]
    assert "town.events" in seen["bob"] and not {"ads.clicks", "private.ada"} & seen["bob"]
    assert not {"ads.clicks", "private.ada", "town.events"} & seen["eve"]


def test_a_denial_names_path_user_and_permission_and_no_java(carrel):
    with session(carrel, "eve") as eve:
        for sql, path in (("SELECT * FROM private.ada", "/data/private/ada"), ("SELECT * FROM ads.clicks", "/data/ads"),
                          ("SELECT * FROM town.events", "/data/shared/events"), ("SELECT * FROM 'hdfs:///data/private/ada'", "/data/private/ada"),
                          ("ATTACH 'hdfs:///data/private/ada' AS x", "/data/private/ada")):
            error = eve.fails(sql)
            assert error.startswith("PolicyDenied"), error
            assert "eve may not read" in error and path in error and "execute" in error, error
            assert "java" not in error.lower() and "apache" not in error and "\tat " not in error, error
            assert "^" in error, "no caret:\n" + error


def test_names_of_a_closed_folder_are_not_told_from_names_that_are_not_there(carrel):
    with session(carrel, "eve") as eve:
        there, not_there = eve.fails("SELECT * FROM ads.clicks"), eve.fails("SELECT * FROM ads.nothing")
        assert there.replace("clicks", "X").replace("^^^^^^^^^^", "") == not_there.replace("nothing", "X").replace("^^^^^^^^^^^", "")


def test_completion_and_metadata_know_only_what_she_may_see(carrel):
    with session(carrel, "eve") as eve:
        reply = eve.ws.request("complete_request", {"code": "SELECT * FROM ", "cursor_pos": 14})
        matches = reply["content"]["matches"]
        assert "tpch.lineitem" in matches and not [m for m in matches if m.startswith(("ads.", "private."))]
        found = eve.ws.request("inspect_request", {"code": "ads.clicks", "cursor_pos": 5, "detail_level": 0})["content"]
        assert not found["found"]
        tables = eve.rows("SELECT table_schema, table_name FROM information_schema.tables")
        assert ("tpch", "nation") in tables and not [t for t in tables if t[0] in ("ads", "private")]


def test_users_cannot_become_somebody_else(carrel):
    """The superuser's name, the broker's own, and names that the cluster would map to another one."""
    for user in ("hdfs", "carrel-broker", "ada@carrel.test"):
        carrel.add_user(user, "long-password-1")
        with session(carrel, user) as opened:
            assert "tpch" not in opened.ok("SHOW DATASETS")
            error = opened.fails("SELECT count(*) FROM town.events")
            assert error.startswith("PolicyDenied") and "cannot read the cluster" in error, error


# --- queries


def test_the_welcome_notebook_gives_the_same_on_the_cluster(ada, datasets):
    duck = duckdb.connect()
    for schema in ("ads", "tpch"):
        duck.sql(f"CREATE SCHEMA {schema}")
        for table in (datasets / schema).iterdir():
            if table.is_dir():
                duck.sql(f"CREATE VIEW {schema}.{table.name} AS SELECT * FROM '{table}/*.parquet'")
    compared = 0
    for cell in nbformat.read(WELCOME, 4).cells:
        if cell.cell_type != "code":
            continue
        ada.ok(cell.source, timeout=120)
        if cell.source.lstrip("-").lstrip().startswith(("SELECT i.", "The three", "Revenue")):
            ours, theirs = ada.rows(cell.source), duck.sql(cell.source).fetchall()
            rounded = lambda rows: [tuple(round(float(v), 6) if isinstance(v, (float, decimal.Decimal)) else v for v in row) for row in rows]  # noqa: E731
            assert rounded(ours) == rounded(theirs)
            compared += 1
    assert compared == 3


def test_the_result_line_tells_files_bytes_and_their_totals(ada):
    text = ada.ok("SELECT sum(l_quantity) FROM tpch.lineitem WHERE l_orderkey < 1000")
    assert "1 row, complete" in text and "scanned" in text and " of " in text.splitlines()[0], text
    stats = ada.stats("SELECT sum(l_quantity) FROM tpch.lineitem WHERE l_orderkey < 1000")
    assert 0 < stats["bytes_scanned"] < stats["bytes_total"] / 4
    assert 0 < stats["files"] < stats["files_total"]
    assert 0 < stats["row_groups"] <= stats["row_groups_total"]


def test_one_column_reads_little_more_than_that_column(ada, datasets):
    stored = 0
    for file in (datasets / "tpch" / "lineitem").glob("*.parquet"):
        meta = pq.ParquetFile(file).metadata
        at = meta.schema.names.index("l_extendedprice")
        stored += sum(meta.row_group(g).column(at).total_compressed_size for g in range(meta.num_row_groups))
    ada.rows("SELECT count(*) FROM tpch.lineitem")  # footers are known from here on
    read = ada.stats("SELECT sum(l_extendedprice) FROM tpch.lineitem")["bytes_scanned"]
    assert stored <= read <= 1.2 * stored, (stored, read)


def test_files_and_folders_by_address_and_attached_ones(ada, place):
    place("/data/adhoc/one", {"a.parquet": pa.table({"x": [1, 2]}), "b.parquet": pa.table({"x": [3]})})
    place("/data/adhoc/two", {"a.csv": b"y,z\n1,2\n"})
    assert ada.rows("SELECT sum(x) AS s FROM 'hdfs:///data/adhoc/one'") == [(6,)]
    assert ada.rows("SELECT sum(x) AS s FROM 'hdfs:///data/adhoc/one/b.parquet'") == [(3,)]
    assert "attached" not in ada.ok("SHOW DATASETS")
    ada.ok("ATTACH 'hdfs:///data/adhoc/one' AS one; ATTACH 'hdfs:///data/adhoc' AS adhoc")
    assert ada.rows("SELECT (SELECT sum(x) FROM one) AS a, (SELECT y + z FROM adhoc.two) AS b") == [(6, 3)]
    assert {"adhoc.one", "adhoc.two"} <= names(ada.ok("SHOW DATASETS"))
    assert ada.fails("ATTACH 'hdfs:///data/adhoc' AS one").startswith("AlreadyExists")
    assert ada.fails("ATTACH 'hdfs:///data/nothing' AS n").startswith("FileNotFound")
    assert ada.fails("ATTACH 'hdfs://other:1/data' AS n").startswith("FileNotFound")
    assert ada.fails("ATTACH '/etc' AS n").startswith("BadOption")
    ada.ok("DETACH one; DETACH IF EXISTS one; DETACH adhoc")
    assert ada.fails("SELECT * FROM one").startswith("UnknownDataset")
    assert ada.fails("DETACH one").startswith("UnknownDataset")


def test_what_is_attached_is_there_again_after_the_engine_was_killed(carrel, place):
    place("/data/adhoc/one", {"a.parquet": pa.table({"x": [1, 2]}), "b.parquet": pa.table({"x": [3]})})
    with session(carrel, "bob") as bob:
        bob.ok("ATTACH 'hdfs:///data/adhoc/one' AS one; SELECT * FROM one")
        import os
        import signal
        os.kill(bob.engine_pid(), signal.SIGKILL)
        reader.wait_until(lambda: bob.cell("SELECT sum(x) FROM one")[0]["status"] == "ok", 20)


# --- formats


def test_every_format_reads_the_same(ada, place):
    n = 3000
    table = pa.table({
        "id": pa.array(range(n), pa.int64()),
        "price": pa.array([i / 8 for i in range(n)], pa.float64()),
        "name": pa.array([None if i % 7 == 0 else f"näme {i % 13}" for i in range(n)]),
        "day": pa.array([datetime.date(2026, 1, 1) + datetime.timedelta(days=i % 40) for i in range(n)]),
    })
    rows = table.to_pylist()
    csv = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, csv)
    ndjson = "".join(json.dumps({**r, "day": str(r["day"])}) + "\n" for r in rows).encode()
    arrow = pa.BufferOutputStream()
    with pa.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table)
    place("/data/formats/parquet", {"x.parquet": table})
    place("/data/formats/csv", {"x.csv": csv.getvalue().to_pybytes()})
    place("/data/formats/ndjson", {"x.ndjson": ndjson})
    place("/data/formats/arrow", {"x.arrow": arrow.getvalue().to_pybytes()})
    place("/data/formats/avro", {"x.avro": avro(rows)})
    ask = "SELECT count(*) AS n, sum(id) AS a, sum(price) AS b, count(name) AS c, count(DISTINCT name) AS d, min(CAST(day AS DATE)) AS e FROM 'hdfs:///data/formats/{}'"
    want = ada.rows(ask.format("parquet"))
    assert want[0][:2] == (n, sum(range(n)))
    for kind in ("csv", "ndjson", "arrow", "avro"):
        assert ada.rows(ask.format(kind)) == want, kind


def avro(rows):
    """An Avro object container file, by the specification (1.11, "Object Container Files"); one block, null codec."""
    schema = json.dumps({"type": "record", "name": "r", "fields": [
        {"name": "id", "type": "long"}, {"name": "price", "type": "double"}, {"name": "name", "type": ["null", "string"]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}}]}).encode()
    import struct

    def long(n):
        n = (n << 1) ^ (n >> 63)
        out = bytearray()
        while n > 0x7F:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        return bytes(out) + bytes([n])

    def data(b):
        return long(len(b)) + b

    def row(r):
        name = long(0) if r["name"] is None else long(1) + data(r["name"].encode())
        return long(r["id"]) + struct.pack("<d", r["price"]) + name + long((r["day"] - datetime.date(1970, 1, 1)).days)

    sync = bytes(range(16))
    block = b"".join(map(row, rows))
    meta = long(2) + data(b"avro.schema") + data(schema) + data(b"avro.codec") + data(b"null") + long(0)
    return b"Obj\x01" + meta + sync + long(len(rows)) + data(block) + sync


def test_partitions_are_columns_and_only_those_asked_for_are_read(ada, place):
    files = {f"day=2026-11-{d:02}/country={c}/part-0.parquet": pa.table({"v": [d, d]}) for d in range(1, 11) for c in ("de", "fr")}
    files["_SUCCESS"] = b""
    place("/data/parts/t", files)
    sql = "SELECT sum(v) AS s, count(*) AS n FROM 'hdfs:///data/parts/t' WHERE day = DATE '2026-11-03' AND country = 'fr'"
    assert ada.rows(sql) == [(6, 2)]
    stats = ada.stats(sql)
    assert (stats["files"], stats["files_total"]) == (1, 20)
    assert ada.rows("SELECT country, count(*) AS n FROM 'hdfs:///data/parts/t' GROUP BY 1 ORDER BY 1") == [("de", 20), ("fr", 20)]


def test_patterns_and_lists_of_files(carrel, ada, place):
    v = lambda *values: pa.table({"v": list(values)})  # noqa: E731
    place("/data/globs/t", {"day=1/x/a.parquet": v(1), "day=2/x/a.parquet": v(2, 3), "day=2/y/b.parquet": v(50), "c.csv": b"v\n9\n"})
    at = "hdfs:///data/globs"
    assert ada.rows(f"SELECT day, sum(v) AS s FROM '{at}/t/day=*/x/*.parquet' GROUP BY 1 ORDER BY 1") == [(1, 1), (2, 5)]
    assert ada.rows(f"SELECT sum(v) AS s FROM '{at}/**/*.parquet' WHERE day = 2") == [(55,)]
    files = f"read_parquet(['{at}/t/day=1/x/a.parquet', '{at}/t/day=2/y/*'], filename = true)"
    assert ada.rows(f"SELECT v, filename FROM {files} ORDER BY v") == [(1, f"{at}/t/day=1/x/a.parquet"), (50, f"{at}/t/day=2/y/b.parquet")]
    assert ada.rows(f"SELECT v FROM read_csv('{at}/t/c.csv', types = {{'v': 'DOUBLE'}})") == [(9.0,)]
    assert ada.fails(f"SELECT * FROM '{at}/none/*.parquet'").startswith("FileNotFound")
    with session(carrel, "eve") as eve:
        error = eve.fails("SELECT * FROM 'hdfs:///data/private/*/*.parquet'")
        assert error.startswith("PolicyDenied") and "eve may not read" in error, error


def test_markers_and_unfinished_files_are_no_data(ada, place):
    good = pa.table({"v": [1, 2, 3]})
    bad = pa.table({"v": [1000]})
    place("/data/marks/t", {
        "part-0.parquet": good, "_SUCCESS": b"", "_temporary/0/part-1.parquet": bad, ".hidden.parquet": bad,
        "part-2.parquet._COPYING_": b"half", "part-3.parquet.inprogress": b"half", "part-4.parquet.tmp": b"half", "_metadata": b"x",
    })
    assert ada.rows("SELECT sum(v) AS s, count(*) AS n FROM 'hdfs:///data/marks/t'") == [(6, 3)]


def test_columns_that_were_added_reordered_and_widened(ada, place):
    place("/data/years/t", {
        "2023.parquet": pa.table({"id": pa.array([1], pa.int32()), "price": pa.array([1.5], pa.float32())}),
        "2024.parquet": pa.table({"price": pa.array([2.5], pa.float64()), "id": pa.array([2**40], pa.int64())}),
        "2025.parquet": pa.table({"id": pa.array([3], pa.int32()), "note": pa.array(["new"]), "price": pa.array([3.5], pa.float64()),
                                  "amount": pa.array([decimal.Decimal("1.25")], pa.decimal128(10, 2))}),
        "2026.parquet": pa.table({"id": pa.array([4], pa.int64()), "amount": pa.array([decimal.Decimal("2.3456")], pa.decimal128(12, 4))}),
    })
    rows = ada.rows("SELECT id, price, note, amount FROM 'hdfs:///data/years/t' ORDER BY id")
    d = decimal.Decimal
    assert rows == [(1, 1.5, None, None), (3, 3.5, "new", d("1.2500")), (4, None, None, d("2.3456")), (2**40, 2.5, None, None)]
    assert ada.rows("SELECT count(*) AS n FROM 'hdfs:///data/years/t' WHERE id > 2147483648") == [(1,)]
    assert ada.rows("SELECT sum(amount) AS s FROM 'hdfs:///data/years/t' WHERE note = 'new' OR id = 4") == [(d("3.5956"),)]


def test_columns_that_do_not_fit_are_named(ada, place):
    place("/data/clash/t", {"a.parquet": pa.table({"x": [1]}), "b.parquet": pa.table({"x": ["one"]})})
    error = ada.fails("SELECT * FROM 'hdfs:///data/clash/t'")
    assert error.startswith("TypeError") and "column x" in error and "b.parquet" in error, error


def test_text_files_with_other_headers_are_not_mixed_up(ada, place):
    place("/data/heads/t", {"a.csv": b"x,y\n1,2\n", "b.csv": b"y,x\n3,4\n"})
    error = ada.fails("SELECT sum(x) FROM 'hdfs:///data/heads/t'")
    assert error.startswith("CorruptFile") and "header" in error and "b.csv" in error, error


def test_many_small_files(ada, place):
    place("/data/small/t", {f"part-{i:04}.parquet": pa.table({"v": [i]}) for i in range(400)})
    rows, seconds = reader.timed(lambda: ada.rows("SELECT sum(v) AS s, count(*) AS n FROM 'hdfs:///data/small/t'"))
    assert rows == [(sum(range(400)), 400)]
    assert seconds < 15, f"{seconds:.1f} s"


def test_ten_thousand_files_are_listed_without_a_stall(ada, hadoop, tmp_path):
    """Empty files but one, which have no block: the name node's part is what counts."""
    folder = tmp_path / "t"
    folder.mkdir()
    for i in range(10_000):
        (folder / f"part-{i:05}.csv").touch()
    (folder / "last.csv").write_text("a,b\n1,2\n")
    hadoop.fs("-mkdir", "-p", "/data/many").ok()
    hadoop.fs("-put", "-t", "16", folder, "/data/many").ok()
    rows, seconds = reader.timed(lambda: ada.rows("SELECT a + b AS s FROM 'hdfs:///data/many/t'"))
    assert rows == [(3,)]
    assert seconds < 10, f"{seconds:.1f} s"
    ada.ok("SHOW DATASETS LIKE 'many.%'")


# --- the audit


def test_every_read_is_written_down_before_its_first_byte(carrel, ada):
    before = len(audit(carrel))
    ada.ok("SELECT count(*), sum(clicked) FROM ads.clicks")
    reader.wait_until(lambda: any(line["event"] == "read.end" for line in audit(carrel)[before:]), what="the end of the statement in the audit")
    lines = audit(carrel)[before:]
    reads = [line for line in lines if line["event"] == "read"]
    assert {line["path"] for line in reads} >= {"/data/ads/clicks/part-0000.parquet"}
    for line in reads:
        assert line["user"] == line["hdfs_user"] == "ada" and ada.kid in line["kernel"] and line["dataset"] == "ads.clicks"
        assert line["verdict"] == "allowed" and line["size"] > 0 and line["statement"]
    end = [line for line in lines if line["event"] == "read.end"][-1]
    assert end["statement"] == reads[0]["statement"] and end["files"] == len(reads) and 0 < end["bytes"] <= end["size"]
    assert lines.index(reads[0]) < lines.index(end)


def test_denials_are_written_down_too(carrel):
    with session(carrel, "eve") as eve:
        before = len(audit(carrel))
        eve.fails("SELECT * FROM private.ada")
        denied = [line for line in audit(carrel)[before:] if line.get("path") == "/data/private/ada"]
        assert denied and denied[-1]["user"] == "eve" and denied[-1]["verdict"] == "denied" and "lacks" in denied[-1]["reason"]


def test_nothing_is_read_while_the_audit_cannot_be_written(cluster):
    """The audit on a file system that is full."""
    import os
    import subprocess
    if os.geteuid() != 0:
        pytest.fail("this test mounts a small file system and needs root")
    carrel = reader.make("hdfs-full-audit", cluster)
    folder = carrel.state / "audit"
    folder.mkdir(mode=0o700)
    # before the start: what is mounted later the broker does not see
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs", str(folder)], check=True)
    subprocess.run(["mount", "--make-shared", str(folder)], check=True)
    try:
        carrel.start()
        with session(carrel, "ada") as ada:
            for _ in range(60):
                reply, _, error = ada.cell("SELECT count(*), sum(people) FROM town.events")
                if reply["status"] == "error":
                    break
            assert error.startswith("SourceUnavailable") and "audit" in error, error
            subprocess.run(["mount", "-o", "remount,size=1m", str(folder)], check=True)
            ada.ok("SELECT sum(people) FROM town.events")
    finally:
        carrel.stop()
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_stock_flight_client_gets_the_same_refusal(carrel):
    with session(carrel, "eve") as eve:
        eve.ok("SELECT 1")
        with pytest.raises(flight.FlightError, match="eve may not read"):
            eve.table("SELECT * FROM town.events")
