"""A DOUBLE that meets a decimal, which a literal like 0.5 is: it stays a DOUBLE, as in DuckDB, whatever its size."""
import duckdb
import pytest

from compare import same

BIG = "CAST(1e20 AS DOUBLE)"
MEETINGS = {
    "greater": f"SELECT {BIG} > 1.5",
    "equal": "SELECT CAST(999999 AS DOUBLE) = 999999.0",
    "every whole number": "SELECT count(*) FROM range(1000000) t(i) WHERE CAST(i AS DOUBLE) <= 999999.0",
    "a tenth": "SELECT CAST(0.1 AS DOUBLE) = 0.1, CAST(0.1 AS DOUBLE) < 0.1, 0.3 = CAST(0.3 AS DOUBLE)",
    "between": f"SELECT {BIG} BETWEEN 0.5 AND 2.5, {BIG} NOT BETWEEN 0.5 AND 2.5",
    "in a list": f"SELECT {BIG} IN (0.5, 2.5), CAST(0.5 AS DOUBLE) IN (0.5, 2.5)",
    "in a query": "SELECT 999999.0 IN (SELECT CAST(999999 AS DOUBLE))",
    "distinct": "SELECT CAST(999999 AS DOUBLE) IS NOT DISTINCT FROM 999999.0, NULL IS DISTINCT FROM CAST(1 AS DOUBLE)",
    "case": f"SELECT CASE WHEN i > 0 THEN {BIG} ELSE 0.0 END FROM range(2) t(i) ORDER BY i",
    "case of": "SELECT CASE CAST(999999 AS DOUBLE) WHEN 999999.0 THEN 'y' ELSE 'n' END",
    "coalesce": f"SELECT coalesce({BIG}, 0.0), coalesce(NULL, CAST(NULL AS DOUBLE), 0.5)",
    "greatest and least": f"SELECT greatest({BIG}, 0.5), least({BIG}, 0.5)",
    "nullif": f"SELECT nullif({BIG}, 0.0), nullif(CAST(0 AS DOUBLE), 0.0)",
    "union": f"SELECT x FROM (SELECT {BIG} AS x UNION ALL SELECT 0.5) ORDER BY x",
    "join": "SELECT count(*) FROM (SELECT CAST(0.3 AS DOUBLE) AS a) t JOIN (SELECT 0.3 AS b) u ON a = b",
    "values": "SELECT x, x > 0.5 AS more FROM (VALUES (1e20), (0.25), (-0.5)) t(x) ORDER BY x",
    "values that are cast": "SELECT max(x) > 7.25, min(y) FROM (VALUES (CAST(1e20 AS DOUBLE), 0.5), (0.5, 0.25)) t(x, y)",
    "above a union": f"SELECT max(x) > 7.25 FROM (SELECT 0.5 AS x UNION ALL SELECT {BIG}) t",
}


@pytest.fixture(scope="module")
def duck():
    with duckdb.connect() as connection:
        yield connection


@pytest.mark.parametrize("sql", MEETINGS.values(), ids=MEETINGS.keys())
def test_it_is_what_duckdb_says(engine, duck, sql):
    found = [list(row.values()) for row in engine.rows(sql)]
    expected = [list(row) for row in duck.execute(sql).fetchall()]
    assert len(found) == len(expected) and all(same(a, b) for left, right in zip(found, expected) for a, b in zip(left, right)), (found, expected)


def test_decimals_among_themselves_stay_exact(engine):
    assert engine.rows("SELECT 0.1 + 0.2 = 0.3 AS exact, arrow_typeof(coalesce(NULL, 0.25)) AS kind")[0]["exact"] is True
