"""A Flight SQL server that answers a few words, so that the kernel's front is tested by itself, also in trouble."""

import json
import threading
import time

import pyarrow as pa
import pyarrow.flight as flight


def statement_of(command):
    """The query in a CommandStatementQuery inside an Any: both have it as the first field of a length-delimited message."""

    def field(buffer, wanted):
        at = 0
        while at < len(buffer):
            key, at = varint(buffer, at)
            length, at = varint(buffer, at)
            if key >> 3 == wanted:
                return buffer[at : at + length]
            at += length
        return b""

    def varint(buffer, at):
        value = shift = 0
        while True:
            byte = buffer[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, at

    return field(field(command, 2), 1).decode()


class FakeEngine(flight.FlightServerBase):
    """`SELECT <word> FROM t`: `one`, `many`, `slow`, `stuck`, `fail`."""

    def __init__(self, path):
        super().__init__(f"grpc+unix://{path}")
        self.asked, self.actions = [], []
        self.released = threading.Event()
        self.batches_sent = 0

    def get_flight_info(self, context, descriptor):
        query = statement_of(descriptor.command)
        self.asked.append(query)
        if " fail " in query:
            raise flight.FlightServerError("secret: /etc/shadow")
        ticket = flight.Ticket(f"q-{len(self.asked)}|{query}".encode())
        endpoint = flight.FlightEndpoint(ticket, [])
        return flight.FlightInfo(pa.schema([]), descriptor, [endpoint], -1, -1)

    def do_get(self, context, ticket):
        query = ticket.ticket.decode().partition("|")[2]
        if " many " in query:
            schema = pa.schema([("n", pa.int64()), ("word", pa.utf8())])

            def batches():
                for first in range(0, 1_000_000, 100):
                    self.batches_sent += 1
                    numbers = range(first, first + 100)
                    yield pa.record_batch([pa.array(numbers), pa.array([f"w{n}" for n in numbers])], schema=schema)

            return flight.GeneratorStream(schema, batches())
        if " slow " in query:
            self.released.wait(1.6)
        if " stuck " in query:
            self.released.wait(30)
        return flight.RecordBatchStream(pa.table({"x": pa.array([1, None], pa.int32())}))

    def do_action(self, context, action):
        body = action.body.to_pybytes()
        self.actions.append((action.type, body))
        if action.type == "carrel.progress":
            answer = {"rows": 31_000_000, "bytes_scanned": 5, "bytes_total": 10, "elapsed_ms": 600, "stage": "reading", "fraction": 0.42}
        elif action.type == "carrel.stats":
            answer = {"rows": 2, "complete": True, "elapsed_ms": 400, "bytes_scanned": 1_200_000, "bytes_total": 60_000_000}
        elif action.type == "carrel.describe":
            answer = self.describe(json.loads(body))
        else:
            answer = {}
            self.released.set()
        yield flight.Result(json.dumps(answer).encode())

    def describe(self, request):
        if request["op"] == "names":
            return {
                "names": [{"name": "ads.clicks", "kind": "dataset", "description": "who clicked"}],
                "functions": [{"name": "count", "kind": "aggregate", "signature": "count(x)"}],
            }
        if request["op"] == "columns":
            known = {"ads.clicks": [{"name": "country", "type": "text"}, {"name": "day", "type": "date"}]}
            return {"columns": {name: known[name] for name in request["names"] if name in known}}
        if request["name"] == "ads.clicks.country":
            return {"found": True, "kind": "column", "title": "ads.clicks.country", "facts": [["type", "text"]], "columns": []}
        return {"found": False}

    def wait_for_action(self, kind, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(name == kind for name, _ in self.actions):
                return True
            time.sleep(0.01)
        return False
