"""The posterior's mode by its mass, where the noise is lowered from 1 until the runs speak.

The joint density of many groups, of their common scales and of the noise grows without limit in
corners that hold no mass. So the scales are held, and the noise is chosen by height times volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from isoflop.inference.density import Target

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
class Mode:
    """The posterior mode in unconstrained coordinates, and where chains may start."""

    location: np.ndarray
    """Shape (dimensions,)."""
    covariance: np.ndarray
    """Inverse of the curvature there, shape (dimensions, dimensions)."""
    starts: np.ndarray
    """Local modes that are not negligible, the best first, shape (starts, dimensions)."""


def find_mode(target: Target, data: Any, *, starts: int = 4, seed: int = 0) -> Mode:
    """The mode with the most mass of those that BFGS reaches from the prior's centre and about it.

    Height alone would choose a spike where the law passes exactly through some of the runs.
    """
    rng = np.random.default_rng(seed)
    first, variance = _quieten(target, data)
    found = [_peak(target, data, first.location, target.even, first)]
    for _ in range(starts - 1):
        start = np.where(target.even, rng.normal(size=target.dimensions), first.location)
        found.append(_peak(target, data, start, target.even))
    found.sort(key=lambda peak: -peak.log_mass)
    best = _released(target, data, found[0])
    covariance = best.covariance + np.diag(np.where(target.noise, variance, 0.0))
    kept = [one.location for one in found if one.log_mass > found[0].log_mass - NEGLIGIBLE]
    return Mode(best.location, covariance, np.array([best.location, *kept[1:]]))


def log_masses(target: Target, tables: Sequence[Any], *, middle: int) -> np.ndarray:
    """Log mass about the mode of each of a row of tables that change little from one to the next.

    The noise is that of the `middle` table; from there the mode is followed both ways. −∞ where a
    descent failed.
    """
    first, _ = _quieten(target, tables[middle])
    first = _peak(target, tables[middle], first.location, target.even, first)
    masses = np.full(len(tables), first.log_mass)
    for places in (range(middle + 1, len(tables)), range(middle - 1, -1, -1)):
        peak = first
        for i in places:
            peak = _peak(target, tables[i], peak.location, target.even, peak)
            masses[i] = peak.log_mass
    return masses


@dataclass(frozen=True)
class _Peak:
    """A mode of the free coordinates, the others fixed."""

    location: np.ndarray
    covariance: np.ndarray
    log_mass: float
    """Height and volume; −∞ where the descent did not converge."""


def _quieten(target: Target, data: Any) -> tuple[_Peak, float]:
    """Lower the noise from 1 until the mass falls; the best peak, and the variance of log noise.

    Each descent starts at the end of the one before, from where all is smooth to where the runs
    speak.
    """
    centre = np.zeros(target.dimensions)
    if not target.noise.any():
        return _peak(target, data, centre, target.free), 0.0
    peaks: list[_Peak] = []
    for log_noise in np.arange(0.0, NOISE_FLOOR, -NOISE_STEP):
        near = peaks[-1] if peaks else None
        at = np.where(target.noise, log_noise, near.location if near else centre)
        peaks.append(_peak(target, data, at, target.even, near))
        best = int(np.argmax([peak.log_mass for peak in peaks]))
        if len(peaks) - best > 2:
            break
    shift, variance = _parabola([peak.log_mass for peak in peaks[max(best - 1, 0) : best + 2]])
    at = peaks[best].location - shift * NOISE_STEP * target.noise
    quiet = _peak(target, data, at, target.even, peaks[best])
    return _released(target, data, quiet), variance * NOISE_STEP**2


def _released(target: Target, data: Any, peak: _Peak) -> _Peak:
    """The peak with the unevenness of the noise free too, unless that leads into a spike."""
    found = _peak(target, data, peak.location, target.free, peak)
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
