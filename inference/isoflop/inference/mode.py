"""The posterior's mode by its mass, where the noise is lowered from 1 until the runs speak.

The joint density of many groups, of their common scales and of the noise grows without limit in
corners that hold no mass. So the scales are held, and the noise is chosen by height times volume.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from isoflop.inference.density import Target
from isoflop.inference.geometry import Inverse, curvature, inverse, layout_of
from isoflop.inference.threads import one_blas_thread

CURVATURE_STEP = 1e-5
"""Step of the differences that turn gradients into the curvature: runs fix a level to 1e-4."""
GRADIENT_TOLERANCE = 1e-3
"""Largest slope of the log density at a mode: a thousandth of a deviation from it."""
MAX_STEPS = 150
"""Steps of L-BFGS until the curvature is looked at again. In many dimensions it forgets none of
them: remembering 60 took longer."""
DESCENT: Any = {"gtol": GRADIENT_TOLERANCE, "ftol": 0.0, "maxiter": MAX_STEPS}
MAX_ROUNDS = 8
"""Times that it is, at most; a peak nearby takes one to three, only spikes take more than six."""
MANY = 200
"""Dimensions above which the groups are taken to hang together by what they share alone."""
HELD_VARIANCE = 0.25
"""First guess of the posterior variance of a held site, whose prior variance is 1."""
STEEP = 1.0
"""A descent that stops where the log density is steeper than this has not found a mode."""
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


@one_blas_thread()
def find_mode(
    target: Target, data: Any, *, starts: int = 4, near: Mode | None = None, seed: int = 0
) -> Mode:
    """The mode with the most mass of those reached from the prior's centre and about it.

    Height alone would choose a spike where the law passes exactly through some of the runs. `near`
    is the mode of a table that differs little, from which the first way down is short.
    """
    rng = np.random.default_rng(seed)
    first, variance = _quieten(target, data, near)
    found = [_peak(target, data, first.location, target.even, first)]
    for _ in range(starts - 1):
        start = np.where(target.even, rng.normal(size=target.dimensions), first.location)
        found.append(_peak(target, data, start, target.even, first))
    found.sort(key=lambda peak: -peak.log_mass)
    best = _released(target, data, found[0])
    covariance = best.covariance + np.diag(np.where(target.noise, variance, 0.0))
    kept = [one.location for one in found if one.log_mass > found[0].log_mass - NEGLIGIBLE]
    return Mode(best.location, covariance, np.array([best.location, *kept[1:]]))


@one_blas_thread()
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


def _quieten(target: Target, data: Any, near: Mode | None = None) -> tuple[_Peak, float]:
    """Lower the noise from 1 until the mass falls; the best peak, and the variance of log noise.

    Each descent starts at the end of the one before, from where all is smooth to where the runs
    speak. `near` a mode it begins one step above the noise there, and the first fall ends it.
    """
    centre = np.zeros(target.dimensions)
    if not target.noise.any():
        return _peak(target, data, centre, target.free), 0.0
    last, loudest, patience = None, 0.0, 2
    if near is not None:
        last = _Peak(near.location, near.covariance, -np.inf)
        loudest, patience = near.location[target.noise].max() + NOISE_STEP, 1
    peaks: list[_Peak] = []
    for log_noise in np.arange(loudest, NOISE_FLOOR, -NOISE_STEP):
        at = np.where(target.noise, log_noise, last.location if last else centre)
        last = _peak(target, data, at, target.even, last)
        peaks.append(last)
        best = int(np.argmax([peak.log_mass for peak in peaks]))
        if len(peaks) - best > patience:
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
    """The mode that a descent reaches from `start` in the free coordinates.

    It is made in coordinates in which the curvature is one: at first that of a peak `near` it, if
    there is one. BFGS would need no second look at the curvature, but the cube of the dimensions a
    step.
    """
    root = _root_of(near, free)
    if root is None:
        root = _inverse_curvature(target, data, start, free).root
    location = start
    for _ in range(MAX_ROUNDS):
        location, energy, steepest = _descend(target, data, location, free, root)
        found = _inverse_curvature(target, data, location, free)
        if steepest < GRADIENT_TOLERANCE:
            break
        root = found.root
    covariance = np.diag(np.where(free | target.noise, 0.0, HELD_VARIANCE))
    covariance[np.ix_(free, free)] = found.covariance
    log_mass = found.log_volume - energy if steepest < STEEP else -np.inf
    return _Peak(location, covariance, log_mass)


def _root_of(near: _Peak | None, free: np.ndarray) -> np.ndarray | None:
    """Root of the covariance of a peak; none without one, or where rounding has left it none."""
    if near is None:
        return None
    try:
        return np.linalg.cholesky(near.covariance[np.ix_(free, free)])
    except np.linalg.LinAlgError:
        return None


def _descend(
    target: Target, data: Any, start: np.ndarray, free: np.ndarray, root: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Where some steps of L-BFGS lead, the energy there and its slope, in coordinates of `root`."""

    def objective(white: np.ndarray) -> tuple[float, np.ndarray]:
        height, gradient = target.energy(_with(start, free, root @ white), data)
        slope = gradient[free]
        if not (math.isfinite(height) and np.isfinite(slope).all()):
            # A step too far may overflow; the descent then turns back from a large finite value.
            slope = np.nan_to_num(slope, nan=0.0, posinf=1e10, neginf=-1e10)
            height = float(np.nan_to_num(height, nan=1e10, posinf=1e10, neginf=1e10))
        return height, slope @ root

    # Steps beyond twice the dimensions tell nothing new, and each costs its share of a matrix.
    options = DESCENT | {"maxcor": min(MAX_STEPS, 2 * root.shape[1])}
    found = optimize.minimize(
        objective, np.zeros(root.shape[1]), jac=True, method="L-BFGS-B", options=options
    )
    return _with(start, free, root @ found.x), float(found.fun), float(np.abs(found.jac).max())


def _with(base: np.ndarray, free: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The vector with its free coordinates moved."""
    whole = base.copy()
    whole[free] += step
    return whole


def _inverse_curvature(target: Target, data: Any, at: np.ndarray, free: np.ndarray) -> Inverse:
    """Inverse curvature in the free coordinates, from gradients: nothing more to compile."""

    def gradients(z: np.ndarray) -> np.ndarray:
        return target.slopes(z, data)

    layout = (
        target.layout if target.dimensions > MANY else layout_of({"all": np.arange(len(at))}, 1)
    )
    matrix = curvature(layout, gradients, at, step=CURVATURE_STEP)
    return inverse(matrix[np.ix_(free, free)])
