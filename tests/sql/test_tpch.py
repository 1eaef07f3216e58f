"""The 22 TPC-H queries, with the specification's validation parameters, at scales 0.1 and 1, against DuckDB on the same Parquet files.

Decimals must be equal exactly, floats to 1e-9 relative. Where SQL leaves the scale of a division or an average open, the two
engines differ in type (DataFusion keeps a decimal of finite scale, DuckDB makes a double); those columns, and only those, are
listed in INEXACT and compared to one unit of the decimal's last place.
"""

import decimal
import json
import pathlib

import duckdb
import pytest

import engine as engines
from compare import same

QUERIES = sorted((pathlib.Path(__file__).parent / "queries").glob("q*.sql"))

# query: columns that hold an average or a quotient of decimals
INEXACT = {
    "q01": {"avg_qty", "avg_price", "avg_disc"},
    "q08": {"mkt_share"},
    "q14": {"promo_revenue"},
    "q17": {"avg_yearly"},
}

# The sort keys of these do not make every row's place certain: rows are compared as a set, and the order by its keys.
PARTIAL_ORDER = {
    "q03": (["revenue", "o_orderdate"], [True, False]),
    "q05": (["revenue"], [True]),
    "q10": (["revenue"], [True]),
    "q11": (["value"], [True]),
    "q18": (["o_totalprice", "o_orderdate"], [True, False]),
}


@pytest.fixture(scope="module", params=[0.1, 1.0], ids=["scale 0.1", "scale 1"])
def asked(request, engine, data):
    """(an engine, its data) at a scale."""
    if request.param == 0.1:
        yield engine, data
        return
    data = engines.demo_data(scale=request.param, clicks=1_000)
    running = engines.Engine(data)
    yield running, data
    running.close()


@pytest.fixture(scope="module")
def duck(asked):
    _, data = asked
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA tpch")
    for folder in sorted((data / "tpch").iterdir()):
        if folder.is_dir():
            connection.execute(f"CREATE VIEW tpch.{folder.name} AS SELECT * FROM read_parquet('{folder}/*.parquet')")
    yield connection
    connection.close()


def text_of(path: pathlib.Path, data: pathlib.Path) -> str:
    scale = json.loads((data / ".carrel-demo.json").read_text())["scale"]
    fraction = format(decimal.Decimal("0.0001") / decimal.Decimal(str(scale)), "f")
    return path.read_text().replace("{fraction}", fraction)


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_query(asked, duck, path):
    engine, data = asked
    text = text_of(path, data)
    found = engine.rows(text)
    cursor = duck.execute(text)
    names = [column[0] for column in cursor.description]
    expected = [dict(zip(names, row)) for row in cursor.fetchall()]
    assert len(found) == len(expected)
    assert expected, "the query finds nothing, so it checks nothing"
    assert list(found[0]) == names
    if path.stem in PARTIAL_ORDER:
        keys, descending = PARTIAL_ORDER[path.stem]
        for before, after in zip(found, found[1:]):
            assert in_order(before, after, keys, descending), (before, after)
        found, expected = (sorted(rows, key=lambda row: [str(v) for v in exact(row, path.stem)]) for rows in (found, expected))
    for at, (left, right) in enumerate(zip(found, expected)):
        for name in names:
            inexact = name in INEXACT.get(path.stem, ())
            assert same(left[name], right[name], inexact), f"row {at}, {name}: {left[name]!r} is not {right[name]!r}"


def exact(row: dict, query: str) -> list:
    return [norm(value) for name, value in row.items() if name not in INEXACT.get(query, ())]


def norm(value):
    return value.normalize() if isinstance(value, decimal.Decimal) else value


def in_order(before, after, keys, descending) -> bool:
    for key, down in zip(keys, descending):
        if before[key] != after[key]:
            return (before[key] > after[key]) is down
    return True


def test_all_queries_are_there():
    assert [path.stem for path in QUERIES] == [f"q{n:02}" for n in range(1, 23)]


def test_the_comparison_can_fail():
    assert same(decimal.Decimal("1.50"), decimal.Decimal("1.5"), False)
    assert not same(decimal.Decimal("1.50"), decimal.Decimal("1.51"), False)
    assert not same(decimal.Decimal("1.5"), 1.5, False), "a decimal that became a float is a difference"
    assert same(decimal.Decimal("0.333333"), 1 / 3, True)
    assert not same(decimal.Decimal("0.333333"), 0.3334, True)
    assert not same(1, "1", False)
