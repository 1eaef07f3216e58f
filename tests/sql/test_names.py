"""Columns that are called the same stand side by side in a result, as in DuckDB and PostgreSQL: casts, literals, joins of all columns."""
import duckdb
import pytest

from compare import difference

TWINS = [
    "SELECT 1, 0::BIGINT, 1::BIGINT, CAST(1 AS DOUBLE)",
    "SELECT r_regionkey, r_regionkey::DOUBLE, CAST(r_regionkey AS VARCHAR) FROM tpch.region ORDER BY 1",
    "SELECT * FROM (SELECT r_regionkey::INT, r_name, r_regionkey::DOUBLE FROM tpch.region) ORDER BY 1",
    "SELECT o_orderdate::VARCHAR, o_custkey::DOUBLE FROM tpch.orders ORDER BY o_orderdate, o_custkey, o_orderkey LIMIT 5",
    "SELECT o_orderdate::DATE, count(*) FROM tpch.orders GROUP BY 1 ORDER BY 1 LIMIT 5",
    "SELECT TIMESTAMP '2024-01-01 10:00:00'::VARCHAR, TIMESTAMP '2024-01-01 10:00:00'::DATE",
    "WITH f(n, a, b) AS (SELECT 1, 0::BIGINT, 1::BIGINT) SELECT * FROM f",
    "WITH RECURSIVE f(n, a, b) AS (SELECT 1, 0::BIGINT, 1::BIGINT UNION ALL SELECT n + 1, b, a + b FROM f WHERE n < 20) SELECT * FROM f ORDER BY n",
    "SELECT a.*, b.* FROM tpch.region a JOIN tpch.region b USING (r_regionkey) ORDER BY 1",
]


@pytest.mark.parametrize("sql", TWINS)
def test_twins_stand_side_by_side(engine, data, sql):
    with duckdb.connect() as duck:
        duck.execute("CREATE SCHEMA tpch")
        for table in ("region", "orders"):
            duck.execute(f"CREATE VIEW tpch.{table} AS SELECT * FROM read_parquet('{data}/tpch/{table}/*.parquet')")
        expected = [list(row) for row in duck.execute(sql).fetchall()]
    table = engine.sql(sql)
    found = [list(row) for row in zip(*(column.to_pylist() for column in table.columns))]
    assert difference(found, expected) is None, table.column_names


WRITTEN = [
    ("SELECT n_name NOT LIKE 'A%', n_regionkey + 1, [1, 2][1], CASE WHEN n_regionkey > 1 THEN 1 END FROM tpch.nation", ["n_name NOT LIKE 'A%'", "n_regionkey + 1", "[1, 2][1]", "CASE WHEN n_regionkey > 1 THEN 1 END"]),
    ("SELECT DATE '1994-01-01' + 1 * INTERVAL '1' DAY", ["DATE '1994-01-01' + 1 * INTERVAL '1' DAY"]),
    ("SELECT count(*), sum(n_regionkey), n_regionkey::VARCHAR FROM tpch.nation GROUP BY n_regionkey", ["count(*)", "sum(n_regionkey)", "n_regionkey"]),
]


@pytest.mark.parametrize("sql, names", WRITTEN)
def test_a_column_that_nobody_named_is_called_as_it_is_written(engine, sql, names):
    assert engine.sql(sql).column_names == names
