"""What `isoflop forecast` prints: intervals, and what of them the prior decides."""

import math
from typing import TYPE_CHECKING, Any

from isoflop.terminal import interval_head, interval_row, number, show

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from isoflop.forecast.scenario import Scenario


def print_forecast(
    posterior: "xr.DataTree", intervals: "pd.DataFrame", scenario: "Scenario | None" = None
) -> None:
    """The forecast as a person reads it, and what of it the prior decides."""
    from isoflop.forecast.names import label
    from isoflop.forecast.predict import group_draws
    from isoflop.inference.diagnostics import prior_notice

    names = {name: label(name, posterior, scenario) for name in set(intervals["quantity"])}
    published = posterior.attrs.get("engine") == "published"
    for _, rows in intervals.groupby(["group", "budget_flops"], sort=False):
        group = str(rows["group"].iloc[0])
        runs = "anchor's compute" if published else "runs"
        cheapest = group_draws(posterior, group).smallest_flops
        _print_budget(rows, names, runs=runs, cheapest=0.0 if published else cheapest)
        _print_reach(posterior, group, rows)
    repeats = "epochs_opt" in names or bool((intervals["epochs"] > 1.0).any())
    notice = prior_notice(posterior, set(intervals["group"]), repeats=repeats)
    if notice:
        show(f"\n{notice}")
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
    show(interval_head())
    for row in rows.to_dict("records"):
        show(interval_row(names[row["quantity"]], row))


def _print_reach(posterior: "xr.DataTree", group: str, rows: "pd.DataFrame") -> None:
    """Say where rejections are quoted for a loss below any that the link has seen."""
    from isoflop.forecast.rejection import lowest_loss

    seen = lowest_loss(posterior, "rejection", group)
    loss = float(rows.loc[rows["quantity"] == "loss", "median"].iloc[0])
    if seen is not None and loss < seen:
        show(
            "  rejection: of the background by a new run at signal efficiency ε; carried "
            f"{seen - loss:.2g} nat below the lowest loss that was counted at, {seen:.3g} nat."
        )
