"""Every example of the table of query kinds in docs/sql.md, against what its last column says.

`DuckDB`: the same columns' values as DuckDB gives. `→ …`: these rows, as text; `…` at the end of a row stands for what is not checked.
`Ename: words`: refused with that problem, whose text or hint holds the words (kernel/engine/tests/session/kinds.rs checks the place too).
"""

import datetime
import pathlib
import re

import duckdb
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from compare import by_text, difference

DOCS = pathlib.Path(__file__).parents[2] / "docs/sql.md"
ROW = re.compile(r"^\| (?P<kind>[^|`]+) \| `(?P<example>.+)` \| (?P<answer>.+) \|$")


def kinds():
    section = DOCS.read_text().split("\n## Kinds of query\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| kind "):
            row = ROW.match(line)
            assert row, f"no row of the table: {line}"
            yield row["kind"], row["example"].replace("\\|", "|"), row["answer"]


KINDS = list(kinds())


@pytest.fixture(scope="module")
def duck(data):
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA tpch")
    for folder in sorted((data / "tpch").iterdir()):
        if folder.is_dir():
            connection.execute(f"CREATE VIEW tpch.{folder.name} AS SELECT * FROM read_parquet('{folder}/*.parquet')")
    yield connection
    connection.close()


@pytest.mark.parametrize("text, answer", [pytest.param(*row[1:], id=row[0]) for row in KINDS])
def test_kind(engine, duck, text, answer):
    if match := re.match(r"([A-Z][A-Za-z]+): (.+)", answer):
        with pytest.raises((flight.FlightError, pa.ArrowException)) as caught:
            engine.sql(text)
        assert match[1] in str(caught.value) and match[2] in str(caught.value)
        return
    found = engine.sql(text)
    rows = [list(row) for row in zip(*(column.to_pylist() for column in found.columns))]
    if answer == "DuckDB":
        expected = [list(row) for row in duck.execute(text).fetchall()]
        rows, expected = [[plain(v) for v in row] for row in rows], [[plain(v) for v in row] for row in expected]
        if "ORDER BY" not in text:
            rows, expected = by_text(rows), by_text(expected)
        assert expected
        assert difference(rows, expected) is None
        return
    assert answer.startswith("→ ")
    wanted = [row.split(", ") for row in answer[2:].split("; ")]
    if wanted[-1][-1] != "…":
        assert len(rows) == len(wanted)
    for row, expected in zip(rows, wanted):
        length = len(expected) - 1 if expected[-1] == "…" else len(row)
        assert [str(value) for value in row][:length] == expected[:length]


def plain(value):
    """DuckDB gives dates at midnight as dates, maps as dicts; Arrow gives maps as lists of pairs."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    if isinstance(value, list) and value and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return {key: plain(inner) for key, inner in value}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return value


def test_there_are_enough():
    names = [kind for kind, _, _ in KINDS]
    assert len(names) >= 80 and len(set(names)) == len(names)
    assert sum(answer == "DuckDB" for _, _, answer in KINDS) >= 80
