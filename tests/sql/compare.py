"""Are two answers the same? Decimals exactly, floats to 1e-9 relative, everything else by type and value."""

import datetime
import decimal
import math


def same(left, right, inexact: bool = False) -> bool:
    """`inexact`: SQL leaves the type of a quotient or an average of decimals open; such values are compared to a unit of the last place."""
    # Where pandas is installed, pyarrow gives its Timestamp for nanoseconds.
    left, right = (value.to_pydatetime() if hasattr(value, "to_pydatetime") else value for value in (left, right))
    if isinstance(left, datetime.datetime) and isinstance(right, datetime.date) and not isinstance(right, datetime.datetime):
        left = left.date()
    decimals = [isinstance(value, decimal.Decimal) for value in (left, right)]
    if inexact and None not in (left, right):
        places = [value.as_tuple().exponent for value in (left, right) if isinstance(value, decimal.Decimal)]
        unit = 10.0 ** max(places) if places else 0.0
        return abs(float(left) - float(right)) <= unit + 1e-9 * abs(float(right))
    if all(decimals) or any(decimals) and isinstance(right if decimals[0] else left, int):
        return decimal.Decimal(left) == decimal.Decimal(right)
    if isinstance(left, float) and isinstance(right, float):
        return left == right or abs(left - right) <= 1e-9 * max(abs(left), abs(right)) or math.isnan(left) and math.isnan(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


def difference(found: list[list], expected: list[list]) -> str | None:
    """Where two answers, row by row, differ first."""
    for at, (ours, theirs) in enumerate(zip(found, expected)):
        if not (len(ours) == len(theirs) and all(map(same, ours, theirs))):
            return f"row {at}: {ours!r} is not {theirs!r}"
    if len(found) != len(expected):
        return f"{len(found)} rows, not {len(expected)}"
    return None


def by_text(rows: list[list]) -> list[list]:
    """Rows in an order of their own, for queries that set none."""
    def text(value):
        if isinstance(value, (float, decimal.Decimal)) and math.isfinite(value):
            return f"{float(value):.6g}"
        return str(value)

    return sorted(rows, key=lambda row: [text(value) for value in row])
