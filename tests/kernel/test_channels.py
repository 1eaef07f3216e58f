"""The kernel framework against libzmq: nothing that the echo kernel publishes is lost, whatever the subscriber does.

The echo kernel is an example program of kernel/channels; `cargo test -p kernel-channels` (or `cargo build --examples`) makes it.
"""

import json
import os
import pathlib
import socket
import subprocess
import time
import uuid

import pytest
import zmq
from jupyter_client import BlockingKernelClient

CACHE = pathlib.Path(os.environ.get("CACHE", pathlib.Path.home() / ".cache/carrel"))


def echo_program():
    named = os.environ.get("CARREL_ECHO_KERNEL")
    candidates = [pathlib.Path(named)] if named else [CACHE / "target/debug/examples/echo"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    pytest.fail(f"the echo kernel is not built: {candidates}")


def ports(count):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return numbers


@pytest.fixture(params=["tcp", "ipc"])
def echo(request, tmp_path):
    connection = {
        "transport": request.param,
        "ip": "127.0.0.1" if request.param == "tcp" else str(tmp_path / "k"),
        "key": uuid.uuid4().hex,
        "signature_scheme": "hmac-sha256",
    }
    names = ["shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"]
    connection.update(zip(names, ports(5) if request.param == "tcp" else range(1, 6)))
    path = tmp_path / "connection.json"
    path.write_text(json.dumps(connection))
    kernel = subprocess.Popen([echo_program(), "-f", path])
    client = BlockingKernelClient(connection_file=str(path))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=20)
        yield client
    finally:
        client.stop_channels()
        kernel.kill()
        kernel.wait()


def published(client, request):
    """Messages of a request between its echo and its idle."""
    contents = []
    while True:
        message = client.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") != request:
            continue
        kind = message["msg_type"]
        if kind == "status" and message["content"]["execution_state"] == "idle":
            return contents
        if kind in ("display_data", "stream", "execute_result"):
            contents.append(message["content"])


@pytest.fixture
def subscriber(echo):
    """A bare libzmq subscriber, as a bridge has one; with a small queue of its own, so that back-pressure reaches the kernel."""
    one = zmq.Context.instance().socket(zmq.SUB)
    one.setsockopt(zmq.RCVHWM, 1000)
    one.setsockopt(zmq.RCVTIMEO, 30_000)
    one.connect(echo._make_url("iopub"))
    one.subscribe(b"")
    header = json.loads(one.recv_multipart()[3])
    assert header["msg_type"] == "iopub_welcome"
    yield one
    one.close(linger=0)


@pytest.mark.parametrize("stall", [0, 3])
def test_a_burst_of_100000_messages_arrives_whole_and_in_order(echo, subscriber, stall):
    echo.stop_channels()  # who does not read would be waited for, too
    shell = zmq.Context.instance().socket(zmq.DEALER)
    shell.connect(echo._make_url("shell"))
    request = echo.session.msg("execute_request", {"code": "messages 100000"})
    shell.send_multipart(echo.session.serialize(request))
    texts = []
    while True:
        _topic, _delimiter, _signature, header, _parent, _metadata, content = subscriber.recv_multipart()
        kind, content = json.loads(header)["msg_type"], json.loads(content)
        if kind == "display_data":
            texts.append(content["data"]["text/plain"])
            if len(texts) == 10:
                time.sleep(stall)
        if kind == "status" and content["execution_state"] == "idle":
            break
    shell.close(linger=0)
    assert texts == [f"message {n}" for n in range(100_000)]


def test_100000_printed_lines_arrive(echo):
    contents = published(echo, echo.execute("lines 100000"))
    assert "".join(content["text"] for content in contents) == "".join(f"line {n}\n" for n in range(100_000))


def test_50_mb_arrive(echo):
    (content,) = published(echo, echo.execute("big 50000000"))
    assert len(content["data"]["text/plain"]) == 50_000_000


def test_heartbeat_and_a_second_client(echo):
    assert echo.hb_channel.is_beating()
    second = BlockingKernelClient(connection_file=echo.connection_file)
    second.load_connection_file()
    second.start_channels()
    second.wait_for_ready(timeout=20)
    for client in (second, echo):
        (content,) = published(client, client.execute("again"))
        assert content["data"] == {"text/plain": "again"}
    second.stop_channels()
