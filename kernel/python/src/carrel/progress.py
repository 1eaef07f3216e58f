"""How far a statement is, as one output of the cell that is drawn anew: the same words as the Carrel SQL kernel's."""

import html
import json
import time

from . import errors


class Bar:
    """Drawn only in a notebook: elsewhere nobody could replace it."""

    def __init__(self, engine, begun, wanted=None):
        self.engine, self.begun = engine, begun
        self.wanted = _in_notebook() if wanted is None else wanted and _in_notebook()
        self.shown = None

    def draw(self, handle):
        if not self.wanted:
            return
        self._show(*drawn(self._asked("carrel.progress", handle), time.monotonic() - self.begun))

    def done(self, result):
        """The bar's last word: how many rows, how long, how much was read."""
        if self.shown:
            stats = self._asked("carrel.stats", result.handle)
            self.end(caption(result.table.num_rows, time.monotonic() - self.begun, stats))

    def end(self, line):
        if self.shown:
            self._show(line, f'<div style="opacity:.75">{html.escape(line)}</div>')

    def _asked(self, action, handle):
        if not handle:
            return {"stage": "planning"}
        try:
            return json.loads(self.engine.action(action, handle, timeout=0.5))
        except errors.CarrelError:
            return {}

    def _show(self, line, markup):
        from IPython.display import display

        data = {"text/plain": line, "text/html": markup}
        if self.shown:
            self.shown.update(data, raw=True)
        else:
            self.shown = display(data, raw=True, display_id=True)


def drawn(progress, elapsed):
    """Text and HTML of a bar."""
    fraction = progress.get("fraction")
    total, read = progress.get("bytes_total") or 0, progress.get("bytes_scanned") or 0
    if fraction is None and total:
        fraction = read / total
    fraction = None if fraction is None else min(max(fraction, 0.0), 1.0)
    parts = [] if fraction is None else [f"{fraction * 100:.0f} %"]
    parts += [progress["stage"]] if progress.get("stage") else []
    parts += [f"{rough(progress['rows'])} rows"] if progress.get("rows") else []
    if read:
        parts.append(size(read) + (f" of {size(total)}" if total else ""))
    parts.append(seconds(elapsed))
    if fraction is not None and 0.05 <= fraction < 1:
        parts.append(f"ETA {seconds(elapsed * (1 - fraction) / fraction)}")
    line = ", ".join(parts)
    value = "" if fraction is None else f' max="100" value="{fraction * 100:.0f}"'
    return line, f"<div><progress{value}></progress> {html.escape(line)}</div>"


def caption(rows, elapsed, stats):
    """`37 rows, complete, 0.4 s, scanned 1.2 MB of 60 MB`."""
    line = f"{rows:,} {'row' if rows == 1 else 'rows'}, complete, {seconds(elapsed)}"
    read, total = stats.get("bytes_scanned") or 0, stats.get("bytes_total") or 0
    if read or total:
        line += f", scanned {size(read)}" + (f" of {size(total)}" if total else "")
    return line


def rough(n):
    return _scaled(n, ["", " k", " M", " G", " T"])


def size(n):
    return _scaled(n, [" B", " kB", " MB", " GB", " TB", " PB"])


def seconds(s):
    if s < 0.0995:
        return f"{max(s * 1000, 1):.0f} ms"
    if s < 9.95:
        return f"{s:.1f} s"
    return f"{s:.0f} s" if s < 119.5 else f"{round(s) // 60} min {round(s) % 60} s"


def _scaled(n, units):
    unit = 0
    while n >= 999.5 and unit + 1 < len(units):
        n, unit = n / 1000, unit + 1
    return f"{n:.0f}{units[unit]}" if unit == 0 or n >= 9.95 else f"{n:.1f}{units[unit]}"


def _in_notebook():
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None
