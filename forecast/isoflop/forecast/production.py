"""What a plan asks of others: the jets to produce, by process, and the trainings to run."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoflop.files import MANIFESTS, TABLES, require_suffix, writing
from isoflop.forecast.cost import price_draws, prices
from isoflop.forecast.limits import BYTES_PER_PARAM
from isoflop.forecast.plan import Plans


@dataclass(frozen=True)
class ProductionRow:
    """Jets of one process; the last row of a table is their sum."""

    process: str
    """Name of the process, or `all`."""
    jets: int
    """Jets to keep, whole files of them."""
    files: int
    """Files."""
    core_hours: float
    """Time of one core, the median."""
    core_hours_low_68: float
    """Lower end of its 68 % interval."""
    core_hours_high_68: float
    """Upper end of its 68 % interval."""
    disk_GB: float
    """Disk, in 10⁹ byte."""
    farm_cores: int
    """Cores of the farm."""
    wall_days: float
    """Wall time, all cores of the farm at work, in days."""


@dataclass(frozen=True)
class Job:
    """One training."""

    job: str
    """Name, unique in the manifest."""
    option: str
    """Option that it belongs to."""
    group: str
    """Group of the law."""
    params: int
    """N, to be met by the nearest network there is."""
    unique_samples: int
    """U, in jets."""
    epochs: float
    """Passes over them."""
    samples: int
    """Jets seen."""
    flops: float
    """Training compute by the records' convention, in FLOP."""
    device: str
    """What it runs on."""
    devices: int
    """How many of these at once."""
    device_hours: float | None
    """Device-hours, the median; None without a cost file."""
    wall_hours: float | None
    """Wall time on all devices, in hours."""
    memory_GB: float
    """Weights, gradients and moments, in 10⁹ byte."""
    seed: int
    """Seed of initialisation and shuffling."""


def production_table(plans: Plans) -> tuple[ProductionRow, ...]:
    """The production of a plan (one point), processes in equal shares, files full."""
    costs = plans.option.costs
    asked = costs.production
    if costs.training_alone:
        raise ValueError("a production request needs a cost file; give --costs")
    unique = plans.runs.at(0)[1]
    files = math.ceil(unique / len(asked.processes) / asked.jets_per_file)
    jets = files * asked.jets_per_file
    rows = [_row(plans, name, jets, files) for name in asked.processes]
    count = len(asked.processes)
    return (*rows, _row(plans, "all", count * jets, count * files))


def training_jobs(
    plans: Sequence[Plans], *, devices: int = 1, seeds: Sequence[int] = (0,)
) -> tuple[Job, ...]:
    """The trainings of plans (one point each), one a seed."""
    return tuple(_job(one, devices, seed) for one in plans for seed in seeds)


def write_rows(
    rows: Sequence[ProductionRow] | Sequence[Job], path: str | Path, *, thing: str
) -> None:
    """Write a table as CSV, JSON or Markdown by the suffix, whole or not at all."""
    suffix = require_suffix(path, TABLES if thing == "production" else MANIFESTS)
    frame = pd.DataFrame([asdict(row) for row in rows], columns=_names(rows[0]))
    with writing(path) as temporary:
        if suffix == ".csv":
            frame.to_csv(temporary, index=False, float_format="%.6g")
        elif suffix == ".json":
            text = json.dumps({thing: [asdict(row) for row in rows]}, indent=1, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        else:
            temporary.write_text(_markdown(frame), encoding="utf-8")


def _row(plans: Plans, process: str, jets: int, files: int) -> ProductionRow:
    costs = plans.option.costs
    drawn = price_draws(costs, len(plans.option.draws.alpha), seed=plans.option.seed).core_seconds
    low, high = np.quantile(np.atleast_1d(drawn), [0.16, 0.84]) * jets / 3600.0
    hours = jets * prices(costs).core_seconds / 3600.0
    return ProductionRow(
        process=process,
        jets=jets,
        files=files,
        core_hours=hours,
        core_hours_low_68=float(low),
        core_hours_high_68=float(high),
        disk_GB=jets * costs.storage.size.median / 1e9,
        farm_cores=costs.production.cores,
        wall_days=hours / costs.production.cores / 24.0,
    )


def _job(plans: Plans, devices: int, seed: int) -> Job:
    option, (params, unique, epochs) = plans.option, plans.runs.at(0)
    flops = float(plans.flops[0])
    known = not option.costs.training_alone
    hours = flops / prices(option.costs).speed / 3600.0 if known else None
    return Job(
        job=re.sub(r"[^\w.-]+", "-", f"{option.name}-{seed}"),
        option=option.name,
        group=option.group,
        params=round(params),
        unique_samples=round(unique),
        epochs=round(epochs, 3),
        samples=round(unique * epochs),
        flops=flops,
        device=option.costs.device.name,
        devices=devices,
        device_hours=hours,
        wall_hours=None if hours is None else hours / devices,
        memory_GB=params * BYTES_PER_PARAM / 1e9,
        seed=seed,
    )


def _names(row: Any) -> list[str]:
    return [item.name for item in fields(row)]


def _markdown(frame: pd.DataFrame) -> str:
    """A Markdown table, numbers to four digits, columns named in words."""
    head = [name.replace("_", " ") for name in frame.columns]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for values in frame.itertuples(index=False):
        cells = [f"{value:,.4g}" if isinstance(value, float) else f"{value}" for value in values]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
