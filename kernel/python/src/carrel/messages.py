"""The few Flight SQL messages that a client sends, as protobuf: text, bytes and numbers inside a `google.protobuf.Any`.

pyarrow brings Flight but not Flight SQL, and ADBC, which does, cannot send Carrel's own actions (progress, cancel, describe).
"""

TYPES = "type.googleapis.com/arrow.flight.protocol.sql."
REPLACE, FAIL = 3, 1
CREATE = 1


def statement(query):
    return command("CommandStatementQuery", {1: query})


def prepare(query):
    return command("ActionCreatePreparedStatementRequest", {1: query})


def prepared(handle):
    return command("CommandPreparedStatementQuery", {1: handle})


def close(handle):
    return command("ActionClosePreparedStatementRequest", {1: handle})


def ingest(table, replace):
    options = encoded({1: CREATE, 2: REPLACE if replace else FAIL})
    return command("CommandStatementIngest", {1: options, 2: table, 5: 1})


def command(name, fields):
    """A message inside an Any."""
    return encoded({1: TYPES + name, 2: encoded(fields)})


def encoded(fields):
    out = b""
    for number, value in fields.items():
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def field(data, wanted):
    """The bytes of a length-delimited field of a message, or nothing."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        if key & 7 == 2:
            length, at = _number(data, at)
            if key >> 3 == wanted:
                return data[at : at + length]
            at += length
        elif key & 7 == 0:
            _, at = _number(data, at)
        else:
            raise ValueError(f"a field of kind {key & 7} is not expected here")
    return b""


def prepared_handle(data):
    """The handle in an answer to `prepare`, which is an Any."""
    return field(field(data, 2), 1)


def _varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
