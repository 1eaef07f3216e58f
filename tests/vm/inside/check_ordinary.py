"""An ordinary user with a group that was delegated to her (`systemd-run --user --scope -p Delegate=yes`) and a range of sub-uids."""
import json

from guest import PATIENT, jail_of, leaf_of

OPERATOR = 64250


def test_bounds_hold_in_a_delegated_group(serve):
    carrel = serve("ordinary", {"limits.kernel": {"memory": "256MiB", "processes": 64, "cpus": 1.5}}, uid=OPERATOR, people=("ada",))
    assert json.loads(carrel.run("jails", "--spawner").stdout)["mode"] == "userns"
    ada = carrel.server("ada")
    kid = ada.start_kernel("python3")
    layers = jail_of(carrel, kid)["layers"]
    for layer in ("mount", "pid", "net", "user", "uid", "memory", "pids", "cpu", "landlock", "seccomp"):
        assert layers[layer].startswith("on"), (layer, layers)
    leaf = leaf_of(carrel, kid)
    read = lambda file: (leaf / file).read_text().strip()  # noqa: E731
    assert (read("memory.max"), read("memory.swap.max"), read("pids.max"), read("cpu.max")) == (str(256 << 20), "0", "64", "150000 100000")
    with ada.connect(kid) as ws:
        ws.execute("pass", timeout=PATIENT)
        ws.start_execute("kept = [bytearray(8 << 20) for _ in range(60)]")
        found, _ = ws.until(lambda m: m["header"]["msg_type"] == "stream" and "ran out of memory" in m["content"].get("text", ""), PATIENT)
    assert "its limit of 256 MiB" in found["content"]["text"]
    ada.stop_kernel(kid)
    assert not leaf.exists()


def test_without_delegation_it_is_said(serve):
    """Nothing is bounded by groups then, and each report says so and what to do."""
    carrel = serve("undelegated", uid=OPERATOR, people=("ada",), delegated=False)
    text = carrel.run("check", ok=False).stdout
    assert "is not delegated to this user" in text and "Delegate=yes" in text, text
