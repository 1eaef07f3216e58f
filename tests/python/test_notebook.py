"""`carrel` in a real ipykernel: magics, the bar, mistakes and interrupts as a front end sees them, and the side panel's comm."""

import re
import time

from test_package import HEAVY


def test_the_magic_returns_rows_or_names_them(notebook, ran):
    cell = ran(notebook, "%%carrel\nSELECT count(*) AS n FROM tpch.region")
    assert cell.kinds()[-1] == "execute_result" and "5" in cell.text()
    cell = ran(notebook, "k = 3\nlimit = 9")
    cell = ran(notebook, "%%carrel rows --frame pandas --quiet\nSELECT r_name FROM tpch.region WHERE r_regionkey = :k -- {limit}")
    assert cell.outputs == []
    assert "EUROPE" in ran(notebook, "rows.r_name[0]").text()
    assert "42" in ran(notebook, "rows = %carrel SELECT 42 AS x\nrows['x'][0]").text()
    assert "x{k}" in ran(notebook, "%carrel SELECT 'x{k}' AS x").text(), "the line is SQL, not a template"


def test_a_mistake_shows_four_lines_and_no_stack(notebook, ran):
    cell = ran(notebook, "%%carrel\nSELECT n_name,\n  n_nam FROM tpch.nation")
    (error,) = cell.outputs
    content = error["content"]
    assert (error["msg_type"], content["ename"]) == ("error", "UnknownColumn")
    plain = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in content["traceback"]]
    assert len(plain) <= 4 and plain[0].startswith("UnknownColumn: ")
    assert plain[2].index("^") == plain[1].index("n_nam")
    assert ran(notebook, "%%carrel 1x\nSELECT 1").reply["ename"] == "UsageError"


def test_progress_is_one_output_and_an_interrupt_ends_it(interrupting, notebook, ran):
    request = notebook.execute(f"%carrel {HEAVY}")
    while True:
        message = notebook.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") == request and message["msg_type"] == "display_data":
            break
    shown = message["content"]
    assert "<progress" in shown["data"]["text/html"]
    time.sleep(1)
    begun = time.monotonic()
    notebook.manager.interrupt_kernel()
    cell = ran(notebook, "", request=request)
    assert time.monotonic() - begun < 1
    updates = [output for output in cell.outputs if output["msg_type"] == "update_display_data"]
    assert 2 <= len(updates) <= 6
    assert {one["content"]["transient"]["display_id"] for one in updates} == {shown["transient"]["display_id"]}
    assert updates[-1]["content"]["data"]["text/plain"].startswith("Cancelled, interrupted after")
    assert cell.reply["ename"] == "Cancelled" and len(cell.reply["traceback"]) == 1


def test_a_bar_becomes_the_line_of_its_result(notebook, ran):
    ran(notebook, "import carrel.statements as s\ns.PATIENCE = s.BETWEEN = 0.02")
    cell = ran(notebook, "rows = %carrel SELECT count(DISTINCT l_comment || l_shipdate) AS n FROM tpch.lineitem")
    assert cell.reply["status"] == "ok"
    assert cell.kinds()[0] == "display_data" and set(cell.kinds()[1:]) == {"update_display_data"}
    assert re.match(r"1 row, complete, .* s, scanned ", cell.outputs[-1]["content"]["data"]["text/plain"])


class Panel:
    """A front end's end of a comm `carrel.data`."""

    def __init__(self, client):
        self.client = client
        self.send("comm_open", {"comm_id": "panel", "target_name": "carrel.data", "data": {}})

    def send(self, kind, content):
        message = self.client.session.msg(kind, content)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def ask(self, **request):
        sent = self.send("comm_msg", {"comm_id": "panel", "data": request})
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["msg_type"] == "comm_msg" and message["content"]["data"]["id"] == request.get("id"):
                assert message["parent_header"]["msg_id"] == sent
                return message["content"]["data"]


def test_the_panel_is_answered(notebook, running):
    if running.process.poll() is not None:
        running.start()
    panel = Panel(notebook)
    names = panel.ask(id=1, op="names")["names"]
    assert {"name": "tpch.region", "kind": "dataset", "description": "TPC-H: 5 regions"} in names
    found = panel.ask(id=2, op="columns", name="ads.clicks")
    assert found["kind"] == "dataset" and ["rows", "1,000,000"] in found["facts"]
    assert {"name": "clicked", "type": "INTEGER", "note": "1 if it was clicked"} in found["columns"]
    statistics = dict(panel.ask(id=3, op="statistics", name="ads.clicks", column="country")["statistics"])
    assert (statistics["min"], statistics["max"], statistics["count"], statistics["exact"]) == ("br", "us", "1000000", "true")
    assert panel.ask(id=4, op="columns", name="no.such")["error"]["ename"] == "UnknownDataset"
    assert panel.ask(id=5, op="statistics", name="ads.clicks", column='x"; DROP')["error"]["ename"] == "UnknownColumn"
    assert panel.ask(id=[1], op="statistics", name="tpch.region", column="r_name")["statistics"]
    assert panel.ask(id=6, op="invade")["error"]["ename"] == "BadOption"
    assert panel.ask(id=7, op="cancel", of=99) == {"id": 7, "cancelled": False}


def test_a_question_of_the_panel_can_be_withdrawn(interrupting, notebook, ran, running):
    if running.process.poll() is not None:
        running.start()
    wide = "CREATE OR REPLACE VIEW wide AS SELECT a.value AS x FROM generate_series(1, 300000) AS a(value) JOIN generate_series(1, 300000) AS b(value) ON a.value % 7 < b.value % 5"
    assert ran(notebook, f"import carrel; carrel.sql('{wide}')").reply["status"] == "ok"
    panel = Panel(notebook)
    panel.send("comm_msg", {"comm_id": "panel", "data": {"id": 1, "op": "statistics", "name": "wide", "column": "x"}})
    answers = {}
    while 2 not in answers or not answers[2]["cancelled"]:
        answers.pop(2, None)
        panel.send("comm_msg", {"comm_id": "panel", "data": {"id": 2, "op": "cancel", "of": 1}})
        heard(notebook, answers, 2)
    heard(notebook, answers, 1)
    assert answers[1]["error"]["ename"] in ("Cancelled", "EngineLost"), answers


def heard(notebook, answers, wanted):
    while wanted not in answers:
        message = notebook.get_iopub_msg(timeout=60)
        if message["msg_type"] == "comm_msg":
            answers[message["content"]["data"]["id"]] = message["content"]["data"]
