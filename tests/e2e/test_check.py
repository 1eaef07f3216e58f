"""`carrel check` on the sandbox: every layer in the mode that would be used, what to do about each that is missing, and the same words where a start is refused."""
import os

import pytest

LAYERS = ("mount pid net ipc uts user uid cgroup memory pids cpu io disk landlock seccomp no_new_privs capabilities rlimits").split()
ORDINARY = 64230
who = pytest.mark.parametrize("uid", [pytest.param(None, id="root", marks=pytest.mark.skipif(os.getuid() != 0, reason="needs root")),
                                      pytest.param(ORDINARY if os.getuid() == 0 else None, id="ordinary")])


def layers(text):
    """Layer to (ok | missing | FAILED, state, the lines of advice)."""
    found, last = {}, None
    for line in text.splitlines():
        head, _, rest = line.partition(" ")
        if head in ("ok", "missing", "FAILED"):
            last = None
            if rest.strip().startswith("layer "):
                name, _, state = rest.strip()[len("layer "):].partition(": ")
                last = found[name] = (head, state, [])
        elif last:
            last[2].append(line.strip())
    return found


@who
def test_every_layer_is_tried_and_what_is_missing_has_advice(fresh, uid):
    carrel = fresh(uid=uid, demo=False, people=False)
    done = carrel.run("check", ok=False)
    assert done.returncode == 0, done.stdout
    found = layers(done.stdout)
    assert sorted(found) == sorted(LAYERS)
    ordinary = uid is not None or os.getuid() != 0
    assert f"sandbox mode: {'userns' if ordinary else 'root'}" in done.stdout
    for name, (word, state, advice) in found.items():
        assert (word == "ok") == state.startswith("on") == (not advice), (name, word, state, advice)
    if ordinary:
        # An account without sub-uids and without a delegated group, as useradd --system makes them.
        assert any("usermod --add-subuids" in line for line in found["uid"][2]), found["uid"]
        assert any("start Carrel as root" in line for line in found["disk"][2]), found["disk"]
        assert any("Delegate=yes" in line for line in found["memory"][2]), found["memory"]
    elif found["disk"][0] != "ok":
        assert any("prjquota" in line for line in found["disk"][2]), found["disk"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs an account without sub-uids")
def test_a_required_layer_fails_the_check_and_the_start_in_the_same_words(fresh):
    carrel = fresh(uid=ORDINARY, demo=False)
    carrel.set_config("sandbox", required=["mount", "uid"])
    done = carrel.run("check", ok=False)
    assert done.returncode == 69, done.stdout
    word, _, advice = layers(done.stdout)["uid"]
    assert word == "FAILED" and 'or start without: required = ["mount"] under [sandbox]' in advice[1], advice
    words = advice[0].removeprefix("no kernel starts without it; ")
    carrel.start()
    ada = carrel.server("ada")
    ada.start_server()
    refused = ada.call("POST", "api/kernels", json={"name": "carrel"})
    assert refused.status_code >= 500 and "uid" in refused.text, refused.text
    assert words in refused.json()["message"] and 'required = ["mount"]' in refused.json()["message"], refused.text
    # The line that was told works.
    carrel.stop()
    text = carrel.config_path().read_text().replace('required = ["mount", "uid"]', 'required = ["mount"]')
    carrel.config_path().write_text(text)
    assert carrel.run("check", ok=False).returncode == 0
    carrel.start()
    ada.call("POST", "api/kernels", 201, json={"name": "carrel"})


def test_degraded_is_tried_as_such(fresh):
    carrel = fresh(demo=False, people=False)
    carrel.set_config("sandbox", mode="degraded")
    done = carrel.run("check", ok=False)
    found = layers(done.stdout)
    assert done.returncode == 0 and "sandbox mode: degraded" in done.stdout, done.stdout
    assert any('mode = "auto"' in line for line in found["net"][2]), found["net"]
