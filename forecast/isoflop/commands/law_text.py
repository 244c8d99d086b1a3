"""What `isoflop fit` and `isoflop check` print of the law: its parameters and their verdict."""

from math import isnan
from typing import TYPE_CHECKING, Any

from isoflop.terminal import number, show, span

if TYPE_CHECKING:
    import xarray as xr
    from rich.table import Table

    from isoflop.inference.diagnostics import Diagnosis

PASSES = (2.0, 4.0, 10.0)
"""Numbers of passes over the same samples whose worth is shown."""


def print_law(posterior: "xr.DataTree", diagnosis: "Diagnosis") -> None:
    """The law's parameters per group, median and 68 % interval, then the verdict."""
    from isoflop.inference.laws import law_named

    law = law_named(posterior.attrs["law"])
    runs = posterior["constant_data"].to_dataset()
    groups = [str(group) for group in runs["group"].values]
    show(f"{law.equation}, {runs.sizes['run']} runs; median and 68 % interval:")
    shown = [name for name in law.parameters if name not in ("log_A", "log_B", "log_P")]
    show(_parameters(diagnosis, groups, shown))
    if any(f"{name}[{group}]" in diagnosis.prior_driven for name in shown for group in groups):
        show("* decided by the prior: no run informs it.")
    if posterior.attrs.get("engine") == "nuts":
        rhat, ess = diagnosis.table["rhat"].max(), diagnosis.table["ess_bulk"].min()
        worst = "unknown for one chain" if isnan(rhat) else f"at most {rhat:.3f}"
        show(f"R-hat {worst}, effective draws at least {ess:.0f}, {diagnosis.divergent} divergent.")
    if diagnosis.influential:
        show(diagnosis.influence)
    _print_repetition(posterior, groups, diagnosis.prior_driven)


def _parameters(diagnosis: "Diagnosis", groups: list[str], names: list[str]) -> "Table":
    """A row a group, a column a parameter; what the prior decides is starred."""
    from rich import box
    from rich.table import Table

    from isoflop.inference.posterior import LAW_VARIABLES

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", overflow="fold", min_width=8)
    for name in names:
        table.add_column(LAW_VARIABLES[name].symbol, no_wrap=True, justify="right")
    rows: dict[Any, dict[Any, Any]] = diagnosis.table.to_dict("index")
    for group in groups:
        cells = []
        for key in (f"{name}[{group}]" for name in names):
            if key not in rows:  # a parameter that this fit keeps fixed
                cells.append("–")
                continue
            row, mark = rows[key], "*" if key in diagnosis.prior_driven else ""
            cells.append(f"{number(row['median'])}{mark}\n{span(row['q16'], row['q84'])}")
        table.add_row(group, *cells)
    return table


def _print_repetition(posterior: "xr.DataTree", groups: list[str], driven: tuple[str, ...]) -> None:
    """What more passes over the same samples buy, in each group whose runs know it."""
    from isoflop.forecast.predict import group_draws, quantiles, repetition_gain

    known = [group for group in groups if f"omega[{group}]" not in driven]
    if posterior.attrs.get("engine") != "nuts" or not known:
        return
    show("More passes over the same samples are worth, in fresh samples (median, 68 %):")
    for group in known:
        draws = group_draws(posterior, group)
        gain = quantiles(repetition_gain(draws, PASSES))
        cells = [
            f"{passes:g} passes {number(middle)} ({span(low, high)})"
            for passes, (_, low, middle, high, _) in zip(PASSES, gain.T, strict=True)
        ]
        aside = " (before what overfitting costs)" if draws.final else ""
        show(f"  {group}: {'; '.join(cells)}{aside}")
