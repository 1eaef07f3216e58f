"""The side panel's comm `carrel.data` in the Carrel SQL kernel, on the real engine: the same answers as a Python kernel gives."""

import pytest

TARGET = "carrel.data"


@pytest.fixture
def client(start, engine_program, tmp_path):
    folder = tmp_path / "data" / "shop" / "visits"
    folder.mkdir(parents=True)
    (folder / "part.csv").write_text('n,"od""d",country\n1,x,de\n2,y,\n3,y,fr\n')
    (folder.parent / "_catalog.toml").write_text('[table.visits]\ndescription = "who came"\n[table.visits.columns]\nn = "a number"\n')
    config = tmp_path / "engine.toml"
    config.write_text(f'[[catalog]]\nname = "shop"\npath = "{folder.parent}"\n')
    return start(CARREL_ENGINE_PROGRAM=str(engine_program), CARREL_CONFIG=str(config))


class Comm:
    def __init__(self, client, target=TARGET, comm_id="c1"):
        self.client, self.id = client, comm_id
        self.send("comm_open", target_name=target, data={})

    def send(self, kind, **content):
        message = self.client.session.msg(kind, {"comm_id": self.id, **content})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def heard(self, *kinds):
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            if message["msg_type"] in kinds and message["content"]["comm_id"] == self.id:
                return message

    def ask(self, **question):
        sent = self.send("comm_msg", data=question)
        message = self.heard("comm_msg")
        assert message["parent_header"]["msg_id"] == sent
        answer = message["content"]["data"]
        assert answer.pop("id") == question.get("id")
        return answer


def test_names_columns_and_statistics(client):
    comm = Comm(client)
    assert comm.ask(id=1, op="names") == {"names": [{"name": "shop.visits", "kind": "dataset", "description": "who came"}]}
    found = comm.ask(id=2, op="columns", name="shop.visits")
    assert (found["kind"], found["description"]) == ("dataset", "who came")
    assert found["columns"][0] == {"name": "n", "type": "BIGINT", "note": "a number"}
    statistics = dict(comm.ask(id=3, op="statistics", name="shop.visits", column='od"d')["statistics"])
    assert (statistics["column_name"], statistics["min"], statistics["max"], statistics["count"]) == ('od"d', "x", "y", "3")
    assert dict(comm.ask(id="four", op="statistics", name="shop.visits", column="country")["statistics"])["null_percentage"].startswith("33.3")


def test_session_tables_are_named_once_they_are_there(client, ran):
    comm = Comm(client)
    assert ran(client, "CREATE TABLE kept AS SELECT 1 AS x").status == "ok"
    assert {"name": "kept", "kind": "table", "description": None} in comm.ask(id=1, op="names")["names"]


def test_mistakes_are_answers(client):
    comm = Comm(client)
    error = comm.ask(id=1, op="columns", name="shop.vistis")["error"]
    assert error["ename"] == "UnknownDataset"
    assert comm.ask(id=2, op="statistics", name="shop.visits", column="m")["error"]["ename"] == "UnknownColumn"
    for question in ({"op": "invade"}, {"op": "statistics", "name": 7}, {}):
        assert comm.ask(id=3, **question)["error"]["ename"] == "BadOption"
    assert comm.ask(id=4, op="cancel", of=3) == {"cancelled": False}


def test_answers_come_while_a_cell_runs_and_a_question_can_be_withdrawn(client, ran):
    comm = Comm(client)
    ran(client, "CREATE VIEW wide AS SELECT a.value AS x FROM generate_series(1, 300000) AS a(value) JOIN generate_series(1, 300000) AS b(value) ON a.value % 7 < b.value % 5")
    request = client.execute("SELECT count(x) FROM wide")
    asked = comm.send("comm_msg", data={"id": 1, "op": "statistics", "name": "wide", "column": "x"})
    assert comm.ask(id=2, op="names")["names"]
    while True:
        comm.send("comm_msg", data={"id": 3, "op": "cancel", "of": 1})
        answers = {}
        while 3 not in answers:
            message = comm.heard("comm_msg")
            answers[message["content"]["data"]["id"]] = message
        if answers[3]["content"]["data"]["cancelled"]:
            break
    while 1 not in answers:
        message = comm.heard("comm_msg")
        answers[message["content"]["data"]["id"]] = message
    assert answers[1]["content"]["data"]["error"]["ename"] == "Cancelled"
    assert answers[1]["parent_header"]["msg_id"] == asked
    client.manager.interrupt_kernel()
    assert ran(client, "", request=request).reply["content"]["ename"] in ("Cancelled", "EngineLost")


def test_comms_are_known_and_others_refused(client):
    comm = Comm(client)
    comm.ask(id=1, op="names")
    info = lambda **target: client.comm_info(reply=True, timeout=10, **target)["content"]["comms"]  # noqa: E731
    assert info() == {"c1": {"target_name": TARGET}} == info(target_name=TARGET)
    assert info(target_name="else") == {}
    assert Comm(client, "jupyter.widget", "c2").heard("comm_close")["content"]["comm_id"] == "c2"
    comm.send("comm_close", data={})
    comm.send("comm_msg", data={"id": 2, "op": "names"})
    assert comm.heard("comm_close", "comm_msg")["msg_type"] == "comm_close", "a comm that is gone is closed, so that another is opened"
    assert info() == {}
