"""How often a jet passes a tagger of a given loss: pure functions, NumPy in and out, or JAX.

The link is a parabola in the loss L, x = L − L̄, on a scale without bounds:

    u = level − slope·x + curvature·x²

At fixed signal efficiency u is log R, the background rejection, but that no tagger has R < 1: log R
= softplus(κu)/κ, which is u as soon as R exceeds 4. At fixed rejection u is logit ε. Runs scatter
about it with a standard deviation scatter·exp(scatter_slope·x).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

PARAMETERS = ("level", "slope", "curvature", "scatter", "scatter_slope")
"""Parameters of a link, in the order of the functions' arguments."""
SHARPNESS = 2.0
"""κ of the floor at R = 1."""


def _namespace(*values: ArrayLike) -> Any:
    return jnp if any(isinstance(value, jax.Array) for value in values) else np


def transformed(x: ArrayLike, level: ArrayLike, slope: ArrayLike, curvature: ArrayLike) -> Any:
    """u at the loss L̄ + x [nat]; broadcasts."""
    return level - slope * x + curvature * x * x  # type: ignore[operator]


def scatter(x: ArrayLike, scale: ArrayLike, slope: ArrayLike) -> Any:
    """Standard deviation of u of runs at the loss L̄ + x [nat]; broadcasts."""
    return scale * _namespace(x, scale, slope).exp(slope * x)


def log_rejection(u: ArrayLike) -> Any:
    """log R ≥ 0 from u.

    >>> round(float(log_rejection(3.0)), 3)
    3.001
    """
    return _namespace(u).logaddexp(0.0, SHARPNESS * u) / SHARPNESS


def log_passing(u: ArrayLike, kind: str) -> tuple[Any, Any]:
    """Log probabilities that a jet passes and that it does not.

    The jet is of the background at fixed efficiency (`rejection`), of the signal at fixed rejection
    (`efficiency`).
    """
    xp = _namespace(u)
    if kind == "efficiency":
        return -xp.logaddexp(0.0, -u), -xp.logaddexp(0.0, u)  # type: ignore[operator]
    passes = -log_rejection(u)
    return passes, xp.log(-xp.expm1(passes))
