"""Files of the home by path, pattern and list, and the options of read_csv, read_json and read_parquet: answers beside DuckDB's."""
import contextlib
import os
import random

import duckdb
import pyarrow.lib
import pytest

FILES = {
    "t/x/day=1/a.csv": "a\n1\n",
    "t/y/day=2/a.csv": "a\n2\n",
    "array.json": '[{"a": 1, "b": "x"}, {"a": 2, "b": null}]',
    "lines.json": '{"a": 1}\n{"a": 2}\n',
    "semi.csv": "a;b\n1;2\n3;4\n",
    "tab.txt": "a\tb\n1\t2\n",
    "pipe.csv": "a|b\nx|1\n",
    "bare.csv": "1,x,2024-01-01\n2,y,2024-01-02\n",
    "skip.csv": "# made by x\nignore, this\nid,v\n1,2\n",
    "notes.csv": "# c1\nid,v\n# c2\n1,2\n",
    "gaps.csv": "id,v,d\n1,NA,03/02/2024\n2,5,-\n3,7,01/12/2024\n",
    "euro.csv": "id;v\n1;1,5\n2;2,25\n",
    "d/a.csv": "id,v\n1,a\n",
    "d/b.csv": "id,v\n2,b\n",
    "d/c=1.csv": "id,v\n9,z\n",
    "quoted.csv": "a,b\n'x,y',1\n",
    "plain": "a,b\n1,2\n",
}

SAME = [
    "SELECT * FROM 't/**/*.csv' ORDER BY a",
    "SELECT * FROM 't/*/*/*.csv' WHERE day = 2",
    "SELECT * FROM 'array.json' ORDER BY a",
    "SELECT * FROM 'lines.json' ORDER BY a",
    "SELECT * FROM read_json('array.json', format = 'array') ORDER BY a",
    "SELECT * FROM 'semi.csv'",
    "SELECT * FROM 'pipe.csv'",
    "SELECT * FROM read_csv('tab.txt')",
    "SELECT * FROM read_csv('bare.csv', header = false)",
    "SELECT column0, column2 FROM read_csv('bare.csv', header = false, types = ['VARCHAR', 'VARCHAR', 'DATE'])",
    "SELECT * FROM read_csv('bare.csv', names = ['a', 'b', 'c'], header = false)",
    "SELECT * FROM read_csv('bare.csv', columns = {'a': 'INTEGER', 'b': 'VARCHAR', 'c': 'DATE'}, header = false)",
    "SELECT * FROM read_csv('skip.csv', skip = 2)",
    "SELECT * FROM read_csv('notes.csv', comment = '#')",
    "SELECT * FROM read_csv('gaps.csv', nullstr = 'NA')",
    "SELECT * FROM read_csv('gaps.csv', nullstr = ['NA', '-'], dateformat = '%d/%m/%Y') ORDER BY id",
    "SELECT sum(v) AS s FROM read_csv('gaps.csv', nullstr = ['NA', '-'])",
    "SELECT * FROM read_csv('euro.csv', decimal_separator = ',', delim = ';')",
    "SELECT * FROM read_csv('d/*.csv') ORDER BY id",
    "SELECT * FROM 'd/?.csv' ORDER BY id",
    "SELECT * FROM read_csv(['d/a.csv', 'd/b.csv']) ORDER BY id",
    "SELECT id, filename FROM read_csv('d/*.csv', filename = true) ORDER BY id",
    "SELECT id, f FROM read_csv('d/*.csv', filename = 'f') WHERE f LIKE '%b.csv'",
    "SELECT * FROM read_csv('quoted.csv', quote = '''')",
    "SELECT * FROM read_csv('plain')",
    "SELECT * FROM read_parquet('p*.parquet', union_by_name = true) ORDER BY id",
    "SELECT count(*) AS n FROM read_parquet(['p1.parquet', 'p2.parquet'], filename = true) WHERE filename = 'p1.parquet'",
    "SELECT r.id FROM read_csv('d/a.csv') r JOIN read_csv('d/b.csv') s ON r.id < s.id",
    "SELECT read_csv.id FROM read_csv('d/a.csv')",
    "SELECT * FROM read_csv('d/a.csv') t(x, y)",
    "SELECT typeof(id) AS t FROM read_csv('d/a.csv', types = {'id': 'DOUBLE'})",
    "SELECT * FROM read_csv('d/a.csv', all_varchar = true)",
    "WITH x AS (SELECT * FROM read_csv('d/*.csv')) SELECT count(*) AS n FROM x WHERE id IN (SELECT id FROM read_csv('d/a.csv'))",
    "SELECT count(*) AS n, sum(id) AS s, max(length(t)) AS l FROM 'large.csv'",
]

WRONG = {
    "SELECT * FROM read_csv('none/*.csv')": "FileNotFound: no file matches",
    "SELECT * FROM read_csv('d/a.csv', heder = true)": "did you mean header",
    "SELECT * FROM read_csv('d/a.csv', types = {'idd': 'INTEGER'})": "no column idd.*did you mean id",
    "SELECT * FROM read_csv('d/a.csv', types = {'id': 'INTEGERR'})": "no type 'INTEGERR'",
    "SELECT * FROM read_csv('d/a.csv', ignore_errors = true)": "no option 'ignore_errors'",
    "SELECT * FROM read_csv(1)": "takes a path",
    "SELECT * FROM read_csv('../*.csv')": "PolicyDenied",
    "SELECT * FROM '/etc/*.conf'": "PolicyDenied",
    "SELECT * FROM read_csv(['d/a.csv', 'hdfs:///x'])": "not of one place",
    "SELECT * FROM read_parquet('p1.parquet', header = true)": "no 'header'",
    "SELECT * FROM read_csv('d/a.csv', names = ['a', 'b', 'c'])": "fewer than names",
    "SELECT none FROM read_csv('d/a.csv')": "no column none",
}


@pytest.fixture(scope="module")
def duck(engine):
    for path, text in FILES.items():
        path = engine.home / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    dice = random.Random(1)
    # lines in values, enough that the file is read in several parts
    with open(engine.home / "large.csv", "w", newline="") as large:
        large.write("id,t\n")
        for i in range(300_000):
            large.write(f'{i},"one\n{i},x\nthree ""q"" {"z" * dice.randint(0, 40)}"\n')
    connection = duckdb.connect()
    before = os.getcwd()
    os.chdir(engine.home)
    connection.execute("COPY (SELECT i AS id, i % 3 AS g FROM range(10) t(i)) TO 'p1.parquet'")
    connection.execute("COPY (SELECT i AS id, i % 3 AS g, 'n' || i AS extra FROM range(10, 20) t(i)) TO 'p2.parquet'")
    yield connection
    os.chdir(before)
    with contextlib.suppress(FileNotFoundError):
        (engine.home / "large.csv").unlink()


@pytest.mark.parametrize("sql", SAME)
def test_files_are_read_as_duckdb_reads_them(engine, duck, sql):
    ours = engine.sql(sql)
    theirs = duck.execute(sql)
    assert ours.schema.names == [column[0] for column in theirs.description]
    rows = zip(*(column.to_pylist() for column in ours.columns), strict=True)
    assert [tuple(map(str, row)) for row in rows] == [tuple(map(str, row)) for row in theirs.fetchall()]


@pytest.mark.parametrize("sql, says", WRONG.items(), ids=WRONG.keys())
def test_what_is_wrong_is_told(engine, duck, sql, says):
    with pytest.raises((pyarrow.lib.ArrowException, OSError, ValueError), match=says):
        engine.sql(sql)


def test_a_folder_may_have_others_in_it(engine, duck):
    assert engine.rows("SELECT * FROM 't/' ORDER BY a") == [{"a": 1, "day": 1}, {"a": 2, "day": 2}]
