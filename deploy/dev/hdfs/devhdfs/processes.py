"""Long-running programs of one cluster, known by pid file: start, find again from another command, pause, stop, and be sure that they are gone.

A pid file also holds the process's start time, so that a number that the system gave away again is never mistaken for ours.
"""
import json
import os
import signal
import subprocess
import time

from . import Unavailable
from .artifacts import tail


def stat(pid):
    """/proc/<pid>/stat from the state letter on; None for a process that does not exist."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def started_at(pid):
    """The kernel's start tick of a live process; None for one that is gone or only waits to be reaped.

    A first thread that has ended is no sign yet: sockets stay open until the last one has.
    """
    fields = stat(pid)
    try:
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        threads = 0
    return None if not fields or fields[0] in "ZX" and threads <= 1 else int(fields[19])


class Process:
    """One named program. Nothing is kept in memory: the pid file is the truth."""

    def __init__(self, name, folder):
        self.name = name
        self.pid_file = folder / "run" / f"{name}.pid"
        self.log = folder / "logs" / f"{name}.log"

    def pid(self):
        """The pid while it runs, else None."""
        try:
            kept = json.loads(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        try:
            os.waitpid(kept["pid"], os.WNOHANG)
        except ChildProcessError:
            pass  # Started by another command.
        return kept["pid"] if started_at(kept["pid"]) == kept["started"] else None

    def start(self, command, env):
        """Starts it unless it runs; gives whether it did."""
        if self.pid():
            return False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)
        self.pid_file.write_text(json.dumps({"pid": child.pid, "started": started_at(child.pid) or 0}))
        # The pid file answers for it from now on; a Popen that is dropped would complain.
        child.returncode = 0
        return True

    def check(self):
        if not self.pid():
            raise Unavailable(f"{self.name} ended; the last lines of {self.log}:\n" + tail(self.log.read_text(errors="replace")))

    def signal(self, number):
        pid = self.pid()
        if pid:
            os.kill(pid, number)
        return bool(pid)

    def pause(self):
        return self.signal(signal.SIGSTOP)

    def paused(self):
        fields = stat(self.pid() or 0)
        return bool(fields) and fields[0] == "T"

    def resume(self):
        return self.signal(signal.SIGCONT)

    def end(self, kill=False):
        """Asks it to end (a paused one too), without waiting."""
        if kill:
            self.signal(signal.SIGKILL)
        elif self.signal(signal.SIGTERM):
            self.signal(signal.SIGCONT)

    def wait_gone(self, seconds=15):
        """Waits until it is gone; what does not go by itself is killed."""
        end = time.monotonic() + seconds
        while self.pid():
            if time.monotonic() > end:
                self.signal(signal.SIGKILL)
                end += 5
            time.sleep(0.01)
        self.pid_file.unlink(missing_ok=True)

    def memory(self):
        """(resident, proportional) KiB while it runs."""
        pid = self.pid()
        if not pid:
            return None
        with open(f"/proc/{pid}/smaps_rollup") as f:
            lines = dict(line.split(":") for line in f.read().splitlines()[1:])
        return int(lines["Rss"].split()[0]), int(lines["Pss"].split()[0])


def wait_until(check, seconds, what, processes=(), step=0.05):
    """Polls until the check gives something true; fails at once when one of the processes ends."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        for process in processes:
            process.check()
        if time.monotonic() > end:
            logs = ", ".join(str(p.log) for p in processes)
            raise Unavailable(f"{what}: not within {seconds} s; see {logs}")
        time.sleep(step)
