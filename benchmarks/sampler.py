"""Our NUTS beside a textbook NumPyro model of the same law: seconds, effective draws, answers.

Usage: python benchmarks/sampler.py [RUNS] [--scaling [--full]]
       python benchmarks/sampler.py --cells 1000x100 100000x50 [--once] [--limit SECONDS]

RUNS is a record table of one group without repeats, such as
../shared/runs/chinchilla_kyotakano.csv; without it 250 runs of the coupled law are simulated.
Every measurement has a fresh process. The textbook samples log E, log A, log B and the logarithms
of α, β and γ under weak priors with NumPyro's defaults; its law is exact. Its draws, reweighted to
our priors, must give our quantiles at κ = 0 within Monte-Carlo error; if not the exit status is 1.
`--scaling` then measures fits of 10² to 10⁴ runs (10⁵ with `--full`) in 1 to 100 groups; `--cells`
measures nothing but the fits that it names, runs x groups, with `--once` one call of each. CPU
seconds stand beside wall seconds, as the machine may have other work; a fit not done within the
limit is given up and said to be.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import arviz_stats as azs
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from jax import Array
from numpyro.infer import MCMC, NUTS

from isoflop.inference.diagnostics import MAX_RHAT, MIN_ESS
from isoflop.inference.fit import fit
from isoflop.inference.model import RunData, run_data
from isoflop.inference.priors import DEFAULT, Normal, Priors
from isoflop.inference.simulate import simulate_runs
from isoflop.training.records import read_records

CHAINS, DRAWS = 4, 1000
NONE = Normal(-30.0, 1.0, "the textbook law has no error")
EXACT = replace(DEFAULT, log_kappa=NONE, log_rho=NONE, walls=Normal(0.0, 1e-13, NONE.reason))
"""Priors under which the law is exact, so that both samplers have the same posterior."""
COMPARED = ("loss_inf", "alpha", "beta", "gamma", "log_A", "log_B", "sigma")
QUANTILES = (0.16, 0.5, 0.84)
TOLERANCE = 4.0
"""Standard errors by which a quantile may differ between the two samplers."""
TRUTH = {"loss_inf": 1.8, "log_A": 10.3, "log_B": 12.7, "alpha": 0.58, "beta": 0.61, "gamma": 0.6}
SIGMA = 0.004
CELL_SECONDS = 600.0
"""Limit of a cell of the scaling table [s of wall time], for its two calls together."""
MEMORY_SHARE = 0.6
"""Part of the machine's memory that a measured process may take."""
TEXTBOOK = {
    "log_E": (0.0, 2.0),
    "log_A": (5.0, 10.0),
    "log_B": (5.0, 10.0),
    "log_alpha": (-1.0, 1.0),
    "log_beta": (-1.0, 1.0),
    "log_gamma": (0.0, 1.0),
    "log_sigma": (-5.0, 2.0),
    "sigma_slope": (0.0, 0.5),
    "log_nu_minus_2": (2.5, 1.0),
}
"""Location and scale of the normal prior of every site of the textbook model."""


@dataclass(frozen=True)
class Measured:
    """One call of one sampler."""

    seconds: float
    """Wall time of the whole call."""
    cpu: float
    """CPU time of it, all threads together."""
    sampling: float
    """Of that, until the last draw: what goes before sampling, the mode too, is included."""
    rhat: float
    """Largest R-hat of the compared parameters in any group."""
    ess: float
    """Smallest bulk ESS of them."""
    steps: float
    """Leapfrog steps a draw, mean."""
    divergent: int
    """Divergent transitions."""
    peak: float
    """Largest resident memory of the process so far, GB."""
    sites: dict[str, np.ndarray]
    """Draws by name, (chain, draw); empty where there is more than one group."""

    @property
    def failed(self) -> bool:
        """Whether the chains do not represent the posterior."""
        return not (self.rhat <= MAX_RHAT and self.ess >= MIN_ESS)

    def line(self, name: str) -> str:
        """The call as one row of the printed table."""
        return (
            f"{name:34}{self.seconds:8.1f}{self.cpu:8.1f}{self.sampling:10.1f}"
            f"{self.rhat:8.3f}{self.ess:8.0f}"
            f"{self.steps:8.1f}{self.divergent:8d}{self.peak:9.2f}"
            f"{'   FAILED' if self.failed else ''}"
        )


HEADER = (
    f"{'':34}{'s':>8}{'CPU s':>8}{'to draws':>10}"
    f"{'R-hat':>8}{'ESS':>8}{'steps':>8}{'diverg.':>8}{'GB':>9}"
)


def simulated(rows: int, groups: int = 1) -> pd.DataFrame:
    """Runs of the coupled law over Chinchilla's ranges of N and D; groups differ a bit."""
    rng = np.random.default_rng(1)
    sizes = rng.uniform(np.log([5e7, 1e9]), np.log([1e10, 1e12]), size=(rows // groups, 2))
    cells = [(float(n), float(d), 1.0) for n, d in np.exp(sizes)]
    shifts = rng.normal(size=groups)
    shifts[0] = 0.0
    truth = {
        f"g{g:03d}": TRUTH | {"loss_inf": 1.8 * np.exp(0.05 * z), "log_A": 10.3 + 0.1 * z}
        for g, z in enumerate(shifts)
    }
    return simulate_runs(truth, cells, sigma=SIGMA, seed=1)


# Each of the functions below runs in a process of its own.


def measure_ours(
    records: pd.DataFrame, cache: str, calls: int, priors: Priors = DEFAULT
) -> list[Measured]:
    """`fit` so many times, compiled programs kept in the folder `cache`."""
    os.environ["ISOFLOP_CACHE"] = cache
    return [_measure_fit(records, seed, priors) for seed in range(calls)]


def _measure_fit(records: pd.DataFrame, seed: int, priors: Priors) -> Measured:
    ticks, cpu = [time.perf_counter()], time.process_time()
    tree = fit(
        records,
        chains=CHAINS,
        draws=DRAWS,
        seed=seed,
        priors=priors,
        tick=lambda done, total: ticks.append(time.perf_counter()),
    )
    spent = time.perf_counter() - ticks[0], time.process_time() - cpu
    posterior, stats = tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset()
    sites = {name: np.asarray(posterior[name]) for name in COMPARED}
    columns = {name: values.reshape(CHAINS, DRAWS, -1) for name, values in sites.items()}
    return _measured(spent, ticks[-1] - ticks[0], columns, stats["n_steps"], stats["diverging"])


def measure_textbook(records: pd.DataFrame, calls: int) -> list[Measured]:
    """The textbook model so many times, its chains on a device each."""
    numpyro.set_host_device_count(CHAINS)
    sampler = MCMC(
        NUTS(textbook),
        num_warmup=1000,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="parallel",
        progress_bar=False,
    )
    return [_measure_mcmc(sampler, run_data(records), seed) for seed in range(calls)]


def _measure_mcmc(sampler: Any, data: RunData, seed: int) -> Measured:
    start, cpu = time.perf_counter(), time.process_time()
    sampler.run(jax.random.key(seed), data, extra_fields=("num_steps", "diverging"))
    draws = jax.tree.map(np.asarray, sampler.get_samples(group_by_chain=True))
    spent = time.perf_counter() - start, time.process_time() - cpu
    draws |= {name: np.exp(draws[f"log_{name}"]) for name in ("alpha", "beta", "gamma", "sigma")}
    draws["loss_inf"] = np.exp(draws["log_E"])
    fields = sampler.get_extra_fields(group_by_chain=True)
    columns = {name: values[..., None] for name, values in draws.items()}
    return _measured(spent, spent[0], columns, fields["num_steps"], fields["diverging"])


def _measured(
    spent: tuple[float, float],
    sampling: float,
    columns: dict[str, np.ndarray],
    steps: Any,
    diverging: Any,
) -> Measured:
    """The figures of one call from its wall and CPU time and its draws (chain, draw, group)."""
    every = [columns[name][..., g] for name in COMPARED for g in range(columns[name].shape[2])]
    single = all(values.shape[2] == 1 for values in columns.values())
    return Measured(
        seconds=spent[0],
        cpu=spent[1],
        sampling=sampling,
        rhat=max(float(azs.rhat(values)) for values in every),
        ess=min(float(azs.ess(values, method="bulk")) for values in every),
        steps=float(np.mean(steps)),
        divergent=int(np.sum(diverging)),
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
        sites={name: values[..., 0] for name, values in columns.items()} if single else {},
    )


def in_fresh_process(
    function: Callable[..., list[Measured]], *args: Any, seconds: float | None = None
) -> list[Measured]:
    """The function's outcome; `TimeoutError` after so many seconds, `MemoryError` if it died."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_limit_memory) as pool:
        future = pool.submit(function, *args)
        children = list(multiprocessing.active_children())
        try:
            return future.result(timeout=seconds)
        except BrokenProcessPool as fault:
            raise MemoryError("the process died, most likely for want of memory") from fault
        except TimeoutError:
            for child in children:
                child.kill()
            raise


def _limit_memory() -> None:
    """Let a fit that is too large fail by itself rather than press on its neighbours."""
    most = int(MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


# The textbook model and what carries its posterior over to our priors.


def textbook(data: RunData) -> None:
    """The coupled law with one site a parameter and weak priors, of one group without repeats."""
    site = {name: numpyro.sample(name, dist.Normal(*prior)) for name, prior in TEXTBOOK.items()}
    n_term = jnp.exp(site["log_A"] - jnp.exp(site["log_alpha"]) * jnp.log(data.params))
    d_term = jnp.exp(site["log_B"] - jnp.exp(site["log_beta"]) * jnp.log(data.unique_samples))
    mean = jnp.exp(site["log_E"]) + (n_term + d_term) ** jnp.exp(site["log_gamma"])
    scale = jnp.exp(
        site["log_sigma"] + site["sigma_slope"] * (jnp.log(data.unique_samples) - data.centre[1])
    )
    scale = jnp.hypot(scale, data.relative_stderr)
    likelihood = dist.StudentT(2.0 + jnp.exp(site["log_nu_minus_2"]), jnp.log(mean), scale)
    numpyro.sample("log_loss_obs", likelihood, obs=jnp.log(data.loss))


def log_prior_ratio(draws: dict[str, np.ndarray], data: RunData) -> np.ndarray:
    """Log of our prior density over the textbook's at its draws, both in its coordinates."""
    order = ("log_E", "log_A", "log_B", "log_alpha", "log_beta", "log_gamma")
    points = jnp.stack([draws[name].ravel() for name in order], axis=-1)
    ours, log_jacobian = jax.vmap(lambda point: _orthogonal(point, data))(points)
    p = DEFAULT
    level = Normal(float(data.level[0]), p.level.scale, p.level.reason)
    priors = (level, p.irreducible, p.share, p.log_slope, p.log_slope, p.log_gamma)
    total = log_jacobian + sum(_log_density(ours[:, i], prior) for i, prior in enumerate(priors))
    for name in ("log_sigma", "sigma_slope", "log_nu_minus_2"):
        total += _log_density(draws[name].ravel(), getattr(p, name))
    for name, prior in TEXTBOOK.items():
        total -= _log_density(draws[name].ravel(), Normal(*prior, "textbook"))
    return np.asarray(total)


def _orthogonal(point: Array, data: RunData) -> tuple[Array, Array]:
    """Our coordinates of a textbook point, and the log determinant of their derivative."""

    def coordinates(point: Array) -> Array:
        log_e, log_a, log_b, log_alpha, log_beta, log_gamma = point
        n_term = log_a - jnp.exp(log_alpha) * data.centre[0]
        d_term = log_b - jnp.exp(log_beta) * data.centre[1]
        reducible = jnp.exp(log_gamma) * jnp.logaddexp(n_term, d_term)
        slopes = (log_alpha + log_gamma, log_beta + log_gamma)
        level = jnp.logaddexp(log_e, reducible)
        floor = _unbent(log_e - reducible)
        return jnp.stack([level, floor, n_term - d_term, *slopes, log_gamma])

    return coordinates(point), jnp.linalg.slogdet(jax.jacfwd(coordinates)(point))[1]


def _unbent(value: Array) -> Array:
    """The coordinate of a value by `model.bent`."""
    bend = DEFAULT.no_floor
    beyond = jnp.maximum(bend.below - value, 0.0)
    distance = (jnp.sqrt(1.0 + 4.0 * bend.strength * beyond) - 1.0) / (2.0 * bend.strength)
    return value + beyond - distance


def _log_density(x: Any, prior: Normal) -> Any:
    return -0.5 * ((x - prior.location) / prior.scale) ** 2 - np.log(prior.scale)


def disagreements(ours: Measured, other: Measured, data: RunData) -> list[str]:
    """Print every quantile by both samplers; those that differ by more than their errors allow."""
    log_weight = log_prior_ratio(other.sites, data)
    weight = np.exp(log_weight - log_weight.max())
    kish = float(weight.sum() ** 2 / (weight**2).sum() / len(weight))
    print(f"\nquantiles, textbook reweighted to our priors (Kish size {kish:.2f} of its draws)")
    even, faults = np.ones(CHAINS * DRAWS), []
    for name in COMPARED:
        for p in QUANTILES:
            left, left_error = _quantile(ours.sites[name], p, even, 1.0)
            right, right_error = _quantile(other.sites[name], p, weight, kish)
            pull = (left - right) / float(np.hypot(left_error, right_error))
            row = f"{name:9}{p:5.2f}{left:12.5g}{right:12.5g}{pull:+8.1f} standard errors"
            print(row)
            faults += [row] if not abs(pull) < TOLERANCE else []
    return faults


def _quantile(draws: np.ndarray, p: float, weight: np.ndarray, share: float) -> tuple[float, float]:
    """A weighted quantile and its Monte-Carlo error, `share` of the ESS being left by weights."""
    order = np.argsort(draws, axis=None)
    cumulative = np.cumsum(weight[order]) - 0.5 * weight[order]
    effective = share * float(azs.ess(draws, method="quantile", prob=p))
    error = np.sqrt(p * (1.0 - p) / effective)
    at = np.array([p - error, p, p + error])
    low, middle, high = np.interp(at, cumulative / weight.sum(), draws.ravel()[order])
    return float(middle), float(high - low) / 2.0


# What is printed.


def compare(records: pd.DataFrame) -> list[str]:
    """Both samplers on one table; what they disagree on."""
    with tempfile.TemporaryDirectory() as cache:
        cold, again = in_fresh_process(measure_ours, records, cache, 2)
        (start,) = in_fresh_process(measure_ours, records, cache, 1)
        (exact,) = in_fresh_process(measure_ours, records, cache, 1, EXACT)
    first, second = in_fresh_process(measure_textbook, records, 2)
    print(f"{len(records)} runs, {CHAINS} chains of {DRAWS} draws\n{HEADER}")
    print(cold.line("isoflop, nothing compiled"))
    print(start.line("isoflop, compiled in another process"))
    print(again.line("isoflop, second call"))
    print(exact.line("isoflop, its law exact (κ = 0)"))
    print(first.line("textbook, nothing compiled"))
    print(second.line("textbook, second call"))
    print("\nseconds per 1000 effective draws, isoflop : textbook")
    pairs = {
        "all, nothing compiled": (cold.seconds / cold.ess, first.seconds / first.ess),
        "all, second call": (again.seconds / again.ess, second.seconds / second.ess),
        "to the last draw, second call": (again.sampling / again.ess, second.sampling / second.ess),
    }
    for name, (ours, other) in pairs.items():
        print(f"{name:32}{1e3 * ours:9.2f} : {1e3 * other:.2f} = 1 : {other / ours:.1f}")
    # All its chains: they show its Monte-Carlo error better than the half of them.
    chains = {name: np.concatenate([first.sites[name], one]) for name, one in second.sites.items()}
    return disagreements(exact, replace(second, sites=chains), run_data(records))


def cells(full: bool) -> Iterator[tuple[int, int]]:
    """Rows and groups of every cell of the scaling table."""
    for rows in (100, 1000, 10_000, 100_000)[: 4 if full else 3]:
        yield from ((rows, groups) for groups in (1, 10, 100) if rows >= 10 * groups)


def scaling(chosen: Iterable[tuple[int, int]], calls: int, limit: float) -> None:
    """Print the table of seconds over rows and groups, then the exponents of growth."""
    print(f"\ntime and memory over runs and groups\n{HEADER}")
    found: dict[tuple[int, int], Measured] = {}
    for rows, groups in chosen:
        name = f"{rows} runs, {groups} groups"
        try:
            with tempfile.TemporaryDirectory() as cache:
                arguments = simulated(rows, groups), cache, calls
                outcomes = in_fresh_process(measure_ours, *arguments, seconds=limit)
        except (TimeoutError, MemoryError) as fault:
            late = isinstance(fault, TimeoutError)
            print(f"{name:34}{f'> {limit:g} s' if late else 'out of memory'}", flush=True)
            continue
        for one, call in zip(outcomes, ("cold", "warm"), strict=False):
            print(one.line(f"{name}, {call}"), flush=True)
        if not outcomes[-1].failed:
            found[rows, groups] = outcomes[-1]
    for groups in sorted({groups for _, groups in found}):
        sizes = [rows for rows, g in found if g == groups]
        if len(sizes) > 1:
            seconds = [found[rows, groups].cpu for rows in sizes]
            power = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
            print(f"{groups} groups: CPU seconds of the last call grow as rows^{power:.2f}")


def _cell(text: str) -> tuple[int, int]:
    """Rows and groups of `1000x100`."""
    rows, groups = map(int, text.split("x"))
    return rows, groups


def main() -> None:
    """Compare, and measure the growth if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", nargs="?", help="record table of one group without repeats")
    parser.add_argument("--rows", type=int, default=250, help="simulated runs, without a table")
    parser.add_argument("--scaling", action="store_true", help="also measure larger tables")
    parser.add_argument("--full", action="store_true", help="with 10^5 runs")
    parser.add_argument("--cells", nargs="+", type=_cell, help="only these, such as 1000x100")
    parser.add_argument("--once", action="store_true", help="one call of each, nothing compiled")
    parser.add_argument("--limit", type=float, default=CELL_SECONDS, help="seconds of a cell")
    chosen = parser.parse_args()
    if chosen.cells:
        scaling(chosen.cells, 1 if chosen.once else 2, chosen.limit)
        return
    records = read_records(chosen.runs) if chosen.runs else simulated(chosen.rows)
    if records["group"].nunique() > 1 or (records["samples"] > records["unique_samples"]).any():
        sys.exit("the textbook model knows one group without repeats; give such a table")
    faults = compare(records)
    if chosen.scaling:
        scaling(cells(chosen.full), 1 if chosen.once else 2, chosen.limit)
    if faults:
        sys.exit("the two samplers disagree:\n" + "\n".join(faults))
    print(f"\nevery quantile agrees within {TOLERANCE:g} standard errors")


if __name__ == "__main__":
    main()
