"""In the guest: Carrel started as an operator would, in a group that its service was given, with its state on the disk that has project quotas."""
import contextlib
import json
import os
import pathlib
import sys

sys.path.insert(0, "/tests/e2e")
from harness import Carrel, wait_until  # noqa: E402

GROUPS = pathlib.Path("/sys/fs/cgroup")
# How long something may take on a loaded host in software: a kernel of Python starts in 5 s on two quiet processors, and took 100 s beside much else.
PATIENT = 400
RUNNING = []
# Says how many processes a jail takes.
FORK = """
import os, time
pids = []
try:
    while len(pids) < 500:
        pid = os.fork()
        if pid == 0: time.sleep(60); os._exit(0)
        pids.append(pid)
except OSError as e: print('stopped', e.errno, len(pids))
for pid in pids: os.kill(pid, 9); os.waitpid(pid, 0)
"""


@contextlib.contextmanager
def service(name, owner=0, delegated=True, subgroup=False):
    """A group as systemd makes it for a unit with `Delegate=yes` (and `DelegateSubgroup=carrel-main`), with this process in it meanwhile."""
    controllers = "+cpu +memory +pids +io"
    above = GROUPS / "system.slice"
    above.mkdir(exist_ok=True)
    for folder in (GROUPS, above):
        (folder / "cgroup.subtree_control").write_text(controllers)
    group = above / name
    group.mkdir()
    if delegated:
        os.setxattr(group, "trusted.delegate", b"1")
        os.setxattr(group, "user.delegate", b"1")
        for file in (".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(group / file, owner, owner)
    if subgroup:
        (group / "carrel-main").mkdir()
    (group / "carrel-main" / "cgroup.procs" if subgroup else group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield group
    finally:
        (GROUPS / "cgroup.procs").write_text(str(os.getpid()))


def servers():
    """start(name, configuration, more tables as text): Carrel in a group of its own, with ada and bob; `group` is where that is."""
    made = []

    def start(name, config=None, uid=None, people=("ada", "bob"), more="", **group):
        carrel = Carrel(name, demo=False, uid=uid)
        for table, keys in (config or {}).items():
            carrel.set_config(table, **keys)
        carrel.edit_config(more)
        for person in people:
            carrel.add_user(person, person + "-pass-12")
        with service(name + ".service", uid or 0, **group) as carrel.group:
            made.append(carrel)
            RUNNING.append(carrel)
            carrel.start()
        for person in people:
            carrel.server(person).start_server()
        return carrel

    yield start
    for carrel in made:
        carrel.stop()
        RUNNING.remove(carrel)
        # The keeper is the last to go.
        wait_until(lambda: "populated 0" in (carrel.group / "cgroup.events").read_text(), PATIENT, what="the end of what ran in the service's group")
        for folder, _, _ in os.walk(carrel.group, topdown=False):
            os.rmdir(folder)


def leaf_of(carrel, kid):
    """The group of a kernel's jail."""
    found = list(carrel.group.glob(f"carrel-*/u-*/k-{kid}.main"))
    assert len(found) == 1, (found, [str(p) for p in carrel.group.rglob("*") if p.is_dir()])
    return found[0]


def jails_of(carrel):
    return json.loads(carrel.run("jails", "--json").stdout)


def jail_of(carrel, kid):
    return next(jail for jail in jails_of(carrel) if jail["id"].endswith(kid))
