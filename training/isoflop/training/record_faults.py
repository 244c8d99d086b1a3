"""What can be wrong with a table of run records, each fault in one line with its remedy."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

STATUSES = ("ok", "diverged", "overfitting")
LOSS_KINDS = ("final", "best", "early_stopped", "smoothed")
OTHER_NAMES = {
    "params": "n n_params num_params parameters n_parameters num_parameters parameter_count "
    "model_size",
    "samples": "d tokens n_tokens num_tokens total_tokens train_tokens training_tokens tokens_seen "
    "samples_seen n_samples examples jets",
    "loss": "val_loss valid_loss validation_loss eval_loss test_loss final_loss",
}
"""What others call the columns that every table needs, in lower case."""


def renaming(missing: Sequence[str], columns: Sequence[str]) -> str:
    """How to name missing columns with `--map`: by what the table has, or by an example.

    >>> renaming(["params", "samples"], ["N", "tokens", "loss"])
    'name the right ones with --map params=N --map samples=tokens'
    >>> renaming(["samples"], ["params", "loss"])
    'name the right ones with --map, for example --map samples=D'
    """
    known = {name: OTHER_NAMES[name].split() for name in missing}
    found = [
        f"--map {name}={column}"
        for name, others in known.items()
        for column in [one for one in columns if one.lower() in others][:1]
    ]
    other = known[missing[0]][0]
    example = f"--map {missing[0]}={other.upper() if len(other) == 1 else other}"
    return "name the right ones with " + (" ".join(found) or f"--map, for example {example}")


def find_faults(frame: pd.DataFrame, unread: Mapping[str, "pd.Series[Any]"]) -> list[str]:
    """Every fault of a table that has all columns of `RunRecord`; empty if it may be fitted.

    `unread` holds, by column, the cells that are no numbers, none elsewhere; `frame` lacks them.
    """
    faults = [fault for name, cells in unread.items() for fault in _no_numbers(frame, name, cells)]
    sizes_good = (frame["params"] > 0) & (frame["samples"] > 0)
    for name in ("params", "samples", "unique_samples", "flops"):
        wrong = (frame[name] <= 0) | np.isinf(frame[name])
        if name in ("unique_samples", "flops"):  # filled from the other two: one fault, one line
            wrong &= sizes_good
        else:
            absent = frame[name].isna() & unread[name].isna()
            faults += _missing(frame, name, absent, "give it or drop these runs")
        faults += _bad(frame, name, wrong, "must be positive and finite")
    faults += _loss_faults(frame, unread["loss"].notna())
    negative = (frame["loss_stderr"] < 0) | np.isinf(frame["loss_stderr"])
    faults += _bad(frame, "loss_stderr", negative, "must not be negative")
    # Digitised tables carry rounding, so equality of U and D is asked for to a part in a million.
    beyond = frame["unique_samples"] > frame["samples"] * (1 + 1e-6)
    faults += _bad(frame, "unique_samples", beyond, "must not exceed samples")
    for name, allowed in (("status", STATUSES), ("loss_kind", LOSS_KINDS)):
        unknown = ~frame[name].isin(allowed)
        faults += _bad(frame, name, unknown, f"must be one of {', '.join(allowed)}")
    faults += _bad(frame, "run_id", frame["run_id"].isna(), "must be given")
    repeated = frame["run_id"].duplicated() & frame["run_id"].notna()
    return faults + _bad(frame, "run_id", repeated, "must be unique")


def _loss_faults(frame: pd.DataFrame, unread: "pd.Series[bool]") -> list[str]:
    measured, loss = frame["status"] != "diverged", frame["loss"]
    remedy = "drop these runs, or set their status to diverged if they diverged"
    faults = _missing(frame, "loss", measured & loss.isna() & ~unread, remedy)
    faults += _bad(frame, "loss", measured & np.isinf(loss), "must be finite unless diverged")
    negative = _bad(frame, "loss", measured & (loss <= 0) & ~np.isinf(loss), "must be positive")
    why = (
        ", for every law here has a floor above zero and takes the logarithm of the loss, so the "
        "log likelihood of continuous data or a differential entropy is no loss for it; add a "
        "known constant, or give a loss that is positive (cross-entropy, error rate)"
    )
    return faults + [fault + why for fault in negative]


def _no_numbers(frame: pd.DataFrame, name: str, cells: "pd.Series[Any]") -> list[str]:
    """One line for a column's cells that are no numbers: how many, and the first with its run."""
    if cells.isna().all():
        return []
    first, run = cells.dropna().iloc[0], frame.loc[cells.notna(), "run_id"].iloc[0]
    return [
        f"{name}: {int(cells.notna().sum())} value(s) are no numbers, first {first!r} (run {run}); "
        "give numbers or drop these runs"
    ]


def _missing(frame: pd.DataFrame, name: str, absent: "pd.Series[bool]", remedy: str) -> list[str]:
    """One line for a column's absent values: how many of how many, where the first is."""
    if not absent.any():
        return []
    first = frame.loc[absent, "run_id"].iloc[0]
    return [
        f"{name} is missing in {int(absent.sum())} of {len(frame)} runs (first {first}); {remedy}"
    ]


def _bad(frame: pd.DataFrame, name: str, wrong: "pd.Series[bool]", bound: str) -> list[str]:
    """One line for a column's wrong values: how many, where the first is, what it should be."""
    if not wrong.any():
        return []
    first = frame.loc[wrong].iloc[0]
    where = "" if name == "run_id" else f" (run {first['run_id']})"
    return [f"{name} {bound}: {int(wrong.sum())} value(s), first {first[name]}{where}"]


def names_bits(column: str) -> bool:
    """Whether a column is named as a loss in bits: loss_bits, bits_per_byte, val_bpb, loss (bits).

    Not orbit_loss, and not the loss_8bit of a quantised network.
    """
    pattern = r"(?<![a-z\d])(?<!\d[-_ ])(bits?|bp[bcdpt])(?![a-z\d])"
    return re.search(pattern, column.lower()) is not None


def bits_remedy(column: str) -> str:
    """What to do about it, to end an error with."""
    return (
        f"; if {column} is a loss in bits, make a column loss of {column} times ln 2 = 0.693147 "
        "(nothing is converted silently)"
    )


def misspelt_columns(have: Sequence[str], known: Sequence[str]) -> list[str]:
    """A note for each column that is kept but not used, though it looks like one of the contract's.

    That is one whose name is nearly that of a column which the table lacks, and `epochs`, which
    does not say how many distinct samples there are.
    """
    absent = [name for name in known if name not in have]
    notes = []
    for column in have:
        if column in known:
            continue
        near = get_close_matches(column.strip().lower(), absent, n=1, cutoff=0.8)
        if near:
            remedy = f"did you mean {near[0]!r}?"
        elif column.strip().lower() == "epochs" and "unique_samples" in absent:
            remedy = "passes are told by 'unique_samples', which is samples / epochs"
        else:
            continue
        notes.append(f"column {column!r} is kept but not used; {remedy}")
    return notes


def copied_runs(records: pd.DataFrame) -> list[str]:
    """A note on runs that repeat another one in every column but `run_id`, its loss included.

    Seeds that repeat a size have losses of their own, and diverged runs have none to compare.
    """
    # As text, which absent values and cells of any type can be compared by.
    cells = records[records["loss"].notna()].drop(columns="run_id").astype(str)
    copies = cells.index[cells.duplicated()]
    if copies.empty:
        return []
    same = (cells == cells.loc[copies[0]]).all(axis=1)
    copy, original = (records.loc[row, "run_id"] for row in (copies[0], same.idxmax()))
    return [
        f"{len(copies)} run(s) repeat another one in every column, first {copy}, which repeats "
        f"{original}; each copy counts as a run and makes the intervals too narrow: drop them"
    ]
