"""`%carrel` and `%%carrel`: SQL in a cell of a Python notebook."""

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

NAMES = {"line": "carrel", "cell": "carrel"}


@magic_arguments()
@argument("name", nargs="?", help="variable that gets the rows; without one they are the cell's result")
@argument("-f", "--frame", choices=["polars", "pandas", "arrow"], help="what the rows become")
@argument("-q", "--quiet", action="store_true", help="show no bar")
@no_var_expand
def cell(line, text):
    """Runs the cell as SQL. `:name` stands for the notebook's variable of that name."""
    from IPython import get_ipython

    from . import sql

    options = parse_argstring(cell, line)
    if options.name and not options.name.isidentifier():
        raise UsageError(f"{options.name} is no name for a variable")
    variables = get_ipython().user_ns
    rows = sql(text, _values(text, variables), frame=options.frame, progress=False if options.quiet else None)
    if options.name is None:
        return rows
    variables[options.name] = rows


@no_var_expand
def line(text):
    """Runs the line as SQL: `rows = %carrel SELECT …`. `:name` stands for the notebook's variable of that name."""
    from IPython import get_ipython

    from . import sql

    if not text.strip():
        raise UsageError("give a statement: %carrel SELECT 1 (see %%carrel? for cells)")
    return sql(text, _values(text, get_ipython().user_ns))


def register(ipython):
    ipython.register_magic_function(line, "line", NAMES["line"])
    ipython.register_magic_function(cell, "cell", NAMES["cell"])


def unregister(ipython):
    for kind, name in NAMES.items():
        ipython.magics_manager.magics[kind].pop(name, None)


def _values(text, variables):
    """The variables that the text names; nothing is a parameter if it names none."""
    from .parameters import names

    wanted = names(text)
    return {name: variables[name] for name in wanted if name in variables} if wanted else None
