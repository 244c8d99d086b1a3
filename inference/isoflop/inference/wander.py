"""How far the law errs within the runs: κ from the runs themselves, by the mass of the posterior.

The model holds κ while it samples. Here it is learned: for each κ of a grid the posterior is
approximated at its mode, and the height and volume there tell how well that κ explains the runs.
What comes out is a distribution of κ, which widens the forecasts beyond the runs, and its median,
at which the walk within the runs is held.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
from scipy.interpolate import PchipInterpolator

from isoflop.inference.density import Target
from isoflop.inference.laws import Law
from isoflop.inference.mode import log_masses
from isoflop.inference.model import RunData
from isoflop.inference.priors import Normal

PLACES = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
"""Prior standard deviations of log κ at which the mass is computed."""
GRID = np.linspace(-3.5, 3.5, 281)
"""The same, of the distribution between and a little beyond them."""


@dataclass(frozen=True)
class Wander:
    """What the runs say of κ."""

    log_kappa: np.ndarray
    """Grid of log κ, shape (places,)."""
    mass: np.ndarray
    """Probability of each place, shape (places,)."""

    @property
    def median(self) -> float:
        """Median of κ."""
        return float(np.exp(np.interp(0.5, self._cumulative(), self.log_kappa)))

    def within(self, law: Law) -> float:
        """κ at which a fit holds the walk within the runs: 0 for a law taken at its word."""
        return self.median if law.errs else 0.0

    def draws(self, count: int, *, seed: int) -> np.ndarray:
        """Draws of κ, shape (count,)."""
        uniform = np.random.default_rng(seed).uniform(size=count)
        return np.asarray(np.exp(np.interp(uniform, self._cumulative(), self.log_kappa)))

    def _cumulative(self) -> np.ndarray:
        return np.asarray(np.cumsum(self.mass) - 0.5 * self.mass)


def learn_wander(target: Target, data: RunData, prior: Normal) -> Wander:
    """κ given the runs, where the other parameters are integrated out at their mode."""
    kappas = np.exp(prior.location + prior.scale * PLACES)
    tables = [held_at(data, kappa) for kappa in kappas]
    log_mass = log_masses(target, tables, middle=len(tables) // 2)
    # A descent that failed says nothing: the prior bridges it.
    found = np.isfinite(log_mass)
    if found.sum() < 2:
        found, log_mass = np.full(len(PLACES), True), np.zeros(len(PLACES))
    inside = np.clip(GRID, PLACES[found][0], PLACES[found][-1])
    between = PchipInterpolator(PLACES[found], log_mass[found])(inside)
    log_density = between - 0.5 * GRID**2
    mass = np.exp(log_density - log_density.max())
    return Wander(prior.location + prior.scale * GRID, mass / mass.sum())


def held_at(data: RunData, kappa: float) -> RunData:
    """The same runs with κ held at this value."""
    return replace(data, kappa=jax.device_put(np.array(float(kappa))))
