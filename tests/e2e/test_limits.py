"""Bounds of jails, as a person meets them: told when memory or the home is full, changed while kernels run, other ones for a group."""
import pytest

from harness import wait_until

EAT = "import os; kept = [bytearray(os.urandom(1 << 20)) * %d for _ in range(10)]; print('had', len(kept))"


@pytest.fixture
def bounded(fresh):
    carrel = fresh(demo=False)
    carrel.set_config("limits.kernel", memory="256MiB")
    carrel.start()
    for name in ("ada", "bob"):
        carrel.server(name).start_server()
    return carrel


def told(ws, word, seconds=60):
    """The gateway's word on standard error, in any of the next messages."""
    found, _ = ws.until(lambda m: m["header"]["msg_type"] == "stream" and word in m["content"].get("text", ""), seconds)
    return found["content"]["text"]


def text_of(ws, code, seconds=60):
    _, out = ws.execute(code, timeout=seconds)
    return "".join(m["content"].get("text", "") for m in out)


def grouped(carrel):
    """Where no control group bounds memory (an ordinary user without delegation) it is watched: the same, but seen later."""
    return '"memory":"on"' in carrel.run("jails", "--spawner").stdout.replace(" ", "")


def test_out_of_memory_is_told_with_peak_and_limit(bounded):
    ada = bounded.server("ada")
    kid = ada.start_kernel("python3")
    with ada.connect(kid) as ws:
        ws.request("kernel_info_request")
        ws.start_execute(EAT % 60)
        text = told(ws, "ran out of memory")
        assert "its limit of 256 MiB" in text, text
        peak = int(text.split("it had ")[1].split(" MiB")[0])
        assert 200 <= peak <= (256 if grouped(bounded) else 900), text
    # Started again by itself, in the same jail.
    wait_until(lambda: ada.call("GET", f"api/kernels/{kid}").json()["execution_state"] == "idle", 30, what="the kernel's return")
    with ada.connect(kid) as ws:
        assert text_of(ws, "print(6 * 7)") == "42\n"
    ada.stop_kernel(kid)


def test_bounds_change_while_kernels_run_and_by_group(bounded):
    if not grouped(bounded):
        pytest.fail("this test needs control groups, as `make test` run by root has them")
    ada, bob, admin = (bounded.server(name) for name in ("ada", "bob", "root-admin"))
    assert admin.hub("POST", "/groups/ml").status_code == 201
    assert admin.hub("POST", "/groups/ml/users", json={"users": ["ada"]}).status_code == 200
    kernels = {server.user: server.start_kernel("python3") for server in (ada, bob)}
    bounded.edit_config('[[limit]]\ngroup = "ml"\nof = "kernel"\nmemory = "1GiB"')
    said = bounded.run("limits", "apply").stdout
    assert said == "1 jails have other bounds now.\n"
    with ada.connect(kernels["ada"]) as ws:
        assert text_of(ws, EAT % 40) == "had 10\n"
    with bob.connect(kernels["bob"]) as ws:
        ws.request("kernel_info_request")
        ws.start_execute(EAT % 40)
        assert "its limit of 256 MiB" in told(ws, "ran out of memory")
    assert bounded.run("limits", "apply").stdout == "0 jails have other bounds now.\n"
    # A restarted gateway brings them, too.
    config = bounded.config_path()
    config.write_text(config.read_text().replace('memory = "256MiB"', 'memory = "512MiB"'))
    bounded.kill9()
    bounded.start()
    wait_until(lambda: bob.call("GET", f"api/kernels/{kernels['bob']}").status_code == 200, 20, what="the kernel's adoption")
    with bob.connect(kernels["bob"]) as ws:
        assert text_of(ws, EAT % 40) == "had 10\n"


def test_a_full_home_is_told_and_can_be_emptied(fresh):
    carrel = fresh(demo=False)
    carrel.set_config("limits.together", disk="64MiB")
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    kid = ada.start_kernel("python3")
    with ada.connect(kid) as ws:
        ws.request("kernel_info_request")
        ws.start_execute("open('big', 'wb').write(bytes(200 << 20)); import time; time.sleep(60)")
        assert "home has grown far beyond" in told(ws, "was ended")
    refused = wait_until(lambda: (r := ada.call("POST", "api/kernels", json={"name": "python3"})).status_code != 201 and [r], 20, what="a refusal")[0]
    assert refused.status_code in (403, 429, 503) and "delete something first" in refused.text, (refused.status_code, refused.text)
    ada.call("DELETE", "api/contents/big", 204)
    kid = wait_until(lambda: (r := ada.call("POST", "api/kernels", json={"name": "python3"})).status_code == 201 and r.json()["id"], 20, 0.5, "room")
    ada.stop_kernel(kid)
