"""A problem of the engine as an exception: its kind, one line, the place in the query, a hint; never a stack of gRPC."""

import json
import logging
import unicodedata
import uuid

RED, DIM, GREEN, OFF = "\x1b[1;31m", "\x1b[2m", "\x1b[32m", "\x1b[0m"
WINDOW = 110

log = logging.getLogger("carrel")


class _Shown:
    """Lets IPython show one to four lines in place of a traceback."""

    def _render_traceback_(self):
        return self.lines(colour=True)


class CarrelError(_Shown, Exception):
    """Something that the engine refused or could not do. `type(error).__name__` and `error.ename` name the kind."""

    def __init__(self, message, *, hint=None, span=None, query=None):
        super().__init__(message)
        self.message, self.hint, self.span, self.query = message, hint, span, query

    @property
    def ename(self):
        return type(self).__name__

    def lines(self, colour=False):
        """One to four lines: what is wrong, the line of the query with a caret below the place, what to try."""
        red, dim, green, off = (RED, DIM, GREEN, OFF) if colour else ("", "", "", "")
        lines = [f"{red}{self.ename}{off}: {_visible(self.message)}"]
        place = _place(self.query, self.span)
        if place:
            number, source, before, marked = place
            gutter = f"{number:>3} | "
            lines.append(f"{dim}{gutter}{off}{source}")
            lines.append(f"{dim}{'| ':>{len(gutter)}}{off}{' ' * before}{red}{'^' * marked}{off}")
        if self.hint:
            lines.append(f"{green}{_visible(self.hint)}{off}")
        return lines

    def __str__(self):
        return "\n".join(self.lines()).removeprefix(f"{self.ename}: ")


class Cancelled(_Shown, KeyboardInterrupt):
    """You interrupted, and the engine was told to stop. A `KeyboardInterrupt`, so that `except Exception` does not swallow it."""

    def lines(self, colour=False):
        red, off = (RED, OFF) if colour else ("", "")
        return [f"{red}Cancelled{off}: {self}"]


def _kinds():
    names = [
        "SyntaxError", "UnknownDataset", "UnknownColumn", "UnknownFunction", "UnknownModel", "UnknownParameter", "AmbiguousName", "AlreadyExists", "TypeError",
        "ValueError", "Unsupported", "MemoryLimit", "DiskLimit", "CorruptFile", "FileNotFound", "PolicyDenied", "SourceUnavailable",
        "SourceChanged", "BadOption", "TrainingError", "EngineLost", "Internal",
    ]
    return {name: type(name, (CarrelError,), {"__module__": __name__, "__doc__": f"The engine's `{name}`."}) for name in names}


KINDS = _kinds()
globals().update({name: kind for name, kind in KINDS.items() if name not in ("SyntaxError", "TypeError", "ValueError")})
EngineLost, Internal = KINDS["EngineLost"], KINDS["Internal"]


def kind(ename):
    """The exception of a kind; one that this package does not know yet is made on the way."""
    if ename not in KINDS:
        KINDS[ename] = type(ename, (CarrelError,), {"__module__": __name__})
    return KINDS[ename]


def from_problem(problem, query, moved=lambda at: at):
    """The exception of the engine's JSON problem. Its places are bytes of what was sent; `moved` gives the places in `query`."""
    try:
        problem = json.loads(problem)
        span = problem.get("span")
        span = span and (moved(span["start"]), moved(span["end"]))
        if problem["ename"] == "Cancelled":
            return Cancelled(problem["message"])
        return kind(problem["ename"])(problem["message"], hint=problem.get("hint"), span=span, query=query)
    except (ValueError, KeyError, TypeError) as error:
        return fault(error)


def lost():
    """The connection broke while a statement ran."""
    return EngineLost("the engine ended while this statement ran", hint="run it again; session tables are kept")


def fault(cause):
    """What should not happen: logged once, and the user gets the reference."""
    reference = uuid.uuid4().hex[:8]
    log.error("a statement ended in a fault, %s: %s", reference, cause)
    return Internal(f"a fault between the notebook and the engine, logged under {reference}")


def _place(query, span):
    """Number and text of the line, columns before the place, columns of the place; `span` is in bytes."""
    if not query or not span:
        return None
    data = query.encode()
    start, end = (min(max(at, 0), len(data)) for at in span)
    first = data.rfind(b"\n", 0, start) + 1
    last = data.find(b"\n", start)
    last = len(data) if last < 0 else last
    text = lambda a, b: _drawn(data[a:b].decode(errors="ignore"))  # noqa: E731
    before, marked, after = text(first, start), text(start, min(max(end, start), last)), text(min(max(end, start), last), last)
    if not (before + marked + after).strip():
        return None
    keep = max(WINDOW - _width(marked), 20)
    if _width(before) > keep * 2 // 3:
        before = "…" + before[-(keep * 2 // 3):]
    after = after if _width(after) <= keep - _width(before) else after[: max(keep - _width(before), 0)] + "…"
    return data.count(b"\n", 0, first) + 1, (before + marked + after).rstrip(), _width(before), max(_width(marked), 1)


def _drawn(text):
    return "".join("    " if c == "\t" else c if c.isprintable() else "\ufffd" for c in text.rstrip("\r"))


def _visible(text):
    return text.replace("\n", "\\n")


def _width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)
