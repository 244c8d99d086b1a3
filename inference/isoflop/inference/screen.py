"""What a table of runs cannot say, found before anything is sampled.

A sampler never refuses: a loss that does not move or N in millions come back as a posterior, and
the forecast for a budget in FLOP is then off by that million.
"""

import numpy as np
import pandas as pd

from isoflop.inference.laws import Law

SAME_LOSS = 1e-9  # relative spread below which losses are one number written many times
TINY = 10.0  # parameters below which a network is none
ADVISED_RUNS = 12  # a back-test fits no fewer; below it the prior decides much of the law
COST = (1e-3, 2e6)  # plausible FLOP per parameter and sample: 6 times its tokens, or a share of it


def screen(
    records: pd.DataFrame, law: Law, *, ceiling: float = np.inf, source: str = "", apart: int = 0
) -> tuple[str, ...]:
    """Check the runs that are to be fitted by `law`; return warnings, one sentence each.

    A finite `ceiling` says that the loss is known to be bounded. `source` is the file that an
    error names, `apart` the number of its runs that are held out.

    `records` is a checked table (`read_records`); its diverged runs are passed over. Raises
    `ValueError` with every fault in one message when the table cannot be fitted.
    """
    runs = records[records["status"] != "diverged"]
    faults = [*_too_few(runs, law, apart), *_unidentified(runs, law, apart), *_constant_loss(runs)]
    faults += _cost_out_of_bounds(runs) or _fractions(runs)
    if faults:
        raise ValueError(from_file(source) + "; ".join(faults))
    bounded = _bounded(runs) if np.isinf(ceiling) else ()
    said = *_tiny_groups(runs, law), *_one_line(runs, law), *_odd_units(runs)
    return (*said, *_under_tuned(runs), *bounded)


def from_file(source: str) -> str:
    """The start of an error about a table: the name of its file, if it has one."""
    return f"{source}: " if source else ""


def looks_bounded(records: pd.DataFrame) -> bool:
    """Whether the loss saturates below 1 at the cheap end, as an error rate does at guessing.

    The logarithm of every law here is convex along any line in (log N, log D): the steepest fall
    is at the cheap end. A loss that is flat there and falls later is no such law.
    """
    if not records["loss"].between(0.0, 1.0, inclusive="neither").all():
        return False
    return any(_saturates(runs) for _, runs in records.groupby("group"))


def _unidentified(runs: pd.DataFrame, law: Law, apart: int) -> list[str]:
    faults = [
        f"{exponent} cannot be identified: {column} takes {runs[column].nunique()} distinct "
        f"value(s), law {law.name!r} needs at least 3"
        for column, exponent in (("params", "alpha"), ("samples", "beta"))
        if exponent in law.parameters and runs[column].nunique() < 3
    ]
    fewer = ", or keep fewer apart (--hold-out)" if apart else ""
    return faults and [*faults, f"add runs of other sizes{fewer}"]


def _runs_needed(runs: pd.DataFrame, law: Law) -> int:
    """Free parameters + 1; ω and P are free only where a run (to its end) repeats its samples."""
    repeats = runs["samples"] > runs["unique_samples"] * (1 + 1e-6)
    idle = {
        "omega": not repeats.any(),
        "log_P": not (repeats & (runs["loss_kind"] == "final")).any(),
    }
    return len([name for name in law.parameters if not idle.get(name)]) + 1


def _too_few(runs: pd.DataFrame, law: Law, apart: int) -> list[str]:
    """A fault where runs are too few, blamed on the hold-out if the table has enough."""
    needed = _runs_needed(runs, law)
    if len(runs) >= needed:
        return []
    has, remedy = f"the table has {len(runs)} run(s) to fit", "add runs"
    if apart:
        has = f"--hold-out keeps {apart} of {apart + len(runs)} runs apart, {len(runs)} are left"
        enough = apart + len(runs) >= needed
        remedy = "keep fewer apart" if enough else "keep fewer apart and add runs"
    return [
        f"{has} and law {law.name!r} with its {needed - 1} free parameters needs at least {needed} "
        f"({ADVISED_RUNS} or more are advised); {remedy}"
    ]


def _tiny_groups(runs: pd.DataFrame, law: Law) -> list[str]:
    needed, sizes = _runs_needed(runs, law), runs["group"].value_counts(sort=False)
    tiny = [f"{name} ({size})" for name, size in sizes.items() if size < needed]
    more = [f"{len(tiny) - 5} more"] if len(tiny) > 5 else []
    return tiny and [
        f"group(s) {', '.join(tiny[:5] + more)} hold fewer than the {needed} runs that law "
        f"{law.name!r} needs; the other groups and the prior decide the rest, so add runs to them"
    ]


def _constant_loss(runs: pd.DataFrame) -> list[str]:
    spread = float(np.ptp(runs["loss"]) / runs["loss"].mean()) if len(runs) > 1 else np.inf
    fault = (
        f"loss is {runs['loss'].max():g} in all {len(runs)} runs (relative spread {spread:.1g}, at "
        f"least {SAME_LOSS:g} is needed); check that the column is the validation loss of each run"
    )
    return [fault] if spread < SAME_LOSS else []


def _one_line(runs: pd.DataFrame, law: Law) -> list[str]:
    """A warning where N fixes D, and U, in every group: one power then does for both terms."""
    on_line = all(_collinear(runs, column) for column in ("samples", "unique_samples"))
    if not on_line or not {"alpha", "beta"} <= set(law.parameters):
        return []
    ratio = runs["samples"] / runs["params"]
    return [
        "in every group N and D lie on one line, log N = a + b log D ("
        f"{ratio.min():.3g} to {ratio.max():.3g} samples a parameter), so alpha and beta cannot be "
        "told apart and the prior decides the split; add runs at other samples a parameter"
    ]


def _collinear(runs: pd.DataFrame, column: str) -> bool:
    sizes = runs[["params", column]].transform(np.log)
    centred = sizes - sizes.groupby(runs["group"]).transform("mean")
    along, across = np.linalg.svd(centred.to_numpy(float), compute_uv=False)
    # N and D set by rule but rounded to whole layers and steps stay within 3 % of a line.
    return bool(across < 0.03 * along)


def _cost(runs: pd.DataFrame) -> "pd.Series[float]":
    """FLOP per parameter and sample of each run."""
    return runs["flops"] / runs["params"] / runs["samples"]


def _cost_out_of_bounds(runs: pd.DataFrame) -> list[str]:
    # Three quarters up: where `flops` was absent it was filled by 6ND and says nothing.
    cost = float(_cost(runs).quantile(0.75))
    most = runs[["params", "samples"]].max()
    largest = {name: f"{name} (largest {most[name]:g})" for name in ("params", "samples")}
    if cost < COST[0]:
        remedy = "flops looks given in a larger unit; multiply it to get FLOP"
    elif cost > COST[1]:
        power = 3 * int(np.floor(np.log10(cost / 2.0) / 3.0))  # leaves 2 to 2000
        remedy = f"{' times '.join(largest.values())} looks 1e{power} too small; make them counts"
        if unit := {6: "millions", 9: "billions"}.get(power):
            remedy = (
                f"{largest[str(most.idxmin())]} looks given in {unit}; multiply it by 1e{power}"
            )
    else:
        return []
    return [
        f"flops is {cost:.2g} per parameter and sample, {COST[0]:g} to {COST[1]:g} is plausible: "
        f"{remedy} (nothing is converted silently)"
    ]


def _fractions(runs: pd.DataFrame) -> list[str]:
    """Sizes below 1e4 that are no whole numbers, which a count of weights or samples is."""
    sizes = runs[["params", "samples"]]
    broken = ((sizes - sizes.round()).abs() > 1e-6 * sizes).sum()
    return [
        f"{name}: the largest is {sizes[name].max():g} and {broken[name]} of {len(runs)} are not "
        f"whole numbers; {symbol} looks given in thousands, millions or billions; multiply the "
        "column by that, or round it if it is a count (nothing is converted silently)"
        for name, symbol in (("params", "N"), ("samples", "D"))
        if broken[name] and sizes[name].max() < 1e4
    ]


def _under_tuned(runs: pd.DataFrame) -> list[str]:
    """A warning where records say that a rate was far from the best."""
    found = runs["run_id"][runs["tuning"].eq("under-tuned").fillna(False)]
    if found.empty:
        return []
    return [
        f"{len(found)} run(s) are recorded as under-tuned, first {found.iloc[0]}; such losses "
        "flatten the law and raise its floor: train them again at other rates, or drop them"
    ]


def _odd_units(runs: pd.DataFrame) -> list[str]:
    """Warnings on sizes and costs that are possible but seldom meant."""
    ratio = float((runs["samples"] / runs["params"]).median())
    sizes = (
        f"the median run has {ratio:.2g} samples a parameter, 1e-6 to 1e6 is usual; if "
        f"{'params' if ratio > 1 else 'samples'} is in millions or billions, make it a count"
    )
    cost = _cost(runs).groupby(runs["group"])
    spread = cost.max() / cost.min()
    convention = (
        f"flops per parameter and sample differs by a factor {spread.max():.2g} between the runs "
        f"of group {spread.idxmax()}, at most 10 is usual; give flops by one convention "
        "(absent values are filled by 6ND)"
    )
    smallest = float(runs["params"].min())
    tiny = (
        f"the smallest params is {smallest:g}, which is no network; if params is in thousands or "
        "millions, make it a count"
    )
    usual = 1e-6 < ratio < 1e6
    seen = {
        sizes: not usual,
        tiny: usual and smallest < TINY,
        convention: bool(spread.max() > 10),
    }
    return [text for text, holds in seen.items() if holds]


def _bounded(runs: pd.DataFrame) -> list[str]:
    warning = (
        f"the loss ({runs['loss'].min():.3g} to {runs['loss'].max():.3g}) looks like a bounded "
        "metric that saturates: the cheapest runs hardly fall and the others do, as no power law "
        "does; use --metric bounded, or leave the flat runs out with --loss-below"
    )
    return [warning] if looks_bounded(runs) else []


def _saturates(runs: pd.DataFrame) -> bool:
    """Flat (5 % a decade, within error) over the first decade of compute, surely steeper later."""
    cost = np.log10(runs["flops"])
    if len(runs) < 12:
        return False
    cheap = cost <= max(cost.min() + 1.0, cost.sort_values().iloc[5])
    (first, error), (later, other) = _fall(runs[cheap]), _fall(runs[~cheap])
    flat = first < 0.05 + error and later > max(0.1, 3.0 * first)
    return flat and later - first > 3.0 * float(np.hypot(error, other))


def _fall(runs: pd.DataFrame) -> tuple[float, float]:
    """Fall of log loss a decade of compute, N and D growing alike, and its error; or NaN, NaN."""
    sizes = np.log10(runs[["params", "samples"]].to_numpy(float))
    if len(runs) < 5 or np.ptp(sizes, axis=0).min() < 0.3:
        return np.nan, np.nan
    design = np.column_stack([np.ones(len(runs)), sizes])
    inverse, log_loss = np.linalg.pinv(design), np.log(runs["loss"].to_numpy(float))
    residual = log_loss - design @ (inverse @ log_loss)
    along = np.array([0.0, -0.5, -0.5]) @ inverse
    noise = np.sqrt(residual @ residual / (len(runs) - 3))
    return float(along @ log_loss), float(noise * np.linalg.norm(along))
