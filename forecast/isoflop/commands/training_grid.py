"""From a training grid to candidates of a design, and from the chosen runs back to a grid.

Reading a grid needs the training part, which counts the parameters of its networks.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd


def as_candidates(path: Path) -> pd.DataFrame:
    """The runs of a grid file as a table of candidates; `grid_run` is their place in it."""
    from isoflop.training.config import grid
    from isoflop.training.counting import count_parameters

    rows = [
        {
            "group": run.group,
            "params": count_parameters(run.network).total,
            "unique_samples": run.unique_samples,
            "epochs": run.epochs,
            "grid_run": place,
        }
        for place, run in enumerate(grid(path).runs)
    ]
    return pd.DataFrame(rows)


def to_toml(path: Path, table: pd.DataFrame) -> str:
    """The chosen runs of a grid file as a grid of their own, one `[[grid]]` table a run."""
    from isoflop.training.config import grid

    source = grid(path)
    parts = [
        f"# The runs that isoflop design chose from {path.name}.\ndata = {_text(source.data)}\n"
    ]
    for row in table.to_dict("records"):
        run = replace(source.runs[int(row["grid_run"])], seed=int(row["seed"]))
        if row["rate_factor"] != 1.0:
            run = replace(run, learning_rate=float(run.rate * row["rate_factor"]))
        settings = {name: value for name, value in asdict(run).items() if value is not None}
        lines = [f"{name} = {_text(value)}" for name, value in settings.items()]
        parts.append("\n".join(["[[grid]]", *lines, ""]))
    return "\n".join(parts)


def _text(value: object) -> str:
    """A value as TOML writes it; JSON does so for text and numbers."""
    return json.dumps(str(value) if isinstance(value, Path) else value)
