"""What repeated jets are worth and what they cost, without a number of jets.

At r times the compute whose best single pass sees exactly the U jets there are, the best network
and number of passes reach the loss that a single pass over m·U fresh jets reaches with C₁, and both
m and the price C/C₁ depend on r, α, β and ω alone.
"""

import numpy as np
import pandas as pd
import xarray as xr
from studies.study import COLUMNS, fitted_runs, params_at

from isoflop.forecast.allocate import best_plan, golden_section
from isoflop.forecast.predict import (
    QUANTILES,
    Draws,
    group_draws,
    group_names,
    loss_draws,
    repetition_gain,
)

PASSES = (2.0, 4.0, 10.0, 16.0, 64.0)
RATIOS = (3.0, 10.0, 30.0, 100.0)
"""Compute over that of the best single pass."""
MATCH = 3.0
"""Times the jets whose loss is to be matched: GN3's talk has ×3 for ×10 compute."""
PRICE = 10.0
"""Price in compute that arXiv:2602.15781 gives (caption of Fig. 2b)."""


def table_of(posterior: xr.DataTree) -> pd.DataFrame:
    """ω, gain of passes, gain of data and price at each ratio, price of ×3 jets; plans and runs.

    `at` is the number of passes, the ratio of compute, the ratio of jets, or U.
    """
    parts = []
    for group in group_names(posterior):
        draws = group_draws(posterior, group)
        more, price = reached(draws, np.array(RATIOS))
        values = {
            ("omega", np.nan): draws.omega,
            ("price_of_jets", MATCH): price_of(draws, MATCH),
            ("compute_at_price", PRICE): compute_at(draws, PRICE),
            **dict(by_point("gain_of_passes", PASSES, repetition_gain(draws, PASSES))),
            **dict(by_point("jets_at_compute", RATIOS, more)),
            **dict(by_point("price_at_compute", RATIOS, price)),
            **plans_and_runs(draws, runs_of(posterior, group)),
        }
        # The nearest draw, for a price out of reach is infinite and cannot be interpolated.
        rows = [np.quantile(v, QUANTILES, method="nearest") for v in values.values()]
        part = pd.DataFrame(rows, columns=COLUMNS)
        certain = [len(v) == 1 for v in values.values()]
        part.loc[certain, [name for name in COLUMNS if name != "median"]] = np.nan
        part[["quantity", "at"]] = list(values)
        parts.append(part.assign(group=group, repeated_runs=repeated(posterior, group)))
    whole = pd.concat(parts, ignore_index=True)
    return whole[["group", "repeated_runs", "quantity", "at", *COLUMNS]]


def by_point(
    name: str, points: tuple[float, ...], values: np.ndarray
) -> list[tuple[tuple[str, float], np.ndarray]]:
    """A row's key and draws for each point."""
    return [((name, point), values[:, i]) for i, point in enumerate(points)]


def plans_and_runs(draws: Draws, runs: pd.DataFrame) -> dict[tuple[str, float], np.ndarray]:
    """The best plan on U jets with the compute of the dearest run, and the best run there is.

    Passes and loss [nat] of the plan; passes, N, loss and the law's loss of the run.
    """
    found: dict[tuple[str, float], np.ndarray] = {}
    again = runs[runs["passes"] > 1.0].sort_values("loss")
    for jets in np.unique(again["unique_samples"]):
        plan = best_plan(draws, draws.largest_flops, unique_cap=jets)
        run = again[again["unique_samples"] == jets].iloc[0]
        at_plan = {"unique_samples": plan.unique_samples, "epochs": plan.epochs}
        at_run = {"unique_samples": jets, "epochs": run["passes"]}
        found |= {
            ("plan_passes", jets): np.array([plan.epochs]),
            ("plan_loss", jets): loss_draws(draws, plan.params, **at_plan)[:, 0],
            ("run_passes", jets): np.array([run["passes"]]),
            ("run_params", jets): np.array([run["params"]]),
            ("run_loss", jets): np.array([run["loss"]]),
            ("law_at_run", jets): loss_draws(draws, run["params"], **at_run)[:, 0],
        }
    return found


def runs_of(posterior: xr.DataTree, group: str) -> pd.DataFrame:
    """Runs of one group in the fit."""
    runs = fitted_runs(posterior)
    return runs[runs["group"] == group]


def repeated(posterior: xr.DataTree, group: str) -> int:
    """How many runs of a group in the fit saw their jets more than once."""
    return int((runs_of(posterior, group)["passes"] > 1.0).sum())


def reached(draws: Draws, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """m and price of the best use of U jets at `ratio` times their compute, shape (draws, points).

    At the compute C_U whose best single pass sees U jets, α a = β b (arXiv:2203.15556, Eq. 4) for
    the terms a of N and b of D. With n times its N and e = r/n passes, u/b = (β/α) n^−α + gain^−β,
    which is (1 + β/α) at r = 1; single passes reach that u at C₁/C_U = (u_U/u)^{1/α + 1/β}, on
    m = (C₁/C_U)^{α/(α+β)} times the jets.
    """
    alpha, beta = draws.alpha[:, None], draws.beta[:, None]

    def log_u(log_size: np.ndarray) -> np.ndarray:
        passes = np.maximum(ratio * np.exp(-log_size), 1.0)
        spare = draws.omega[:, None] - 1.0
        gain = 1.0 - spare * np.expm1(-(passes - 1.0) / spare)
        return np.asarray(np.log(beta / alpha * np.exp(-alpha * log_size) + gain**-beta))

    top = np.broadcast_to(np.log(ratio), (len(alpha), len(ratio)))
    best = log_u(golden_section(log_u, np.zeros_like(top), top))
    log_single = (np.log1p(beta / alpha) - best) * (1.0 / alpha + 1.0 / beta)
    more = np.exp(log_single * alpha / (alpha + beta))
    return more, np.exp(np.log(ratio) - log_single)


def compute_at(draws: Draws, price: float) -> np.ndarray:
    """Ratio of compute at which the price reaches `price`, shape (draws,); inf if far."""
    ratio = np.geomspace(1.0, 1e7, 500)
    dear = reached(draws, ratio)[1] >= price
    return np.where(dear.any(axis=1), ratio[np.argmax(dear, axis=1)], np.inf)


def dearest_repeat(draws: Draws, runs: pd.DataFrame) -> float:
    """Largest compute of a repeated run over that of the best single pass on its jets, median."""
    again = runs[runs["passes"] > 1.0]
    unique = again["unique_samples"].to_numpy()
    single = draws.flops_per_param_sample * params_at(draws, unique) * unique
    return float((again["flops"].to_numpy() / np.median(single, axis=0)).max())


def price_of(draws: Draws, more: float) -> np.ndarray:
    """Price of the loss of `more` times the jets, shape (draws,); infinite if out of reach."""
    ratio = np.geomspace(1.0, 1e5, 300)
    reach, price = reached(draws, ratio)
    at = np.argmax(reach >= more, axis=1)
    found = price[np.arange(len(at)), at]
    return np.where(reach[:, -1] >= more, found, np.inf)
