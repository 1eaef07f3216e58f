"""Starts JupyterHub and Carrel on loopback, runs the measures of nbbench.py on both in turn, prints tables and ends both.

    side_by_side.py WORK [start spawn cold exec exec50 iopub rest mem restart ...]
"""
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(sys.argv[1])
RUN = pathlib.Path(os.environ["NB_RUN"])
PREFIX = WORK / "prefix"
STATE = WORK / "state"
PORT = int(os.environ.get("NB_PORT", "18200")) + 30
MEASURES = {
    "spawn": ["spawn", "-n", "4"],
    "cold": ["cold", "-n", "8"],
    "exec": ["exec", "--rounds", "200"],
    "exec50": ["exec", "--users", "50", "--rounds", "20"],
    "iopub": ["iopub", "--repeat", "2"],
    "rest": ["rest", "--secs", "3"],
    "mem": ["mem", "--levels", "0,10"],
    "restart": ["restart", "-n", "3", "--kill"],
}


def carrel(*words, text=None):
    argv = [str(PREFIX / "bin/carrel"), *words]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


def serve():
    log = open(WORK / "carrel.log", "ab")
    begun = time.perf_counter()
    p = subprocess.Popen([str(PREFIX / "bin/carrel"), "serve", "--state", str(STATE)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/hub/api/", timeout=2).read()
            return p, time.perf_counter() - begun
        except OSError:
            assert p.poll() is None, "carrel serve ended, see " + str(WORK / "carrel.log")
            time.sleep(0.002)




def target(name, kernel, trivial, pid, token, **more):
    spawner = int((re.search(r'"pid":\s*(\d+)', carrel("jails", "--state", str(STATE), "--spawner")) or [0, 0])[1])
    d = {"name": name, "kind": "hub", "url": f"http://127.0.0.1:{PORT}", "token": token, "pids": [p for p in (pid, spawner) if p], "kernel": kernel,
         "trivial": trivial, "hub_pid": pid, "adduser": [str(PREFIX / "bin/carrel"), "user", "add", "--state", str(STATE), "--password-stdin"],
         "restart": [sys.executable, str(HERE / "side_by_side.py"), str(WORK), "--again", name, kernel, trivial, token], **more}
    path = RUN / f"{name}.json"
    path.write_text(json.dumps(d))
    return path


def again(name, kernel, trivial, token):
    p, _ = serve()
    target(name, kernel, trivial, p.pid, token)


def main():
    wanted = sys.argv[2:] or ["start", *MEASURES]
    RUN.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(STATE, ignore_errors=True)
    carrel("init", "--state", str(STATE), "--prefix", str(PREFIX), "--port", str(PORT))
    subprocess.run([str(PREFIX / "bin/carrel-engine"), "demo", "--out", str(STATE / "datasets")], check=True, capture_output=True)
    carrel("user", "add", "--state", str(STATE), "bench-admin", "--admin", "--password-stdin", text="bench-pass-1\n")
    token = re.search(r"[0-9a-zA-Z_-]{24,}", carrel("token", "create", "--state", str(STATE), "bench-admin"))[0]

    process, first = serve()
    if "start" in wanted:
        times = [first]
        for _ in range(4):
            process.terminate()
            process.wait(20)
            process, took = serve()
            times.append(took)
        print(f"start of the gateway to its first answer: first {times[0] * 1e3:.0f} ms, again median {statistics.median(times[1:]) * 1e3:.0f} ms")
    sql = target("carrel-sql", "carrel", "select 1", process.pid, token)
    python = target("carrel-python", "python3", "0", process.pid, token)
    try:
        subprocess.run([sys.executable, str(HERE / "peers.py"), "up", "hub"], check=True, capture_output=True)
        for name in wanted:
            if name not in MEASURES:
                continue
            words = MEASURES[name]
            if name != "restart":
                print(f"\n== {name}: JupyterHub and ipykernel (A), Carrel SQL (B)", flush=True)
                if name != "iopub":
                    subprocess.run([sys.executable, str(HERE / "nbbench.py"), "side", str(RUN / "hub.json"), str(sql), "2", *words], stdout=subprocess.DEVNULL)
            if name in ("exec", "iopub", "cold", "restart"):
                print(f"\n== {name}: JupyterHub and ipykernel (A), Carrel with ipykernel (B)", flush=True)
                subprocess.run([sys.executable, str(HERE / "nbbench.py"), "side", str(RUN / "hub.json"), str(python), "2", *words], stdout=subprocess.DEVNULL)
    finally:
        subprocess.run([sys.executable, str(HERE / "peers.py"), "down", "hub"], capture_output=True)
        carrel("stop", "--state", str(STATE))


if __name__ == "__main__":
    if "--again" in sys.argv:
        again(*sys.argv[sys.argv.index("--again") + 1:])
    else:
        main()
