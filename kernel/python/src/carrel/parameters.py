"""What stands in a query besides SQL: several statements, and `:name` or `?` for values, which become the engine's `$1`, `$2` …"""

import bisect
import re
from dataclasses import dataclass, field

from . import errors

# Whatever may hold a sign that looks like one of ours comes first: strings, quoted names, comments, casts. A colon right behind a
# word, a bracket or a quote is a slice or a key, not a parameter.
TOKEN = re.compile(
    r"""'(?:[^']|'')*'?|"(?:[^"]|"")*"?|--[^\n]*|/\*.*?(?:\*/|\Z)|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::"""
    r"""|(?<![\w\])'":]):(?P<name>[A-Za-z_]\w*)|(?P<mark>\?)|(?P<end>;)""",
    re.DOTALL,
)


@dataclass
class Statement:
    """One statement of a query: its text as the engine gets it, its values in order, and how places lead back to the whole query."""

    text: str
    values: list = field(default_factory=list)
    starts: list = field(default_factory=list)
    shifts: list = field(default_factory=list)

    def moved(self, at):
        """The byte of the whole query for a byte of the text."""
        return at + self.shifts[bisect.bisect_right(self.starts, at) - 1]


def statements(query, parameters=None):
    """Cuts a query into statements and takes its parameters out. Without parameters every sign stays as it is."""
    named = parameters is not None and hasattr(parameters, "keys")
    marks = iter(() if named or parameters is None else parameters)
    found, reader = [], _Reader(query)
    for token in TOKEN.finditer(query):
        if token["end"]:
            found.append(reader.cut(token.start(), token.end()))
        elif token["name"] and named:
            if token["name"] not in parameters:
                raise _missing(f"there is no value for :{token['name']}", query, token)
            reader.value(token, parameters[token["name"]], token["name"])
        elif token["mark"] and parameters is not None and not named:
            try:
                reader.value(token, next(marks))
            except StopIteration:
                raise _missing("there are more ? than values", query, token) from None
    found.append(reader.cut(len(query), len(query)))
    left = len(list(marks))
    if left:
        raise errors.kind("BadOption")(f"{left} of the values have no ? in the query")
    return [one for one in found if _says_something(one.text)]


def names(query):
    """The `:name`s of a query."""
    return {token["name"] for token in TOKEN.finditer(query) if token["name"]}


class _Reader:
    """Builds one statement after the other, with the places where its text was changed."""

    def __init__(self, query):
        self.query, self.at = query, 0
        self._begin()

    def _begin(self):
        self.out, self.known = b"", {}
        self.one = Statement("")
        self._mark()

    def _mark(self):
        self.one.starts.append(len(self.out))
        self.one.shifts.append(len(self.query[: self.at].encode()) - len(self.out))

    def value(self, token, value, name=None):
        self.out += self.query[self.at : token.start()].encode()
        if name is None or name not in self.known:
            self.one.values.append(value)
            self.known[name] = len(self.one.values)
        # What the engine says of `$1` is shown below `:name`.
        self.at = token.start()
        self._mark()
        self.out += b"$%d" % (self.known[name] if name else len(self.one.values))
        self.at = token.end()
        self._mark()

    def cut(self, end, following):
        self.out += self.query[self.at : end].encode()
        done = self.one
        done.text = self.out.decode()
        self.at = following
        self._begin()
        return done


def _says_something(text):
    without = re.sub(r"--[^\n]*|/\*.*?(?:\*/|\Z)", "", text, flags=re.DOTALL)
    return bool(without.strip())


def _missing(message, query, token):
    span = tuple(len(query[:at].encode()) for at in token.span())
    return errors.kind("BadOption")(message, span=span, query=query)
