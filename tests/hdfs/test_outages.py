"""What goes wrong on a cluster, and what the user sees of it: the right answer a little later, or one clear sentence. Never a wrong answer, never a short one."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import duckdb
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as pq
import pytest
import reader
from reader import session, timed, wait_until

# Words of the machinery that no user should meet.
LEAKS = ("java", "apache", "\tat ", "IOError", "Os {", "DatanodeInfo", "panicked")


def clear(error, ename, *words):
    assert error.startswith(ename), error
    for word in words:
        assert word in error, (word, error)
    for leak in LEAKS:
        assert leak not in error, (leak, error)


@pytest.fixture(scope="module")
def patient(cluster):
    """Waits half a minute for the cluster, as a real one is waited for."""
    made = reader.make("hdfs-patient", cluster, timeout=30).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hasty(cluster):
    """Gives up after six seconds."""
    made = reader.make("hdfs-hasty", cluster, timeout=6).start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def mended(cluster):
    """Whatever a test broke, the next one finds everything running."""
    yield
    for n in range(1, len(cluster.datanodes) + 1):
        cluster.datanode_resume(n)
        cluster.datanode_start(n)
    cluster.namenode_start()


@pytest.fixture(scope="module")
def lines(cluster, hadoop, datasets, tmp_path_factory):
    """lineitem as text, so that a scan takes a while; gives (address, rows, sum of keys)."""
    local = tmp_path_factory.mktemp("lines")
    duck = duckdb.connect()
    duck.sql(f"CREATE VIEW l AS SELECT * FROM '{datasets}/tpch/lineitem/*.parquet'")
    for part in range(3):
        duck.sql(f"COPY (SELECT * FROM l WHERE l_orderkey % 3 = {part}) TO '{local}/part-{part}.csv' (HEADER)")
    hadoop.fs("-mkdir", "-p", "/data/faults/lines").ok()
    hadoop.fs("-put", "-f", *sorted(local.iterdir()), "/data/faults/lines").ok()
    return "hdfs:///data/faults/lines", *duck.sql("SELECT count(*), sum(l_orderkey) FROM l").fetchall()[0]


def scan(opened, address, after_first_batch):
    """Streams all rows; calls something once the first batch is here. Gives (rows, sum of keys)."""
    from engine import command
    rows = total = 0
    with flight.FlightClient(f"grpc+unix://{opened.socket}") as client:
        sql = f"SELECT l_orderkey, l_comment FROM '{address}'"
        info = client.get_flight_info(flight.FlightDescriptor.for_command(command("CommandStatementQuery", {1: sql})))
        for chunk in client.do_get(info.endpoints[0].ticket):
            if rows == 0:
                after_first_batch()
            rows += chunk.data.num_rows
            total += sum(chunk.data.column(0).to_pylist())
    return rows, total


def test_a_data_node_that_is_killed_in_mid_scan_is_not_noticed(patient, cluster, lines):
    address, rows, total = lines
    with session(patient, "ada") as ada:
        ada.ok("SELECT 1")
        for n in (1, 2):
            assert scan(ada, address, lambda n=n: cluster.datanode_stop(n, kill=True)) == (rows, total)
            cluster.datanode_start(n)


def test_without_any_data_node_the_error_is_clear_and_the_next_query_works(hasty, cluster, lines):
    address, rows, _ = lines
    with session(hasty, "ada") as ada:
        ada.ok("SELECT 1")
        for n in (1, 2):
            cluster.datanode_stop(n, kill=True)
        error, seconds = timed(lambda: ada.fails(f"SELECT count(*) FROM '{address}'", 120))
        clear(error, "SourceUnavailable", "/data/faults/lines/part-", "no data node")
        assert seconds < 40, seconds
        for n in (1, 2):
            cluster.datanode_start(n)
        assert ada.rows(f"SELECT count(*) AS n FROM '{address}'") == [(rows,)]


def test_a_name_node_that_restarts_is_waited_for(patient, cluster):
    with session(patient, "ada") as ada:
        want = ada.rows("SELECT count(*) AS n, sum(o_totalprice) AS s FROM tpch.orders")
        cluster.namenode_stop()
        got = {}
        asking = threading.Thread(target=lambda: got.update(rows=ada.rows("SELECT count(*) AS n, sum(o_totalprice) AS s FROM tpch.orders")))
        asking.start()
        cluster.namenode_start()
        asking.join(90)
        assert got.get("rows") == want


def test_a_name_node_that_stays_away_is_said_so(hasty, cluster):
    with session(hasty, "ada") as ada:
        ada.ok("SELECT count(*) FROM tpch.nation")
        cluster.namenode_stop()
        error, seconds = timed(lambda: ada.fails("SELECT count(*) FROM 'hdfs:///data/tpch/orders'", 60))
        clear(error, "SourceUnavailable", "name node")
        assert seconds < 20, seconds
        assert ada.ok("SELECT 1 + 1"), "what needs no cluster goes on"
        cluster.namenode_start()
        ada.ok("SELECT count(*) FROM 'hdfs:///data/tpch/orders'", 60)


def test_a_paused_name_node_is_given_up(hasty, cluster):
    with session(hasty, "ada") as ada:
        ada.ok("SELECT count(*) FROM tpch.nation")
        cluster.namenode.pause()
        try:
            error, seconds = timed(lambda: ada.fails("SELECT count(*) FROM 'hdfs:///data/tpch/orders'", 60))
            clear(error, "SourceUnavailable", "not answered for 6 s")
            assert 5 < seconds < 20, seconds
        finally:
            cluster.namenode.resume()
        ada.ok("SELECT count(*) FROM 'hdfs:///data/tpch/orders'", 60)


def test_a_slow_data_node_is_left_for_the_other_replica(hasty, cluster, lines):
    address, rows, total = lines
    with session(hasty, "ada") as ada:
        ada.ok("SELECT 1")
        cluster.datanode_pause(1)
        assert ada.rows(f"SELECT count(*) AS n, sum(l_orderkey) AS s FROM '{address}'") == [(rows, total)]


def test_a_query_that_waits_for_slow_data_nodes_is_interrupted_at_once(patient, cluster, lines):
    address, *_ = lines
    with session(patient, "ada") as ada:
        ada.ok(f"SELECT * FROM '{address}' LIMIT 1")
        for n in (1, 2):
            cluster.datanode_pause(n)
        mid = ada.ws.start_execute(f"SELECT sum(l_quantity) FROM '{address}'")
        ada.ws.until(lambda m: m["header"]["msg_type"] in ("execute_input",), 10)
        time.sleep(1)  # well into its waiting
        begun = time.monotonic()
        ada.server.call("POST", f"api/kernels/{ada.kid}/interrupt", 204)
        reply, _ = ada.ws.finish(mid, 20)
        assert time.monotonic() - begun < 1.5
        assert reply["content"]["status"] == "error" and reply["content"]["ename"] == "Cancelled"
        assert ada.ok("SELECT 1 + 1")


def test_a_killed_broker_harms_no_answer_and_serves_what_comes_next(patient, cluster, lines):
    """A question of which nothing was answered yet is asked again of the next broker; one in the middle of its answer fails clearly."""
    address, rows, total = lines
    with session(patient, "ada") as ada:
        ada.ok(f"SELECT * FROM '{address}' LIMIT 1")
        before = reader.broker_pid(patient)
        for n in (1, 2):
            cluster.datanode_pause(n)
        mid = ada.ws.start_execute(f"SELECT sum(l_orderkey) FROM '{address}'")
        ada.ws.until(lambda m: m["header"]["msg_type"] == "execute_input", 10)
        wait_until(lambda: any(line["event"] == "read" and "lines" in line["path"] for line in reader.audit(patient)), 10, what="the read")
        time.sleep(0.5)
        os.kill(before, signal.SIGKILL)
        for n in (1, 2):
            cluster.datanode_resume(n)
        reply, out = ada.ws.finish(mid, 60)
        if reply["content"]["status"] == "ok":
            assert str(total) in "".join(m["content"]["data"]["text/plain"] for m in out if m["header"]["msg_type"] == "execute_result")
        else:
            error = "\n".join("\n".join([m["content"]["ename"], *m["content"]["traceback"]]) for m in out if m["header"]["msg_type"] == "error")
            clear(error, "SourceUnavailable", "broker ended")
        wait_until(lambda: reader.broker_pid(patient) not in (None, before), 15, what="a new broker")
        assert ada.rows(f"SELECT count(*) AS n FROM '{address}'") == [(rows,)]


# --- damage


def replicas(cluster, marker):
    """The files of the data nodes that hold these bytes."""
    found = [p for p in (cluster.folder / "data").rglob("blk_*") if p.suffix != ".meta" and marker in p.read_bytes()]
    assert len(found) == 2, found
    return found


@pytest.fixture
def marked(cluster, hadoop, tmp_path, request):
    """A Parquet file whose last block holds a marker; gives (address, its right answer, its replicas)."""
    name = re.sub(r"\W+", "-", request.node.name)
    texts = [f"{i} {os.urandom(8).hex()}" for i in range(200_000)]
    marker = texts[150_123]  # neither the least nor the greatest of its page: those are in the footer too
    table = pa.table({"n": range(200_000), "text": texts})
    pq.write_table(table, tmp_path / "x.parquet", compression="none", use_dictionary=False)
    hadoop.fs("-mkdir", "-p", f"/data/damage/{name}").ok()
    hadoop.fs("-put", "-f", tmp_path / "x.parquet", f"/data/damage/{name}").ok()
    want = [(200_000, sum(len(t) for t in table["text"].to_pylist()))]
    return f"hdfs:///data/damage/{name}", want, replicas(cluster, marker.encode()), marker.encode()


ASK = "SELECT count(*) AS n, sum(length(text)) AS s FROM '{}'"


def flip(path, marker):
    data = bytearray(path.read_bytes())
    at = data.index(marker)
    data[at] ^= 0xFF
    path.write_bytes(data)


def test_a_damaged_replica_is_not_noticed(patient, marked):
    address, want, blocks, marker = marked
    flip(blocks[0], marker)
    with session(patient, "ada") as ada:
        ada.ok("SELECT 1")
        assert ada.rows(ASK.format(address)) == want


@pytest.mark.parametrize("how", ["flipped", "truncated", "gone"])
def test_a_block_that_is_damaged_everywhere_is_an_error_that_names_the_file(hasty, marked, how):
    address, _, blocks, marker = marked
    for block in blocks:
        {"flipped": lambda b: flip(b, marker), "truncated": lambda b: os.truncate(b, 1000), "gone": lambda b: b.unlink()}[how](block)
    with session(hasty, "ada") as ada:
        error = ada.fails(ASK.format(address), 120)
        clear(error, "SourceUnavailable", "/x.parquet", "damaged")
        assert ada.ok("SELECT count(*) FROM tpch.nation"), "other files are not harmed"


def test_a_file_that_is_replaced_is_read_whole_or_not_at_all(patient, hadoop, tmp_path):
    """Old and new are never mixed: every answer is one of the two, or says that the file changed."""
    for name, base in (("a", 0), ("b", 1_000_000)):
        pq.write_table(pa.table({"v": [base + i for i in range(50_000)]}), tmp_path / f"{name}.parquet", compression="none", use_dictionary=False)
    sums = {sum(range(50_000)), sum(1_000_000 + i for i in range(50_000))}
    hadoop.fs("-mkdir", "-p", "/data/replaced/t").ok()
    hadoop.fs("-put", "-f", tmp_path / "a.parquet", "/data/replaced/t/x.parquet").ok()
    done = threading.Event()

    def replace():
        for i in range(6):
            hadoop.fs("-put", "-f", tmp_path / f"{'ba'[i % 2]}.parquet", "/data/replaced/t/x.parquet").ok()
        done.set()

    writer = threading.Thread(target=replace)
    answers, errors = [], []
    with session(patient, "ada") as ada:
        ada.ok("SELECT 1")
        writer.start()
        while not done.is_set():
            try:
                answers.append(ada.rows("SELECT sum(v) AS s FROM 'hdfs:///data/replaced/t'")[0][0])
            except (pa.ArrowException, flight.FlightError) as error:
                errors.append(str(error))
        writer.join()
        assert set(answers) <= sums, answers
        for error in errors:
            assert re.search(r"SourceChanged|FileNotFound|holds no data files|SourceUnavailable", error), error
        time.sleep(1.1)  # a look at a table's files is good for a second
        assert ada.rows("SELECT sum(v) AS s FROM 'hdfs:///data/replaced/t'")[0][0] in sums


# --- logging in


def test_a_ticket_that_expired_is_renewed(cluster):
    cluster.kerberos.query('modprinc -maxlife "4 seconds" carrel-broker')
    try:
        carrel = reader.make("hdfs-short-ticket", cluster).start()
        try:
            with session(carrel, "ada") as ada:
                ada.ok("SELECT count(*) FROM tpch.nation")
                time.sleep(5)  # the ticket's life
                ada.ok("SELECT count(*) FROM tpch.region")
            with session(carrel, "bob") as bob:  # a connection of its own, so a login of its own
                bob.ok("SELECT count(*) FROM tpch.nation")
        finally:
            carrel.stop()
    finally:
        cluster.kerberos.query('modprinc -maxlife "1 day" carrel-broker')


def refused(carrel):
    done = carrel.run("serve", ok=False)
    return done.returncode, done.stdout + done.stderr


def test_a_keytab_that_does_not_fit_is_refused_at_the_start(cluster, tmp_path):
    damaged = tmp_path / "damaged.keytab"
    damaged.write_bytes(b"\x05\x02 nonsense")
    for keytab, says in ((cluster.keytab("ada"), "holds no key of carrel-broker@CARREL.TEST"), (damaged, "damaged")):
        code, said = refused(reader.make("hdfs-keytab", cluster, keytab=keytab))
        assert code == 64 and says in said, said
    carrel = reader.make("hdfs-keytab", cluster)
    os.chmod(reader.WORK / "hdfs-keytab.keytab", 0o644)
    code, said = refused(carrel)
    assert code == 64 and "chmod o=" in said, said
    (reader.WORK / "hdfs-keytab.keytab").unlink()
    code, said = refused(carrel)
    assert code == 64 and "hdfs-keytab.keytab" in said, said


def test_a_key_that_was_changed_at_the_kdc_is_refused_at_the_start(cluster, tmp_path):
    keytab = tmp_path / "stale.keytab"
    cluster.kerberos.query("addprinc -randkey stale-broker")
    cluster.kerberos.query(f"ktadd -k {keytab} stale-broker")
    cluster.kerberos.query("cpw -randkey stale-broker")
    carrel = reader.make("hdfs-stale", cluster, keytab=keytab)
    path = carrel.config_path()
    path.write_text(path.read_text().replace("carrel-broker@", "stale-broker@"))
    code, said = refused(carrel)
    assert code == 64 and "keytab does not fit its principal's key" in said, said


def test_a_clock_that_is_off_is_said_so(cluster, tmp_path):
    """The broker's own check under another clock; Kerberos is told not to make up for it."""
    krb5 = tmp_path / "krb5.conf"
    text = (cluster.client_conf / "krb5.conf").read_text()
    krb5.write_text(re.sub(r"\[libdefaults\]", "[libdefaults]\n  kdc_timesync = 0", text, count=1))
    keytab = tmp_path / "b.keytab"
    shutil.copy(cluster.keytab("carrel-broker"), keytab)
    os.chmod(keytab, 0o400)
    config = tmp_path / "broker.toml"
    config.write_text(f'hadoop = "{cluster.client_conf}"\naudit = "{tmp_path}"\nprincipal = "carrel-broker@CARREL.TEST"\nkeytab = "{keytab}"\n')
    command = ["faketime", "-f", "+20m", str(reader.PREFIX / "bin" / "carrel-broker"), "check", "--config", str(config)]
    done = subprocess.run(command, env={**os.environ, "KRB5_CONFIG": str(krb5), "CARREL_BROKER": "1", "CARREL_LOG": "off"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 64 and "clock" in done.stderr, (done.returncode, done.stdout, done.stderr)


def test_a_cluster_that_is_away_does_not_keep_carrel_from_starting(cluster):
    carrel = reader.make("hdfs-away", cluster, timeout=3)
    cluster.namenode_stop()
    carrel.start()
    try:
        assert "cannot be reached" in carrel.log()
        with session(carrel, "ada") as ada:
            assert ada.ok("SELECT 1 + 1")
            cluster.namenode_start()
            ada.ok("SELECT count(*) FROM tpch.nation", 60)
    finally:
        carrel.stop()


def test_a_cluster_that_forbids_impersonation_says_which_setting(cluster, hadoop, tmp_path):
    """A principal that may log in and not act for others."""
    keytab = tmp_path / "lonely.keytab"
    cluster.kerberos.query("addprinc -randkey lonely")
    cluster.kerberos.query(f"ktadd -k {keytab} lonely")
    carrel = reader.make("hdfs-lonely", cluster, keytab=keytab, timeout=20)
    path = carrel.config_path()
    path.write_text(path.read_text().replace("carrel-broker@", "lonely@"))
    carrel.start()
    try:
        with session(carrel, "ada") as ada:
            error, seconds = timed(lambda: ada.fails("SELECT count(*) FROM town.events", 60))
            clear(error, "SourceUnavailable", "hadoop.proxyuser", "ada")
            assert seconds < 10, seconds
    finally:
        carrel.stop()
