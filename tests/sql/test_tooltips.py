"""What Shift-Tab says of a column: from the Parquet files' own figures at once, from the kept summary once there is one. No data is read for it."""
import json

import pyarrow.flight as flight


def facts(engine, name):
    with engine.flight() as client:
        answer = client.do_action(flight.Action("carrel.describe", json.dumps({"op": "inspect", "name": name}).encode()))
        found = json.loads(b"".join(part.body.to_pybytes() for part in answer))
    assert found["found"] and found["kind"] == "column"
    return dict(found["facts"])


def test_a_column_has_range_and_null_share_from_the_files(engine):
    known = facts(engine, "tpch.orders.o_totalprice")
    assert known["type"].startswith("DECIMAL") and known["null share"] == "0 %"
    least, greatest = engine.rows("SELECT min(o_totalprice) AS a, max(o_totalprice) AS b FROM tpch.orders")[0].values()
    assert known["range"] == f"{least} … {greatest}"
    assert "most frequent" not in known


def test_a_summary_that_is_kept_says_more(engine):
    assert "distinct" not in facts(engine, "tpch.supplier.s_nationkey")
    engine.rows("SUMMARIZE tpch.supplier")
    known = facts(engine, "tpch.supplier.s_nationkey")
    assert (known["range"], known["distinct"], known["null share"]) == ("0 … 24", "25", "0 %")
    most, count = engine.rows("SELECT s_nationkey AS k, count(*) AS n FROM tpch.supplier GROUP BY 1 ORDER BY n DESC, k LIMIT 1")[0].values()
    assert known["most frequent"].startswith(f"{most} ({count})") and "as of" in known
