"""Values for `:name`: from the notebook's metadata (a comm), the cell's (its request), or SET VARIABLE; with a made-up engine that says what it was asked."""

import re


def tell(client, parameters, comm_id="p1"):
    """What a front end sends before a cell; nothing is waited for."""
    content = {"comm_id": comm_id, "target_name": "carrel.parameters", "data": {"parameters": parameters}}
    client.shell_channel.send(client.session.msg("comm_open", content))


def run(client, ran, code, parameters=None):
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
    message = client.session.msg("execute_request", content, metadata={"cellId": "c", "parameters": parameters} if parameters else {})
    client.shell_channel.send(message)
    return ran(client, code, request=message["header"]["msg_id"])


def test_a_notebooks_metadata_is_known_before_the_cell_that_follows(engine, client, ran):
    for n in range(50):
        tell(client, {"n": n, "regions": ["eu", "u's"]}, f"p{n}")
        assert run(client, ran, "SELECT one FROM t WHERE n = :n AND r IN :regions").status == "ok"
        assert engine.asked[-1] == f"SELECT one FROM t WHERE n = {n} AND r IN ('eu', 'u''s')"


def test_the_kernel_closes_the_comm(client):
    tell(client, {"n": 1}, "closed")
    while (message := client.get_iopub_msg(timeout=10))["msg_type"] != "comm_close":
        pass
    assert message["content"]["comm_id"] == "closed"


def test_the_cells_own_go_before_variables_and_those_before_the_notebooks(engine, client, ran):
    tell(client, {"a": 1, "b": 1, "c": 1})
    cell = run(client, ran, "SET VARIABLE b = 2; SET VARIABLE c = 2; SELECT one FROM t WHERE :a + :b + :c", {"c": 3})
    assert cell.status == "ok" and cell.kinds == ["display_data", "display_data", "execute_result"]
    assert engine.asked == ["SELECT one FROM t WHERE 1 + 2 + 3"]
    run(client, ran, "RESET VARIABLE b; SELECT one FROM t WHERE :b + :c")
    assert engine.asked[-1] == "SELECT one FROM t WHERE 1 + 2"


def test_values_stand_in_every_statement(engine, client, ran):
    tell(client, {"n": 3, "file": "out/x.parquet", "limit": 1})
    assert run(client, ran, "SET display.rows = :n").text() == "display.rows = 3"
    assert run(client, ran, "COPY (SELECT one FROM t LIMIT :limit) TO :file; CREATE TABLE k AS SELECT one FROM t LIMIT :limit").status == "ok"
    assert engine.asked == ["COPY (SELECT one FROM t LIMIT 1) TO 'out/x.parquet'", "CREATE TABLE k AS SELECT one FROM t LIMIT 1"]


def test_a_name_without_a_value_is_marked_and_nothing_runs(engine, client, ran):
    tell(client, {"region": "eu"})
    cell = run(client, ran, "SELECT one FROM t;\nSELECT one FROM t WHERE r = :regoin")
    content = cell.reply["content"]
    plain = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in content["traceback"]]
    assert content["ename"] == "UnknownParameter" and "did you mean region?" in "\n".join(plain)
    assert plain[2].index("^") == plain[1].index(":regoin")
    assert engine.asked == []
    # a mistake behind a value is marked where it stands in the cell, not in what the engine saw
    cell = run(client, ran, "SELECT one FROM t WHERE r = :region AND (", None)
    plain = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in cell.reply["content"]["traceback"]]
    assert plain[2].index("^") == plain[1].rindex("(")
