"""Arrow tables as the frame that a user works with, and frames as Arrow. Columns are shared, not copied, wherever the frame can hold them."""

import os
from importlib.util import find_spec

import pyarrow as pa

from . import errors

FRAMES = ("polars", "pandas", "arrow")


def to_frame(table, frame=None):
    """The table as the wanted frame; without a wish, as `CARREL_FRAME` says, else as the first of polars, pandas and Arrow that is there."""
    frame = frame or os.environ.get("CARREL_FRAME") or next(name for name in FRAMES if name == "arrow" or find_spec(name))
    if frame not in FRAMES:
        raise errors.kind("BadOption")(f"there is no frame {frame}", hint="use polars, pandas or arrow")
    if frame == "arrow":
        return table
    table = table.rename_columns(list(unique(table.column_names)))
    if frame == "polars":
        import polars

        return polars.from_arrow(table)
    import pandas

    # numpy's types would turn a BIGINT with NULLs into floats, and decimals into objects.
    return table.to_pandas(types_mapper=pandas.ArrowDtype)


def from_frame(data):
    """The rows of a frame as a stream of batches."""
    if isinstance(data, pa.RecordBatchReader):
        return data
    if type(data).__module__.startswith("pandas."):
        return pa.Table.from_pandas(data, preserve_index=False).to_reader()
    if type(data).__module__.startswith("polars."):
        import polars

        data = data.lazy().collect().to_arrow(compat_level=polars.CompatLevel.oldest())
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    raise errors.kind("TypeError")(f"a {type(data).__name__} has no rows", hint="give a polars or pandas frame or an Arrow table")


def unique(names):
    """SQL allows several columns of one name, frames do not: the second n is n_1."""
    seen = set()
    for name in names:
        one, number = name, 0
        while one in seen or (number and one in names):
            number += 1
            one = f"{name}_{number}"
        seen.add(one)
        yield one
