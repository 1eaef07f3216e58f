"""The main job as a script does it: log in by the form, open JupyterLab's page, run the welcome notebook cell by cell, save, reload."""
import re

import nbformat
import requests


def log_in(carrel, user, password, session=None):
    s = session or requests.Session()
    s.trust_env = False
    page = s.get(carrel.url + "/hub/login", timeout=10)
    xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text).group(1)
    r = s.post(carrel.url + "/hub/login", data={"username": user, "password": password, "_xsrf": xsrf}, allow_redirects=False, timeout=30)
    return s, r


def test_login_leads_to_lab(carrel):
    s, r = log_in(carrel, "ada", "ada-pass-12")
    assert r.status_code == 302
    lab = s.get(carrel.url + r.headers["Location"], timeout=30)
    assert lab.status_code == 200 and "/user/ada/lab" in lab.url, lab.url
    assert "jupyter-config-data" in lab.text and "token=" not in lab.url
    assert lab.headers["Cache-Control"] == "no-store"
    script = re.search(r'src="([^"]*main\.[0-9a-f]+\.js[^"]*)"', lab.text).group(1)
    js = s.get(carrel.url + script, headers={"Accept-Encoding": "gzip, br"}, timeout=30, stream=True)
    assert js.status_code == 200 and "immutable" in js.headers["Cache-Control"]
    assert js.headers.get("Content-Encoding") in ("br", "gzip")


def test_launcher_shows_carrel_sql_first(ada):
    specs = ada.call("GET", "api/kernelspecs", 200).json()
    assert specs["default"] == "carrel"
    assert specs["kernelspecs"]["carrel"]["spec"]["display_name"] == "Carrel SQL"
    logo = ada.call("GET", "kernelspecs/carrel/logo-svg.svg", 200)
    assert "svg" in logo.headers["Content-Type"]


def test_welcome_notebook_runs_top_to_bottom(carrel, ada):
    model = ada.call("GET", "api/contents/welcome.ipynb?content=1", 200).json()
    nb = nbformat.from_dict(model["content"])
    nbformat.validate(nb)
    kid = ada.start_kernel(path="welcome.ipynb")
    ran = 0
    with ada.connect(kid) as ws:
        for c in nb.cells:
            if c.cell_type != "code":
                continue
            reply, out = ws.execute(c.source, timeout=120)
            errors = [m["content"] for m in out if m["header"]["msg_type"] == "error"]
            assert reply["content"]["status"] == "ok", (c.source, errors)
            c.execution_count = reply["content"]["execution_count"]
            c.outputs = []
            for m in out:
                kind = m["header"]["msg_type"]
                if kind in ("execute_result", "display_data"):
                    content = {k: v for k, v in m["content"].items() if k != "transient"}
                    c.outputs.append(nbformat.from_dict({"output_type": kind, **content}))
                    assert "text/plain" in content["data"]
            assert c.outputs, c.source
            ran += 1
    ada.stop_kernel(kid)
    assert ran >= 8

    ada.call("PUT", "api/contents/welcome-run.ipynb", 201, json={"type": "notebook", "format": "json", "content": nb})
    again = ada.call("GET", "api/contents/welcome-run.ipynb?content=1", 200).json()["content"]
    saved = [c["outputs"] for c in again["cells"] if c["cell_type"] == "code"]
    assert all(saved) and len(saved) == ran


def test_cell_answers(cell):
    reply, text, _ = cell("SELECT 6 * 7 AS answer")
    assert reply["status"] == "ok" and "42" in text
    reply, text, _ = cell("SHOW DATASETS")
    assert "ads.clicks" in text and "tpch.lineitem" in text
    _, text, _ = cell("DESCRIBE ads.clicks")
    assert "1 if it was clicked" in text
    _, text, _ = cell("SELECT count(*) AS n FROM ads.clicks")
    assert "1000000" in text.replace(",", "")


def test_two_formats_of_the_websocket(ada):
    kid = ada.start_kernel()
    for proto in ("v1", "json"):
        with ada.connect(kid, proto) as ws:
            reply, text, _ = ada.sql(ws, "SELECT 'grüße' AS w")
            assert reply["status"] == "ok" and "grüße" in text
    ada.stop_kernel(kid)


def test_nothing_is_left_after_a_kernel(carrel, ada):
    before = {j["id"] for j in carrel_jails(ada)}
    kid = ada.start_kernel()
    with ada.connect(kid) as ws:
        ada.sql(ws, "SELECT 1")
    assert {j["id"] for j in carrel_jails(ada)} - before
    ada.stop_kernel(kid)
    assert {j["id"] for j in carrel_jails(ada)} - before == set()


def carrel_jails(server):
    """The jails of a user, out of the server state that the Hub API shows to an administrator."""
    import json
    out = server.carrel.run("jails", "--json").stdout
    return [j for j in json.loads(out) if j["user"] == server.user]
