"""What the side panel writes into cells, by its own module run in Node.js: names are quoted exactly when SQL needs it."""
import json
import pathlib
import subprocess

MODULE = pathlib.Path(__file__).resolve().parents[2] / "web/extension/src/insert.js"


def evaluated(tmp_path, expression):
    module = tmp_path / "insert.mjs"
    module.write_text(MODULE.read_text())
    code = f"import * as m from {json.dumps(str(module))}; console.log(JSON.stringify({expression}))"
    return json.loads(subprocess.run(["node", "--input-type=module", "-e", code], check=True, capture_output=True, text=True, timeout=60).stdout)


def test_names_are_quoted_when_sql_needs_it(tmp_path):
    names = ["country", "n_1", "Order", "order", "a b", 'od"d', "größe", "1st"]
    quoted = evaluated(tmp_path, f"{json.dumps(names)}.map(m.quoted)")
    assert quoted == ["country", "n_1", '"Order"', '"order"', '"a b"', '"od""d"', '"größe"', '"1st"']
    assert evaluated(tmp_path, "m.relation('ads.user')") == 'ads."user"'


def test_queries_are_in_the_notebooks_language(tmp_path):
    assert evaluated(tmp_path, "m.query('ads.clicks', 'sql')") == "SELECT * FROM ads.clicks LIMIT 100"
    assert evaluated(tmp_path, "m.query('ads.Big', 'python')") == 'carrel.sql("SELECT * FROM ads.\\"Big\\" LIMIT 100")'
