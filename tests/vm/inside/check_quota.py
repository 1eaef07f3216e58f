"""Homes held by project quotas of the file system: a write beyond the bound fails at once, a home from before is taken in, and who is in a jail cannot leave the project."""
import os
import re
import subprocess

import pytest
from guest import PATIENT, jail_of, jails_of, leaf_of
from harness import wait_until

MIB = 1 << 20
WRITE = """
import errno, os
def write(name, mib):
    done = 0
    try:
        with open(name, 'wb', 0) as f:
            for _ in range(mib): done += f.write(os.urandom(1 << 20))
        return 'wrote %d' % (done >> 20)
    except OSError as e: return errno.errorcode[e.errno] + ' after %d' % (done >> 20)
"""
# What could lead out of a project: its number, the inheritance of a folder, a file of another project, a name that is linked or moved elsewhere.
LEAVE = """
import ctypes, errno, fcntl, struct
GET, SET, SET_FLAGS = 0x801c581f, 0x401c5820, 0x40086602
def tried(f):
    try: f(); return 'done'
    except OSError as e: return errno.errorcode[e.errno]
def get(path):
    fd = os.open(path, os.O_RDONLY)
    raw = bytearray(28); fcntl.ioctl(fd, GET, raw); os.close(fd)
    return struct.unpack('5I8x', raw)
def put(path, project=None, flags=None):
    fd = os.open(path, os.O_RDONLY)
    try:
        f, extent, n, p, cow = get(path)
        fcntl.ioctl(fd, SET, struct.pack('5I8x', f if flags is None else flags, extent, n, p if project is None else project, cow))
    finally: os.close(fd)
def flags(path, value):
    fd = os.open(path, os.O_RDONLY)
    try: fcntl.ioctl(fd, SET_FLAGS, struct.pack('l', value))
    finally: os.close(fd)
os.makedirs('sub', exist_ok=True); open('sub/f', 'w').write('x')
print('project', get('.')[3], get('sub')[3], get('sub/f')[3], get('.')[0] & 0x200, get('sub')[0] & 0x200)
for what, path, act in [('number of a file', 'sub/f', lambda p: put(p, project=0)), ('number of a folder', 'sub', lambda p: put(p, project=1)),
                        ('inheritance', 'sub', lambda p: put(p, flags=0)), ('flags', 'sub', lambda p: flags(p, 0))]:
    before = get(path); said = tried(lambda: act(path)); print('%s: %s %s' % (what, said, 'same' if get(path) == before else 'CHANGED'))
"""


def text_of(ws, code, seconds=PATIENT):
    reply, out = ws.execute(code, timeout=seconds)
    return "".join(m["content"].get("text", "") for m in out) or str(reply["content"])


def project_of(path):
    return int(subprocess.run(["lsattr", "-dp", str(path)], check=True, capture_output=True, text=True).stdout.split()[0])


@pytest.fixture(scope="module")
def held(serve_module):
    return serve_module("quota", {"limits.together": {"disk": "24MiB", "disk_files": 2000}}, subgroup=True)


@pytest.fixture(scope="module")
def kernel(held):
    ada = held.server("ada")
    kid = ada.start_kernel("python3")
    with ada.connect(kid) as ws:
        text_of(ws, WRITE)
        yield held, ada, kid, ws


def test_a_unit_s_subgroup_is_divided_beside(kernel):
    """`DelegateSubgroup=`: systemd has put the first process into a group of its own, so that it can do so again while kernels run."""
    carrel, _, kid, _ = kernel
    layers = jail_of(carrel, kid)["layers"]
    assert (layers["memory"], layers["pids"]) == ("on", "on") and leaf_of(carrel, kid).is_relative_to(carrel.group)
    assert str(carrel.process.pid) in (carrel.group / "carrel-main" / "cgroup.procs").read_text().split()
    assert "cgroup.unit" not in (carrel.runtime() / "spawnd.log").read_text()


def test_a_write_beyond_the_bound_fails_at_once(kernel):
    carrel, ada, kid, ws = kernel
    assert jail_of(carrel, kid)["layers"]["disk"] == "on: project quota"
    said = text_of(ws, "print(write('big', 60))")
    got = re.fullmatch(r"EDQUOT after (\d+)\n", said)
    assert got and 20 <= int(got.group(1)) <= 24, said
    # Full, and only said so: nothing is ended, the same kernel goes on.
    assert text_of(ws, "print(6 * 7)").startswith("42\n")


def test_the_desk_says_it_in_words(kernel):
    _, ada, _, _ = kernel
    refused = ada.call("PUT", "api/contents/more.txt", json={"type": "file", "format": "text", "content": "x" * 5 * MIB})
    assert refused.status_code == 507, (refused.status_code, refused.text[:300])
    for word in ("your home is full", "24.0 MiB", "Delete something first", "big"):
        assert word in refused.json()["message"], refused.text


def test_another_bound_counts_at_once(kernel):
    carrel, _, _, ws = kernel
    text = carrel.config_path().read_text()
    carrel.config_path().write_text(text.replace('disk = "24MiB"', 'disk = "40MiB"', 1))
    carrel.run("limits", "apply")
    said = text_of(ws, "print(write('more', 60))")
    got = re.fullmatch(r"EDQUOT after (\d+)\n", said)
    assert got and 12 <= int(got.group(1)) <= 18, said
    assert text_of(ws, "os.remove('big'); os.remove('more'); print(write('less', 8))") == "wrote 8\n"


def test_files_are_bounded_too(kernel):
    _, _, _, ws = kernel
    code = """
os.makedirs('many', exist_ok=True)
try:
    for n in range(4000): os.close(os.open('many/%d' % n, os.O_CREAT | os.O_WRONLY))
    print('all')
except OSError as e: print(errno.errorcode[e.errno], n)
import shutil; shutil.rmtree('many')
"""
    said = text_of(ws, code)
    got = re.fullmatch(r"EDQUOT (\d+)\n", said)
    assert got and 1500 <= int(got.group(1)) < 2000, said


def test_nobody_leaves_a_project_from_inside(kernel):
    carrel, _, kid, ws = kernel
    uid = (carrel.state / "homes" / "ada").stat().st_uid
    lines = text_of(ws, LEAVE).splitlines()
    assert lines[0] == f"project {uid} {uid} {uid} 512 512", lines
    assert len(lines) == 5
    for line in lines[1:]:
        assert line.endswith("same"), lines
    # Temporary space is no way around: what is moved in from there is counted.
    assert re.match("EDQUOT", text_of(ws, "import shutil\nprint(write('/tmp/t', 38))\ntry: shutil.move('/tmp/t', 't')\nexcept OSError as e: print(errno.errorcode[e.errno])").splitlines()[-1])


def test_bob_s_home_has_a_bound_of_its_own(kernel):
    carrel, *_ = kernel
    bob = carrel.server("bob")
    assert bob.call("GET", "api/contents/").status_code == 200
    ids = {name: project_of(carrel.state / "homes" / name) for name in ("ada", "bob")}
    assert ids["ada"] != ids["bob"] and ids == {name: (carrel.state / "homes" / name).stat().st_uid for name in ids}
    put = bob.call("PUT", "api/contents/b.txt", json={"type": "file", "format": "text", "content": "x" * 9 * MIB})
    assert put.status_code == 201, put.text


def test_a_home_from_before_is_taken_in(held):
    """As after `tune2fs` on a host where Carrel ran already: files of no project, deep folders, links, a pipe."""
    carrel = held
    home = carrel.state / "homes" / "bob"
    uid = home.stat().st_uid
    bob = carrel.server("bob")
    bob.hub("DELETE", "/users/bob/server")
    wait_until(lambda: not [j for j in jails_of(carrel) if j["user"] == "bob"], PATIENT, 0.2, "the desk's end")
    os.removexattr(home, "trusted.carrel.project")
    deep = home / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "old.bin").write_bytes(os.urandom(10 * MIB))
    belong = [home, *home.rglob("*")]
    subprocess.run(["chattr", "-p", "0", *map(str, belong)], check=True)
    subprocess.run(["chattr", "-P", *(str(path) for path in belong if path.is_dir())], check=True)
    (home / "a" / "link").symlink_to("/etc/shadow")
    os.mkfifo(home / "a" / "pipe")
    for path in [home, *home.rglob("*")]:
        os.lchown(path, uid, uid)
    assert project_of(deep / "old.bin") == 0
    bob.start_server()
    kid = bob.start_kernel("python3")
    wait_until(lambda: jail_of(carrel, kid)["layers"]["disk"] == "on: project quota", PATIENT, 0.2, "its project")
    assert {project_of(p) for p in (home, home / "a", deep, deep / "old.bin")} == {uid}
    with bob.connect(kid) as ws:
        said = text_of(ws, WRITE + "print(write('big', 60))")
    # 40 MiB, of which 19 are there.
    got = re.fullmatch(r"EDQUOT after (\d+)\n", said)
    assert got and 17 <= int(got.group(1)) <= 21, said
    assert os.stat("/etc/shadow").st_size > 0 and project_of("/state") == 0
    bob.stop_kernel(kid)
