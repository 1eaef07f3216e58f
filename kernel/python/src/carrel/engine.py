"""The connection to the engine: Arrow Flight over its unix socket, opened when first needed and again after it broke."""

import contextlib
import json
import os
import threading
import time

import pyarrow as pa
import pyarrow.flight as flight

from . import errors, messages

# A request that fails faster than this failed on a connection that was dead before it: the engine had idled away.
STALE = 0.25
HEADER = "carrel-problem-bin"

_lock = threading.Lock()
_engine = None


def current():
    """The engine that was connected to, else the one that `CARREL_ENGINE` names."""
    global _engine
    with _lock:
        # A gRPC channel does not survive a fork.
        if _engine is None or _engine.pid != os.getpid():
            _engine = Engine(_engine.address if _engine else _given())
        return _engine


def used():
    """The engine that was connected to, if any."""
    return _engine


def connect(address=None):
    """Makes this engine the current one."""
    global _engine
    engine = Engine(address or _given())
    with _lock:
        _engine = engine


def _given():
    address = os.environ.get("CARREL_ENGINE")
    if address:
        return address
    raise errors.EngineLost("no engine is known here", hint="set CARREL_ENGINE, or call carrel.connect('grpc+unix:///path/of/engine.sock')")


class Engine:
    """A client of one engine; any thread may use it."""

    def __init__(self, address):
        if not address.startswith("grpc+unix:///"):
            raise errors.kind("BadOption")(f"the engine's address must be grpc+unix:///path, not {address}")
        self.address, self.pid = address, os.getpid()
        self._opening = threading.Lock()
        self._client = None
        self._problems = _Problems()

    def plan(self, command, query=None, moved=None):
        """Asks for a statement; the answer says where its rows are."""
        return self._asked(lambda client: client.get_flight_info(flight.FlightDescriptor.for_command(command)), query, moved)

    def fetch(self, ticket, query=None, moved=None):
        """Begins to read rows: a reader and a function that reads the next batch, or nothing at the end."""
        reader = self._asked(lambda client: client.do_get(ticket), query, moved, again=False)
        problem = self._problems.last

        def following():
            try:
                return reader.read_chunk().data
            except StopIteration:
                return None
            except (flight.FlightError, pa.ArrowException) as error:
                raise self._failure(error, problem(), query, moved) from None

        return reader, following

    def prepare(self, query, row, original=None, moved=None):
        """A statement with one row of values bound; gives its handle."""
        def asked(client):
            (answer,) = client.do_action(flight.Action("CreatePreparedStatement", messages.prepare(query)))
            handle = messages.prepared_handle(answer.body.to_pybytes())
            writer, _ = client.do_put(flight.FlightDescriptor.for_command(messages.prepared(handle)), row.schema)
            with writer:
                writer.write_batch(row)
                writer.done_writing()
            return handle

        return self._asked(asked, original, moved)

    def close(self, handle):
        """Forgets a prepared statement; an engine that is gone has forgotten it."""
        with contextlib.suppress(errors.CarrelError):
            self.action("ClosePreparedStatement", messages.close(handle))

    def ingest(self, name, reader, replace):
        """Rows become a session table; gives their number."""
        def asked(client):
            rows = 0
            writer, _ = client.do_put(flight.FlightDescriptor.for_command(messages.ingest(name, replace)), reader.schema)
            with writer:
                for batch in reader:
                    writer.write_batch(batch)
                    rows += batch.num_rows
                writer.done_writing()
            return rows

        return self._asked(asked, again=False)

    def action(self, name, body=b"", timeout=None):
        """One of the engine's actions; the whole answer."""
        options = flight.FlightCallOptions(timeout=timeout)
        results = self._asked(lambda client: list(client.do_action(flight.Action(name, body), options)))
        return b"".join(result.body.to_pybytes() for result in results)

    def describe(self, **request):
        """Names, columns and facts; no data is read."""
        return json.loads(self.action("carrel.describe", json.dumps(request).encode(), timeout=30))

    def _asked(self, ask, query=None, moved=None, again=True):
        begun = time.monotonic()
        try:
            return ask(self._open())
        except (flight.FlightError, pa.ArrowException) as error:
            problem = self._problems.last()
            if isinstance(error, flight.FlightUnavailableError):
                with self._opening:
                    self._client = None
                if again and problem is None and time.monotonic() - begun < STALE:
                    return self._asked(ask, query, moved, again=False)
            raise self._failure(error, problem, query, moved) from None

    def _open(self):
        with self._opening:
            if self._client is None:
                self._client = flight.FlightClient(self.address, middleware=[self._problems])
            return self._client

    def _failure(self, error, problem, query, moved):
        if problem is not None:
            return errors.from_problem(problem, query, moved or (lambda at: at))
        if isinstance(error, (flight.FlightUnavailableError, flight.FlightTimedOutError)):
            return errors.lost()
        if isinstance(error, flight.FlightCancelledError):
            return errors.Cancelled("the statement was stopped")
        return errors.fault(error)


class _Problems(flight.ClientMiddlewareFactory):
    """Keeps the problem that the engine sends in a header beside its status, for the thread that made the call."""

    def __init__(self):
        super().__init__()
        self._calls = threading.local()

    def start_call(self, info):
        self._calls.last = _Call()
        return self._calls.last

    @property
    def last(self):
        call = getattr(self._calls, "last", None)
        return lambda: call.problem if call else None


class _Call(flight.ClientMiddleware):
    def __init__(self):
        super().__init__()
        self.problem = None

    def received_headers(self, headers):
        for value in headers.get(HEADER, []):
            self.problem = value
