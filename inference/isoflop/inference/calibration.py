"""Simulation-based calibration: refit runs that the prior itself has made.

Draw parameters from the prior, draw runs from the model given them, sample the posterior given the
runs. If model and sampler are right, the truth is in distribution one more posterior draw, so its
rank among L posterior draws is uniform on 0 … L, for every function of parameters and runs (Talts
et al., arXiv:1804.06788; for functions that see the runs Modrák et al., arXiv:2211.02383).

A fit of real runs locates the prior of the level at their mean log loss. That looks at the runs
before it states a prior, so no such model has made them and ranks under it need not be uniform.
Here the level and the centre are part of the design, the same for the simulation and for the refit,
and calibration is exact; `recentred` measures what the look at the runs costs. So are κ and the law
at which it is held what runs lose off the optimum, which a fit learns before it samples.

Nothing is dropped: a replication whose chains did not converge counts, and its R-hat, effective
draws and divergences stand beside its ranks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import jax
import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from jax import Array
from numpyro import handlers
from scipy import stats

from isoflop.inference import predictive
from isoflop.inference.laws import Law
from isoflop.inference.mode import find_mode
from isoflop.inference.model import (
    RunData,
    group_names,
    in_valley,
    new_runs,
    run_data,
    scaling_model,
)
from isoflop.inference.pooling import STANDARD, VALUES
from isoflop.inference.posterior import LAW_VARIABLES
from isoflop.inference.priors import DEFAULT, Priors
from isoflop.inference.ranks import rank_among
from isoflop.inference.sampler import Lengths, sample
from isoflop.inference.targets import padded_target, prior_draws
from isoflop.inference.wander import held_at

LENGTHS = Lengths(chains=3, draws=500)
"""How long to sample one replication: enough for `RANKED` draws that are about independent."""
PRIOR_DRAWS = 20_000
"""Prior draws that put a quantity on the scale on which its prior is standard normal."""
FALL = 0.15
"""Fall of the log loss per decade of compute, the unit of the law's error within the runs."""
BEYOND = 2.0
"""Decades of compute beyond the dearest run of a group at which its forecast is ranked."""


@dataclass(frozen=True)
class Laboratory:
    """Runs to be, and the model that makes and refits them."""

    groups: tuple[str, ...]
    """Names in the order of the group axis."""
    runs: RunData
    """The design. `level` and `centre` are those of every simulation and refit; the losses say
    nothing."""
    beyond: RunData
    """One run a group, `BEYOND` decades of compute past its dearest, N and U grown alike."""
    law: Law
    """The form of the law."""
    priors: Priors
    """What truths are drawn from."""
    lengths: Lengths
    """How long a refit samples."""
    prior: dict[str, np.ndarray]
    """Sorted prior draws of each quantity, shape (`PRIOR_DRAWS`,)."""


@dataclass(frozen=True)
class Simulation:
    """One draw of the joint model."""

    truth: dict[str, np.ndarray]
    """Every site of the model by name, of shape () or (groups,)."""
    runs: RunData
    """The runs of the design with the losses that the truth gave them."""


@dataclass(frozen=True)
class Replication:
    """One truth among the draws of its refit; the arrays are aligned with `quantities`."""

    seed: int
    """What made the simulation and the refit."""
    quantities: tuple[str, ...]
    """Scalars such as `omega[a]`, `sigma`, `log_likelihood`."""
    rank: np.ndarray
    """How many of the `RANKED` draws lie below the truth."""
    contraction: np.ndarray
    """1 − posterior over prior variance, on the scale where the prior is standard normal."""
    z_score: np.ndarray
    """(posterior mean − truth) / posterior standard deviation, on that scale."""
    rhat: np.ndarray
    """Rank-normalised R-hat."""
    ess: np.ndarray
    """Effective draws of the bulk, of all draws before thinning."""
    divergent: int
    """Divergent transitions."""


def lay_out(
    records: pd.DataFrame, law: Law, priors: Priors = DEFAULT, lengths: Lengths = LENGTHS
) -> Laboratory:
    """The laboratory of a checked record table; its losses only locate the prior of the level."""
    groups = group_names(records)
    fall = np.full(len(groups), FALL)
    kappa = np.exp(priors.log_kappa.location) if law.errs else 0.0
    runs = held_at(replace(run_data(records), fall=fall), kappa)
    drawn = prior_draws(runs, law, priors, PRIOR_DRAWS, seed=0)
    valley = {name: np.median(drawn[name], axis=0) for name in LAW_VARIABLES}
    runs = in_valley(runs, valley)
    dearest = records.sort_values("flops").groupby("group").tail(1).sort_values("group")
    grown = {name: dearest[name] * 10.0 ** (BEYOND / 2.0) for name in ("params", "samples")}
    grown |= {"unique_samples": grown["samples"], "flops": dearest["flops"] * 10.0**BEYOND}
    beyond = new_runs(dearest.assign(**grown), runs, groups, valley)
    sites = {name: value[None] for name, value in drawn.items() if name != "kappa"}
    prior = _scalars(_ranked_sites(sites, runs, beyond), groups)
    ordered = {name: np.sort(value[0]) for name, value in prior.items()}
    return Laboratory(groups, runs, beyond, law, priors, lengths, ordered)


def simulate(
    laboratory: Laboratory, *, seed: int, known: Mapping[str, np.ndarray | float] | None = None
) -> Simulation:
    """Draw parameters from the prior and runs from the model's own noise.

    Sites that are `known` take these values, which makes a test of recovery and no calibration.
    Raises `FloatingPointError` if a loss overflows: such a draw must not vanish from the ranks.
    """
    program = _simulator(laboratory.law, laboratory.priors)
    fixed = {name: np.asarray(value, float) for name, value in (known or {}).items()}
    sites, log_loss = program(jax.random.key(seed), laboratory.runs, fixed)
    loss = np.exp(np.asarray(log_loss))
    if not (np.isfinite(loss) & (loss > 0)).all():
        raise FloatingPointError(
            f"a loss of seed {seed} is beyond double precision, |log loss| up to "
            f"{np.abs(log_loss).max():.0f}; bring the runs of the design closer to its centre"
        )
    truth = {name: np.asarray(value) for name, value in sites.items()}
    return Simulation(truth, replace(laboratory.runs, loss=loss))


def recentred(simulation: Simulation) -> Simulation:
    """The same runs with the level located at their mean log loss, as a fit of real runs does."""
    runs, level = simulation.runs, simulation.runs.level
    log_loss = np.log(runs.loss)
    mean = np.array([log_loss[runs.group == g].mean() for g in range(len(level))])
    # The site is log loss from the level.
    truth = simulation.truth | {"level": simulation.truth["level"] + level - mean}
    return Simulation(truth, replace(runs, level=mean))


def judge(simulation: Simulation, laboratory: Laboratory, *, seed: int) -> Replication:
    """Refit the runs and place the truth among the draws.

    The compiled program is shared by all replications of a laboratory: runs are its arguments.
    """
    law, priors, lengths = laboratory.law, laboratory.priors, laboratory.lengths
    target, filled = padded_target(simulation.runs, law, priors, warmup=lengths.warmup)
    drawn = sample(target, filled, find_mode(target, filled, seed=seed), lengths, seed=seed)
    single = {name: value[None, None] for name, value in simulation.truth.items()}
    posterior = quantities(drawn.sites, simulation.runs, laboratory)
    truth = quantities(single, simulation.runs, laboratory)
    # What the law fixes, such as γ = 1, has no rank.
    names = tuple(name for name, value in posterior.items() if np.ptp(value) > 0)
    draws = np.stack([posterior[name] for name in names])
    flat, true = draws.reshape(len(names), -1), np.array([truth[name].item() for name in names])
    contraction, z_score = _against_prior(names, flat, true, laboratory.prior)
    return Replication(
        seed=seed,
        quantities=names,
        rank=rank_among(flat, true),
        contraction=contraction,
        z_score=z_score,
        rhat=_each(array_stats.rhat, draws),
        ess=_each(array_stats.ess, draws),
        divergent=int(drawn.stats["diverging"].sum()),
    )


def replicate(laboratory: Laboratory, *, seed: int, recentre: bool = False) -> Replication:
    """One replication: simulate, refit, rank; with `recentre` the refit looks at the losses."""
    first, second = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    simulation = simulate(laboratory, seed=first)
    simulation = recentred(simulation) if recentre else simulation
    return replace(judge(simulation, laboratory, seed=second), seed=seed)


def quantities(
    sites: Mapping[str, np.ndarray], runs: RunData, laboratory: Laboratory
) -> dict[str, np.ndarray]:
    """The scalars that are ranked, each (chain, draw), by name: `omega[a]`, `sigma`.

    Three are functions of the sites: `level` is the log loss at the centre, `forecast` the law's
    log loss `BEYOND` the runs, `log_likelihood` that of all runs. Left out is what adds nothing:
    values of groups from which parameters of the law follow, and the logarithm of a site that is
    itself there.
    """
    kept = _ranked_sites(sites, runs, laboratory.beyond)
    kept["log_likelihood"] = predictive.log_likelihood(sites, runs).sum(-1)
    return _scalars(kept, laboratory.groups)


def ranks_table(replications: Iterable[Replication]) -> pd.DataFrame:
    """One row for each replication and quantity."""
    tables = [
        pd.DataFrame(
            {
                "seed": one.seed,
                "quantity": one.quantities,
                "rank": one.rank,
                "contraction": one.contraction,
                "z_score": one.z_score,
                "rhat": one.rhat,
                "ess": one.ess,
                "divergent": one.divergent,
            }
        )
        for one in replications
    ]
    return pd.concat(tables, ignore_index=True)


@lru_cache(maxsize=16)
def _simulator(law: Law, priors: Priors) -> Callable[..., tuple[dict[str, Array], Array]]:
    return jax.jit(partial(_simulate, law, priors))


def _simulate(
    law: Law, priors: Priors, key: Array, runs: RunData, known: dict[str, Array]
) -> tuple[dict[str, Array], Array]:
    """All sites drawn from the prior, and log losses from the model's own likelihood."""
    prior_key, noise_key = jax.random.split(key)
    model = handlers.seed(handlers.substitute(scaling_model, data=known), prior_key)
    trace = handlers.trace(model).get_trace(runs, law, priors)
    observed = trace.pop("log_loss_obs")
    return {name: site["value"] for name, site in trace.items()}, observed["fn"].sample(noise_key)


def _ranked_sites(
    sites: Mapping[str, np.ndarray], runs: RunData, beyond: RunData
) -> dict[str, np.ndarray]:
    twins = {f"log_{name}" for name, value in sites.items() if value.ndim == 2}
    kept = {
        name: np.asarray(value)
        for name, value in sites.items()
        if not (name.endswith((VALUES, "_step", STANDARD)) or name in twins)
    }
    # The site is log loss from the location of its prior.
    kept["level"] = runs.level + kept["level"]
    # The law's error at the cheapest run adds up all of its steps.
    kept["walk"] = kept["walk"][..., -1]
    walls = kept.pop("walls")
    kept |= {"small_wall": walls[..., 0], "large_wall": walls[..., 1]}
    kept["forecast"] = predictive.expected_log_loss(sites, beyond)
    return kept


def _scalars(sites: Mapping[str, np.ndarray], groups: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Sites (chain, draw[, group]) as `name` or `name[group]`, each (chain, draw)."""
    scalars = {}
    for name, value in sites.items():
        if value.ndim == 2:
            scalars[name] = value
        else:
            scalars |= {f"{name}[{group}]": value[..., g] for g, group in enumerate(groups)}
    return scalars


def _against_prior(
    names: tuple[str, ...], draws: np.ndarray, truth: np.ndarray, prior: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Contraction and z-score; the log-likelihood has no prior, so no contraction."""
    contraction, z_score = np.full(len(names), np.nan), np.empty(len(names))
    for i, name in enumerate(names):
        scores, true = draws[i], truth[i]
        if name in prior:
            scores, true = (_normal_score(value, prior[name]) for value in (scores, true))
            contraction[i] = 1.0 - scores.var()
        z_score[i] = (scores.mean() - true) / scores.std()
    return contraction, z_score


def _normal_score(values: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The map that makes sorted prior draws standard normal.

    Beyond the last draws it goes on as it does over the thousandth of them that lies outermost: in
    units of their standard deviation a far draw of a skewed prior would count for all others.
    """
    normal = stats.norm.ppf((np.arange(len(prior)) + 0.5) / len(prior))
    score = np.interp(values, prior, normal)
    edge = len(prior) // 1000 + 1
    for last, inner in ((0, edge), (-1, -1 - edge)):
        rise = (normal[last] - normal[inner]) / (prior[last] - prior[inner])
        outside = values - prior[last]
        score = score + rise * np.where(outside * (prior[last] - prior[inner]) > 0, outside, 0.0)
    return np.asarray(score)


def _each(statistic: Callable[[np.ndarray], np.ndarray], draws: np.ndarray) -> np.ndarray:
    """A statistic of every quantity; draws (quantity, chain, draw)."""
    return np.array([float(statistic(one)) for one in draws])
