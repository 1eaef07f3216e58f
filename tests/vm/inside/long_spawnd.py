"""The Rust tests of carrel-spawnd that start the real program on scratch folders, here with version 2 groups and quotas. (Of a long run only.)"""
import pathlib
import subprocess

import pytest
from guest import service

# Written by the host: the built test program, in whose place it is on the host too.
PROGRAM = pathlib.Path("/etc/spawnd-tests")


# These are about homes that no quota holds, and so they need another disk than that of the rest.
COUNTED = ["a_home_far_beyond_its_bound_ends_what_writes_and_refuses_more", "a_full_home_takes_no_new_kernel_until_something_is_deleted"]


def run(group, words):
    with service(group):
        tests = subprocess.Popen(["unshare", "-m", "sh", "-c", f"{words} --test-threads=1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    for line in tests.stdout:
        print(line, end="", flush=True)
        said.append(line)
    assert tests.wait() == 0, "".join(said[-100:])
    assert not [line for line in said if "not judged" in line or line.startswith("skipped")], said


@pytest.mark.timeout(3600)
def test_spawnd_on_a_disk_with_quotas():
    folder = pathlib.Path("/state/tmp")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    # A thousand jails take a guest in software half an hour; fifty are among the others.
    skipped = " ".join(f"--skip {name}" for name in ["a_thousand_jails", *COUNTED])
    run("spawnd-quota.service", f"mount --bind {folder} /tmp && exec {PROGRAM.read_text().strip()} {skipped}")


@pytest.mark.timeout(600)
def test_spawnd_on_a_disk_without():
    run("spawnd-counted.service", f"exec {PROGRAM.read_text().strip()} {' '.join(COUNTED)}")
