"""The escape corpus (tests/conformance/sandbox) from Python kernels, terminals and the contents API: by root, by an ordinary user, and, as a control
that the attacks bite, on an unmodified Jupyter server whose only wall is a Unix uid of its own."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest
import requests
import yaml

from harness import PREFIX, WORK, free_port, wait_until

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "conformance" / "sandbox"
# POSIX message queues cannot be opened in a jail at all (Landlock), so there is no victim's to look for.
MAY_SKIP = {"ipc-mqueue"}
# On a machine in software (tests/vm) everything takes longer.
PATIENCE = int(os.environ.get("CARREL_TEST_PATIENCE", "1"))
# Each of these gets through without a jail. (Not all that do: those that fill memory, disk or the process table are left out here.)
BITES = """fs-home-parent-list fs-etc-shadow* fs-host-public* fs-dotdot-fd fs-symlink-out fs-sys-tree fs-setuid-mounts fs-proc-host-facts fs-hardlink-out proc-see-victim
proc-count-foreign proc-ptrace-sibling proc-ptrace-child proc-kcmp proc-pidfd-host k-unshare-user k-clone-user k-clone3-user k-io-uring k-keyctl k-personality k-modify-ldt
k-capabilities k-newer-than-list k-clone-all-flags k-aio-exhaust k-socket-filters k-i386 k-memfd-exec-fileless net-host-loopback net-metadata-standin net-any-route net-port-scan
net-gateway-ports net-victim-port net-abstract net-abstract-list net-netlink-other net-odd-protocols ipc-host-sockets ipc-sysv-shm ipc-posix-shm ipc-tmp-shared
res-fd-exhaust res-tmp-inodes res-file-size sh-ps sh-loopback api-symlink-read api-symlink-dir-list api-symlink-dir-read api-symlink-write api-symlink-create api-symlink-delete
api-race-read api-race-write api-proc-link life-daemon-shutdown life-kernel-suicide sh-leftover""".split()


def run(out, seconds, **env):
    corpus = subprocess.Popen([sys.executable, "-u", str(CORPUS / "run.py")], env={**os.environ, **env, "OUT": str(out), "SLOW": str(PATIENCE)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    late = threading.Timer(seconds * PATIENCE, corpus.kill)
    late.start()
    said = []
    for line in corpus.stdout:
        print(line, end="")
        said.append(line)
    corpus.wait()
    late.cancel()
    assert out.exists(), "".join(said)[-6000:]
    return {c["id"]: c for c in json.loads(out.read_text())["cases"]}


@pytest.mark.timeout(900 * PATIENCE)
@pytest.mark.parametrize("mode", ["root", "userns"])
def test_no_attack_gets_through(fresh, tmp_path, mode):
    if mode == "root" and os.getuid() != 0:
        pytest.fail("this test needs root, as `make test` has it")
    carrel = fresh(uid=64200 if mode == "userns" and os.getuid() == 0 else None, demo=False)
    carrel.set_config("limits.kernel", memory="1GiB", processes=128, cpus=1.0, tmp="256MiB")
    carrel.set_config("limits.desk", memory="512MiB", processes=128)
    carrel.set_config("limits.together", disk="2GiB")
    carrel.start()
    ada, bob = carrel.server("ada"), carrel.server("bob")
    for server in (ada, bob):
        server.start_server()
    spawner = json.loads(carrel.run("jails", "--spawner").stdout)
    assert spawner["mode"] == mode
    cases = run(
        tmp_path / "out.json", 800, SERVER_URL=ada.url.rstrip("/"), TOKEN=ada.token, SERVER_URL_B=bob.url.rstrip("/"), TOKEN_B=bob.token, KERNEL_NAME="python3",
        SECRET_PATHS=":".join(str(carrel.state / p) for p in ("gateway/carrel.db", "gateway/cookie_secret", "carrel.toml", "spawnd/uids.json", "homes/bob")),
        GATEWAY_SECRET=ada.token, GATEWAY_PORTS=str(carrel.port), GATEWAY_PID=str(carrel.process.pid), HOST_SOCKETS=str(carrel.runtime() / "spawnd.sock"),
        MEM_BOUND_MB="1536", PIDS_BOUND="200", FD_BOUND="6000", INODE_BOUND="80000", CPU_LIMIT_PERCENT="100", DISK_BOUND_MB="4096")
    bad = {i: c["detail"] for i, c in cases.items() if c["result"] in ("FAIL", "ERROR")}
    skipped = {i: c["detail"] for i, c in cases.items() if c["result"] == "SKIP" and i not in MAY_SKIP}
    assert not bad and not skipped, (bad, skipped)
    assert len(cases) > 180


# What one's own classic server is to one's own kernels, by design: it runs as the same user in the same jail, its token is in the environment, and its files, ports and
# processes are theirs to read and to end. (Filling memory or the process table ends it, too; and its contents API shows what the jail shows. Those cases are left out.)
OWN_SERVER = """env-secret fs-descriptor-of-parent proc-kill-all proc-signal-parent proc-vm-readv proc-signals-to-init proc-kill-minus-one net-port-scan net-abstract-list
ipc-conn-dir ipc-carrel-sockets sh-leftover sh-fork-storm-leftover""".split()
OUTWARD = ("10", "11", "20", "21", "30", "31", "40", "41", "60", "61")


@pytest.mark.timeout(600 * PATIENCE)
def test_no_attack_gets_out_of_a_classic_server(fresh, tmp_path):
    carrel = fresh(demo=False)
    carrel.set_config("classic", enabled=True)
    carrel.set_config("limits.classic", memory="1GiB", processes=160, cpus=1.0, tmp="256MiB")
    carrel.start()
    ada, bob = carrel.server("ada"), carrel.server("bob")
    for server in (ada, bob):
        assert server.hub("POST", f"/users/{server.user}/server", json={"profile": "classic"}).status_code == 202
        wait_until(lambda: server.hub("GET", f"/users/{server.user}").json()["servers"][""]["ready"], 120 * PATIENCE, 0.2, "a classic server")  # noqa: B023
    files = [file for file in sorted(CORPUS.glob("cases/*.yaml")) if file.name[:2] in OUTWARD]
    ids = [case["id"] for file in files for case in yaml.safe_load(file.read_text())]
    assert not set(OWN_SERVER) - set(ids)
    cases = run(
        tmp_path / "out.json", 500, SERVER_URL=ada.url.rstrip("/"), TOKEN=ada.token, SERVER_URL_B=bob.url.rstrip("/"), TOKEN_B=bob.token, KERNEL_NAME="python3",
        ONLY=",".join(i for i in ids if i not in OWN_SERVER),
        SECRET_PATHS=":".join(str(carrel.state / p) for p in ("gateway/carrel.db", "gateway/cookie_secret", "carrel.toml", "spawnd/uids.json", "homes/bob")),
        GATEWAY_SECRET=ada.token, GATEWAY_PORTS=str(carrel.port), GATEWAY_PID=str(carrel.process.pid), HOST_SOCKETS=str(carrel.runtime() / "spawnd.sock"))
    bad = {i: c["detail"] for i, c in cases.items() if c["result"] in ("FAIL", "ERROR")}
    skipped = {i: c["detail"] for i, c in cases.items() if c["result"] == "SKIP" and i not in MAY_SKIP}
    assert not bad and not skipped, (bad, skipped)
    assert len(cases) > 100


@pytest.mark.timeout(600 * PATIENCE)
def test_the_attacks_bite_where_there_is_no_jail(tmp_path):
    url, token, server = jupyter_server(64201 if os.getuid() == 0 else None)
    try:
        cases = run(tmp_path / "out.json", 500, SERVER_URL=url, TOKEN=token, KERNEL_NAME="python3", ONLY=",".join(BITES), PIDS_BOUND="50", FD_BOUND="900",
                          INODE_BOUND="2000", MEM_BOUND_MB="64", GATEWAY_PORTS=url.rsplit(":", 1)[1])
    finally:
        server.terminate()
        server.wait(20)
    through = {i for i, c in cases.items() if c["result"] == "FAIL"}
    held = {i: c["detail"] for i, c in cases.items() if c["result"] != "FAIL"}
    # What a host's own settings may forbid to everybody (no user namespaces, no io_uring, Yama) is not our case's fault.
    assert len(through) >= 45, held


def jupyter_server(uid):
    """An unmodified jupyter-server of an ordinary user, in a folder of its own that this user may pass."""
    root = WORK / "control"
    shutil.rmtree(root, ignore_errors=True)
    site = pathlib.Path(requests.__file__).resolve().parent.parent
    heavy = shutil.ignore_patterns("pyarrow*", "sklearn*", "scikit*", "scipy*", "duckdb*", "numpy*", "playwright*", "pandas*", "polars*", "__pycache__")
    shutil.copytree(site, root / "site", ignore=heavy, copy_function=link, symlinks=True)
    kernel = root / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    python = next((PREFIX / "share" / "python").glob("bin/python3"))
    (kernel / "kernel.json").write_text(json.dumps({"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python", "language": "python"}))
    home = root / "home"
    home.mkdir()
    os.chmod(root, 0o755)
    if uid is not None:
        os.chown(home, uid, uid)
    port, token = free_port(), "control-token"
    who = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(root / "site"), "JUPYTER_PATH": str(root / "jupyter"), "LANG": "C.UTF-8", "SHELL": "/bin/bash"}
    # The interpreter of the system: the tests' own environment may lie where this user cannot pass.
    argv = ["/usr/bin/python3", "-m", "jupyter_server", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={token}", "--ServerApp.open_browser=False",
            f"--ServerApp.root_dir={home}", "--ServerApp.allow_origin=*"]
    log = (WORK / "control.log").open("wb")
    # PYTHONPATH is for the server only: the kernel has an environment of its own.
    server = subprocess.Popen(argv, env=env, cwd=home, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **who)
    url = f"http://127.0.0.1:{port}"

    def answers():
        assert server.poll() is None, (WORK / "control.log").read_text()[-3000:]
        try:
            return requests.get(url + "/api/status", headers={"Authorization": "token " + token}, timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    wait_until(answers, 60, 0.1, "the control's server")
    return url, token, server


def link(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
