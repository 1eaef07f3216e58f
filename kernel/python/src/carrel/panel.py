"""The side panel's questions to a Python kernel, on comms of the target `carrel.data` (docs/panel.md): names, columns, statistics."""

import json
import threading

TARGET = "carrel.data"


def register():
    """Answers comms of the target; outside of a kernel nobody asks."""
    manager = _manager()
    if manager is not None:
        manager.register_target(TARGET, _opened)


def unregister():
    manager = _manager()
    if manager is not None:
        manager.unregister_target(TARGET, _opened)


def _manager():
    from IPython import get_ipython

    if getattr(get_ipython(), "kernel", None) is None:
        return None
    from comm import get_comm_manager

    return get_comm_manager()


def _opened(comm, _message):
    asking = {}
    comm.on_msg(lambda message: _asked(comm, message["content"]["data"], asking))
    comm.on_close(lambda _message: [work.stop() for work in list(asking.values())])


def _asked(comm, request, asking):
    """Answers from a thread: statistics take their time, and the kernel must go on reading messages."""
    # A thread's messages need the request as parent, which ipykernel keeps per context.
    import contextvars

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_answer, comm, request, asking), daemon=True, name="carrel-panel").start()


def _answer(comm, request, asking):
    from .errors import CarrelError, Cancelled, fault

    request = request if isinstance(request, dict) else {}
    try:
        answer = _answers(request, asking)
    except Cancelled as error:
        answer = _error("Cancelled", str(error))
    except Exception as error:
        known = error if isinstance(error, CarrelError) else fault(error)
        answer = _error(known.ename, known.message, known.hint)
    comm.send({"id": request.get("id"), **answer})


def _error(ename, message, hint=None):
    return {"error": {"ename": ename, "message": message, "hint": hint}}


def _answers(request, asking):
    from .engine import current
    from .errors import kind

    match request:
        case {"op": "names"}:
            return {"names": current().describe(op="names")["names"]}
        case {"op": "columns", "name": str(name)}:
            found = current().describe(op="inspect", name=name, detail=1)
            if not found.get("found") or "columns" not in found:
                raise kind("UnknownDataset")(f"there is no {name}")
            return {key: found.get(key) for key in ("kind", "description", "facts", "columns")}
        case {"op": "statistics", "name": str(name), "column": str(column)}:
            return {"statistics": _statistics(name, column, json.dumps(request.get("id")), asking)}
        case {"op": "cancel", "of": of}:
            work = asking.get(json.dumps(of))
            if work is not None:
                work.stop()
            return {"cancelled": work is not None}
        case _:
            raise kind("BadOption")("this question is not understood", hint="ops are names, columns, statistics and cancel")


def _statistics(name, column, number, asking):
    from .engine import current
    from .parameters import Statement
    from .statements import Work

    query = f"SUMMARIZE SELECT {quoted(column)} FROM {'.'.join(quoted(part) for part in name.split('.'))}"
    work = Work(current(), query, Statement(query, starts=[0], shifts=[0]))
    asking[number] = work
    try:
        work.run()
    finally:
        asking.pop(number, None)
    if work.failure is not None:
        raise work.failure
    (row,) = work.table.to_pylist()
    return [[key, None if value is None else _text(value)] for key, value in row.items()]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def _text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
