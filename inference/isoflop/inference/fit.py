"""Fit the hierarchical model to run records by NUTS and return the posterior as a DataTree."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from isoflop.inference import baselines, predictive, tree
from isoflop.inference import posterior as contract
from isoflop.inference.density import CHUNK
from isoflop.inference.diagnostics import sampler_verdict
from isoflop.inference.laws import KNOTS, NO_PENALTY, SIDES, Law, law_named
from isoflop.inference.link import link_groups
from isoflop.inference.mode import find_mode
from isoflop.inference.model import RunData, Valley, group_names, in_valley, new_runs, run_data
from isoflop.inference.priors import DEFAULT, Priors
from isoflop.inference.rolling import RollingErrors, rolling_errors
from isoflop.inference.sampler import DEFAULT_LENGTHS, PILOT_DRAWS, Lengths, pilots, sample
from isoflop.inference.screen import from_file, screen
from isoflop.inference.targets import padded_target, prior_draws
from isoflop.inference.valley import held_in, learn_valley
from isoflop.inference.wander import held_at, learn_wander

PRIOR_DRAWS = 2000
ENGINES = ("nuts", "approach3", "approach3-coupled", "varpro")
"""NUTS of the hierarchical model, or a method of `baselines` with its bootstrap."""
UNBOUNDED_GAIN = 1e6
"""ω of a method that counts repeats as new samples."""

MAX_RUNS = 4000
"""Runs that take minutes and 2 GB at 50 groups; more inform the law no further."""
MIN_DRAWS, MIN_WARMUP = 50, 50
"""Draws a chain below which a 95 % interval and the diagnostics mean nothing; steps before them
below which a chain may not move at all."""
MAX_FINAL_EPOCHS = 100.0
MEMORISING = 4.0
MAX_MEMORISING_EPOCHS = 30.0

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Sampled:
    """Draws of one fit and what they were drawn from."""

    sites: dict[str, np.ndarray]
    """Posterior draws by name, (chain, draw, ...)."""
    stats: dict[str, np.ndarray]
    """What the sampler says of itself; empty for a bootstrap."""
    prior: dict[str, np.ndarray]
    """Prior draws by name, (draw, ...); empty for a bootstrap."""
    rolling: RollingErrors | None
    """Errors of refits on the cheaper runs; None for a bootstrap."""
    valley: Valley
    """The law at which it is held what runs lose off the optimum."""


def fit(
    records: pd.DataFrame,
    law: str = "coupled",
    *,
    engine: str = "nuts",
    hold_out: float = 0.0,
    loss_below: float = math.inf,
    ceiling: float = math.inf,
    max_runs: int = MAX_RUNS,
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 300,
    seed: int = 0,
    priors: Priors = DEFAULT,
    source: str = "",
    source_sha256: str = "",
    tick: Tick = lambda done, total: None,
    working_points: pd.DataFrame | None = None,
) -> xr.DataTree:
    """Sample the posterior of `law` given checked run records (`read_records`).

    `hold_out` is the fraction of the runs, the most expensive ones by `flops`, that are kept apart
    and predicted instead. Diverged runs carry no number and are left out, and so are runs that
    repeat their samples past what the overfitting penalty describes (`usable_runs`). Runs whose
    loss is not below `loss_below` [nat] are left out too: near the loss of guessing (ln K for
    K classes) nothing has been learned yet and no power law holds. With a finite `ceiling` [unit of
    the loss] the law is that of L/(1 − L/ceiling), which has no bound. Of a table with more
    than `max_runs` runs a stratified subset is fitted (`thinned`). `engine` names the method,
    one of `ENGINES`; all but `nuts` bootstrap, treat every group by itself and know no repetition.
    With `working_points` (`read_working_points`) the link from the loss to them is fitted too, on
    the runs of the fit alone.

    Returns a tree by the contract of `isoflop.inference.posterior`. Raises `ValueError` when the
    runs cannot identify the law, and for fewer draws a chain than `MIN_DRAWS`.
    """
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
    _require_lengths(draws, warmup)
    law = baselines.LAWS.get(engine, law)
    form = law_named(law)
    usable = usable_runs(records, loss_below=min(loss_below, ceiling), source=source)
    fitted, held = split_most_expensive(usable, hold_out)
    warnings = [*screen(fitted, form, ceiling=ceiling, source=source, apart=len(held))]
    whole, fitted = len(fitted), thinned(fitted, max_runs, seed=seed)
    if len(fitted) < whole:
        warnings.append(
            f"{len(fitted)} of {whole} runs were fitted, drawn at random within each group and "
            "half-decade of compute; the posterior is that of fewer runs, so a little wider"
        )
    groups = group_names(fitted)
    if engine == "nuts":
        lengths = Lengths(chains, draws, warmup)
        sampled = sample_law(fitted, form, priors, lengths, ceiling=ceiling, seed=seed, tick=tick)
    else:
        sampled = _bootstrap(engine, fitted, groups, chains * draws, ceiling=ceiling, seed=seed)
    data = in_valley(run_data(fitted, ceiling=ceiling), sampled.valley)
    parts = _parts(sampled, fitted, data, groups, ceiling=ceiling, seed=seed)
    if len(held):
        unseen = new_runs(held, data, groups, sampled.valley, ceiling=ceiling)
        lost = predictive.replicated_loss(sampled.sites, unseen, ceiling=ceiling, seed=seed + 3)
        parts |= tree.predicted_groups(held, lost)
    if working_points is not None:
        shape = sampled.sites["alpha"].shape[:2]
        lengths = Lengths(chains, draws, warmup)
        parts |= link_groups(working_points, fitted, lengths, shape=shape, seed=seed + 4)
    result = xr.DataTree.from_dict(parts)
    result.attrs = contract.root_attributes(
        law=law, seed=seed, records=source, records_sha256=source_sha256
    )
    result.attrs |= {
        "engine": engine,
        "ceiling": ceiling,
        "runs_left_out": len(records) - len(usable),
        "warnings": "\n".join(warnings),
    }
    faults = [*sampler_verdict(result).reasons]
    faults += [part.attrs["faults"] for part in parts.values() if part.attrs.get("faults")]
    result.attrs["sampler_faults"] = "\n".join(faults)
    return result


def _require_lengths(draws: int, warmup: int) -> None:
    """Refuse chains too short to say anything."""
    if draws < MIN_DRAWS:
        raise ValueError(
            f"draws is {draws} a chain; it must be at least {MIN_DRAWS}, for fewer give neither a "
            "95 % interval nor diagnostics (1000 is usual)"
        )
    if warmup < MIN_WARMUP:
        raise ValueError(
            f"warmup is {warmup}; it must be at least {MIN_WARMUP}, for in fewer steps a chain "
            "does not find its step size (300 is usual)"
        )


def sample_law(
    records: pd.DataFrame,
    law: Law,
    priors: Priors = DEFAULT,
    lengths: Lengths = DEFAULT_LENGTHS,
    *,
    ceiling: float = math.inf,
    seed: int = 0,
    tick: Tick = lambda done, total: None,
) -> Sampled:
    """Draws of the law's parameters by NUTS and of κ by mass, and how refits on cheaper runs do."""
    data = run_data(records, ceiling=ceiling)
    target, filled = padded_target(data, law, priors, warmup=lengths.warmup)
    target.compile_ahead(filled)
    valley = learn_valley(target, filled, law, priors)
    filled = held_in(filled, valley)
    wander = learn_wander(target, filled, priors.log_kappa)
    held = held_at(filled, wander.within(law))
    mode = find_mode(target, held, seed=seed)
    count = _counter(lengths, pilots(target), tick)
    drawn = sample(target, held, mode, lengths, seed=seed, tick=count)
    kappa = wander.draws(lengths.chains * lengths.draws, seed=seed)
    sites = drawn.sites | {"kappa": kappa.reshape(lengths.chains, lengths.draws)}
    errors = rolling_errors(records, law, priors, wander, ceiling=ceiling, seed=seed)
    prior = prior_draws(held, law, priors, PRIOR_DRAWS, seed=seed + 1)
    return Sampled(sites, drawn.stats, prior, errors, valley)


def usable_runs(
    records: pd.DataFrame, *, loss_below: float = math.inf, source: str = ""
) -> pd.DataFrame:
    """The runs that the law describes: a loss below the bound, not repeated past its penalty.

    An error names the file `source`.

    The overfitting penalty of `final` losses holds to about `MAX_FINAL_EPOCHS` passes, and where
    N/U exceeds `MEMORISING` only to `MAX_MEMORISING_EPOCHS`.
    """
    epochs = records["samples"] / records["unique_samples"]
    memorises = records["params"] / records["unique_samples"] > MEMORISING
    most = np.where(memorises, MAX_MEMORISING_EPOCHS, MAX_FINAL_EPOCHS)
    spent = (records["loss_kind"] == "final") & (epochs > most)
    learned = (records["status"] != "diverged") & (records["loss"] < loss_below)
    usable = records[learned & ~spent]
    if usable.empty:
        raise ValueError(
            f"{from_file(source)}no run to fit: every run diverged, repeats its samples more than "
            f"{MAX_FINAL_EPOCHS:g} times or has a loss of {loss_below:g} nat or more"
        )
    return usable


def split_most_expensive(
    records: pd.DataFrame, fraction: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split off the given fraction of the runs with the largest compute: (kept, held out)."""
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"the held-out fraction is {fraction}; it must lie in [0, 1)")
    by_cost = records.sort_values("flops", kind="stable")
    held = round(fraction * len(records))
    kept, apart = by_cost.iloc[: len(by_cost) - held], by_cost.iloc[len(by_cost) - held :]
    lost = sorted(set(apart["group"]) - set(kept["group"]))
    if lost:
        raise ValueError(f"no run left to fit in group(s) {', '.join(lost)}; hold out fewer runs")
    return kept, apart


def thinned(records: pd.DataFrame, most: int, *, seed: int) -> pd.DataFrame:
    """At most `most` of the runs, equally many of each group and half-decade of compute, at random.

    A posterior given some of the runs is a posterior: nothing is approximated but the table.
    """
    if len(records) <= most:
        return records
    cell = np.floor(2.0 * np.log10(records["flops"].to_numpy(float)))
    shuffled = records.assign(_cell=cell).sample(frac=1.0, random_state=seed)
    place = shuffled.groupby(["group", "_cell"]).cumcount()
    kept = shuffled[place.rank(method="first") <= most]
    return kept.drop(columns="_cell").sort_index()


def _counter(lengths: Lengths, runs: int, tick: Tick) -> Callable[[int], None]:
    """Adds up the steps of all chains, in so many pilot runs and the last, for a progress bar.

    Chains that go on for want of effective draws add to the total.
    """
    kept = *(PILOT_DRAWS,) * runs, lengths.draws
    each = [-(-(lengths.warmup + draws) // CHUNK) * CHUNK for draws in kept]
    total, done = lengths.chains * sum(each), 0

    def count(steps: int) -> None:
        nonlocal done, total
        done += steps
        if done > total:
            total += lengths.chains * each[-1]
        tick(done, total)

    return count


def _bootstrap(
    engine: str,
    records: pd.DataFrame,
    groups: tuple[str, ...],
    draws: int,
    *,
    ceiling: float,
    seed: int,
) -> Sampled:
    """Draws of a method of the field in the shape of a posterior, one chain; κ is 0."""
    if math.isfinite(ceiling):
        raise ValueError(f"engine {engine!r} knows no ceiling; use engine 'nuts'")
    fits = [
        baselines.fit_baseline(engine, records[records["group"] == name], draws=draws, seed=seed)
        for name in groups
    ]
    # A term that a bootstrap draw switches off has log −∞; −300 is as far off and finite.
    theta = {
        name: np.maximum(np.stack([one.theta[name] for one in fits], axis=-1)[None], -300.0)
        for name in fits[0].theta
    }
    # Repeats count as new samples, which is the gain of an ω without bound.
    theta["omega"] = np.full_like(theta["alpha"], UNBOUNDED_GAIN)
    theta["log_P"] = np.full_like(theta["alpha"], NO_PENALTY)
    residuals = np.concatenate([one.residuals for one in fits])
    noise = {"sigma": float(residuals.std()), "nu": 1e6}
    noise |= dict.fromkeys(("sigma_slope", "rho", "kappa"), 0.0)
    shape = theta["alpha"].shape[:2]
    sites = theta | {name: np.full(shape, value) for name, value in noise.items()}
    sites["walk"] = np.zeros((*theta["alpha"].shape, KNOTS))
    sites["walls"] = np.zeros((*theta["alpha"].shape, SIDES))
    valley = {name: np.median(draws, axis=(0, 1)) for name, draws in theta.items()}
    return Sampled(sites, {}, {}, None, valley)


def _parts(
    sampled: Sampled,
    records: pd.DataFrame,
    data: RunData,
    groups: tuple[str, ...],
    *,
    ceiling: float,
    seed: int,
) -> dict[str, xr.Dataset]:
    """The groups of the tree that every fit has, and those of its method."""
    sites = sampled.sites
    lost = predictive.replicated_loss(sites, data, ceiling=ceiling, seed=seed + 2)
    parts = {
        "posterior": tree.law_dataset(sites, groups),
        "log_likelihood": tree.loss_dataset(predictive.log_likelihood(sites, data)),
        "posterior_predictive": tree.loss_dataset(lost),
    }
    reference = float(np.exp(data.centre[1]))
    parts |= tree.run_groups(records, groups, sampled.valley, reference=reference)
    if sampled.prior:
        before = {name: value[None] for name, value in sampled.prior.items()}
        parts["prior"] = tree.law_dataset(before, groups)
    if sampled.stats:
        dims = ("chain", "draw")
        parts["sample_stats"] = xr.Dataset({k: (dims, v) for k, v in sampled.stats.items()})
    if sampled.rolling is not None:
        parts["rolling"] = tree.rolling_dataset(sampled.rolling)
    return parts
