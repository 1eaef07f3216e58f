"""A Python notebook through the gateway: `carrel` is there, its engine is the notebook's own, interrupts work, nobody else's data shows."""

import time

import pytest
from kernelws import mine, stream


@pytest.fixture
def python(ada):
    """A fresh Python kernel of ada's: run(code) -> (reply, text of the last result, outputs)."""
    kid = ada.start_kernel("python3")
    ws = ada.connect(kid)
    run = lambda code, timeout=90: ada.sql(ws, code, timeout)  # noqa: E731
    run.ws, run.kid = ws, kid
    yield run
    ws.close()
    ada.stop_kernel(kid)


def test_sql_gives_a_polars_frame(python):
    reply, text, _ = python("import carrel\nrows = carrel.sql('SELECT count(*) AS n FROM ads.clicks')\ntype(rows).__module__, rows['n'][0]")
    assert reply["status"] == "ok", reply
    assert text.startswith("('polars.") and "1000000" in text
    reply, text, _ = python("%%carrel --frame pandas\nSELECT r_name FROM tpch.region ORDER BY 1 LIMIT 1")
    assert reply["status"] == "ok" and "AFRICA" in text
    _, text, _ = python("'ads.clicks' in carrel.datasets()['name'], carrel.schema('ads.clicks').height")
    assert text == "(True, 12)"
    reply, text, _ = python("carrel.create_table('mine', carrel.sql('SELECT 42 AS x'))\ncarrel.sql('SELECT * FROM mine')['x'][0]")
    assert (reply["status"], text) == ("ok", "42")


def test_a_mistake_is_short(python):
    reply, _, out = python("%%carrel\nSELECT contry FROM ads.clicks")
    assert (reply["status"], reply["ename"]) == ("error", "UnknownColumn")
    (error,) = [m["content"] for m in out if m["header"]["msg_type"] == "error"]
    assert len(error["traceback"]) == 4 and "did you mean" in error["traceback"][3]


def test_an_interrupt_gives_the_prompt_back_and_the_tables_stay(ada, python):
    reply, _, _ = python("import carrel; carrel.sql('CREATE TABLE kept AS SELECT 7 AS x')")
    assert reply["status"] == "ok", reply
    query = "SELECT count(*) FROM tpch.lineitem a, tpch.lineitem b WHERE a.l_comment < b.l_comment"
    heavy = f"try: carrel.sql('{query}')\nexcept KeyboardInterrupt as stopped: print(type(stopped).__name__)"
    request = python.ws.start_execute(heavy)
    python.ws.until(lambda m: mine(m, request) and m["header"]["msg_type"] == "display_data", 60)
    begun = time.monotonic()
    ada.call("POST", f"api/kernels/{python.kid}/interrupt", 204)
    _, out = python.ws.finish(request, 30)
    assert time.monotonic() - begun < 2
    assert stream(out).startswith("Cancelled")
    reply, text, _ = python("carrel.sql('SELECT * FROM kept')['x'][0]")
    assert (reply["status"], text) == ("ok", "7")


def test_a_restart_forgets_the_tables_and_a_death_does_not(ada, python):
    make = "import carrel; carrel.sql('CREATE OR REPLACE TABLE kept AS SELECT 7 AS x')"
    look = "import carrel; carrel.sql('SELECT * FROM kept')['x'][0]"
    assert python(make)[0]["status"] == "ok"
    python.ws.start_execute("import os; os.kill(os.getpid(), 9)")
    python.ws.until(lambda m: m["header"]["msg_type"] == "status" and m["content"]["execution_state"] in ("restarting", "autorestarting"), 30)
    reply, text, _ = python(look)
    assert (reply["status"], text) == ("ok", "7"), reply
    ada.call("POST", f"api/kernels/{python.kid}/restart", 200)
    assert python(look)[0]["ename"] == "UnknownDataset"


def test_a_session_persists_over_a_restart_when_it_was_asked_to(ada):
    kid = ada.start_kernel("carrel")
    with ada.connect(kid) as ws:
        made = ada.sql(ws, "SET session.persist = true; CREATE TABLE kept AS SELECT 7 AS x; CREATE VIEW seen AS SELECT x + 1 AS y FROM kept")
        assert made[0]["status"] == "ok", made
        ada.call("POST", f"api/kernels/{kid}/restart", 200)
        assert "8" in ada.sql(ws, "SELECT y FROM seen")[1]
        assert ada.sql(ws, "RESET session.persist")[0]["status"] == "ok"
        ada.call("POST", f"api/kernels/{kid}/restart", 200)
        assert ada.sql(ws, "SELECT y FROM seen")[0]["ename"] == "UnknownDataset"
    ada.stop_kernel(kid)


def test_an_engine_belongs_to_one_notebook(ada, bob, python):
    """Another notebook's tables are not seen, and there is no other engine to reach: the jail has one socket."""
    assert python("import carrel; carrel.sql('CREATE TABLE secret AS SELECT 1 AS x')")[0]["status"] == "ok"
    for other in (ada, bob):
        kid = other.start_kernel("python3")
        with other.connect(kid) as ws:
            reply, _, _ = other.sql(ws, "import carrel; carrel.sql('SELECT * FROM secret')", 90)
            assert reply["ename"] == "UnknownDataset"
            look = "import os\n[os.path.join(d, f) for d, _, fs in os.walk('/run') for f in fs if f.endswith('.sock')]"
            assert other.sql(ws, look, 90)[1] == "['/run/engine/engine.sock']"
        other.stop_kernel(kid)
