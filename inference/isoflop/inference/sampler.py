"""NUTS arranged for a CPU: one compilation a shape, a start at the mode, chains in threads.

A NumPyro model becomes a density of one flat vector in which the data are arguments, so every
table of the same padded shape runs the same program. The mode and the curvature there give the
first mass matrix; a pilot run of all chains gives the one that is used. Adaptation after that is of
the step size alone. XLA runs a program outside Python's lock, so threads are enough for the chains.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo, constrain_fn, potential_energy
from scipy import optimize

Model = Callable[..., None]

CHUNK = 100
"""Steps of one call of the compiled program."""
TARGET_ACCEPT = 0.9
FIRST_STEP = 0.5
"""Step size before adaptation, in units of the mass matrix; NUTS adapts it within some 50 steps."""
PILOT_DRAWS = 200
"""Draws a chain whose covariance becomes the mass matrix."""
SPREAD = 1.5
"""Chains start this many posterior standard deviations about a mode: wider than the posterior, so
that R-hat can see chains that do not meet."""
CURVATURE_STEP = 1e-4
"""Step of the differences that turn gradients into the curvature at the mode."""
GRADIENT_TOLERANCE = 1e-3
"""Largest slope of the log density at a mode: at unit scale a thousandth of a deviation from it."""
HELD_VARIANCE = 0.25
"""First guess of the posterior variance of a held site, whose prior variance is 1."""
STEEP = 1.0
"""A descent that stops where the log density is steeper than this has not found a mode."""
MAX_DESCENT = 2000
"""Steps of a descent; a mode of 80 dimensions needs some 500, only spikes need more."""
NOISE_STEP = 1.0
"""Step of log noise on the way down from 1."""
NOISE_FLOOR = -18.0
"""Log noise at which the way down ends: below the last digit that a loss is written with."""
NEGLIGIBLE = 15.0
"""A mode with this much less log mass than the best is not worth a chain."""


@dataclass(frozen=True)
class Lengths:
    """How long to sample."""

    chains: int = 4
    """Markov chains."""
    draws: int = 1000
    """Draws kept of each chain."""
    warmup: int = 300
    """Steps that adapt the step size of a chain, in the pilot run and again after it."""


DEFAULT_LENGTHS = Lengths()


@dataclass(frozen=True)
class Mode:
    """The posterior mode in unconstrained coordinates, and where chains may start."""

    location: np.ndarray
    """Shape (dimensions,)."""
    covariance: np.ndarray
    """Inverse of the curvature there, shape (dimensions, dimensions)."""
    starts: np.ndarray
    """Local modes that are not negligible, the best first, shape (starts, dimensions)."""


@dataclass(frozen=True)
class ChainDraws:
    """What the chains returned; every array starts with (chain, draw)."""

    sites: dict[str, np.ndarray]
    """Sampled and deterministic sites by name."""
    stats: dict[str, np.ndarray]
    """diverging, n_steps, acceptance_rate, energy and step_size, under ArviZ's names."""


class Target:
    """A model's density over flat vectors, with its compiled functions.

    `static` are the arguments of the model that shape the program, such as the law. Data come with
    each call as a pytree of arrays; `example` shows their shapes. Sites whose name ends in `held`
    stay at 0 while the mode is sought: the joint density of many groups and their common scale
    grows without limit as both shrink, where there is hardly any mass. For the same reason `noise`
    names the site, if any, of the log scale of the scatter, which is chosen by mass and not height;
    meanwhile the site `uneven`, by which the scatter differs between runs, is held at 0.
    """

    def __init__(
        self,
        model: Model,
        example: Any,
        *static: Any,
        warmup: int,
        held: str = "\0",
        noise: str = "\0",
        uneven: str = "\0",
    ) -> None:
        """Prepare the programs; they are compiled at their first call."""
        use_compilation_cache()
        self._model, self._static, self._warmup = model, static, warmup
        sites = jax.eval_shape(lambda data: _latent_sites(model, data, *static), example)
        zeros = jax.tree.map(lambda site: np.zeros(site.shape, site.dtype), sites)
        flat, self._unravel = ravel_pytree(zeros)
        self.dimensions: int = flat.size
        self.held = self._mark(zeros, lambda name: name.endswith(held))
        self.noise = self._mark(zeros, lambda name: name == noise)
        self.uneven = self._mark(zeros, lambda name: name == uneven)
        self._init, self._step = hmc(potential_fn_gen=lambda data: partial(self._potential, data))
        self.energy = jax.jit(lambda z, data: jax.value_and_grad(partial(self._potential, data))(z))
        self.constrain = jax.jit(jax.vmap(self._constrain, in_axes=(0, None)))
        self.start = jax.jit(self._start)
        self.advance = jax.jit(self._advance)

    @staticmethod
    def _mark(sites: dict[str, np.ndarray], chosen: Callable[[str], bool]) -> np.ndarray:
        """Which coordinates of the flat vector belong to the chosen sites."""
        marks = {name: np.full(site.shape, chosen(name)) for name, site in sites.items()}
        return np.asarray(ravel_pytree(marks)[0], bool)

    def _potential(self, data: Any, z: Array) -> Array:
        args = (data, *self._static)
        energy: Array = potential_energy(self._model, args, {}, self._unravel(z))
        return energy

    def _constrain(self, z: Array, data: Any) -> dict[str, Array]:
        args = (data, *self._static)
        sites: dict[str, Array] = constrain_fn(
            self._model, args, {}, self._unravel(z), return_deterministic=True
        )
        return sites

    def _start(self, key: Array, info: tuple[Array, Array, Array], mass: Array, data: Any) -> Any:
        # The energy and its gradient are given, so that no second copy of the model is compiled.
        return self._init(
            ParamInfo(*info),
            self._warmup,
            step_size=FIRST_STEP,
            inverse_mass_matrix=mass,
            adapt_mass_matrix=False,
            dense_mass=True,
            target_accept_prob=TARGET_ACCEPT,
            model_args=(data,),
            rng_key=key,
        )

    def _advance(self, state: Any, data: Any) -> tuple[Any, dict[str, Array]]:
        def body(state: Any, _: None) -> tuple[Any, dict[str, Array]]:
            state = self._step(state, (data,), {})
            return state, {
                "z": state.z,
                "diverging": state.diverging,
                "n_steps": state.num_steps,
                "acceptance_rate": state.accept_prob,
                "energy": state.energy,
                "step_size": state.adapt_state.step_size,
            }

        final, steps = lax.scan(body, state, None, length=CHUNK)
        return final, steps


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder, so that a shape is compiled once.

    `ISOFLOP_CACHE` names another folder, or is `off`. A folder that JAX was given is left alone.
    """
    chosen = os.environ.get("ISOFLOP_CACHE", "")
    if chosen == "off" or jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", chosen or str(Path(root) / "isoflop" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def find_mode(target: Target, data: Any, *, starts: int = 4, seed: int = 0) -> Mode:
    """The mode with the most mass of those that BFGS reaches from the prior's centre and about it.

    Height alone would choose a spike where the law passes exactly through some of the runs.
    """
    rng = np.random.default_rng(seed)
    free = ~(target.held | target.noise)
    even = free & ~target.uneven
    first, variance = _quieten(target, data, np.zeros(target.dimensions))
    found = [_peak(target, data, first.location, even, first)]
    for _ in range(starts - 1):
        start = np.where(even, rng.normal(size=target.dimensions), first.location)
        found.append(_peak(target, data, start, even))
    found.sort(key=lambda peak: -peak.log_mass)
    best = _released(target, data, found[0], free)
    covariance = best.covariance + np.diag(np.where(target.noise, variance, 0.0))
    kept = [one.location for one in found if one.log_mass > found[0].log_mass - NEGLIGIBLE]
    return Mode(best.location, covariance, np.array([best.location, *kept[1:]]))


def log_masses(target: Target, tables: Sequence[Any], *, middle: int) -> np.ndarray:
    """Log mass about the mode of each of a row of tables that change little from one to the next.

    The noise is that of the `middle` table; from there the mode is followed both ways. −∞ where a
    descent failed.
    """
    even = ~(target.held | target.noise | target.uneven)
    first, _ = _quieten(target, tables[middle], np.zeros(target.dimensions))
    first = _peak(target, tables[middle], first.location, even, first)
    masses = np.full(len(tables), first.log_mass)
    for places in (range(middle + 1, len(tables)), range(middle - 1, -1, -1)):
        peak = first
        for i in places:
            peak = _peak(target, tables[i], peak.location, even, peak)
            masses[i] = peak.log_mass
    return masses


def sample(
    target: Target,
    data: Any,
    mode: Mode,
    lengths: Lengths,
    *,
    seed: int,
    tick: Callable[[int], None] = lambda steps: None,
) -> ChainDraws:
    """Draw from the posterior; `tick` is told of every `CHUNK` steps that a chain has made."""
    pilot = Lengths(lengths.chains, PILOT_DRAWS, lengths.warmup)
    starts = _spread(mode, lengths.chains, seed)
    steps = _chains(target, data, starts, mode.covariance, pilot, seed=seed + 1, tick=tick)
    mass = _pooled_covariance(steps["z"], mode.covariance)
    last = steps["z"][:, -1]
    steps = _chains(target, data, last, mass, lengths, seed=seed + 2, tick=tick)
    flat = steps.pop("z").reshape(-1, target.dimensions)
    sites = jax.tree.map(np.asarray, target.constrain(flat, data))
    shape = (lengths.chains, lengths.draws)
    return ChainDraws({k: v.reshape(shape + v.shape[1:]) for k, v in sites.items()}, steps)


def laplace_draws(
    target: Target, data: Any, mode: Mode, draws: int, *, seed: int
) -> dict[str, np.ndarray]:
    """Sites drawn from the normal approximation at the mode, shape (draws, ...)."""
    root = np.linalg.cholesky(mode.covariance)
    noise = np.random.default_rng(seed).normal(size=(draws, target.dimensions))
    sites = target.constrain(mode.location + noise @ root.T, data)
    return {name: np.asarray(value) for name, value in sites.items()}


def _latent_sites(model: Model, *args: Any) -> dict[str, Array]:
    """The unconstrained values of the sites of one run of the model."""
    trace = handlers.trace(handlers.seed(model, jax.random.key(0))).get_trace(*args)
    return {
        name: biject_to(site["fn"].support).inv(site["value"])
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }


@dataclass(frozen=True)
class _Peak:
    """A mode of the free coordinates, the others fixed."""

    location: np.ndarray
    covariance: np.ndarray
    log_mass: float
    """Height and volume; −∞ where the descent did not converge."""


def _quieten(target: Target, data: Any, start: np.ndarray) -> tuple[_Peak, float]:
    """Lower the noise from 1 until the mass falls; the best peak, and the variance of log noise.

    Each descent starts at the end of the one before, from where all is smooth to where the runs
    speak.
    """
    free = ~(target.held | target.noise)
    even = free & ~target.uneven
    if not target.noise.any():
        return _peak(target, data, start, free), 0.0
    peaks: list[_Peak] = []
    for log_noise in np.arange(0.0, NOISE_FLOOR, -NOISE_STEP):
        near = peaks[-1] if peaks else None
        at = np.where(target.noise, log_noise, near.location if near else start)
        peaks.append(_peak(target, data, at, even, near))
        best = int(np.argmax([peak.log_mass for peak in peaks]))
        if len(peaks) - best > 2:
            break
    shift, variance = _parabola([peak.log_mass for peak in peaks[max(best - 1, 0) : best + 2]])
    at = peaks[best].location - shift * NOISE_STEP * target.noise
    quiet = _peak(target, data, at, even, peaks[best])
    return _released(target, data, quiet, free), variance * NOISE_STEP**2


def _released(target: Target, data: Any, peak: _Peak, free: np.ndarray) -> _Peak:
    """The peak with the unevenness of the noise free too, unless that leads into a spike."""
    found = _peak(target, data, peak.location, free, peak)
    return found if np.isfinite(found.log_mass) else peak


def _parabola(heights: list[float]) -> tuple[float, float]:
    """Where a parabola through three even points is highest, from the middle one, and 1/curvature.

    >>> _parabola([-0.125, 0.0, -0.125])
    (0.0, 4.0)
    """
    if len(heights) < 3 or not np.isfinite(heights).all():
        return 0.0, 1.0
    left, middle, right = heights
    curvature = max(2.0 * middle - left - right, 1e-2)
    return float(np.clip(0.5 * (right - left) / curvature, -1.0, 1.0)), 1.0 / curvature


def _peak(
    target: Target, data: Any, start: np.ndarray, free: np.ndarray, near: _Peak | None = None
) -> _Peak:
    """The mode that BFGS reaches from `start` in the free coordinates; a peak `near` it helps."""

    def objective(part: np.ndarray) -> tuple[float, np.ndarray]:
        energy, gradient = target.energy(_with(start, free, part), data)
        # A step too far may overflow; BFGS then turns back from a large finite value.
        slope = np.nan_to_num(np.asarray(gradient)[free], nan=0.0, posinf=1e10, neginf=-1e10)
        return float(np.nan_to_num(energy, nan=1e10, posinf=1e10, neginf=1e10)), slope

    # BFGS with its full matrix needs a tenth of the steps of L-BFGS and costs nothing at this size.
    options: Any = {"gtol": GRADIENT_TOLERANCE, "maxiter": MAX_DESCENT}
    if near is not None:
        options["hess_inv0"] = near.covariance[np.ix_(free, free)]
    found = optimize.minimize(objective, start[free], jac=True, method="BFGS", options=options)
    location = _with(start, free, found.x)
    covariance = np.diag(np.where(free | target.noise, 0.0, HELD_VARIANCE))
    covariance[np.ix_(free, free)] = _inverse_curvature(target, data, location, free)
    if np.abs(found.jac).max() > STEEP:
        return _Peak(location, covariance, -np.inf)
    volume = 0.5 * float(np.linalg.slogdet(covariance[np.ix_(free, free)])[1])
    return _Peak(location, covariance, volume - float(found.fun))


def _with(base: np.ndarray, free: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The vector with its free coordinates replaced."""
    whole = base.copy()
    whole[free] = part
    return whole


def _inverse_curvature(target: Target, data: Any, mode: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Inverse curvature by central differences of the gradient: nothing more to compile."""
    steps = CURVATURE_STEP * np.eye(len(mode))[free]
    rows = [
        (
            np.asarray(target.energy(mode + h, data)[1])
            - np.asarray(target.energy(mode - h, data)[1])
        )[free]
        for h in steps
    ]
    # Beside a spike the gradient may overflow; such a place is flat for what follows.
    curvature = np.nan_to_num(np.array(rows) / (2.0 * CURVATURE_STEP), posinf=0.0, neginf=0.0)
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2.0)
    # Every site has a prior of about unit scale: what is flatter is a saddle or round-off.
    root = vectors / np.sqrt(np.clip(values, 0.1, None))
    return np.asarray(root @ root.T)


def _spread(mode: Mode, chains: int, seed: int) -> np.ndarray:
    """One start a chain about the modes in turn, shape (chains, dimensions)."""
    root = np.linalg.cholesky(mode.covariance)
    noise = np.random.default_rng(seed).normal(size=(chains, len(mode.location)))
    return np.asarray(mode.starts[np.arange(chains) % len(mode.starts)] + SPREAD * noise @ root.T)


def _pooled_covariance(z: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Covariance of the draws (chain, draw, dimension), shrunk to the correlations of the one before.

    A few hundred draws tell every variance, but not the correlations of hundreds of dimensions.
    """
    flat = z.reshape(-1, z.shape[-1])
    weight = 2.0 * flat.shape[1] / (2.0 * flat.shape[1] + len(flat))
    drawn = np.cov(flat.T).reshape(prior.shape)
    ratio = np.sqrt(np.diag(drawn) / np.diag(prior))
    return np.asarray((1.0 - weight) * drawn + weight * prior * np.outer(ratio, ratio))


def _chains(
    target: Target,
    data: Any,
    starts: np.ndarray,
    mass: np.ndarray,
    lengths: Lengths,
    *,
    seed: int,
    tick: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Run every chain through warm-up; its steps after that, shape (chain, draw, ...)."""
    keys = jax.random.split(jax.random.key(seed), lengths.chains)
    chunks = -(-(lengths.warmup + lengths.draws) // CHUNK)

    def run(chain: int) -> dict[str, np.ndarray]:
        z = jnp.asarray(starts[chain])
        state = target.start(keys[chain], (z, *target.energy(z, data)), jnp.asarray(mass), data)
        parts = []
        for _ in range(chunks):
            state, steps = target.advance(state, data)
            parts.append(jax.tree.map(np.asarray, steps))
            tick(CHUNK)
        kept = slice(lengths.warmup, lengths.warmup + lengths.draws)
        return {name: np.concatenate([part[name] for part in parts])[kept] for name in parts[0]}

    with ThreadPoolExecutor(min(lengths.chains, os.cpu_count() or 1)) as pool:
        outcomes = list(pool.map(run, range(lengths.chains)))
    return {name: np.stack([outcome[name] for outcome in outcomes]) for name in outcomes[0]}
