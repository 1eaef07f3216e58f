"""Two users attack each other, the machine and the gateway at once, with nothing set but what the template has; a third goes on working.

The aim is that the third's p99 rises by a fifth at most. Beside all attacks at once it is not reached (docs/performance.md, "Neighbours"): what is held here is what the groups of
processors, who stands behind in them, the gateway's priority and its bounded batches give, without which p50 and p99 are many times as long.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parent / "neighbours.py"
SECONDS = 10
ROUNDS = 3
# Twice as long, or a tick at 250 Hz more where a cell takes less than that: a program in the middle of a system call is not interrupted (CONFIG_PREEMPT_NONE).
TICK_MS = 4.0
# Without groups of processors it was 457 ms, without turns 52 ms; which attack costs how much is in docs/performance.md.
MOST_P99_MS = 40.0


def people(carrel, kernel):
    """(attackers with the kernel of each of their attacks, the third's server and kernel)"""
    attacks = {"ada": ["forks", "memory", "output", "connections"], "bob": ["processors", "files", "output", "memory"]}
    attackers = {}
    for name, wanted in attacks.items():
        server = carrel.server(name)
        server.start_server()
        attackers[name] = (server, [f"{server.start_kernel('python3')}={attack}" for attack in wanted])
    carrel.add_user("carol", "carol-pass-1")
    carol = carrel.server("carol")
    carol.start_server()
    return attackers, carol, carol.start_kernel(kernel)


def work(server, kernel, cell, seconds=SECONDS):
    argv = [sys.executable, str(SCRIPT), "work", server.url, server.token, kernel, str(seconds), cell]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def attack(attackers, seconds):
    end = repr(time.time() + seconds)
    argv = lambda server, pairs: [sys.executable, str(SCRIPT), "attack", server.url, server.token, end, *pairs]  # noqa: E731
    return [subprocess.Popen(argv(*a), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for a in attackers.values()]


def p99(times):
    return statistics.quantiles(times, n=100)[98]


def told(times):
    return f"n {len(times)}, p50 {statistics.median(times):.2f} ms, p90 {statistics.quantiles(times, n=10)[8]:.2f} ms, p99 {p99(times):.2f} ms, max {max(times):.1f} ms"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kernel, cell", [("python3", "6 * 7"), ("carrel", "SELECT 6 * 7")])
def test_a_third_user_goes_on_working_beside_two_who_attack_each_other(fresh, kernel, cell):
    if os.getuid() != 0:
        pytest.fail("this test needs root, as `make test` has it")
    carrel = fresh(demo=False)
    carrel.set_config("limits.kernel", memory="512MiB", processes=128)
    carrel.set_config("limits.together", memory="2GiB", disk="1GiB")
    carrel.start()
    attackers, carol, kid = people(carrel, kernel)
    work(carol, kid, cell, 3)
    quiet, attacked, said = [], [], []
    # In turn, so that what else happens on this machine happens to both.
    for _ in range(ROUNDS):
        quiet += work(carol, kid, cell)
        running = attack(attackers, SECONDS + 4)
        time.sleep(2)
        attacked += work(carol, kid, cell)
        for process in running:
            out, err = process.communicate(timeout=90)
            assert process.returncode == 0, err[-3000:]
            said.append(json.loads(out))
    quiet += work(carol, kid, cell)
    print(f"\n{kernel}: quiet {told(quiet)}\n{kernel}: attacked {told(attacked)}\n{said}")
    # The attacks did what they say; on a machine that does much else, not in every round.
    did = {name: [int(s[name].split()[-1]) for s in said if name in s] for name in ("forks", "processors", "memory", "files", "output", "connections", "asked")}
    assert all(len(counts) >= ROUNDS and statistics.median(counts) > 0 for counts in did.values()), (did, said)
    middle = statistics.median(quiet)
    assert statistics.median(attacked) <= max(2 * middle, middle + TICK_MS), (told(quiet), told(attacked))
    assert p99(attacked) <= max(MOST_P99_MS, 2.5 * p99(quiet)), (told(quiet), told(attacked))
