"""`carrel.sql` and its neighbours in plain Python: rows as the frame that was asked for, values, mistakes, interrupts."""

import datetime
import decimal
import os
import signal
import subprocess
import sys
import threading
import time

import pandas
import polars
import pyarrow
import pytest

HEAVY = "SELECT count(*) FROM tpch.lineitem a, tpch.lineitem b WHERE a.l_comment < b.l_comment"


def test_rows_come_as_polars_pandas_or_arrow(carrel, monkeypatch):
    query = "SELECT n_nationkey, n_name FROM tpch.nation ORDER BY 1"
    rows = carrel.sql(query)
    assert isinstance(rows, polars.DataFrame) and rows.shape == (25, 2) and rows["n_name"][0] == "ALGERIA"
    rows = carrel.sql(query, frame="pandas")
    assert isinstance(rows, pandas.DataFrame) and rows["n_name"].iloc[24] == "UNITED STATES"
    assert isinstance(carrel.sql(query, frame="arrow"), pyarrow.Table)
    monkeypatch.setenv("CARREL_FRAME", "pandas")
    assert isinstance(carrel.sql(query), pandas.DataFrame)
    with pytest.raises(carrel.errors.kind("BadOption"), match="no frame numpy"):
        carrel.sql(query, frame="numpy")


def test_values_are_exact_in_every_frame(carrel):
    query = "SELECT l_extendedprice AS p FROM tpch.lineitem ORDER BY l_orderkey, l_linenumber LIMIT 1"
    for frame in ("polars", "pandas", "arrow"):
        rows = carrel.sql(query, frame=frame)
        value = rows["p"][0].as_py() if frame == "arrow" else rows["p"][0]
        assert isinstance(value, decimal.Decimal), frame
    big = carrel.sql("SELECT * FROM (VALUES (9007199254740993), (NULL)) t(n) ORDER BY 1", frame="pandas")
    assert big["n"][0] == 9007199254740993 and big["n"].isna().sum() == 1


def test_a_large_result_comes_whole(carrel):
    rows = carrel.sql("SELECT event_id, country FROM ads.clicks", frame="arrow")
    assert rows.num_rows == 1_000_000 and rows.schema.names == ["event_id", "country"]


def test_columns_of_one_name_are_told_apart(carrel):
    query = "SELECT a.n_name, b.n_name FROM tpch.nation a CROSS JOIN tpch.nation b LIMIT 1"
    assert carrel.sql(query).columns == ["n_name", "n_name_1"]


def test_no_rows_still_have_their_columns(carrel):
    rows = carrel.sql("SELECT n_name FROM tpch.nation WHERE n_name = 'ATLANTIS'")
    assert rows.shape == (0, 1) and rows.schema["n_name"] == polars.String


def test_parameters_by_name_and_by_place(carrel):
    by_name = carrel.sql("SELECT r_name, :k::BIGINT AS k FROM tpch.region WHERE r_regionkey = :k AND r_name <> ':k'", {"k": 3})
    assert by_name.rows() == [("EUROPE", 3)]
    assert carrel.sql("SELECT r_name FROM tpch.region WHERE r_regionkey IN (?, ?) ORDER BY 1", [3, 1]).rows() == [("AMERICA",), ("EUROPE",)]
    evil = "x' OR 1 = 1 --"
    assert carrel.sql("SELECT count(*) AS n FROM tpch.region WHERE r_name = :e", {"e": evil})["n"][0] == 0
    values = {"d": datetime.date(2020, 1, 2), "x": decimal.Decimal("1.25"), "b": True, "s": "grüße", "n": polars.Series([7])[0]}
    row = carrel.sql("SELECT :d AS d, :x AS x, :b AS b, :s AS s, :n AS n", values).row(0)
    assert row == (datetime.date(2020, 1, 2), decimal.Decimal("1.25"), True, "grüße", 7)


def test_parameters_that_do_not_fit_are_placed(carrel):
    with pytest.raises(carrel.errors.kind("BadOption")) as caught:
        carrel.sql("SELECT 1,\n  :nobody", {"k": 1})
    assert caught.value.lines() == ["BadOption: there is no value for :nobody", "  2 |   :nobody", "    |   ^^^^^^^"]
    for values in ([1], [1, 2, 3]):
        with pytest.raises(carrel.errors.kind("BadOption")):
            carrel.sql("SELECT ?, ?", values)
    with pytest.raises(carrel.errors.kind("TypeError")):
        carrel.sql("SELECT ?", [object()])
    with pytest.raises(carrel.errors.kind("Unsupported")):
        carrel.sql("CREATE TABLE no AS SELECT :k AS k", {"k": 1})


def test_a_mistake_is_one_to_four_lines_with_its_caret(carrel):
    with pytest.raises(carrel.errors.UnknownColumn) as caught:
        carrel.sql("SELECT 1 AS grüße;\nSELECT :c AS c,\n\tcontry FROM ads.clicks WHERE country = :c", {"c": "de"})
    error = caught.value
    assert error.lines() == [
        "UnknownColumn: no column contry",
        "  3 |     contry FROM ads.clicks WHERE country = :c",
        "    |     ^^^^^^",
        "did you mean country?",
    ]
    assert error.ename == "UnknownColumn" and error.hint == "did you mean country?"
    for text in (str(error), repr(error.__cause__), "\n".join(error.lines(colour=True))):
        assert "grpc" not in text.lower() and "Flight" not in text


def test_a_mistake_while_rows_come_is_as_short(carrel):
    with pytest.raises(carrel.CarrelError) as caught:
        carrel.sql("SELECT CAST(n_name AS INTEGER) AS x FROM tpch.nation")
    assert caught.value.ename == "ValueError" and "TRY_CAST" in str(caught.value)
    assert "context" not in str(caught.value) and len(caught.value.lines()) <= 4


def test_datasets_schema_and_statistics(carrel):
    assert "ads.clicks" in carrel.datasets()["name"]
    assert carrel.datasets("tpch.n%")["name"].to_list() == ["tpch.nation"]
    assert carrel.datasets("it's").height == 0
    columns = carrel.schema("ads.clicks")
    assert columns.filter(column_name="clicked")["comment"][0] == "1 if it was clicked"
    row = carrel.summarize("SELECT country FROM ads.clicks").row(0, named=True)
    assert (row["column_name"], row["min"], row["max"], row["count"]) == ("country", "br", "us", 1_000_000)


def test_a_frame_becomes_a_table_of_the_session(carrel):
    frame = polars.DataFrame({"day": [datetime.date(2026, 1, 1), None], "n": [1, None], "w": ["ä", None]})
    for data in (frame, frame.to_arrow(), frame.to_arrow().to_reader(), frame.to_pandas(use_pyarrow_extension_array=True), frame.lazy()):
        assert carrel.create_table("mine", data, replace=True) == 2
        assert carrel.sql("SELECT * FROM mine ORDER BY n NULLS LAST").equals(frame)
    assert "mine" in carrel.tables()["name"]
    with pytest.raises(carrel.errors.AlreadyExists):
        carrel.create_table("mine", frame)
    with pytest.raises(carrel.CarrelError, match="has no rows"):
        carrel.create_table("other", 7)
    carrel.sql("DROP TABLE mine")


def test_a_file_of_the_home_is_named_by_a_path(carrel, running):
    import pathlib

    (running.home / "it's.csv").write_text("a,b\n1,2\n")
    assert carrel.schema(pathlib.Path("it's.csv"))["column_name"].to_list() == ["a", "b"]


def test_an_interrupt_stops_the_statement_in_the_engine(carrel, running, request):
    busy = lambda: sum(int(part) for part in open(f"/proc/{running.process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13])  # noqa: E731
    # Whoever runs tests in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    stopper = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    stopper.start()
    begun = time.monotonic()
    with pytest.raises(carrel.Cancelled) as caught:
        carrel.sql(HEAVY)
    assert time.monotonic() - begun < 2
    assert isinstance(caught.value, KeyboardInterrupt) and caught.value.lines()[0].startswith("Cancelled: interrupted after 1.")
    # The promise is a machine that is idle within 2 s.
    time.sleep(2)
    # The engine may have ended itself to stop the work; in a jail the next connection starts it.
    if running.process.poll() is not None:
        running.start()
    else:
        ticks = busy()
        time.sleep(0.5)
        assert busy() - ticks < 10, "the engine still computes"
    assert carrel.sql("SELECT 1 AS x")["x"][0] == 1


def test_an_engine_that_went_away_and_came_back_is_found_again(carrel, running):
    carrel.sql("CREATE OR REPLACE TABLE kept AS SELECT 1 AS x")
    running.stop()
    with pytest.raises(carrel.errors.EngineLost) as caught:
        carrel.sql("SELECT 1")
    assert len(caught.value.lines()) == 2
    running.start()
    assert carrel.sql("SELECT * FROM kept")["x"][0] == 1


def test_threads_may_ask_at_the_same_time(carrel):
    answers = {}
    ask = lambda n: answers.update({n: carrel.sql("SELECT :n AS n", {"n": n})["n"][0]})  # noqa: E731
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert answers == {n: n for n in range(8)}


def test_importing_is_cheap_and_an_engine_that_nobody_named_is_said():
    code = (
        "import sys, carrel\n"
        "assert not {'pyarrow', 'polars', 'pandas', 'IPython'} & set(sys.modules)\n"
        "try: carrel.sql('SELECT 1')\n"
        "except carrel.CarrelError as error: print(error.ename, error.hint)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CARREL_ENGINE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("EngineLost set CARREL_ENGINE")
