"""Which runs should come next? Five ways to choose them, on tables where every run exists.

Usage: python benchmarks/design.py [--replicas N] [--tables TEXT] [--out FOLDER]

The dearest tenth of a group is the target and is never for sale; the cheapest fifth, twelve runs at
least, is known at the start; the others can be bought until 1, 5 and 10 % of their compute is
spent, with a refit after each. In every replica a random quarter of them does not exist. The same
is done with the cheapest 70 % of each group, which has another target. The mean log loss of the
target is forecast by one quick fit for all methods, the normal approximation at the mode.

* `isoflop`: least expected variance of that forecast, as `isoflop design` chooses;
* `random`: in random order, whatever can still be paid; mean over several draws;
* `cheapest`: cheapest first;
* `D-optimal`: most information on the law's parameters; `V-optimal`: least variance of the losses
  of all runs for sale. Both take the law at its word, as textbooks do, and search as ours does.

`none` has bought nothing, `all` everything that is for sale. `least` is what no choice by what is
believed at the start could be expected to do better, and with everything bought. Writes
`design.json`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from extrapolation import tables
from scipy import stats

from isoflop.files import writing
from isoflop.forecast.beliefs import Beliefs, believe, log_losses
from isoflop.forecast.bound import least_variance
from isoflop.forecast.goals import Goal
from isoflop.forecast.predict import group_draws
from isoflop.forecast.selection import Limits, choose
from isoflop.inference import posterior as contract
from isoflop.inference import tree
from isoflop.inference.fit import usable_runs
from isoflop.inference.laws import LAWS
from isoflop.inference.mode import find_mode
from isoflop.inference.model import group_names, run_data
from isoflop.inference.priors import DEFAULT
from isoflop.inference.sampler import laplace_draws
from isoflop.inference.targets import padded_target
from isoflop.inference.valley import held_in, learn_valley
from isoflop.inference.wander import held_at, learn_wander

ROOT = Path(__file__).parents[1]
SHARES = (0.01, 0.05, 0.10)
TARGET, KNOWN, DROPPED = 0.1, 12, 0.25
LEVELS, LEAST = (1.0, 0.7), 28
DRAWS, RANDOM_DRAWS = 1000, 3
PLACE = ["file", "group", "level"]
"""A target: what is averaged over its replicas first."""


@dataclass(frozen=True)
class Score:
    """One forecast of the target of one group."""

    file: str
    group: str
    level: float
    replica: int
    method: str
    share: float
    """Compute bought, as a share of all that was for sale."""
    runs: int
    """Runs bought."""
    spent: float
    """Share of the compute that was spent."""
    mae: float
    """Mean over the target's runs of |forecast less observed log loss|, in per cent."""
    bias: float
    """Forecast less observed mean log loss of the target, in per cent."""
    sd: float
    """What the forecast's standard deviation was, in per cent."""
    expected: float
    """What it was expected to be before buying, in per cent; of `least` what our choice at the
    start was expected to leave; NaN for the other methods."""


def quick_posterior(records: pd.DataFrame, seed: int) -> xr.DataTree:
    """The normal approximation of the posterior at its mode, as a tree to forecast from."""
    data, groups, law = run_data(records), group_names(records), LAWS["coupled"]
    target, filled = padded_target(data, law, DEFAULT)
    valley = learn_valley(target, filled, law, DEFAULT)
    filled = held_in(filled, valley)
    wander = learn_wander(target, filled, DEFAULT.log_kappa)
    held = held_at(filled, wander.within(law))
    mode = find_mode(target, held, starts=1)
    sites = laplace_draws(target, held, mode, DRAWS, seed=seed)
    sites |= {"kappa": wander.draws(DRAWS, seed=seed)}
    single = {name: value[None] for name, value in sites.items()}
    parts = {"posterior": tree.law_dataset(single, groups)}
    parts |= tree.run_groups(records, groups, valley, reference=float(np.exp(data.centre[1])))
    made = xr.DataTree.from_dict(parts)
    made.attrs = {"schema": contract.SCHEMA, "law": law.name, "ceiling": np.inf}
    return made


def as_cells(records: pd.DataFrame) -> pd.DataFrame:
    """Run records as candidates."""
    cells = records[["group", "params", "unique_samples", "flops"]].reset_index(drop=True)
    unique = np.minimum(cells["unique_samples"], records["samples"].to_numpy())
    return cells.assign(unique_samples=unique, epochs=records["samples"].to_numpy() / unique)


def target_goal(posterior: xr.DataTree, hidden: pd.DataFrame) -> Goal:
    """The mean log loss of the target runs."""
    cells = as_cells(hidden)
    draws = {name: group_draws(posterior, name) for name in cells["group"].unique()}
    values = log_losses(draws, cells).mean(axis=1)
    slopes = np.full((len(values), len(cells)), 1.0 / len(cells))
    samples = cells["unique_samples"] * cells["epochs"]
    shape = float(np.log10(cells["params"] / samples).mean())
    return Goal("loss", "ln", values, cells, slopes, shape, 0.0, 0.0)


def exact(posterior: xr.DataTree) -> xr.DataTree:
    """The posterior with the law taken at its word."""
    draws = posterior["posterior"].to_dataset()
    zero = {name: draws[name] * 0.0 for name in ("walk", "walls", "rho", "kappa")}
    made = xr.DataTree.from_dict({"posterior": draws.assign(zero)})
    made["constant_data"], made["observed_data"] = (
        posterior["constant_data"],
        posterior["observed_data"],
    )
    made.attrs = posterior.attrs
    return made


def determinant(covariance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Gain in log determinant of the information: D-optimal."""
    return np.asarray(np.log1p(np.diag(covariance)[1:] / noise))


def mean_variance(covariance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Fall of the summed variance of all cells: V-optimal."""
    inner = covariance[1:, 1:]
    return np.asarray((inner**2).sum(axis=0) / (np.diag(inner) + noise))


Choice = tuple[list[int], float]
"""Rows bought, and the standard deviation expected of the forecast if the method expects one."""
Chooser = Callable[[xr.DataTree, pd.DataFrame, pd.DataFrame, float, int], Choice]
"""Posterior, runs for sale, target, spend [FLOP], seed → choice."""


def _beliefs(posterior: xr.DataTree, sale: pd.DataFrame, hidden: pd.DataFrame) -> Beliefs:
    """What is believed of the runs for sale; each exists once."""
    found = believe(posterior, as_cells(sale), target_goal(posterior, hidden))
    return replace(found, trained=np.zeros(len(sale), int), common=0.0)


def by_design(
    posterior: xr.DataTree, sale: pd.DataFrame, hidden: pd.DataFrame, spend: float, seed: int
) -> Choice:
    """Our choice."""
    beliefs = _beliefs(posterior, sale, hidden)
    picks = choose(beliefs, sale["flops"].to_numpy(), Limits(spend, len(sale), 1, 0))
    variance = picks[-1].variance if picks else np.nan
    return [pick.cell for pick in picks], float(np.sqrt(variance))


def by_criterion(gain: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Chooser:
    """The choice by another gain, the law taken at its word."""

    def chooser(
        posterior: xr.DataTree, sale: pd.DataFrame, hidden: pd.DataFrame, spend: float, seed: int
    ) -> Choice:
        beliefs = _beliefs(exact(posterior), sale, hidden)
        limits = Limits(spend, len(sale), 1, 0)
        picks = choose(beliefs, sale["flops"].to_numpy(), limits, gain)
        return [pick.cell for pick in picks], np.nan

    return chooser


def in_order(order: Callable[[pd.DataFrame, int], np.ndarray]) -> Chooser:
    """Whatever can still be paid, in an order that does not look at the posterior."""

    def chooser(
        posterior: xr.DataTree, sale: pd.DataFrame, hidden: pd.DataFrame, spend: float, seed: int
    ) -> Choice:
        bought, costs = [], sale["flops"].to_numpy()
        for row in order(sale, seed):
            if costs[row] <= spend:
                bought.append(int(row))
                spend -= costs[row]
        return bought, np.nan

    return chooser


METHODS: dict[str, Chooser] = {
    "isoflop": by_design,
    "random": in_order(lambda sale, seed: np.random.default_rng(seed).permutation(len(sale))),
    "cheapest": in_order(lambda sale, seed: np.argsort(sale["flops"].to_numpy(), kind="stable")),
    "D-optimal": by_criterion(determinant),
    "V-optimal": by_criterion(mean_variance),
}


def levels(records: pd.DataFrame) -> Iterator[tuple[float, pd.DataFrame]]:
    """The cheapest runs of a group up to each of `LEVELS`, where enough are left to choose from."""
    ordered = records.sort_values("flops", kind="stable")
    for level in LEVELS:
        kept = ordered.iloc[: round(level * len(ordered))]
        if len(kept) >= LEAST:
            yield level, kept


def split(ordered: pd.DataFrame, replica: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Runs known at the start, runs for sale and the target, of runs by compute."""
    hidden, known = max(3, round(TARGET * len(ordered))), max(KNOWN, round(0.2 * len(ordered)))
    sale = ordered.iloc[known:-hidden]
    kept = sale.sample(frac=1.0 - DROPPED, random_state=replica).sort_values("flops")
    return ordered.iloc[:known], kept.reset_index(drop=True), ordered.iloc[-hidden:]


def assess(posterior: xr.DataTree, hidden: pd.DataFrame) -> tuple[float, float, float]:
    """Mean |error| over the target's runs, error of their mean, and its forecast sd; per cent."""
    goal = target_goal(posterior, hidden)
    draws = group_draws(posterior, str(hidden["group"].iloc[0]))
    median = np.median(log_losses({draws.group: draws}, goal.runs), axis=0)
    error = median - np.log(hidden["loss"].to_numpy(float))
    variance = believe(posterior, goal.runs.iloc[:1], goal).covariance[0, 0]
    return (
        100.0 * float(np.abs(error).mean()),
        100.0 * float(error.mean()),
        100.0 * float(np.sqrt(variance)),
    )


def trial(ordered: pd.DataFrame, **labels: Any) -> list[Score]:
    """Every method in one replica of one group."""
    known, sale, hidden = split(ordered, labels["replica"])
    total = float(sale["flops"].sum())
    rows: list[Score] = []

    def score(
        method: str, share: float, bought: pd.DataFrame, seed: int, expected: float = np.nan
    ) -> xr.DataTree:
        posterior = quick_posterior(pd.concat([known, bought]), seed)
        mae, bias, sd = assess(posterior, hidden)
        rows.append(
            Score(
                **labels,
                method=method,
                share=share,
                runs=len(bought),
                spent=float(bought["flops"].sum()) / total,
                mae=mae,
                bias=bias,
                sd=sd,
                expected=100.0 * expected,
            )
        )
        return posterior

    score("all", 1.0, sale, 0)
    start = score("none", 0.0, sale.iloc[:0], 0)
    rows += [Score(**labels, **row) for row in bounds(start, sale, hidden)]
    for method, chooser in METHODS.items():
        for seed in range(RANDOM_DRAWS if method == "random" else 1):
            posterior, left, bought = start, sale, sale.iloc[:0]
            for share in SHARES:
                spend = share * total - float(bought["flops"].sum())
                chosen, expected = chooser(posterior, left, hidden, spend, seed)
                bought = pd.concat([bought, left.iloc[chosen]])
                left = left.drop(left.index[chosen]).reset_index(drop=True)
                posterior = score(method, share, bought, seed, expected)
    return rows


def bounds(start: xr.DataTree, sale: pd.DataFrame, hidden: pd.DataFrame) -> list[dict[str, Any]]:
    """Fields of `Score` of what no choice at the start could be expected to do better."""
    beliefs, costs = _beliefs(start, sale, hidden), sale["flops"].to_numpy(float)
    found = []
    for share in (*SHARES, 1.0):
        limits = Limits(share * costs.sum() * (1.0 + 1e-9), len(sale), 1, 0)
        picks = choose(beliefs, costs, limits)
        left = picks[-1].variance if picks else beliefs.covariance[0, 0]
        least = least_variance(beliefs, costs, limits)
        found.append(
            {
                "method": "least",
                "share": share,
                "runs": len(picks),
                "spent": float(costs[[pick.cell for pick in picks]].sum() / costs.sum()),
                "mae": np.nan,
                "bias": np.nan,
                "sd": 100.0 * float(np.sqrt(least)),
                "expected": 100.0 * float(np.sqrt(left)),
            }
        )
    return found


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """A row a method and share; each group and level counts once.

    `error`: mean |error| of the target's mean log loss [%]; `mae`: of its runs one by one [%]; `sd`
    [%] and `crps` of the forecast of the mean, the last as a geometric mean over that of `all`.
    """
    kind = ["method", "share"]
    scores = scores.assign(
        error=scores["bias"].abs(), crps=_normal_crps(scores["bias"], scores["sd"])
    )
    each = scores.groupby([*kind, *PLACE])[["error", "mae", "sd", "crps", "runs"]].mean()
    ratio = np.log(each["crps"]) - np.log(each["crps"].loc["all", 1.0])
    found = each.groupby(kind).mean()
    return found.assign(crps=np.exp(ratio.groupby(kind).mean()))


def _normal_crps(error: "pd.Series[float]", sd: "pd.Series[float]") -> "pd.Series[float]":
    """CRPS of a normal forecast that missed by `error`."""
    z = error / sd
    found: pd.Series[float] = sd * (
        z * (2.0 * stats.norm.cdf(z) - 1.0) + 2.0 * stats.norm.pdf(z) - 1.0 / np.sqrt(np.pi)
    )
    return found


def kept_promises(scores: pd.DataFrame) -> str:
    """How the standard deviations that were expected before buying compare with those after."""
    ours = scores[(scores["method"] == "isoflop") & (scores["expected"] > 0.0)]
    ratio = np.log(ours["sd"] / ours["expected"])
    low, middle, high = np.exp(np.quantile(ratio, (0.16, 0.5, 0.84)))
    inside = (ours["bias"].abs() < 1.96 * ours["sd"]).mean()
    return (
        f"sd after buying over the sd expected: {middle:.2f} ({low:.2f} – {high:.2f}, 68 %); "
        f"{inside:.0%} of the errors within 1.96 sd"
    )


def out_of_reach(scores: pd.DataFrame) -> str:
    """How near the choice at the start came to the least, and how far that is from all runs."""
    least = scores[scores["method"] == "least"]
    bought = least[least["share"] == SHARES[-1]].set_index([*PLACE, "replica"])
    everything = least[least["share"] == 1.0].set_index([*PLACE, "replica"])
    near = _by_target(bought["expected"] / bought["sd"])
    far = _by_target(bought["sd"] / everything["sd"])
    return (
        f"a tenth bought: the choice expects {_mean(near):.2f} (at most {near.max():.2f}) of the "
        f"least sd that any could, and that is {_mean(far):.2f} ({far.min():.2f} – "
        f"{far.max():.2f}) of the sd with everything bought"
    )


def _by_target(ratios: "pd.Series[float]") -> "pd.Series[float]":
    """Geometric mean over the replicas of each target."""
    return ratios.groupby(PLACE).agg(_mean)


def _mean(ratios: "pd.Series[float]") -> float:
    """Geometric mean."""
    return float(np.exp(np.log(ratios).mean()))


def main() -> None:
    """Run every method on every table and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--tables", default="", help="only those with this in their name")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks")
    options = parser.parse_args()
    rows: list[Score] = []
    start = time.process_time()
    for file, table in tables():
        if options.tables not in file:
            continue
        usable = usable_runs(table, loss_below=1.9 if "jets" in file else np.inf)
        for group, records in usable.groupby("group"):
            for level, ordered in levels(records):
                labels: dict[str, Any] = {"file": file, "group": str(group), "level": level}
                own = [
                    score
                    for replica in range(options.replicas)
                    for score in trial(ordered, **labels, replica=replica)
                ]
                rows += own
                found = summary(pd.DataFrame(map(asdict, own)))
                print(f"\n{file}, {group}, cheapest {level:.0%}; error of the mean [%]")
                print(found["error"].unstack("share").to_string(float_format="%.2f"), flush=True)
    scores = pd.DataFrame(map(asdict, rows))
    print(f"\nAll {scores.groupby(PLACE).ngroups} targets")
    print(summary(scores).to_string(float_format="%.2f"))
    print(kept_promises(scores))
    print(out_of_reach(scores))
    print(f"{time.process_time() - start:.0f} s of CPU")
    with writing(options.out / "design.json") as temporary:
        lines = ",\n".join(json.dumps(rounded(row)) for row in rows)
        temporary.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def rounded(row: Score) -> dict[str, Any]:
    """The row with four digits a number; None for what is not known."""
    return {
        name: (float(f"{value:.4g}") if np.isfinite(value) else None)
        if isinstance(value, float)
        else value
        for name, value in asdict(row).items()
    }


if __name__ == "__main__":
    main()
