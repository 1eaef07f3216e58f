"""Carrel's engine from Python: SQL on governed datasets as polars, pandas or Arrow.

Importing this is cheap: pyarrow and the frame libraries are loaded with the first question, so that a kernel which loads the extension
at its start does not wait for them.
"""

from .errors import CarrelError, Cancelled

__version__ = "0.1.0"
__all__ = [
    "Cancelled", "CarrelError", "connect", "create_table", "datasets", "errors", "schema", "sql", "summarize", "tables",
    "load_ipython_extension", "unload_ipython_extension",
]


def sql(query, parameters=None, *, frame=None, progress=None):
    """Runs SQL and returns the rows: a polars frame if polars is installed, else a pandas frame, else an Arrow table.

    `parameters` is a dict for `:name` in the query or a sequence for `?`; values never become part of the text. `frame` is "polars",
    "pandas" or "arrow" for this call (`CARREL_FRAME` in the environment for all). Several statements, separated by `;`, run one after the
    other and the last one's rows are returned. `progress=False` shows no bar. Interrupting cancels the statement in the engine.
    """
    from .frames import to_frame
    from .statements import run

    return to_frame(run(query, parameters, progress)[-1].table, frame)


def datasets(like=None, *, frame=None):
    """The datasets that you may read, with owner, rows, size, age and description; `like` is an SQL pattern."""
    return sql("SHOW DATASETS" + _like(like), frame=frame)


def tables(like=None, *, frame=None):
    """The tables and views of this session."""
    return sql("SHOW TABLES" + _like(like), frame=frame)


def schema(name, *, frame=None):
    """The columns of a dataset, a session table, a query or (as a `pathlib.Path`) a file of yours."""
    return sql(f"DESCRIBE {_target(name)}", frame=frame)


def summarize(name, *, frame=None, progress=None):
    """Statistics of every column of a dataset, a session table, a query or (as a `pathlib.Path`) a file of yours."""
    return sql(f"SUMMARIZE {_target(name)}", frame=frame, progress=progress)


def create_table(name, data, *, replace=False):
    """Makes a polars or pandas frame, an Arrow table or a stream of batches a table of this session; returns the number of its rows."""
    from .engine import current
    from .frames import from_frame

    return current().ingest(name, from_frame(data), replace)


def connect(address=None):
    """Uses the engine at this address (`grpc+unix:///path`) from now on; without one, the engine of this notebook."""
    from .engine import connect

    connect(address)


def load_ipython_extension(ipython):
    """`%load_ext carrel`: the magics, the side panel's comm, and a session that ends with its kernel, a history that waits for no disk."""
    from . import history, magic, panel, session

    history.register(ipython)
    magic.register(ipython)
    panel.register()
    session.register(ipython)


def unload_ipython_extension(ipython):
    """`%unload_ext carrel`."""
    from . import history, magic, panel, session

    history.unregister(ipython)
    magic.unregister(ipython)
    panel.unregister()
    session.unregister()


def _like(pattern):
    return "" if pattern is None else f" LIKE {_quoted(pattern)}"


def _target(name):
    return name if isinstance(name, str) else _quoted(name.__fspath__())


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"
