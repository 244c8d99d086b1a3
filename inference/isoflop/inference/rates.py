"""How often a jet passes a tagger of a given loss: pure functions, NumPy in and out, or JAX.

The link is a broken line in the loss L, x = L − L̄, on a scale without bounds:

    u(x) = level − Σ_k slope_k o_k(x),    o_k(x) = clip(x, low_k, high_k) − clip(0, low_k, high_k)

o_k is how much of the way from 0 to x lies in segment k, so u falls by slope_k > 0 a nat there and
never rises with the loss. The first segment is open above, the last one begins at the lowest loss
that was counted at, and goes on below it.

At fixed signal efficiency u is log R, the background rejection, but that no tagger has R < 1: log R
= softplus(κu)/κ, which is u as soon as R exceeds 4. At fixed rejection u is logit ε. Runs scatter
about it with a standard deviation scatter·exp(scatter_slope·x).
"""

from typing import Any

from jax.typing import ArrayLike

from isoflop.inference.laws import namespace

PARAMETERS = ("level", "slope", "scatter", "scatter_slope")
"""Parameters of a link, in the order of the functions' arguments."""
SHARPNESS = 2.0
"""κ of the floor at R = 1."""
FARTHEST = 300.0
"""Exponents are kept within ± this: far beyond any tagger, and every result and square finite."""


def transformed(x: ArrayLike, level: ArrayLike, slope: Any, knots: Any) -> Any:
    """u at the loss L̄ + x [nat]; x and level broadcast against `slope[..., 0]`.

    `slope`, a segment each along its last axis, and the ends `knots` of all segments but the last,
    as losses minus L̄, go from high loss to low.

    >>> import numpy as np
    >>> float(transformed(-1.0, 5.0, np.array([2.0, 4.0]), [-0.5]))
    8.0
    """
    xp = namespace(x, level, slope)
    # The slope changes at each knot; it is cheaper to add the changes than the segments.
    at_zero, change = level, slope[..., 1:] - slope[..., :-1]
    for k, knot in enumerate(knots):
        at_zero = at_zero + change[..., k] * xp.minimum(-knot, 0.0)
    u = at_zero - slope[..., 0] * x
    for k, knot in enumerate(knots):
        u = u - change[..., k] * xp.minimum(x - knot, 0.0)
    return u


def scatter(x: ArrayLike, scale: ArrayLike, slope: ArrayLike) -> Any:
    """Standard deviation of u of runs at the loss L̄ + x [nat]; broadcasts."""
    xp = namespace(x, scale, slope)
    return scale * xp.exp(xp.clip(slope * x, -FARTHEST, FARTHEST))


def log_rejection(u: ArrayLike) -> Any:
    """log R ≥ 0 from u.

    >>> round(float(log_rejection(3.0)), 3)
    3.001
    """
    return namespace(u).logaddexp(0.0, SHARPNESS * u) / SHARPNESS


def rejection(u: ArrayLike) -> Any:
    """R ≥ 1 from u: the exponential of `log_rejection` for half its time, κ being 2.

    >>> import numpy as np
    >>> float(rejection(np.log(0.75)))
    1.25
    """
    xp = namespace(u)
    return xp.hypot(1.0, xp.exp(xp.clip(u, -FARTHEST, FARTHEST)))


def log_passing(u: ArrayLike, kind: str) -> tuple[Any, Any]:
    """Log probabilities that a jet passes and that it does not.

    The jet is of the background at fixed efficiency (`rejection`), of the signal at fixed rejection
    (`efficiency`).
    """
    xp = namespace(u)
    if kind == "efficiency":
        return -xp.logaddexp(0.0, -u), -xp.logaddexp(0.0, u)  # type: ignore[operator]
    passes = -log_rejection(u)
    return passes, xp.log(-xp.expm1(passes))


def counting_error(u: ArrayLike, tested: ArrayLike, kind: str) -> Any:
    """Standard error of u as `tested` jets tell it, at most 1.

    For m = tested·p/(1−p) jets at fixed efficiency, tested·p(1−p) at fixed rejection, it is
    1/√(m + 1): that of a count, and bounded where none is expected to pass. It changes with u so
    slowly, by less than 0.2, that u and five such errors still rise together.

    >>> import numpy as np
    >>> round(float(counting_error(np.log(100.0), 5000.0, "rejection")), 3)
    0.139
    """
    xp = namespace(u, tested)
    within = xp.clip(u, -FARTHEST, FARTHEST)
    each = rejection(u) - 1.0 if kind == "rejection" else 2.0 + 2.0 * xp.cosh(within)
    return xp.sqrt(each / (tested + each))
