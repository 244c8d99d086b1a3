"""What a plan comes to: what it takes, where its cost goes, what its loss is worth.

Tables and JSON show the same numbers, each computed here.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from isoflop.forecast.cost import PARTS, prices
from isoflop.forecast.limits import BYTES_PER_PARAM, DAY
from isoflop.forecast.marginal import Marginal
from isoflop.forecast.money import in_unit, units_of
from isoflop.forecast.option import Option
from isoflop.forecast.outcomes import SCENARIO
from isoflop.forecast.plan import Plans
from isoflop.forecast.predict import quantiles


def summary(drawn: np.ndarray) -> dict[str, float]:
    """Quantiles of draws, shape (draws,) or (draws, 1)."""
    names = ("low_95", "low_68", "median", "high_68", "high_95")
    values = quantiles(np.asarray(drawn).reshape(len(drawn), -1))[:, 0]
    return dict(zip(names, map(float, values), strict=True))


def outcomes(option: Option, loss: np.ndarray) -> dict[str, np.ndarray]:
    """Draws of everything that a loss is worth in an option."""
    names = [one.name for one in option.quantities]
    # Those of a scenario come together. NumPy lets go of the interpreter, so threads share cores.
    parts = [[name] for name in names if name not in SCENARIO]
    together = [name for name in names if name in SCENARIO]
    found: dict[str, np.ndarray] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for drawn in pool.map(lambda some: option.worth(loss, some), [*parts, together]):
            found |= drawn
    return {name: found[name] for name in names}


def resources(plans: Plans) -> dict[str, float]:
    """What the run of a plan takes, at the medians: device-hours, core-hours, disk, memory, …"""
    option, (params, unique, _) = plans.option, plans.runs.at(0)
    found = {"memory_byte": params * BYTES_PER_PARAM}
    if option.costs.training_alone:
        return found
    at = prices(option.costs)
    hours = float(plans.flops[0]) / at.speed / 3600.0
    power = option.costs.device.power
    found |= {
        "device_hours": hours,
        "device_days": hours * 3600.0 / DAY,
        "core_hours": unique * at.core_seconds / 3600.0,
        "disk_byte": unique * option.costs.storage.size.median,
    }
    if power is not None:
        overhead = option.costs.energy.overhead.median if option.costs.energy else 1.0
        found["training_kWh"] = hours * power.median * overhead / 1000.0
    return found


def equivalents(option: Option, money: float) -> dict[str, float]:
    """Money in every unit that the cost model knows."""
    return {unit: in_unit(option.costs, money, unit) for unit in units_of(option.costs)}


def shares(plans: Plans) -> dict[str, float]:
    """Share of every part in the cost at the medians."""
    total = float(plans.parts.total[0])
    return {name: float(np.ravel(getattr(plans.parts, name))[0]) / total for name in PARTS}


def changes(plans: Plans, marginal: Marginal) -> dict[str, np.ndarray]:
    """Draws of what one more changes in every outcome, shape (draws, 1)."""
    before, after = outcomes(plans.option, plans.loss), outcomes(plans.option, marginal.loss)
    return {name: after[name] - before[name] for name in before}
