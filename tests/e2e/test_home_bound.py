"""The bound of a home where no quota of the file system holds it: what goes through the contents API is refused before the bound, whole, and says what to do."""
import base64
import json
import os

import pytest
import websocket

from harness import wait_until

MIB = 1 << 20
who = pytest.mark.parametrize("uid", [pytest.param(None, id="own"),
                                      pytest.param(64231, id="ordinary", marks=pytest.mark.skipif(os.getuid() != 0, reason="is ordinary already"))])


def body(size, **more):
    content = base64.b64encode(os.urandom(size)).decode()
    return {"type": "file", "format": "base64", "content": content, **more}


def refused(answer, *words):
    assert answer.status_code == 507, (answer.status_code, answer.text[:300])
    said = answer.json()
    assert set(said) == {"message", "reason"}, said
    for word in ("your home is full", "was not saved", "Delete something first", *words):
        assert word in said["message"], said
    return said["message"]


@who
def test_a_write_that_would_pass_the_bound_is_refused_whole(fresh, uid):
    carrel = fresh(uid=uid, demo=False)
    carrel.set_config("limits.together", disk="8MiB")
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    put = lambda name, size, **more: ada.call("PUT", f"api/contents/{name}", json=body(size, **more))  # noqa: E731
    listed = lambda: sorted(e["name"] for e in ada.call("GET", "api/contents/", 200).json()["content"])  # noqa: E731
    assert put("a.bin", 5 * MIB).status_code == 201
    before = ada.call("GET", "files/a.bin", 200).content
    names = listed()
    refused(put("b.bin", 5 * MIB), "of 8.0 MiB", "a.bin (5.0 MiB)")
    refused(put("a.bin", 9 * MIB))
    refused(ada.call("POST", "api/contents/", json={"copy_from": "a.bin"}))
    refused(ada.call("POST", "api/contents/a.bin/checkpoints"))
    assert put("c.bin", 2 * MIB, chunk=1).status_code in (200, 201)
    refused(put("c.bin", 2 * MIB, chunk=2))
    assert listed() == names
    assert ada.call("GET", "files/a.bin", 200).content == before
    home = carrel.state / "homes" / "ada"
    assert not [p for p in home.rglob("*") if p.name.startswith(".~carrel-")]
    # Room that is made, here or elsewhere, is seen.
    ada.call("DELETE", "api/contents/a.bin", 204)
    assert put("b.bin", 5 * MIB).status_code == 201
    # Another bound counts at once, without a new desk.
    text = carrel.config_path().read_text()
    carrel.config_path().write_text(text.replace('disk = "8MiB"', 'disk = "32MiB"', 1))
    # An ordinary user has no group for processes, and is told so.
    carrel.run("limits", "apply", ok=False)
    assert put("d.bin", 12 * MIB).status_code == 201


def test_what_a_kernel_writes_is_in_the_account(fresh):
    carrel = fresh(demo=False)
    carrel.set_config("limits.together", disk="16MiB")
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    kid = ada.start_kernel("python3")
    with ada.connect(kid) as ws:
        ws.execute("import os; open('k.bin', 'wb').write(os.urandom(13 << 20)); os.sync()", timeout=60)
    # The next count sees it, within seconds. What is saved until then brings the home far beyond its bound; the desk, which then saves nothing more, lives.
    answers = []

    def refusal():
        answers.append(ada.call("PUT", f"api/contents/x{len(answers)}.bin", json=body(4 * MIB)))
        return answers[-1].status_code == 507

    wait_until(refusal, 30, 0.05, "a refusal")
    assert {a.status_code for a in answers[:-1]} <= {201}, answers
    refused(answers[-1], "k.bin (13.0 MiB)")
    for _ in range(4):
        refused(ada.call("PUT", "api/contents/more.bin", json=body(4 * MIB)), " of 16.0 MiB")
        assert ada.call("GET", "api/contents/").status_code == 200
    assert carrel.run("jails").stdout.count("desk") == 1
    ended = [line for line in spawnd_log(carrel) if "disk.over" in line and "desk-ada" in line]
    assert not ended, ended


def test_a_terminal_that_fills_the_home_is_ended_and_requests_are_told_why(fresh):
    """The desk's jail is ended with it, perhaps again and again: what only looks is answered all the same, what would be saved is told 507 and why."""
    carrel = fresh(demo=False)
    carrel.set_config("limits.together", disk="16MiB")
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    assert ada.call("PUT", "api/contents/a.bin", json=body(MIB)).status_code == 201
    looked, saved = set(), []

    def ended():
        return [line for line in spawnd_log(carrel) if "disk.over" in line and "desk-ada" in line]

    for count in (1, 2):
        name = ada.call("POST", "api/terminals", 200).json()["name"]
        terminal = websocket.create_connection(ada.ws_url(f"terminals/websocket/{name}"), header=ada.ws_headers, suppress_origin=True, timeout=20)
        # Slowly enough to be seen growing by several counts.
        terminal.send(json.dumps(["stdin", "while :; do head -c 1M /dev/urandom >> t.bin; sleep 0.05; done\r"]))

        def asked():
            looked.add(ada.call("GET", "api/contents/").status_code)
            saved.append(ada.call("PUT", f"api/contents/s{len(saved)}.bin", json=body(2 * MIB)))
            return len(ended()) >= count

        wait_until(asked, 60, 0.02, "the desk's end")
        terminal.close()
    for _ in range(10):
        asked()
    assert looked == {200}, looked
    assert {a.status_code for a in saved} <= {201, 507}, [(a.status_code, a.text[:200]) for a in saved]
    full = [a for a in saved if a.status_code == 507]
    assert full
    for answer in full:
        refused(answer, " of 16.0 MiB")
    wait_until(lambda: "t.bin" in ada.call("PUT", "api/contents/b.bin", json=body(2 * MIB)).json().get("message", ""), 20, what="the largest file's name")
    for name in [e["name"] for e in ada.call("GET", "api/contents/", 200).json()["content"] if e["name"].endswith(".bin")]:
        ada.call("DELETE", f"api/contents/{name}", 204)
    wait_until(lambda: ada.call("PUT", "api/contents/b.bin", json=body(4 * MIB)).status_code == 201, 10, what="room")


def spawnd_log(carrel):
    return (carrel.runtime() / "spawnd.log").read_text(errors="replace").splitlines()
