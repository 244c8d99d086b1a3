"""What `isoflop forecast` prints: intervals, and what of them the prior decides."""

import math
from typing import TYPE_CHECKING, Any

from isoflop.terminal import number, show, span

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

NAMES = {
    "loss": "loss of a run [nat]",
    "params_opt": "best N",
    "samples_opt": "best D [sample]",
    "epochs_opt": "best epochs",
    "efficiency:b": "efficiency of a b jet",
    "significance_ratio": "significance, ratio",
    "luminosity_equivalent": "luminosity, ratio",
}
"""Quantities as a person reads them; rejections carry their working point."""


def print_forecast(posterior: "xr.DataTree", intervals: "pd.DataFrame") -> None:
    """The forecast as a person reads it, and what of it the prior decides."""
    from isoflop.forecast.predict import group_draws
    from isoflop.inference.diagnostics import prior_driven

    names = NAMES | _rejection_names(posterior)
    published = posterior.attrs.get("engine") == "published"
    for _, rows in intervals.groupby(["group", "budget_flops"], sort=False):
        group = str(rows["group"].iloc[0])
        runs = "anchor's compute" if published else "runs"
        cheapest = group_draws(posterior, group).smallest_flops
        _print_budget(rows, names, runs=runs, cheapest=0.0 if published else cheapest)
        _print_reach(posterior, group, rows)
    shown = set(intervals["group"])
    driven = [name for name in prior_driven(posterior) if name.split("[")[1][:-1] in shown]
    if driven:
        show(f"\nThe prior alone decides {', '.join(driven)}: no run informs it.")
    if published:
        show("")
        for line in str(posterior.attrs["warnings"]).splitlines():
            show(f"Assumed: {line}")


def _print_budget(
    rows: "pd.DataFrame", names: dict[str, str], *, runs: str, cheapest: float
) -> None:
    """The plan of one group at one budget, and the intervals of all its quantities."""
    plan: dict[Any, Any] = rows.to_dict("records")[0]
    decades, below = plan["extrapolation_decades"], cheapest / plan["budget_flops"]
    where = f"{decades:.1f} decades beyond its {runs}" if decades else f"within its {runs}"
    if below > 1.0 + 1e-9:
        where = f"{math.log10(below):.1f} decades below its {runs}, of which the law says nothing"
    show(f"\n{plan['group']} at C = {number(plan['budget_flops'])} FLOP, {where}")
    show(
        f"with N = {number(plan['params'])}, {number(plan['unique_samples'])} distinct "
        f"samples, {number(plan['epochs'])} epoch(s)"
    )
    show(f"  {'':<22}{'median':>10}{'68 %':>22}{'95 %':>22}")
    for row in rows.to_dict("records"):
        ranges = [span(row["low_68"], row["high_68"]), span(row["low_95"], row["high_95"])]
        name = names[row["quantity"]]
        show(f"  {name:<22}{number(row['median']):>10}{ranges[0]:>22}{ranges[1]:>22}")


def _rejection_names(posterior: "xr.DataTree") -> dict[str, str]:
    """Rejections as a person reads them, with the signal efficiency they are quoted at."""
    from isoflop.forecast.rejection import fixed_values

    fixed = fixed_values(posterior, "rejection")
    return {f"rejection:{name}": f"R of {name} at {at:.3g}" for name, at in fixed.items()}


def _print_reach(posterior: "xr.DataTree", group: str, rows: "pd.DataFrame") -> None:
    """Say where rejections are quoted for a loss below any that the link has seen."""
    from isoflop.forecast.rejection import lowest_loss

    seen = lowest_loss(posterior, "rejection", group)
    loss = float(rows.loc[rows["quantity"] == "loss", "median"].iloc[0])
    if seen is not None and loss < seen:
        show(
            "  R is the background rejection of a new run at that signal efficiency; it is carried "
            f"{seen - loss:.2g} nat below the lowest loss that was counted at, {seen:.3g} nat."
        )
