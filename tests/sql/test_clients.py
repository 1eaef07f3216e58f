"""Stock clients on the engine's socket: adbc_driver_flightsql and pyarrow.flight, unmodified."""

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from engine import command, query


@pytest.fixture
def connection(engine):
    with flightsql.connect(engine.uri) as connection:
        yield connection


def one(connection, text, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        return cursor.fetch_arrow_table()


def test_adbc_reads_a_query(connection):
    table = one(connection, "SELECT n_name, n_nationkey FROM tpch.nation ORDER BY n_nationkey LIMIT 2")
    assert table.column("n_name").to_pylist() == ["ALGERIA", "ARGENTINA"]
    assert table.schema.field("n_nationkey").type == pa.int64()


def test_adbc_streams_a_large_result(connection):
    table = one(connection, "SELECT event_id, relevance, country FROM ads.clicks")
    assert table.num_rows == 1_000_000
    assert 9_000 < table.column("relevance").null_count < 11_000


def test_adbc_types_come_across(connection):
    table = one(
        connection,
        "SELECT l_extendedprice, l_shipdate, l_comment FROM tpch.lineitem ORDER BY l_orderkey, l_linenumber LIMIT 1",
    )
    assert table.schema.field("l_extendedprice").type == pa.decimal128(15, 2)
    assert table.schema.field("l_shipdate").type == pa.date32()
    assert pa.types.is_string(table.schema.field("l_comment").type), "views are not for every client"


def test_adbc_lists_tables(connection):
    objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    tables = {
        (schema["db_schema_name"], table["table_name"])
        for catalog in objects
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    }
    assert {("tpch", "lineitem"), ("ads", "clicks"), ("ads", "members"), ("ads", "items")} <= tables
    assert not [name for _, name in tables if name.startswith("__carrel")], "helpers are not tables"


def test_adbc_knows_columns_and_schema(connection):
    schema = connection.adbc_get_table_schema("clicks", db_schema_filter="ads")
    assert schema.names[:4] == ["event_id", "ts", "member_id", "item_id"]


def test_adbc_prepared_statement(connection):
    with connection.cursor() as cursor:
        cursor.adbc_prepare("SELECT count(*) AS n FROM tpch.region")
        cursor.execute("SELECT count(*) AS n FROM tpch.region")
        assert cursor.fetchone() == (5,)


def test_adbc_prepared_statement_with_a_parameter(connection):
    table = one(connection, "SELECT r_name FROM tpch.region WHERE r_regionkey = $1", (3,))
    assert table.column("r_name").to_pylist() == ["EUROPE"]


def test_adbc_error_says_what_and_where(connection):
    with pytest.raises(adbc_driver_manager.Error) as caught:
        one(connection, "SELECT contry FROM ads.clicks")
    assert "contry" in str(caught.value)
    assert one(connection, "SELECT 1 AS x").to_pylist() == [{"x": 1}], "the connection lives on"


def test_pyarrow_flight_reads_a_query(engine):
    with engine.flight() as client:
        table = query(client, "SELECT count(*) AS n FROM tpch.lineitem")
    assert table.to_pylist() == [{"n": 600_572}]


def test_pyarrow_flight_gets_tables(engine):
    with engine.flight() as client:
        wanted = flight.FlightDescriptor.for_command(command("CommandGetTables", {5: True}))
        info = client.get_flight_info(wanted)
        table = client.do_get(info.endpoints[0].ticket).read_all()
    rows = {(row["db_schema_name"], row["table_name"]): row["table_schema"] for row in table.to_pylist()}
    schema = pa.ipc.read_schema(pa.py_buffer(rows["tpch", "region"]))
    assert schema.names == ["r_regionkey", "r_name", "r_comment"]


def test_pyarrow_flight_error_text(engine):
    with engine.flight() as client, pytest.raises((flight.FlightError, pa.ArrowException)) as caught:
        query(client, "SELECT * FROM ads.clickz")
    assert "clickz" in str(caught.value)


def test_the_cell_language_works_for_any_client(engine):
    names = [list(row.values()) for row in engine.rows("SHOW DATASETS")]
    assert any("clicks" in str(row) for row in names)
