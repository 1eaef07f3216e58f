"""What a jail costs: its start by spawnd's zygote beside a bare fork and exec of the same program, many at once, and its pid 1's memory.

    jails.py PREFIX WORK [ROUNDS]     as root; NB_TOOLS names the folder with floorexec and hello; prints a table, and one JSON line at the end

Jails have every layer that the host gives, and the memory and process limits that are usual. The program is a small one that ends at once, so that what
is measured is the way to it. Bare starts and jails take turns, twenty at a time.
"""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time

PREFIX, WORK = map(pathlib.Path, sys.argv[1:3])
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 10
EACH = 20
TOOLS = pathlib.Path(os.environ["NB_TOOLS"])


class Spawnd:
    """A carrel-spawnd of its own on scratch folders; `shim` is pid 1 of its kernels."""

    def __init__(self, name, shim, kernelspec):
        self.root = WORK / name
        # Where Carrel has it too, in memory.
        self.runtime = pathlib.Path("/run/carrel-bench") / name
        for folder in (self.root, self.runtime):
            shutil.rmtree(folder, ignore_errors=True)
        self.runtime.mkdir(parents=True)
        (self.root / "state").mkdir(parents=True)
        settings = {"runtime": str(self.runtime), "state": str(self.root / "state"), "gateway_uid": 0, "gateway_gid": 0,
                    "programs": {"shim": str(shim), "desk": str(PREFIX / "bin/carrel-desk")}, "kernelspecs": {"k": kernelspec}}
        self.process = subprocess.Popen([str(PREFIX / "bin/carrel-spawnd"), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(self.root / "log").open("wb"))
        self.process.stdin.write(json.dumps(settings).encode())
        self.process.stdin.close()
        said = json.loads(self.process.stdout.readline())
        assert "ok" in said, said
        self.layers = said["ok"]["layers"]
        self.control = self.connect()

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(str(self.runtime / "spawnd.sock"))
        return s

    @staticmethod
    def answer(s):
        text, ancillary, _, _ = s.recvmsg(65536, 1024)
        for _, _, data in ancillary:
            for at in range(0, len(data), 4):
                os.close(int.from_bytes(data[at:at + 4], sys.byteorder))
        said = json.loads(text)
        assert "ok" in said, said
        return said["ok"]

    def ask(self, **request):
        self.control.send(json.dumps(request).encode())
        return self.answer(self.control)

    @staticmethod
    def start_request(user, jail):
        return json.dumps({"op": "start", "user": user, "id": jail, "profile": "kernel", "kernelspec": "k", "cwd": "", "groups": []}).encode()

    def empty(self):
        while self.ask(op="list")["jails"]:
            time.sleep(0.002)

    def cpu_us(self):
        """Of spawnd itself, to the nanosecond."""
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e3

    def children_us(self):
        """Of what it has reaped, in ticks of 10 ms: for sums."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) * 1e6 / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        for folder in (self.root, self.runtime):
            shutil.rmtree(folder, ignore_errors=True)


def floor(program):
    out = subprocess.run([str(TOOLS / "floorexec"), str(EACH), "--", str(program)], capture_output=True, text=True, check=True).stdout
    return json.loads(out[out.index("{"):])  # after what the children said


def starts(spawnd, number):
    wall, own, children = [], 0.0, spawnd.children_us()
    for n in range(EACH):
        request = spawnd.start_request("ada", f"k-{number}-{n}")
        before = spawnd.cpu_us()
        begun = time.perf_counter()
        spawnd.control.send(request)
        spawnd.answer(spawnd.control)
        wall.append((time.perf_counter() - begun) * 1e6)
        own += spawnd.cpu_us() - before
        spawnd.empty()
    return wall, own / EACH, (spawnd.children_us() - children) / EACH


def one_by_one(program):
    spawnd = Spawnd("one", program, {"argv": ["true"]})
    try:
        starts(spawnd, "warm")
        bare, jails, bare_cpu, jail_cpu = [], [], [], []
        for number in range(ROUNDS):
            was = floor(program)
            bare += was["exec_us"]
            bare_cpu.append(was["own_cpu_us"] + was["child_cpu_us"])
            wall, own, children = starts(spawnd, number)
            jails += wall
            jail_cpu.append(own + children)
        off = {name: state for name, state in spawnd.layers.items() if not state.startswith("on")}
        return bare, jails, statistics.mean(bare_cpu), statistics.mean(jail_cpu), off
    finally:
        spawnd.stop()


def at_once(program, count=50, rounds=5):
    """Fifty requests at the same moment, each of another user whose home is there; until the last one runs."""
    spawnd = Spawnd("many", program, {"argv": ["true"]})
    took = []
    try:
        for number in range(rounds + 1):
            clients = [spawnd.connect() for _ in range(count)]
            begun = time.perf_counter()
            for n, client in enumerate(clients):
                client.send(spawnd.start_request(f"user{n}", f"m-{number}-{n}"))
            for client in clients:
                spawnd.answer(client)
            took.append((time.perf_counter() - begun) * 1e3)
            for client in clients:
                client.close()
            spawnd.empty()
        return took[0], took[1:]
    finally:
        spawnd.stop()


def pss_kib(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])


def memory(count):
    """PSS of pid 1 of each of so many kernels' jails, which is the shim, with its kernel running; KiB."""
    program = PREFIX / "bin/carrel-kernel"
    spawnd = Spawnd("memory", PREFIX / "bin/carrel-shim", {"argv": [str(program), "-f", "{connection_file}"], "interrupt": "message", "paths": [str(program)]})
    try:
        pids = []
        for n in range(count):
            spawnd.control.send(spawnd.start_request("ada", f"p-{n}"))
            pids.append(spawnd.answer(spawnd.control)["pid"])
        time.sleep(2)
        return [pss_kib(pid) for pid in pids]
    finally:
        spawnd.stop()


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    WORK.chmod(0o755)
    program = WORK / "hello"
    shutil.copy(TOOLS / "hello", program)
    program.chmod(0o755)
    bare, jails, bare_cpu, jail_cpu, off = one_by_one(program)
    first, many = at_once(program)
    alone, ten = memory(1), memory(10)

    def told(values):
        cut = statistics.quantiles(values, n=100)
        return {"n": len(values), "min_ms": min(values) / 1e3, "p50_ms": cut[49] / 1e3, "p99_ms": cut[98] / 1e3}

    figures = {
        "cmd": "jails", "load1": os.getloadavg()[0], "off": off, "bare": told(bare), "jail": told(jails), "bare_cpu_ms": bare_cpu / 1e3, "jail_cpu_ms": jail_cpu / 1e3,
        "over_p50_ms": told(jails)["p50_ms"] - told(bare)["p50_ms"], "over_cpu_ms": (jail_cpu - bare_cpu) / 1e3,
        "at_once_first_ms": first, "at_once_ms": sorted(many), "shim_pss_kib": {"alone": alone[0], "each_of_ten": statistics.mean(ten)},
    }
    rows = [("start of a full jail, p50 over bare fork and exec", f"{figures['over_p50_ms']:.2f} ms", "<= 5 ms"),
            ("  bare: min, p50, p99", "{min_ms:.2f}, {p50_ms:.2f}, {p99_ms:.2f} ms".format(**figures["bare"]), ""),
            ("  jail: min, p50, p99", "{min_ms:.2f}, {p50_ms:.2f}, {p99_ms:.2f} ms".format(**figures["jail"]), ""),
            ("processor time of a start over bare", f"{figures['over_cpu_ms']:.2f} ms ({jail_cpu / 1e3:.2f} - {bare_cpu / 1e3:.2f})", "<= 3 ms"),
            ("50 jails at once, median of 5 (first time, homes made)", f"{statistics.median(many):.0f} ms ({first:.0f})", "< 500 ms"),
            ("pid 1 of a kernel's jail (the shim), PSS: alone, each of ten", f"{alone[0] / 1024:.2f}, {statistics.mean(ten) / 1024:.2f} MiB", "<= 2.5 MiB")]
    for row in rows:
        print(f"{row[0]:62} {row[1]:34} {row[2]}")
    print(f"layers not on: {off}; load {figures['load1']:.1f}")
    print(json.dumps(figures))


main()
