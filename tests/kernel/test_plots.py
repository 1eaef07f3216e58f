"""Plots in SQL cells, as stock clients get them: every example of docs/sql.md, what is refused, what is thinned."""

import base64
import json
import os
import pathlib
import re
import struct

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
VEGA_LITE = "application/vnd.vegalite.v5+json"
CHAPTER = (ROOT / "docs/sql.md").read_text().split("\n## Plots\n")[1].split("\n## ")[0]
EXAMPLES = re.findall(r"```sql\n(.*?)```", CHAPTER, re.S)


@pytest.fixture
def client(start, engine_program):
    return start(CARREL_ENGINE_PROGRAM=str(engine_program))


def plot(client, ran, code):
    done = ran(client, code, timeout=120)
    assert done.status == "ok", done.reply["content"]
    return done.outputs[-1]["content"]


def check(content):
    data = content["data"]
    assert set(data) == {VEGA_LITE, "image/png", "text/plain"}
    document = data[VEGA_LITE]
    assert document["$schema"].endswith("vega-lite/v5.json")
    addresses = set(re.findall(r'https?://[^"]+', json.dumps(document)))
    assert addresses == {document["$schema"]}
    assert document["data"]["values"]
    png = base64.b64decode(data["image/png"])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert width > 400 and height > 300 and len(png) > 5000
    return document, png


def test_every_example_of_the_chapter_draws(client, ran):
    assert len(EXAMPLES) >= 8
    keep = os.environ.get("CARREL_PLOTS_KEPT")
    for at, code in enumerate(EXAMPLES):
        content = plot(client, ran, code)
        document, png = check(content)
        if keep:
            pathlib.Path(keep, f"plot{at}.png").write_bytes(png)
            pathlib.Path(keep, f"plot{at}.json").write_text(json.dumps(document))


def test_the_engine_counts_and_only_bars_are_sent(client, ran):
    content = plot(client, ran, "SELECT i AS v FROM range(1000000) t(i) VISUALISE v AS x DRAW histogram SETTING bins => 10")
    document, _ = check(content)
    rows = document["data"]["values"]
    assert len(rows) == 10
    assert sum(row["y2"] for row in rows) == 1_000_000
    assert content["metadata"]["carrel"]["complete"] is True


def test_boxes_are_quartiles_whiskers_and_outliers(client, ran):
    query = "SELECT * FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (100)) t(v) VISUALISE v AS y DRAW boxplot"
    rows = check(plot(client, ran, query))[0]["data"]["values"]
    layers = {at: [row for row in rows if row["layer"] == at] for at in range(5)}
    assert (layers[2][0]["y"], layers[2][0]["y2"]) == (3.25, 7.75)
    assert layers[3][0]["y"] == 5.5
    assert (layers[0][0]["y"], layers[1][0]["y2"]) == (1, 9)
    assert [row["y"] for row in layers[4]] == [100]


def test_too_many_points_are_thinned_and_said_so_and_bars_are_refused(client, ran):
    content = plot(client, ran, "SELECT i AS a, i AS b FROM range(45000) t(i) VISUALISE a AS x, b AS y DRAW point")
    document, _ = check(content)
    assert len(document["data"]["values"]) == 9000
    assert "drew every 5th row of 45,000" in content["data"]["text/plain"]
    assert "drew every 5th row of 45,000" in json.dumps(document["title"])
    assert content["metadata"]["carrel"]["complete"] is False
    refused = ran(client, "SELECT i AS a, i AS b FROM range(45000) t(i) VISUALISE a AS x, b AS y DRAW bar")
    assert refused.reply["content"]["ename"] == "ValueError"


@pytest.mark.parametrize(
    "code, ename, place, says",
    [
        ("SELECT 1 AS a VISUALISE a AS x DRAW pont", "SyntaxError", "pont", "point"),
        ("SELECT 1 AS a VISUALISE a AS xx DRAW point", "BadOption", "xx", "xmin"),
        ("SELECT 1 AS abc VISUALISE abd AS x DRAW point", "UnknownColumn", "abd", "abc"),
        ("SELECT 1 AS a, nope AS b VISUALISE a AS x DRAW point", "UnknownColumn", "nope", "nope"),
        ("SELECT 1 AS a VISUALISE length(a, nope) AS x DRAW point", "UnknownColumn", "nope", "nope"),
        ("SELECT 1 AS a VISUALISE a AS x DRAW violin", "Unsupported", "violin", "boxplot"),
        ("SELECT 1 AS a VISUALISE a AS x", "SyntaxError", "VISUALISE", "layer"),
        ("SELECT 1 AS a VISUALISE a AS x DRAW histogram SETTING bns => 5", "BadOption", "bns", "bins"),
        ("SELECT 1 AS a VISUALISE a AS x DRAW point PROJECT TO polar", "Unsupported", "polar", "cartesian"),
        ("SELECT 'a' AS a VISUALISE a AS x DRAW histogram", "TypeError", "a AS x", "bar"),
        ("SELECT 1 AS a VISUALISE a AS x DRAW point SETTING fill => 'bleu'", "BadOption", "fill => 'bleu'", "blue"),
        ("CREATE TABLE t AS SELECT 1 AS a VISUALISE a AS x DRAW point", "Unsupported", "VISUALISE", "of its own"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(client, ran, code, ename, place, says):
    done = ran(client, code)
    content = done.reply["content"]
    assert content["ename"] == ename, content
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content["traceback"]))
    assert says in text, text
    lines = text.split("\n")
    caret = next(at for at, line in enumerate(lines) if "^" in line)
    start, end = lines[caret].index("^"), lines[caret].rindex("^") + 1
    assert lines[caret - 1][start:end] == place, text


def test_words_are_completed_and_a_plot_ends_like_a_statement(client):
    def ask(message, reply):
        while True:
            found = client.get_shell_msg(timeout=30)
            if found["parent_header"]["msg_id"] == message:
                return found["content"]

    code = "SELECT 1 AS a VISUALISE a AS x DRAW poi"
    assert "poi" in code and "point" in ask(client.complete(code, len(code)), "complete_reply")["matches"]
    code = "SELECT 1 AS a VISU"
    assert "VISUALISE" in ask(client.complete(code, len(code)), "complete_reply")["matches"]
    assert ask(client.is_complete("SELECT 1 AS a VISUALISE a AS x DRAW point"), "")["status"] == "incomplete"
    assert ask(client.is_complete("SELECT 1 AS a VISUALISE a AS x DRAW point;"), "")["status"] == "complete"
