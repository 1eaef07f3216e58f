"""The history of a notebook whose kernel has the extension: every cell is in it, and no cell waits for the disk that another one is written to."""
import os
import queue
import sqlite3
import sys
import time

import pytest
from jupyter_client.manager import KernelManager


@pytest.fixture(params=[True, False], ids=["carrel", "stock"])
def kernel(request, tmp_path):
    manager = KernelManager()
    extra = ["--InteractiveShellApp.extra_extensions=carrel"] if request.param else []
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *extra]
    manager.start_kernel(env={**os.environ, "IPYTHONDIR": str(tmp_path)})
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.carrel, client.file = request.param, tmp_path / "profile_default" / "history.sqlite"
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def cells(file):
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        return [row[0] for row in db.execute("SELECT source_raw FROM history ORDER BY session, line")]


def run(client, code):
    begun = time.monotonic()
    reply = client.execute_interactive(code, timeout=60, store_history=True, output_hook=lambda message: None)
    assert reply["content"]["status"] == "ok", reply
    return time.monotonic() - begun


def until(check):
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_cells_run_while_the_history_cannot_be_written_and_are_in_it_later(kernel):
    run(kernel, "first = 1")
    until(lambda: cells(kernel.file)[-1:] == ["first = 1"])
    # Somebody else writes for two seconds.
    other = sqlite3.connect(kernel.file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    run(kernel, "second = 2")
    time.sleep(0.3)
    if kernel.carrel:
        assert run(kernel, "third = 3") < 1
        assert run(kernel, "fourth = 4") < 1
    else:
        # The control: without the extension this very cell waits.
        kernel.execute("third = 3", store_history=True)
        with pytest.raises(queue.Empty):
            kernel.get_shell_msg(timeout=1)
    other.execute("COMMIT")
    other.close()
    if kernel.carrel:
        until(lambda: cells(kernel.file)[-4:] == ["first = 1", "second = 2", "third = 3", "fourth = 4"])
        assert run(kernel, "%history -n 1-2") < 5
