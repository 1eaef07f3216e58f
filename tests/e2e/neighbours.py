"""What the people of test_neighbours.py do, each in a process of its own, as each would sit at a machine of their own.

    neighbours.py work URL TOKEN KERNEL SECONDS CELL       small cells one after the other; prints their milliseconds, from sending to idle, as JSON
    neighbours.py attack URL TOKEN END KERNEL=ATTACK ...   attacks until END (seconds since 1970), takes what they print and asks for more; prints what they said
"""
import json
import os
import pathlib
import sys
import threading
import time
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "conformance" / "server"))
from kernelws import KernelWS  # noqa: E402

# Bounded by time, by the jail's limits, and in numbers of their own. Each says what it did.
HEAD = """
import os, socket, sys, time
END = {end}
def children(count, work):
    kids = []
    for _ in range(count):
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            try: work()
            finally: os._exit(0)
        kids.append(pid)
    return kids
def gone(kids):
    for pid in kids:
        try: os.kill(pid, 9)
        except OSError: pass
        os.waitpid(pid, 0)
def spin():
    while time.time() < END: pass
"""
ATTACKS = {
    # As many processes as may be, each computing; then all anew.
    "forks": """
def burn():
    until = min(END, time.time() + 1)
    while time.time() < until: pass
most = 0
while time.time() < END:
    kids = children(1000, burn)
    most = max(most, len(kids))
    time.sleep(0.2)
    gone(kids)
print('processes', most)
""",
    "processors": """
gone_after = children(4 * os.cpu_count(), spin)
spin()
gone(gone_after)
print('rounds 1')
""",
    # Beyond the limit of memory again and again.
    "memory": """
def eat():
    kept = []
    while time.time() < END: kept.append(bytearray(os.urandom(4096)) * 2048)
killed = 0
while time.time() < END:
    (pid,) = children(1, eat) or (0,)
    if pid: killed += os.waitpid(pid, 0)[1] == 9
print('killed', killed)
""",
    # Many small files, each asked to be on the disk.
    "files": """
done = 0
def storm(name):
    os.makedirs(name, exist_ok=True)
    n = 0
    while time.time() < END:
        path = f'{name}/{n % 500}'
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(fd, os.urandom(16384))
        os.fsync(fd)
        os.close(fd)
        if n % 2: os.unlink(path)
        n += 1
    return n
kids = children(3, lambda: storm(f'storm-{os.getpid()}'))
print('synced', storm('storm'))
gone(kids)
os.system('rm -rf storm storm-*')
""",
    "output": """
n = 0
while time.time() < END:
    print('x' * 100)
    n += 1
print('lines', n)
""",
    # Whoever may listen anywhere: this gateway, every port of the own loopback, every socket that has a name.
    "connections": """
import glob
tried = 0
def knock():
    global tried
    while time.time() < END:
        for port in range(8000, 8200):
            with socket.socket() as s:
                s.setblocking(False)
                s.connect_ex(('127.0.0.1', port))
            tried += 1
        for name in glob.glob('/run/*/*'):
            with socket.socket(socket.AF_UNIX) as s:
                s.setblocking(False)
                s.connect_ex(name)
kids = children(3, knock)
knock()
gone(kids)
print('tried', tried)
""",
}


class Server:
    def __init__(self, url, token):
        self.url, self.token = url, token
        self.ws_headers = ["Authorization: token " + token]

    def ws_url(self, path):
        return "ws" + self.url[4:] + path


def work(url, token, kernel, seconds, cell):
    times, end = [], time.monotonic() + float(seconds)
    with KernelWS(Server(url, token), kernel, "v1") as ws:
        while time.monotonic() < end:
            begun = time.perf_counter()
            mid = ws.send("execute_request", {"code": cell, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True})
            idle = replied = False
            while not (idle and replied):
                m = ws.recv(60)
                if m["parent_header"].get("msg_id") == mid:
                    replied |= m["header"]["msg_type"] == "execute_reply"
                    idle |= m["header"]["msg_type"] == "status" and m["content"]["execution_state"] == "idle"
            times.append((time.perf_counter() - begun) * 1e3)
            ws.log.clear()
            time.sleep(0.003)
    print(json.dumps(times))


def attack(url, token, end, *pairs):
    end, said, threads = float(end), {}, []

    def one(kernel, name):
        code = HEAD.replace("{end}", repr(end)) + ATTACKS[name]
        with KernelWS(Server(url, token), kernel, "v1", timeout=60) as ws:
            mid = ws.send("execute_request", {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True})
            while True:
                m = ws.recv(end - time.time() + 60)
                ws.log.clear()
                if m["parent_header"].get("msg_id") != mid:
                    continue
                if m["header"]["msg_type"] == "stream":
                    said[name] = m["content"]["text"].strip().splitlines()[-1][-80:]
                elif m["header"]["msg_type"] == "error":
                    said[name] = m["content"]["evalue"]
                elif m["header"]["msg_type"] == "status" and m["content"]["execution_state"] == "idle":
                    return

    def ask():
        """The gateway itself, as fast as it answers: lists, and websockets that are given up at once."""
        count = 0
        while time.time() < end:
            request = urllib.request.Request(url + "api/kernels", headers={"Authorization": "token " + token})
            urllib.request.urlopen(request, timeout=30).read()
            KernelWS(Server(url, token), pairs[0].split("=")[0], "v1", session_id=uuid.uuid4().hex).drop()
            count += 1
        said["asked"] = f"times {count}"

    for pair in pairs:
        threads.append(threading.Thread(target=one, args=pair.split("=")))
    threads.append(threading.Thread(target=ask))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(json.dumps(said))


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    # These stand for other machines: who works there is not slowed down by this one, and who attacks does not do so with this one's own power. A session of
    # one's own counts as one program beside others (sched_autogroup), so it is the session that has the priority.
    priority = -20 if what == "work" else 19
    os.setsid()
    try:
        os.setpriority(os.PRIO_PROCESS, 0, priority)
        pathlib.Path("/proc/self/autogroup").write_text(str(priority))
    except OSError:
        pass
    {"work": work, "attack": attack}[what](*words)
