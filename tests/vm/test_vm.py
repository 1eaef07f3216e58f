"""Bounds by version 2 groups and project quotas, which few hosts of a test run have: the programs are run in a small virtual machine whose kernel has both.

Each test of `inside/` is shown as one of these. CARREL_TEST_VM=long adds the suites of `LONG` (`make test-vm`).
"""
import ast
import os
import pathlib
import shutil
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import image  # noqa: E402
import machine  # noqa: E402

WORK = pathlib.Path(os.environ.get("CARREL_TEST_DIR", "/var/lib/carrel-test"))
PREFIX = pathlib.Path(os.environ.get("CARREL_TEST_PREFIX", "/opt/carrel"))
CACHE = pathlib.Path(os.environ.get("CACHE", os.path.expanduser("~/.cache/carrel")))
LONG = os.environ.get("CARREL_TEST_VM") == "long"
# A guest in software has some ten times less of a processor, and shares it with whatever else runs here.
SECONDS = 5400 if LONG else 1500
# Suites that run in the guest as they do here: kernels, bounds, attacks. (Not those about homes that no quota holds.)
SUITES = ["e2e/test_jail.py", "e2e/test_limits.py", "e2e/test_check.py", "e2e/test_escapes.py", "vm/inside/long_servers.py", "vm/inside/long_spawnd.py"] if LONG else []
# The built Rust tests of spawnd, and the program that they start (tests/run says where).
BUILT = [pathlib.Path(path) for path in os.environ.get("CARREL_TEST_SPAWND", "").split()]


def checks():
    return sorted((HERE / "inside").glob("check_*.py"))


def named():
    """The tests that the guest will run, read without running them."""
    for file in checks():
        for part in ast.parse(file.read_text()).body:
            if isinstance(part, ast.FunctionDef) and part.name.startswith("test_"):
                yield f"{file.name}::{part.name}"


class Guest:
    """One run: what each test came to, and all that was said."""

    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        packages, kernel = machine.unpacked(CACHE)
        image.build_root(folder / "root", PREFIX, pathlib.Path(sys.prefix), packages, BUILT, classic=LONG)
        image.build_state(folder / "state", 3072)
        image.empty(folder / "swap", 256)
        machine.build_initramfs(packages, kernel, HERE / "initramfs-init", folder / "initramfs")
        disks = [(folder / "root", True), (folder / "state", False), (folder / "swap", False)]
        self.outcomes, self.exit = {}, None
        words = " ".join(["/tests/vm/job", *(f"vm/inside/{file.name}" for file in checks()), *SUITES])
        self.log = folder / "console.log"
        tried = machine.accelerators()
        try:
            for accelerator in tried:
                try:
                    self.run(machine.Machine(accelerator, kernel, folder / "initramfs", disks, words))
                    break
                except machine.Unborn as why:
                    print(f"no guest by {accelerator}: {why}", flush=True)
                    if accelerator == tried[-1]:
                        raise
        finally:
            for path, _ in disks:
                path.unlink()

    def run(self, guest):
        try:
            with self.log.open("w", buffering=1) as log:
                for second, line in guest.console(SECONDS):
                    print(f"{second:6.1f} {line}", flush=True)
                    log.write(f"{second:6.1f} {line}\n")
                    self.note(line.split())
        finally:
            guest.end()

    def note(self, words):
        if words[:2] == ["@@", "exit"]:
            self.exit = int(words[2])
        elif words[:1] == ["@@"] and len(words) == 4:
            # A set-up or an end that fails outlasts the success of what is between.
            if self.outcomes.get(words[2]) != "failed":
                self.outcomes[words[2]] = words[1]

    def tail(self):
        return "\n".join(self.log.read_text().splitlines()[-200:])


@pytest.fixture(scope="session")
def guest():
    return Guest(WORK / "vm")


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", sorted(named()))
def test_in_the_guest(guest, name):
    assert guest.outcomes.get(name) == "passed", guest.tail()


@pytest.mark.timeout(SECONDS + 120)
def test_nothing_else_failed_in_the_guest(guest):
    """The run came to its end, with tests that are not read above (the suites of a long run) among it."""
    assert guest.exit == 0, guest.tail()
    assert set(guest.outcomes.values()) == {"passed"}, guest.outcomes
