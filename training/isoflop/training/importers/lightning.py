"""Runs from the CSV logs of Lightning: every folder with a `metrics.csv` is a run.

`CSVLogger` writes `hparams.yaml`, what `save_hyperparameters` saw, and `metrics.csv`: a row each
time something is logged, a column each metric, empty where the row is about another. Its `step` is
the index of the last optimiser step, from 0; here `step` is how many steps were taken.
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from isoflop.training.importers.logs import LoggedRun
from isoflop.training.importers.wandb import flattened

METRICS, HPARAMS, STEP = "metrics.csv", "hparams.yaml", "step"


def read_lightning(folder: str | Path) -> list[LoggedRun]:
    """The runs below a folder, named by their path within it, in the order of the names."""
    top = Path(folder)
    return [_run(file.parent, top) for file in sorted(top.rglob(METRICS))]


def _run(folder: Path, top: Path) -> LoggedRun:
    table = pd.read_csv(folder / METRICS, dtype=str, keep_default_na=False)
    curves = {str(name): _logged(table[name], folder) for name in table.columns}
    if STEP in curves:
        curves[STEP] = curves[STEP] + 1.0
    constants = _hparams(folder / HPARAMS)
    both = sorted(set(constants) & set(curves))
    if both:
        raise ValueError(
            f"{folder}: {', '.join(both)} stands in {HPARAMS} and in {METRICS}; rename one"
        )
    name = folder.name if folder == top else folder.relative_to(top).as_posix()
    return LoggedRun(name, constants, curves)


def _logged(column: "pd.Series[str]", folder: Path) -> "pd.Series[float]":
    """The rows of a column that hold a number, NaN among them; empty cells were not logged."""
    cells = column[column != ""]
    values = pd.to_numeric(cells, errors="coerce")
    wrong = values.isna() & ~cells.str.lower().isin(["nan", "-nan"])
    if wrong.any():
        bad = cells[wrong].iloc[0]
        raise ValueError(f"{folder / METRICS}: {column.name} is {bad!r} in a row, no number")
    return values.astype(float)


def _hparams(path: Path) -> dict[str, Any]:
    """The settings of a run, nested names with dots; none if there is no file."""
    if not path.is_file():
        return {}
    try:
        import yaml
    except ImportError as error:
        raise ImportError(f"{path} needs PyYAML; pip install 'isoflop[importers]'") from error

    # Plain values only; an object that Lightning pickled into the file becomes None.
    loader = type("Loader", (yaml.SafeLoader,), {})
    yaml.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None, loader)
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not readable YAML ({str(error).splitlines()[0]})") from error
    values = flattened(entries) if isinstance(entries, dict) else {}
    return {k: v for k, v in values.items() if v is not None and not _is_nan(v)}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
