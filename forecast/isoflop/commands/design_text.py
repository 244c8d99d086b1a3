"""What `isoflop design` prints: the runs to train next."""

from typing import TYPE_CHECKING

from isoflop.terminal import number, show

if TYPE_CHECKING:
    import pandas as pd

    from isoflop.forecast.design import Design
    from isoflop.forecast.selection import Limits


def print_design(
    found: "Design", flops: float, group: str, candidates: "pd.DataFrame", limits: "Limits"
) -> None:
    """The runs to train next, and what they are expected to do to the forecast."""
    from isoflop.forecast.design import WORTH_NAMING

    goal, table = found.goal, found.table
    names = {"loss": "the loss", "params_opt": "log of the best N"}
    where = f"{goal.decades:.1f} decades beyond its runs" if goal.decades else "within its runs"
    log = "log of " if goal.quantity.startswith("rejection:") else ""
    what = names.get(goal.quantity, f"{log}{goal.quantity}")
    show(f"{what} of {group} at C = {number(flops)} FLOP, {where}")
    show(
        f"its standard deviation is {found.sd_now:.3g} {goal.unit} now and is expected to be "
        f"{found.sd_after:.3g} after {len(table)} run(s) (linearised)"
    )
    show(
        f"no choice among {len(candidates)} candidates (N up to "
        f"{number(candidates['params'].max())}, U up to "
        f"{number(candidates['unique_samples'].max())}) of at most {limits.runs} run(s) for "
        f"{number(limits.spend)} FLOP could be expected to leave less than {found.sd_least:.3g} "
        f"{goal.unit}; a larger --spend or others by --candidates might"
    )
    show(
        f"\n{'':>3} {'group':<14}{'N':>9}{'U':>10}{'epochs':>8}{'kind':>6}{'seed':>6}{'FLOP':>10}"
        f"{'spend':>10}{'expected sd':>13}{'batch':>7}"
    )
    for place, run in enumerate(table.to_dict("records"), start=1):
        show(
            f"{place:>3} {run['group'][:13]:<14}{number(run['params']):>9}"
            f"{number(run['unique_samples']):>10}{run['epochs']:>8g}{run['kind']:>6}"
            f"{run['seed']:>6}{number(run['flops']):>10}{number(run['spend']):>10}"
            f"{run['expected_sd']:>13.3g}{run['batch']:>7}"
        )
    left = limits.spend - float(table["flops"].sum())
    if len(table) < limits.runs and left >= float(candidates["flops"].min()):
        show(
            f"{number(left)} FLOP are left: more runs would take less than "
            f"{WORTH_NAMING:.0%} of the variance away."
        )
    if goal.scatter:
        show(f"A single run scatters by {goal.scatter:.3g} {goal.unit} more, which no run removes.")
    if "rate" in set(table["kind"]):
        show("rate: the same cell at twice the learning rate, to see whether it was under-tuned.")
    if not found.common:
        show(
            "No repeated run of the fit shows that repeats have an error in common: a seed counts "
            "as a new run, a learning-rate check as nothing."
        )
