"""Columns of draws as text in a page: 32-bit fixed point, or float64 where that is coarse.

A double spends most of its bits on an accuracy that no forecast has. Between the smallest and the
largest draw of a column, 32 bits leave an error of at most 1.2e-10 of that range.
"""

import base64
from typing import Any

import numpy as np

COARSEST = 1e-8
"""Largest rounding error of a packed column, in its own unit."""
LEVELS = 2**32 - 1


def pack(values: np.ndarray) -> dict[str, Any]:
    """A column of draws, shape (draws,), as a JSON object that `law.js` unpacks.

    `{"constant": x}`, or `{"low": x, "step": x, "fixed": base64 of uint32}`, or `{"doubles": base64
    of float64}`, little-endian. Raises `ValueError` for a value that is not finite.
    """
    column = np.asarray(values, float)
    if not np.isfinite(column).all():
        raise ValueError("a column of draws has values that are not finite; fit the runs again")
    low, high = float(column.min()), float(column.max())
    if low == high:
        return {"constant": low}
    step = (high - low) / LEVELS
    if not step / 2.0 <= COARSEST:
        return pack_exactly(column)
    return {"low": low, "step": step, "fixed": _text(np.rint((column - low) / step).astype("<u4"))}


def pack_exactly(values: np.ndarray) -> dict[str, Any]:
    """Numbers of any shape as float64, row after row."""
    return {"doubles": _text(np.asarray(values).astype("<f8"))}


def unpack(packed: dict[str, Any], draws: int) -> np.ndarray:
    """The column that `pack` packed, shape (draws,)."""
    if "constant" in packed:
        return np.full(draws, packed["constant"])
    if "doubles" in packed:
        return np.frombuffer(base64.b64decode(packed["doubles"]), "<f8")
    whole = np.frombuffer(base64.b64decode(packed["fixed"]), "<u4")
    return np.asarray(packed["low"] + packed["step"] * whole)


def _text(column: np.ndarray) -> str:
    return base64.b64encode(column.tobytes()).decode("ascii")
