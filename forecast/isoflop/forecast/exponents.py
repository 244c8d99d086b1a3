"""The exponents of the compute-optimal path: how N*, D* and the loss change with compute."""

import pandas as pd

from isoflop.forecast.predict import Draws, quantiles


def exponent_intervals(draws: Draws) -> pd.DataFrame:
    """Quantiles of L∞, α, β and of the exponents that follow from them, by name.

    N* ∝ C^{β/(α+β)}, D* ∝ C^{α/(α+β)}, L* − L∞ ∝ C^{−γαβ/(α+β)}, from dL/dN = 0 at C = c·N·D
    (arXiv:2203.15556, Eq. 4). Columns `low_95, low_68, median, high_68, high_95`.
    """
    alpha, beta = draws.alpha, draws.beta
    values = {
        "loss_inf": draws.loss_inf,
        "alpha": alpha,
        "beta": beta,
        "params_exponent": beta / (alpha + beta),
        "samples_exponent": alpha / (alpha + beta),
        "loss_exponent": draws.gamma * alpha * beta / (alpha + beta),
    }
    columns = ["low_95", "low_68", "median", "high_68", "high_95"]
    rows = {name: quantiles(value[:, None])[:, 0] for name, value in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
