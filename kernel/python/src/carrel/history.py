"""The notebook's history without waiting for the disk.

IPython writes every cell into `history.sqlite` and asks the disk to keep it, and the next cell may not begin before that is done: on a busy disk, at a neighbour's
work say, each cell waits. Here cells are written while the next ones run, and the operating system brings them to the disk when it likes. A kernel that is killed
loses no more by it than before; a machine that loses power perhaps its last cells (IPython begins a new file if it finds a broken one).
"""
import sqlite3

NEEDED = ("db_input_cache_lock", "db_input_cache", "session_number", "new_session", "db_log_output", "writeout_cache")


def register(ipython):
    manager = getattr(ipython, "history_manager", None)
    # Another IPython than the one this was written for keeps its own way.
    if all(hasattr(manager, name) for name in NEEDED) and not hasattr(manager.writeout_cache, "carrel"):
        manager.writeout_cache = _writer(manager, manager.writeout_cache)


def unregister(ipython):
    manager = getattr(ipython, "history_manager", None)
    if hasattr(getattr(manager, "writeout_cache", None), "carrel"):
        del manager.writeout_cache


def _writer(manager, write):
    def writeout_cache(conn=None):
        # Each thread has a connection of its own. (With history switched off it is none of sqlite's.)
        connection = manager.db if conn is None else conn
        if manager.db_log_output or not isinstance(connection, sqlite3.Connection):
            return write(conn)
        with manager.db_input_cache_lock:
            lines, manager.db_input_cache = manager.db_input_cache, []
        if not lines:
            return None
        connection.execute("PRAGMA synchronous = OFF")
        try:
            _insert(connection, manager.session_number, lines)
        except sqlite3.IntegrityError:
            # Somebody else has this session's number.
            manager.new_session(connection)
            _insert(connection, manager.session_number, lines)
        return None

    writeout_cache.carrel = True
    return writeout_cache


def _insert(connection, session, lines):
    with connection:
        connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?)", [(session, *line) for line in lines])
