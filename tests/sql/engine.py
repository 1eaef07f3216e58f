"""Starts the built carrel-engine over demo data and speaks to it as stock Flight SQL clients do."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pyarrow as pa
import pyarrow.flight as flight

CACHE = pathlib.Path(os.environ.get("CARREL_CACHE", pathlib.Path.home() / ".cache/carrel"))


def binary() -> pathlib.Path:
    """The engine: $CARREL_BIN/carrel-engine, else the one that the Makefile builds."""
    folders = [os.environ["CARREL_BIN"]] if "CARREL_BIN" in os.environ else [CACHE / "target-engine" / p for p in ("debug", "release")]
    for folder in folders:
        path = pathlib.Path(folder) / "carrel-engine"
        if path.is_file():
            return path
    raise RuntimeError(f"carrel-engine is not built: none in {', '.join(map(str, folders))} (set CARREL_BIN)")


def tpcds_data(scale=0.01) -> pathlib.Path:
    """The TPC-DS tables, made once below the cache folder by the engine's example (`cargo build -p kernel-engine --example tpcds`)."""
    out = CACHE / f"tpcds-{scale}"
    subprocess.run([binary().parent / "examples" / "tpcds", out, str(scale)], check=True, timeout=300)
    return out


def demo_data(scale=0.1, clicks=1_000_000, seed=42) -> pathlib.Path:
    """The demo datasets: $CARREL_DEMO if set, else made once below the cache folder."""
    if "CARREL_DEMO" in os.environ:
        return pathlib.Path(os.environ["CARREL_DEMO"])
    out = CACHE / f"demo-{scale}-{clicks}-{seed}"
    subprocess.run(
        [binary(), "demo", "--out", out, "--scale", str(scale), "--clicks", str(clicks), "--seed", str(seed)],
        check=True,
        timeout=300,
    )
    return out


class Engine:
    """A running engine on a unix socket of its own. Its listener is descriptor 3, as in a jail."""

    def __init__(self, data: pathlib.Path, folder: pathlib.Path | None = None, settings: str = "", catalogs: dict[str, pathlib.Path] = {}):
        self.folder = folder or pathlib.Path(tempfile.mkdtemp(prefix="carrel-sql-"))
        self.home, self.scratch = self.folder / "home", self.folder / "scratch"
        for path in (self.home, self.scratch):
            path.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "engine.toml"
        catalogs = {"tpch": data / "tpch", "ads": data / "ads", **catalogs}
        listed = "".join(f'[[catalog]]\nname = "{name}"\npath = "{path}"\n' for name, path in catalogs.items())
        self.config.write_text(f"[engine]\n{settings}\n{listed}")
        self.path = self.folder / "engine.sock"
        self.uri = f"grpc+unix://{self.path}"
        self.start()

    def start(self):
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(64)
        # A descriptor that is 3 already would lose its place when the others are closed: move it out of the way first.
        number = os.dup(listener.fileno())
        listener.close()
        self.log = open(self.folder / "engine.log", "ab")

        def descriptor_three():
            os.dup2(number, 3)

        self.process = subprocess.Popen(
            [binary(), "serve", "--config", self.config, "--scratch", self.scratch],
            pass_fds=(3, number),
            preexec_fn=descriptor_three,
            stdout=self.log,
            stderr=self.log,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "RUST_BACKTRACE": "1"},
        )
        os.close(number)
        deadline = time.monotonic() + 20
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the engine ended at once:\n{self.logged()}")
            with contextlib.suppress(flight.FlightError, pa.ArrowException), self.flight() as client:
                query(client, "SELECT 1")
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the engine does not answer:\n{self.logged()}")

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(15)
        self.log.close()

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logged(self) -> str:
        return (self.folder / "engine.log").read_text(errors="replace")[-4000:]

    def flight(self) -> flight.FlightClient:
        return flight.FlightClient(self.uri)

    def sql(self, text: str) -> pa.Table:
        with self.flight() as client:
            return query(client, text)

    def rows(self, text: str) -> list[dict]:
        return self.sql(text).to_pylist()


def query(client: flight.FlightClient, text: str) -> pa.Table:
    """One statement by plain pyarrow.flight: CommandStatementQuery, then every endpoint."""
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command("CommandStatementQuery", {1: text})))
    tables = [client.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints]
    return pa.concat_tables(tables)


def command(name: str, fields: dict[int, str | bytes | bool]) -> bytes:
    """A Flight SQL command as protobuf: google.protobuf.Any around text, bytes and bool fields."""
    body = b"".join(field(number, value) for number, value in fields.items())
    return field(1, f"type.googleapis.com/arrow.flight.protocol.sql.{name}") + field(2, body)


def field(number: int, value: str | bytes | bool) -> bytes:
    if isinstance(value, bool):
        return varint(number << 3) + varint(int(value))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
