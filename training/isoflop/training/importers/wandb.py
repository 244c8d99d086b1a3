"""Runs from a Weights & Biases export: the CSV of the runs table, or of its public API.

The table's download has one column a setting or summary metric, and `Name` and `State` in front.
The loop over `wandb.Api().runs(…)` in the W&B documentation writes `name`, `summary` and `config`,
the last two as Python dictionaries; their entries are read as `summary.loss`, `config.width`.
"""

import ast
import math
from pathlib import Path
from typing import Any

import pandas as pd

from isoflop.training.importers.logs import LoggedRun

NAME, STATE = "Name", "State"
API_COLUMNS = ("name", "summary", "config")
FINISHED = "finished"


def read_wandb(path: str | Path) -> tuple[list[LoggedRun], list[str]]:
    """The runs of an export, and the names of those left out because they did not finish.

    A run whose `State` is not `finished` has a summary of wherever it stood.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if set(API_COLUMNS) <= set(table.columns):
        return [_api_run(row, str(path)) for row in table.to_dict("records")], []
    if NAME not in table.columns:
        raise ValueError(
            f"{path}: no W&B export: it has neither {NAME} (the runs table) nor "
            f"{', '.join(API_COLUMNS)} (the API), but {', '.join(map(str, table.columns[:10]))}; "
            "fit reads a plain CSV as it is, with --map"
        )
    state = table[STATE].str.lower() if STATE in table else pd.Series(FINISHED, table.index)
    done, other = table[state == FINISHED], table[state != FINISHED]
    return [_table_run(row) for row in done.to_dict("records")], list(other[NAME])


def _table_run(row: dict[Any, Any]) -> LoggedRun:
    return LoggedRun(row[NAME], {str(k): v for k, v in row.items() if v != ""})


def _api_run(row: dict[Any, Any], source: str) -> LoggedRun:
    constants: dict[str, Any] = {}
    for part in ("config", "summary"):
        entries = _dictionary(row[part], f"{source}: {part} of run {row['name']}")
        constants |= flattened(entries, prefix=f"{part}.")
    return LoggedRun(row["name"], constants)


def flattened(entries: dict[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Nested settings with dots in their names: `{"model": {"width": 8}}` is `model.width`."""
    flat: dict[str, Any] = {}
    for key, value in entries.items():
        if isinstance(value, dict):
            flat |= flattened(value, prefix=f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _dictionary(text: str, what: str) -> dict[str, Any]:
    """A dictionary that pandas wrote as text; nan and inf are names in it, not literals."""
    try:
        tree = _Numbers().visit(ast.parse(text, mode="eval"))
        entries = ast.literal_eval(tree)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{what} is no dictionary that can be read ({error})") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{what} is no dictionary")
    return entries


class _Numbers(ast.NodeTransformer):
    """Puts the numbers for the names nan and inf."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A constant for nan and inf, the name itself otherwise."""
        known = {"nan": math.nan, "inf": math.inf}
        return ast.Constant(known[node.id]) if node.id in known else node
