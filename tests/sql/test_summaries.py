"""SUMMARIZE in FROM: the same answer from the files' own figures, from one look at the data, and from what was kept of it."""
import datetime
import decimal
import time

import pyarrow as pa
import pyarrow.parquet as parquet

TOLD = "column_name, column_type, min, max, count, null_percentage"


def write(path, first):
    table = pa.table({
        "n": pa.array([first, None, first + 2], pa.int64()),
        "d": pa.array([datetime.date(2024, 1, first), datetime.date(2024, 3, 1), None]),
        "t": pa.array([datetime.datetime(2024, 1, 1, 10), None, datetime.datetime(2023, 1, 1)], pa.timestamp("us")),
        "m": pa.array([decimal.Decimal("1.50"), decimal.Decimal("-2.25"), None], pa.decimal128(10, 2)),
        "s": ["é", "a" * 200, None],
        "b": [True, False, None],
        "none": pa.array([None, None, None], pa.string()),
    })
    parquet.write_table(table, path)


def test_files_and_data_tell_the_same(engine):
    file = engine.home / "figures.parquet"
    write(file, 1)
    by_files = engine.rows(f"SELECT {TOLD} FROM (SUMMARIZE 'figures.parquet')")
    whole = engine.rows("SUMMARIZE 'figures.parquet'")
    kept = engine.rows(f"SELECT {TOLD} FROM (SUMMARIZE 'figures.parquet')")
    assert by_files == kept == [{name: row[name] for name in TOLD.split(", ")} for row in whole]
    assert [row["max"] for row in by_files] == ["3", "2024-03-01", "2024-01-01 10:00:00", "1.50", "é", "true", None]


def test_a_summary_in_from_is_kept_until_a_file_changes(engine):
    file = engine.home / "kept.parquet"
    write(file, 1)
    asked = "SELECT min, top_values, as_of FROM (SUMMARIZE 'kept.parquet') WHERE column_name = 'n'"
    first = engine.rows(asked)
    assert engine.rows(asked) == first
    assert engine.rows("SELECT as_of FROM (SUMMARIZE SELECT * FROM 'kept.parquet') LIMIT 1") == [{"as_of": first[0]["as_of"]}]
    write(file, 5)
    # a look at files is good for a second
    until = time.monotonic() + 10
    while (later := engine.rows(asked)) == first and time.monotonic() < until:
        time.sleep(0.1)
    assert later[0]["min"] == "5" and later[0]["as_of"] > first[0]["as_of"]


def test_a_summary_that_is_cut_short_is_not_kept(engine):
    write(engine.home / "cut.parquet", 1)
    assert engine.rows("SELECT avg FROM (SUMMARIZE 'cut.parquet') LIMIT 1") == [{"avg": "2"}]
    assert len(engine.rows("SUMMARIZE 'cut.parquet'")) == 7
