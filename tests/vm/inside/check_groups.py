"""Bounds by version 2 groups: every layer is on, each bound is felt in a real Python kernel, other bounds count at once, nothing is left behind."""
import json
import os
import pathlib
import re
import signal

import pytest
from guest import FORK, GROUPS, PATIENT, jail_of, leaf_of
from harness import Carrel, wait_until

# Whatever this shows is what the jail's own processes can see or do.
BUSY = """
import os, time
def burn(seconds):
    begun, spent = time.monotonic(), time.process_time()
    while time.monotonic() - begun < seconds: pass
    return (time.process_time() - spent) / (time.monotonic() - begun)
burn(1); print('share', burn(4))
"""
EAT = "kept = [bytearray(os.urandom(1 << 20)) * 8 for _ in range(%d)]; print('had', len(kept))"


SCHEDULER = pathlib.Path("/sys/block/vdb/queue/scheduler")


def text_of(ws, code, seconds=PATIENT):
    _, out = ws.execute(code, timeout=seconds)
    return "".join(m["content"].get("text", "") for m in out)


@pytest.fixture(scope="module")
def bounded(serve_module):
    SCHEDULER.write_text("bfq")
    limits = {"memory": "256MiB", "processes": 64, "cpus": 2.0, "io_weight": 300}
    return serve_module("groups", {"limits.kernel": limits, "limits.together": {"disk": "64MiB", "memory": "512MiB"}})


@pytest.fixture(scope="module")
def kernel(bounded):
    ada = bounded.server("ada")
    kid = ada.start_kernel("python3")
    with ada.connect(kid) as ws:
        yield bounded, ada, kid, ws


def not_on(layers):
    return {layer: state for layer, state in layers.items() if not state.startswith("on")}


def checked(carrel):
    done = carrel.run("check", ok=False)
    states = dict(re.findall(r"^(?:ok|missing|FAILED) +layer (\w+): (.*)$", done.stdout, re.M))
    assert done.returncode == 0 and len(states) == 18, done.stdout
    return states, done.stdout


def test_a_weight_that_the_disk_does_not_heed_is_not_called_in_force():
    carrel = Carrel("weights", demo=False)
    SCHEDULER.write_text("none")
    states, said = checked(carrel)
    assert not_on(states) == {"io": "off: the scheduler of vdb is none, under which no weight counts"} and "echo bfq" in said, said
    SCHEDULER.write_text("bfq")
    assert not_on(checked(carrel)[0]) == {}


def test_check_finds_every_layer(bounded):
    states, said = checked(bounded)
    assert not_on(states) == {}, said


def test_a_kernel_has_every_layer_on(kernel):
    carrel, _, kid, ws = kernel
    layers = jail_of(carrel, kid)["layers"]
    assert not_on(layers) == {}
    assert layers["disk"] == "on: project quota"
    leaf = leaf_of(carrel, kid)
    read = lambda file: (leaf / file).read_text().strip()  # noqa: E731
    assert (read("memory.max"), read("memory.swap.max"), read("pids.max"), read("cpu.max")) == (str(256 << 20), "0", "64", "200000 100000")
    assert "default 300" in read("io.weight") or "300" in read("io.bfq.weight"), (read("io.weight"), read("io.bfq.weight"))
    assert (leaf.parent / "memory.max").read_text().strip() == str(512 << 20)
    # Born in its group, and its view of groups begins there.
    assert text_of(ws, "print(open('/proc/self/cgroup').read())").strip() == "0::/"
    assert len(read("cgroup.procs").split()) >= 2


def test_a_sql_kernel_answers(bounded):
    """Programs and jails have the same path here, /opt/carrel/bin, as they have where Carrel is installed by root."""
    ada = bounded.server("ada")
    kid = ada.start_kernel("carrel")
    with ada.connect(kid) as ws:
        reply, text, _ = ada.sql(ws, "SELECT 6 * 7 AS n", PATIENT)
    assert reply["status"] == "ok" and "42" in text, (reply, text)
    assert not_on(jail_of(bounded, kid)["layers"]) == {}
    ada.stop_kernel(kid)


def test_spawnd_and_the_gateway_stepped_aside(bounded):
    assert (bounded.group / "cgroup.procs").read_text() == ""
    aside = (bounded.group / "carrel-main" / "cgroup.procs").read_text().split()
    assert str(bounded.process.pid) in aside and len(aside) >= 3, aside
    # Which systemd could not start a second time.
    assert "DelegateSubgroup=carrel-main" in (bounded.runtime() / "spawnd.log").read_text()


def test_no_memory_goes_to_swap_and_too_much_is_told(kernel):
    carrel, ada, kid, ws = kernel
    assert "vdc" in open("/proc/swaps").read()
    ws.execute("pass", timeout=PATIENT)
    ws.start_execute("import os; " + EAT % 60)
    found, _ = ws.until(lambda m: m["header"]["msg_type"] == "stream" and "ran out of memory" in m["content"].get("text", ""), PATIENT)
    text = found["content"]["text"]
    assert "its limit of 256 MiB" in text, text
    assert 240 <= int(text.split("it had ")[1].split(" MiB")[0]) <= 256, text
    leaf = leaf_of(carrel, kid)
    assert (leaf / "memory.swap.current").read_text().strip() == "0"
    assert "oom_kill 0" not in (leaf / "memory.events").read_text()
    wait_until(lambda: ada.call("GET", f"api/kernels/{kid}").json()["execution_state"] == "idle", PATIENT, what="the kernel's return")


def test_other_bounds_count_at_once_by_user(kernel):
    carrel, ada, kid, _ = kernel
    carrel.edit_config('[[limit]]\nuser = "ada"\nof = "kernel"\nmemory = "448MiB"\nprocesses = 40\ncpus = 0.5\nio_weight = 50')
    said = carrel.run("limits", "apply").stdout
    assert said == "1 jails have other bounds now.\n", said
    leaf = leaf_of(carrel, kid)
    read = lambda file: (leaf / file).read_text().strip()  # noqa: E731
    assert (read("memory.max"), read("pids.max"), read("cpu.max")) == (str(448 << 20), "40", "50000 100000")
    with ada.connect(kid) as ws:
        assert text_of(ws, "import os; " + EAT % 35) == "had 35\n"


def test_processor_time_is_held(kernel):
    carrel, ada, kid, _ = kernel
    with ada.connect(kid) as ws:
        share = float(re.search(r"share (\S+)", text_of(ws, BUSY)).group(1))
    stat = dict(line.split() for line in (leaf_of(carrel, kid) / "cpu.stat").read_text().splitlines())
    assert share < 0.6 and int(stat["nr_throttled"]) > 10, (share, stat)


def test_processes_are_held(kernel):
    carrel, ada, kid, _ = kernel
    # Fewer than the limit of processes that this kernel was born with.
    with ada.connect(kid) as ws:
        stopped = re.search(r"stopped 11 (\d+)", text_of(ws, FORK))
    assert stopped and 10 < int(stopped.group(1)) < 40, stopped
    assert "max 0" not in (leaf_of(carrel, kid) / "pids.events").read_text()


def test_a_killed_spawnd_s_successor_knows_the_groups(kernel):
    carrel, ada, kid, _ = kernel
    spawnd = lambda: json.loads(carrel.run("jails", "--spawner").stdout)["pid"]  # noqa: E731
    pid = spawnd()
    before = leaf_of(carrel, kid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: kid in carrel.run("jails", "--json").stdout and spawnd() != pid, PATIENT, 0.2, "the successor")
    assert leaf_of(carrel, kid) == before and (before / "memory.max").read_text().strip() == str(448 << 20)
    with ada.connect(kid) as ws:
        assert text_of(ws, "print(6 * 7)") == "42\n"


def test_a_stop_leaves_no_group(kernel):
    carrel, ada, kid, _ = kernel
    leaf = leaf_of(carrel, kid)
    ada.stop_kernel(kid)
    wait_until(lambda: not leaf.exists(), PATIENT, what="the leaf's end")
    carrel.stop()
    left = [str(p) for p in carrel.group.glob("carrel-*") if p.name != "carrel-main"]
    assert left == [], left
    assert not [p for p in GROUPS.rglob("u-ada")]
