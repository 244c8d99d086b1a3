"""What each budget buys by each law: quantiles of the best N, D, loss and of what is left above L∞.

    python studies/budget/spend.py build/budget/gn3.nc build/budget/jetclass.nc \
        --budget 4e20 1e23 --table studies/budget/budget.csv --curves build/budget/curves.csv
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from isoflop.files import writing
from isoflop.forecast.allocate import best_plan, optimal
from isoflop.forecast.exponents import exponent_intervals
from isoflop.forecast.predict import (
    Draws,
    group_draws,
    group_names,
    loss_draws,
    predictive_draws,
    quantiles,
)
from isoflop.inference.posterior import load

COLUMNS = ["low_95", "low_68", "median", "high_68", "high_95"]
OFF = 3.0
"""Factor in N, at the same compute, by which the check run might miss the optimum."""
CURVE = np.geomspace(1e18, 1e24, 61)
"""Budgets of the figure [FLOP]."""


def bought(draws: Draws, flops: float, reference: float) -> dict[str, np.ndarray]:
    """Draws of what a budget buys, shape (draws,) each; `left` is against the reference budget."""
    best = optimal(draws, flops)
    plan = best_plan(draws, flops)
    at = {"unique_samples": plan.unique_samples}
    return {
        "params_opt": best.params[:, 0],
        "samples_opt": best.samples[:, 0],
        "loss": predictive_draws(draws, plan.params, **at, seed=0)[:, 0],
        "reducible": reducible(draws, flops),
        "left": reducible(draws, flops) / reducible(draws, reference),
        "excess_large": reducible(draws, flops, off=OFF) / reducible(draws, flops) - 1.0,
        "excess_small": reducible(draws, flops, off=1 / OFF) / reducible(draws, flops) - 1.0,
        **dict(left_if_tied(draws, flops / reference)),
    }


def reducible(draws: Draws, flops: float, *, off: float = 1.0) -> np.ndarray:
    """L − L∞ [nat] of each draw at its own optimum, or `off` times its N at the same compute."""
    best = optimal(draws, flops)
    loss = loss_draws(draws, best.params * off, unique_samples=best.unique_samples / off)
    return np.asarray(loss[:, 0] - draws.loss_inf)


def left_if_tied(draws: Draws, ratio: float) -> Iterator[tuple[str, np.ndarray]]:
    """`left` with α and β as correlated as they can be, either way."""
    alpha, beta = np.sort(draws.alpha), np.sort(draws.beta)
    for name, other in (("left_tied", beta), ("left_opposed", beta[::-1])):
        yield name, ratio ** (-alpha * other / (alpha + other))


def table_of(draws: Draws, budgets: list[float]) -> pd.DataFrame:
    """Every quantity of a law at every budget, and the exponents, which belong to none."""
    rows = exponent_intervals(draws).rename_axis("quantity").reset_index()
    tables = [rows.assign(budget_flops=np.nan)]
    for flops in budgets:
        values = bought(draws, flops, budgets[0])
        bands = [quantiles(value[:, None])[:, 0] for value in values.values()]
        own = pd.DataFrame(bands, columns=COLUMNS).assign(quantity=list(values))
        tables.append(own.assign(budget_flops=flops))
    whole = pd.concat(tables, ignore_index=True).assign(law=draws.group)
    return whole[["law", "budget_flops", "quantity", *COLUMNS]]


def curves_of(draws: Draws, reference: float) -> pd.DataFrame:
    """Bands of N*, D* and of what is left, over the budgets of the figure."""
    best = optimal(draws, CURVE)
    left = np.stack([reducible(draws, float(c)) for c in CURVE], axis=1)
    left = left / reducible(draws, reference)[:, None]
    parts = []
    values = {"params_opt": best.params, "samples_opt": best.samples, "left": left}
    for name, value in values.items():
        band = pd.DataFrame(quantiles(value).T, columns=COLUMNS)
        parts.append(band.assign(law=draws.group, quantity=name, flops=CURVE))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Write the table and the curves, and print what is asked first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("laws", type=Path, nargs="+", help="posterior files of `isoflop law`")
    parser.add_argument("--budget", type=float, nargs="+", required=True, help="FLOP")
    parser.add_argument("--table", type=Path, required=True, help="CSV of the numbers")
    parser.add_argument("--curves", type=Path, required=True, help="CSV of the curves")
    given = parser.parse_args()
    posteriors = [load(path) for path in given.laws]
    draws = [group_draws(tree, name) for tree in posteriors for name in group_names(tree)]
    table = pd.concat([table_of(one, given.budget) for one in draws], ignore_index=True)
    curves = pd.concat([curves_of(one, given.budget[0]) for one in draws], ignore_index=True)
    for path, frame in ((given.table, table), (given.curves, curves)):
        with writing(path) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


if __name__ == "__main__":
    main()
