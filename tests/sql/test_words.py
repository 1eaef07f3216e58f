"""What goes wrong while a query runs is told in SQL's words: no type, prefix or structure of the libraries beneath."""
import re

import pyarrow.lib
import pytest

LEAK = re.compile(r"DataFusion|Arrow|Utf8|U?Int\d|Float\d|Decimal\d|Timestamp\(|Some\(|Expr|coerc|panick|External error|UDF|No function matches|explicit type casts|Candidate functions")

WRONG = {
    "a text that is no number": ("SELECT CAST(n_name AS INT) FROM tpch.nation", "FRANCE|ALGERIA|[A-Z]+", "TRY_CAST"),
    "a text that is no date": ("SELECT CAST(n_name AS DATE) FROM tpch.nation", "is no date", "TRY_CAST"),
    "too many digits": ("SELECT CAST(l_extendedprice AS DECIMAL(5, 2)) FROM tpch.lineitem", "digits", ""),
    "too large a number": ("SELECT CAST(n_nationkey * 1000 AS TINYINT) FROM tpch.nation", "TINYINT", "TRY_CAST"),
    "an overflow": ("SELECT n_nationkey + 9223372036854775807 FROM tpch.nation", "too large", "DOUBLE"),
    "two rows for one": ("SELECT (SELECT n_name FROM tpch.nation)", "", ""),
    "a pattern that is none": ("SELECT n_name FROM tpch.nation WHERE regexp_matches(n_name, '(')", "", ""),
    "types that do not meet": ("SELECT n_name + DATE '2024-01-01' FROM tpch.nation", "VARCHAR|DATE", ""),
    "an argument of another type": ("SELECT sqrt(n_name) FROM tpch.nation", "VARCHAR|sqrt|[A-Z]+", ""),
    "a sum of texts": ("SELECT sum(n_name) FROM tpch.nation", "sum does not take VARCHAR", ""),
    "a function behind SUMMARIZE": ("SUMMARIZE read_csv('x.csv')", "a function is not supported here", "FROM read_csv"),
    "a list of many types": ("SELECT [1, 'a', DATE '2024-01-01']", "one type", ""),
    "a number for a condition": ("SELECT n_name FROM tpch.nation WHERE n_nationkey", "n_nationkey is BIGINT", "<> 0"),
    "a rank in WHERE": ("SELECT n_name FROM tpch.nation WHERE row_number() OVER () = 1", "window function", "QUALIFY"),
    "a fraction for a whole number": ("SELECT make_date(2024, 5, 6.5)", "make_date does not take DECIMAL", ""),
    "a part of what has none": ("SELECT list_zip([1, 2], [3, 4])[1][2]", "does not support", ""),
    "a text in double quotes": ("SELECT n_name FROM tpch.nation WHERE n_name = \"FRANCE\"", "no column FRANCE", "single quotes: 'FRANCE'"),
    "a schema that is none": ("USE tpcj", "no schema tpcj", "did you mean tpch"),
    "a pattern of no files": ("SELECT * FROM 'd/*.parquet'", "no file matches 'd/", "stand for"),
    "a list for a number": ("SELECT abs([1, 2])", "", ""),
}


@pytest.mark.parametrize("sql, says, hint", WRONG.values(), ids=WRONG.keys())
def test_it_is_told_in_sqls_words(engine, sql, says, hint):
    with pytest.raises((pyarrow.lib.ArrowException, OSError, ValueError)) as caught:
        engine.rows(sql)
    text = str(caught.value).split("message: ", 1)[-1].split(". gRPC client debug context")[0]
    assert not LEAK.search(text), text
    assert re.search(says, text) and hint in text and len(text.splitlines()) <= 2, text
