"""What the commands print: tables for people on stdout, notes and progress on stderr."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from isoflop.forecast.design import Design
    from isoflop.inference.backtest import Row, Skipped
    from isoflop.inference.diagnostics import Diagnosis, Verdict
    from isoflop.inference.link_backtest import LinkRow
    from isoflop.inference.threshold import Threshold

PASSES = (2.0, 4.0, 10.0)
"""Numbers of passes over the same samples whose worth is shown."""


def print_forecast(posterior: "xr.DataTree", intervals: "pd.DataFrame") -> None:
    """The forecast as a person reads it, and what of it the prior decides."""
    from isoflop.inference.diagnostics import prior_driven

    names = {
        "loss": "loss of a run [nat]",
        "params_opt": "best N",
        "samples_opt": "best D [sample]",
        "epochs_opt": "best epochs",
        "efficiency:b": "efficiency of a b jet",
        "significance_ratio": "significance, ratio",
        "luminosity_equivalent": "luminosity, ratio",
    } | _rejection_names(posterior)
    published = posterior.attrs.get("engine") == "published"
    runs = "anchor's compute" if published else "runs"
    for _, rows in intervals.groupby(["group", "budget_flops"], sort=False):
        plan: dict[Any, Any] = rows.to_dict("records")[0]
        group, flops = plan["group"], plan["budget_flops"]
        decades = plan["extrapolation_decades"]
        where = f"{decades:.1f} decades beyond its {runs}" if decades else f"within its {runs}"
        show(f"\n{group} at C = {_number(flops)} FLOP, {where}")
        show(
            f"with N = {_number(plan['params'])}, {_number(plan['unique_samples'])} distinct "
            f"samples, {_number(plan['epochs'])} epoch(s)"
        )
        show(f"  {'':<22}{'median':>10}{'68 %':>22}{'95 %':>22}")
        for row in rows.to_dict("records"):
            ranges = [_range(row["low_68"], row["high_68"]), _range(row["low_95"], row["high_95"])]
            name = names[row["quantity"]]
            show(f"  {name:<22}{_number(row['median']):>10}{ranges[0]:>22}{ranges[1]:>22}")
        _print_reach(posterior, group, rows)
    shown = set(intervals["group"])
    driven = [name for name in prior_driven(posterior) if name.split("[")[1][:-1] in shown]
    if driven:
        show(f"\nThe prior alone decides {', '.join(driven)}: no run informs it.")
    if published:
        show("")
        for line in str(posterior.attrs["warnings"]).splitlines():
            show(f"Assumed: {line}")


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


def print_law(posterior: "xr.DataTree", diagnosis: "Diagnosis") -> None:
    """The law's parameters per group, median and 68 % interval, then the verdict."""
    from rich import box
    from rich.table import Table

    from isoflop.inference.laws import law_named
    from isoflop.inference.posterior import LAW_VARIABLES

    law = law_named(posterior.attrs["law"])
    runs = posterior["constant_data"].to_dataset()
    groups = [str(group) for group in runs["group"].values]
    show(f"{law.equation}, {runs.sizes['run']} runs; median and 68 % interval:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", overflow="fold", min_width=10)
    shown = [name for name in law.parameters if name not in ("log_A", "log_B", "log_P")]
    for name in shown:
        table.add_column(LAW_VARIABLES[name].symbol, no_wrap=True, justify="right")
    rows: dict[Any, dict[Any, Any]] = diagnosis.table.to_dict("index")
    for group in groups:
        cells = []
        for key in (f"{name}[{group}]" for name in shown):
            mark = "*" if key in diagnosis.prior_driven else ""
            if key not in rows:  # a parameter that this fit keeps fixed
                cells.append("–")
                continue
            row = rows[key]
            cells.append(f"{row['median']:.3g}{mark}\n{row['q16']:.3g} – {row['q84']:.3g}")
        table.add_row(group, *cells)
    show(table)
    if any(f"{name}[{group}]" in diagnosis.prior_driven for name in shown for group in groups):
        show("* decided by the prior: no run informs it.")
    if posterior.attrs.get("engine") == "nuts":
        rhat, ess = diagnosis.table["rhat"].max(), diagnosis.table["ess_bulk"].min()
        show(
            f"R-hat at most {rhat:.3f}, effective draws at least {ess:.0f}, "
            f"{diagnosis.divergent} divergent."
        )
    if diagnosis.influential:
        show(f"Runs that decide the fit by themselves: {', '.join(diagnosis.influential)}.")
    _print_repetition(posterior, groups, diagnosis.prior_driven)


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
            f"{passes:g} passes {_number(middle)} ({_range(low, high)})"
            for passes, (_, low, middle, high, _) in zip(PASSES, gain.T, strict=True)
        ]
        aside = " (before what overfitting costs)" if draws.final else ""
        show(f"  {group}: {'; '.join(cells)}{aside}")


def print_backtest(rows: "Sequence[Row]", skipped: "Sequence[Skipped]") -> None:
    """Scores of each method in each group, then what could not be tested."""
    show(
        f"{'group':<22}{'method':<19}{'hold-out':>8}{'runs':>9}{'error %':>9}{'bias %':>8}"
        f"{'in 68 %':>9}{'in 95 %':>9}{'width %':>9}{'CRPS %':>8}{'s':>7}"
    )
    for row in rows:
        show(
            f"{row.group[:21]:<22}{row.method:<19}{row.holdout:>8g}"
            f"{f'{row.n_train}+{row.n_test}':>9}{row.mae:>9.2f}{row.bias:>+8.2f}"
            f"{row.coverage_68:>9.0%}{row.coverage_95:>9.0%}{row.width_95:>9.1f}{row.crps:>8.2f}"
            f"{row.seconds:>7.1f}"
        )
    for one in skipped:
        who = one.group if one.method == "all" else f"{one.method} in {one.group}"
        show(f"skipped {who} at hold-out {one.holdout:g}: {one.reason}")


def print_link_backtest(rows: "Sequence[LinkRow]") -> None:
    """How well the counts of hidden runs were predicted, given their loss and given its forecast.

    An error of log R is a relative error of R.
    """
    for cut, kind in dict.fromkeys((row.cut, row.kind) for row in rows):
        own = [row for row in rows if (row.cut, row.kind) == (cut, kind)]
        scale = "log R" if kind == "rejection" else "logit ε"
        show(f"\n{kind}, {cut} of the runs hidden, {own[0].n_train} fitted; errors of {scale}")
        show(
            f"{'signal':<10}{'given':<15}{'counts':>7}{'in 68 %':>9}{'in 95 %':>9}{'error':>8}"
            f"{'bias':>8}{'counting':>10}"
        )
        for row in own:
            show(
                f"{row.signal:<10}{row.given:<15}{row.n_test:>7}{row.coverage_68:>9.0%}"
                f"{row.coverage_95:>9.0%}{row.mae:>8.2f}{row.bias:>+8.2f}{row.counting:>10.2f}"
            )


def print_threshold(found: "Threshold", table: "pd.DataFrame", verdict: "Verdict") -> None:
    """The labels, the exponent beside the published one, the thresholds, the verdict."""
    from isoflop.inference.threshold import PUBLISHED_EXPONENT, RULE

    counted = ", ".join(f"{number} {label}" for label, number in found.counts.items())
    show(f"N_thr ∝ U^x, {len(found.runs)} runs over repeated samples: {counted}.")
    show(f"{RULE[0].upper()}{RULE[1:]}.")
    show(f"\n  {'':<32}{'median':>10}{'68 %':>22}{'95 %':>22}")
    names = {"x": "x", "k": "k, logit per e-fold of N"}
    for name, row in table.iterrows():
        group = str(name).removeprefix("N_thr[").removesuffix("]")
        title = names.get(str(name), f"N_thr at U = {_number(found.centre)}, {group}")
        ranges = [_range(row[f"low_{level}"], row[f"high_{level}"]) for level in (68, 95)]
        show(f"  {title:<32}{_number(row['median']):>10}{ranges[0]:>22}{ranges[1]:>22}")
    for group, label in found.one_sided.items():
        show(f"All labelled runs of {group} are {label}: other groups and the prior set its N_thr.")
    low, high = table[["low_95", "high_95"]].to_numpy()[0]
    within = low <= PUBLISHED_EXPONENT <= high
    show(
        f"\nPublished for jets: x = {PUBLISHED_EXPONENT} (arXiv:2602.15781), "
        f"{'within' if within else 'outside'} the 95 % interval."
    )
    show(
        f"R-hat at most {table['rhat'].max():.3f}, effective draws at least "
        f"{table['ess'].min():.0f}, {found.divergent} divergent."
    )
    if verdict.ok:
        show("Verdict: the sampler converged, and runs on both sides inform the threshold.")
    else:
        show(f"Verdict: NOT to be trusted: {'; '.join(verdict.reasons)}.")


def print_design(found: "Design", flops: float, group: str) -> None:
    """The runs to train next, and what they are expected to do to the forecast."""
    goal, table = found.goal, found.table
    names = {"loss": "the loss", "params_opt": "log of the best N"}
    where = f"{goal.decades:.1f} decades beyond its runs" if goal.decades else "within its runs"
    log = "log of " if goal.quantity.startswith("rejection:") else ""
    what = names.get(goal.quantity, f"{log}{goal.quantity}")
    show(f"{what} of {group} at C = {_number(flops)} FLOP, {where}")
    show(
        f"its standard deviation is {found.sd_now:.3g} {goal.unit} now and is expected to be "
        f"{found.sd_after:.3g} after {len(table)} run(s) (linearised)"
    )
    show(
        f"\n{'':>3} {'group':<14}{'N':>9}{'U':>10}{'epochs':>8}{'kind':>6}{'seed':>6}{'FLOP':>10}"
        f"{'spend':>10}{'expected sd':>13}{'batch':>7}"
    )
    for place, run in enumerate(table.to_dict("records"), start=1):
        show(
            f"{place:>3} {run['group'][:13]:<14}{_number(run['params']):>9}"
            f"{_number(run['unique_samples']):>10}{run['epochs']:>8g}{run['kind']:>6}"
            f"{run['seed']:>6}{_number(run['flops']):>10}{_number(run['spend']):>10}"
            f"{run['expected_sd']:>13.3g}{run['batch']:>7}"
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


@contextmanager
def progress_bar(title: str, *, visible: bool) -> "Iterator[Callable[[int, int], None]]":
    """A bar on stderr that a `tick(done, total)` moves; nothing where stderr is no terminal."""
    if not (visible and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _number(value: float) -> str:
    """Four digits where that is plain, else as 7.49e9."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def _range(low: float, high: float) -> str:
    return f"{_number(low)} – {_number(high)}"


def show(content: Any) -> None:
    """Print text or a table on stdout, without the markup that names may look like."""
    from rich.console import Console

    # A pipe has no width; 100 columns hold the tables without folding.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print(content, markup=False, soft_wrap=isinstance(content, str))


def note(line: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(line + "\n")
