"""carrel-kernel under plain Jupyter: a kernelspec written by the program itself, kernels as stock clients start them."""

import os
import pathlib
import subprocess
import sys
import tempfile

import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.kernelspec import KernelSpecManager

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from fake_engine import FakeEngine  # noqa: E402

CACHE = pathlib.Path(os.environ.get("CACHE", pathlib.Path.home() / ".cache/carrel"))


def program(name, scope):
    """A built program: named, installed for this test run, or as cargo left it."""
    named = os.environ.get(name.upper().replace("-", "_") + "_UNDER_TEST")
    prefix = os.environ.get("CARREL_TEST_PREFIX")
    candidates = [pathlib.Path(named)] if named else []
    if prefix:
        candidates.append(pathlib.Path(prefix) / "bin" / name)
    candidates.append(CACHE / scope / "debug" / name)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{name} is not built: {candidates}")


@pytest.fixture(scope="session")
def kernelspec_dir(tmp_path_factory):
    """`carrel-kernel install --prefix`, and Jupyter told to look there."""
    prefix = tmp_path_factory.mktemp("prefix")
    done = subprocess.run(
        [program("carrel-kernel", "target"), "install", "--prefix", prefix], check=True, capture_output=True, text=True
    )
    assert str(prefix) in done.stdout
    return prefix / "share/jupyter/kernels"


@pytest.fixture(scope="session")
def engine_program():
    """The real engine, which a kernel under plain Jupyter starts itself."""
    return program("carrel-engine", "target-engine")


@pytest.fixture
def start(kernelspec_dir):
    """start(**environment) → a client of a new kernel, ready."""
    managers = []

    def begin(**environment):
        manager = KernelManager(
            kernel_name="carrel",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(kernelspec_dir)], ensure_native_kernel=False),
        )
        manager.start_kernel(env={**os.environ, **environment})
        client = manager.client()
        managers.append((manager, client))
        client.start_channels()
        client.wait_for_ready(timeout=30)
        client.manager = manager
        return client

    yield begin
    for manager, client in managers:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def engine():
    """A made-up engine that says what it was asked."""
    folder = tempfile.mkdtemp(prefix="carrel-front-")
    server = FakeEngine(f"{folder}/engine.sock")
    server.address = f"grpc+unix://{folder}/engine.sock"
    yield server
    server.released.set()
    server.shutdown()


@pytest.fixture
def client(engine, start):
    """A client of a kernel on the made-up engine; modules on the real one have their own."""
    return start(CARREL_ENGINE=engine.address)


class Ran:
    """What a cell said: its reply and everything on iopub between busy and idle."""

    def __init__(self, client, code, timeout=60, request=None):
        self.id = request or client.execute(code)
        self.outputs = []
        while True:
            message = client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != self.id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            if message["msg_type"] not in ("status", "execute_input"):
                self.outputs.append(message)
        while True:
            self.reply = client.get_shell_msg(timeout=timeout)
            if self.reply["parent_header"]["msg_id"] == self.id:
                break

    @property
    def kinds(self):
        return [output["msg_type"] for output in self.outputs]

    @property
    def status(self):
        return self.reply["content"]["status"]

    def text(self, at=-1):
        return self.outputs[at]["content"]["data"]["text/plain"]


@pytest.fixture
def ran():
    return Ran
