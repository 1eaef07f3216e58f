"""Runs statements: the work in a thread of its own, so that whoever waits can draw a bar and hear an interrupt at once."""

import contextlib
import re
import threading
import time
from dataclasses import dataclass

import pyarrow as pa

from . import errors, messages
from .engine import current
from .parameters import statements
from .progress import Bar

# A bar is shown when a statement takes longer than this, and is drawn anew this often.
PATIENCE, BETWEEN = 0.5, 0.3
# How long an interrupt may take to reach the engine.
CANCEL = 0.5


# Other statements keep their text, where a value could not follow.
QUERIES = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:SELECT|WITH|FROM|VALUES|TABLE|EXPLAIN)\b", re.IGNORECASE | re.DOTALL)


@dataclass
class Result:
    """Rows of a statement, and the name that the engine gave it."""

    table: pa.Table
    handle: bytes


def run(query, parameters=None, progress=None):
    """Runs every statement of a query; the results in order."""
    cut = statements(query, parameters)
    if not cut:
        raise errors.kind("SyntaxError")("there is no statement in the query")
    return [_one(query, statement, progress) for statement in cut]


def _one(query, statement, progress):
    engine = current()
    if statement.values and not QUERIES.match(statement.text):
        raise errors.kind("Unsupported")(
            "values are taken by queries only", hint="write the value out, or make the rows a frame and give it to carrel.create_table"
        )
    work = Work(engine, query, statement)
    begun = time.monotonic()
    bar = Bar(engine, begun, progress)
    try:
        work.start()
        while not work.done.wait(PATIENCE if not bar.shown else BETWEEN):
            bar.draw(work.handle)
    except KeyboardInterrupt:
        work.stop(planning=True)
        message = f"interrupted after {time.monotonic() - begun:.1f} s"
        bar.end(f"Cancelled, {message}")
        raise errors.Cancelled(message) from None
    if work.failure is not None:
        bar.end(f"{type(work.failure).__name__} after {time.monotonic() - begun:.1f} s")
        raise work.failure from None
    result = Result(work.table, work.handle)
    bar.done(result)
    return result


class Work(threading.Thread):
    """One statement on its way: planned, fetched, gathered."""

    def __init__(self, engine, query, statement):
        super().__init__(daemon=True, name="carrel-statement")
        self.engine, self.query, self.statement = engine, query, statement
        self.done = threading.Event()
        self.handle, self.table, self.failure, self.reader = b"", None, None, None
        self.stopped = False

    def run(self):
        try:
            self._work()
        except BaseException as failure:  # the thread that waits raises it
            self.failure = failure
        finally:
            self.done.set()

    def _work(self):
        engine, statement, moved = self.engine, self.statement, self.statement.moved
        if not statement.values:
            self._fetch(engine.plan(messages.statement(statement.text), self.query, moved))
            return
        prepared = engine.prepare(statement.text, _row(statement.values), self.query, moved)
        try:
            self._fetch(engine.plan(messages.prepared(prepared), self.query, moved))
        finally:
            engine.close(prepared)

    def _fetch(self, info):
        endpoint = info.endpoints[0]
        self.handle = info.app_metadata
        if self.stopped:
            self.engine.action("carrel.cancel", self.handle, timeout=CANCEL)
        self.reader, following = self.engine.fetch(endpoint.ticket, self.query, self.statement.moved)
        batches = []
        while (batch := following()) is not None:
            batches.append(batch)
        self.table = pa.Table.from_batches(batches, self.reader.schema)

    def stop(self, planning=False):
        """Tells the engine, without waiting long. A statement that is still planned has no name yet: it is stopped once it has one, or, if
        `planning`, now, with all that this notebook's engine does."""
        self.stopped = True
        if self.handle or planning:
            with contextlib.suppress(errors.CarrelError, errors.Cancelled):
                self.engine.action("carrel.cancel", self.handle, timeout=CANCEL)
        if self.reader is not None:
            self.reader.cancel()


def _row(values):
    """One row of values, in the types that Arrow gives them."""
    columns = []
    for number, value in enumerate(values, 1):
        try:
            columns.append(pa.array([value.item() if hasattr(value, "item") else value]))
        except pa.ArrowException:
            raise errors.kind("TypeError")(f"value {number} is a {type(value).__name__}, which is no SQL value") from None
    return pa.record_batch(columns, names=[f"${number}" for number in range(1, len(values) + 1)])
