"""Queries of our own in TPC-DS's shapes, on data of the tpcdsgen crate, against DuckDB on the same Parquet files.

Every query's ORDER BY makes each row's place certain, so rows are compared in order.
"""

import pathlib
import re

import duckdb
import pytest

from compare import difference, same
from engine import Engine, tpcds_data

FOLDER = pathlib.Path(__file__).parent / "shapes"


def queries():
    for path in sorted(FOLDER.glob("*.sql")):
        for block in path.read_text().split("-- name: ")[1:]:
            name, text = block.split("\n", 1)
            yield pytest.param(text.strip().rstrip(";"), id=f"{path.stem}-{name.strip()}")


QUERIES = list(queries())


@pytest.fixture(scope="module")
def tpcds():
    return tpcds_data()


@pytest.fixture(scope="module")
def stars(data, tpcds):
    engine = Engine(data, catalogs={"tpcds": tpcds})
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def duck(tpcds):
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA tpcds")
    for folder in sorted(tpcds.iterdir()):
        if folder.is_dir():
            connection.execute(f"CREATE VIEW tpcds.{folder.name} AS SELECT * FROM read_parquet('{folder}/*.parquet')")
    yield connection
    connection.close()


@pytest.mark.parametrize("text", QUERIES)
def test_query(stars, duck, text):
    found = stars.sql(text)
    cursor = duck.execute(text)
    assert found.column_names == [column[0] for column in cursor.description]
    expected = [list(row) for row in cursor.fetchall()]
    assert expected and any(value is not None for row in expected for value in row), "it finds nothing, so it checks nothing"
    rows = [list(row) for row in zip(*(column.to_pylist() for column in found.columns))]
    assert difference(rows, expected) is None


def test_there_are_enough():
    names = [param.id for param in QUERIES]
    assert len(names) >= 40 and len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+-[a-z0-9_]+", name) for name in names)


def test_the_comparison_can_fail():
    assert difference([[1]], [[1], [2]]) and difference([[1]], [[2]]) and difference([[1.0]], [[1.0 + 1e-6]])
    assert not difference([[1.0, None, [1, {"a": 2}]]], [[1.0, None, [1, {"a": 2}]]])
    assert not same(1, True) and not same(None, 0)
