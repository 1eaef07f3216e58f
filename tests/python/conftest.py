"""The package `carrel`, as pip installed it for the tests, on the engine that was built; and Python kernels with the extension loaded."""

import os
import pathlib
import sys
import time

import pytest
from jupyter_client.manager import KernelManager

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sql"))

import engine as engines  # noqa: E402


@pytest.fixture(scope="session")
def running():
    engine = engines.Engine(engines.demo_data())
    yield engine
    engine.close()


@pytest.fixture
def interrupting(running):
    """For tests that stop heavy statements: an engine whose stopped work goes on for 1.5 s ends itself. In a jail the next connection starts it; here nobody would."""
    yield
    time.sleep(2)
    if running.process.poll() is not None:
        running.start()


@pytest.fixture
def carrel(running, monkeypatch):
    import carrel

    monkeypatch.setenv("CARREL_ENGINE", running.uri)
    monkeypatch.delenv("CARREL_FRAME", raising=False)
    carrel.connect()
    return carrel


@pytest.fixture
def notebook(running):
    """A client of an ipykernel whose extension is loaded as Carrel's own kernelspec loads it."""
    manager = KernelManager()
    manager.kernel_spec.argv = [
        sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--InteractiveShellApp.extra_extensions=carrel",
    ]
    manager.start_kernel(env={**os.environ, "CARREL_ENGINE": running.uri})
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.manager = manager
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


class Ran:
    """What a cell said: its reply, and its messages on iopub until idle."""

    def __init__(self, client, code, request=None):
        self.id = request or client.execute(code)
        self.outputs = []
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != self.id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            if message["msg_type"] not in ("status", "execute_input"):
                self.outputs.append(message)
        while True:
            self.reply = client.get_shell_msg(timeout=60)["content"]
            if self.reply["status"] != "ok" or "execution_count" in self.reply:
                break

    def kinds(self):
        return [output["msg_type"] for output in self.outputs]

    def text(self, at=-1):
        return self.outputs[at]["content"]["data"]["text/plain"]


@pytest.fixture
def ran():
    return Ran
