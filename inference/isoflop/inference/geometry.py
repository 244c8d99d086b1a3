"""The shape of a posterior of many groups: what is shared, and each group apart from the others.

Given what the groups share, the runs of one say nothing of another. So its curvature is known from
a few gradients, and coordinates w in which it is about a standard normal cost as much as the
runs, where a dense matrix of a hundred groups costs a thousand times that. With s the shared
coordinates and the means of each slot over the groups, and x_g the coordinates of group g,

    s   = s₀ + R_s w_s
    x_g = x₀_g + C_g (s − s₀) + R_g w_g,   Σ_g R_g w_g = 0.

The combinations of w_g that would move the means are what w_s has in their place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import linalg

FLATTEST = 0.1
"""Least curvature: every site has a prior of about unit scale; what is flatter is a saddle."""


@dataclass(frozen=True)
class Layout:
    """Which coordinates of the flat vector are shared, and which belong to which group."""

    shared: np.ndarray
    """Indices, shape (shared,)."""
    local: np.ndarray
    """Indices, shape (groups, slots); (1, 0) where nothing is told apart."""

    @property
    def dimensions(self) -> int:
        """Length of the flat vector."""
        return len(self.shared) + self.local.size

    @property
    def together(self) -> int:
        """Correlated numbers at a time: what is shared, the means and one group."""
        slots: int = self.local.shape[1]
        return len(self.shared) + 2 * slots

    def reduced(self) -> np.ndarray:
        """The matrix that takes a flat vector to s, shape (shared + slots, dimensions)."""
        groups, slots = self.local.shape
        matrix = np.zeros((len(self.shared) + slots, self.dimensions))
        matrix[np.arange(len(self.shared)), self.shared] = 1.0
        matrix[len(self.shared) + np.arange(slots), self.local] = 1.0 / groups
        return matrix


def layout_of(indices: Mapping[str, np.ndarray], groups: int) -> Layout:
    """The layout of sites, given the flat indices of each; the first axis of a group's is groups.

    >>> layout_of({"a": np.array(0), "v": np.array([1, 2])}, 2).local
    array([[1],
           [2]])
    """
    told = [site for site in indices.values() if groups > 1 and site.shape[:1] == (groups,)]
    local = np.concatenate([site.reshape(groups, -1) for site in told], axis=1) if told else None
    every = np.concatenate([site.ravel() for site in indices.values()])
    local = np.zeros((1, 0), int) if local is None else local
    return Layout(np.setdiff1d(every, local), local)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Whitening:
    """The linear map between w and the flat vector; a pytree of arrays."""

    centre: np.ndarray
    """The flat vector at w = 0, shape (dimensions,)."""
    root: np.ndarray
    """R_s, lower triangular, shape (shared + slots,) twice."""
    slopes: np.ndarray
    """C, shape (groups, slots, shared + slots)."""
    roots: np.ndarray
    """R, lower triangular, shape (groups, slots, slots)."""
    movers: np.ndarray
    """Orthonormal combinations of w_g that would move the means, shape (groups, slots, slots)."""


def whitening(layout: Layout, centre: np.ndarray, covariance: np.ndarray) -> Whitening:
    """The map under which draws of this covariance (dimensions, dimensions) have about unit one."""
    groups, slots = layout.local.shape
    reduced = layout.reduced()
    onto = covariance @ reduced.T
    root = np.linalg.cholesky(reduced @ onto)
    slopes = linalg.cho_solve((root, True), onto.T).T[layout.local]
    own = covariance[layout.local[:, :, None], layout.local[:, None, :]]
    rest = own - slopes @ np.swapaxes(onto[layout.local], 1, 2)
    # Deviations from a mean over groups are smaller than what they deviate by.
    roots = np.linalg.cholesky(rest * (groups / max(groups - 1.0, 1.0)))
    movers = np.linalg.qr(np.swapaxes(roots, 1, 2).reshape(groups * slots, slots))[0]
    return Whitening(centre, root, slopes, roots, movers.reshape(roots.shape))


def coloured(layout: Layout, to: Whitening, w: Array) -> Array:
    """The flat vector at w."""
    white, count = w[layout.local], len(layout.shared)
    moved = jnp.einsum("gab,ga->b", to.movers, white)
    s = to.root @ jnp.concatenate([w[layout.shared], moved])
    kept = white - jnp.einsum("gab,b->ga", to.movers, moved)
    x = to.slopes @ s + jnp.einsum("gab,gb->ga", to.roots, kept)
    step = jnp.zeros(layout.dimensions).at[layout.shared].set(s[:count]).at[layout.local].set(x)
    return jnp.asarray(to.centre + step)


def whitened(layout: Layout, to: Whitening, z: np.ndarray) -> np.ndarray:
    """w at the flat vector z: the inverse of `coloured`."""
    count = len(layout.shared)
    s = layout.reduced() @ (z - to.centre)
    reduced = linalg.solve_triangular(to.root, s, lower=True)
    rest = (z - to.centre)[layout.local] - to.slopes @ s
    w = np.empty(layout.dimensions)
    w[layout.shared] = reduced[:count]
    w[layout.local] = np.linalg.solve(to.roots, rest[..., None])[..., 0]
    w[layout.local] += to.movers @ reduced[count:]
    return w


def curvature(
    layout: Layout, gradients: Callable[[np.ndarray], np.ndarray], at: np.ndarray, *, step: float
) -> np.ndarray:
    """Matrix of second derivatives, from two gradients each for what is shared and for two slots.

    A slot is moved in all groups at once: by amounts that add up to zero, which leaves the means of
    the slots where they are and so shows each group alone, then by the same amount, which shows how
    the groups hang together by these means. `gradients` takes and returns (vectors, dimensions).
    """
    groups, slots = layout.local.shape
    signs = _balanced(groups)
    shared = np.eye(layout.dimensions)[layout.shared]
    alone, together = np.zeros((2, slots, layout.dimensions))
    alone[np.arange(slots)[:, None], layout.local.T] = signs
    together[np.arange(slots)[:, None], layout.local.T] = 1.0
    steps = step * np.concatenate([shared, alone, together])
    rise = gradients(np.concatenate([at + steps, at - steps])).reshape(2, *steps.shape)
    along = (rise[0] - rise[1]) / (2.0 * step)
    matrix = np.zeros((layout.dimensions, layout.dimensions))
    matrix[layout.shared] = along[: len(shared)]
    matrix[:, layout.shared] = matrix[layout.shared].T
    for slot, places in enumerate(layout.local.T):
        own = along[len(shared) + slot][layout.local] / signs[:, None]
        every = (along[len(shared) + slots + slot][layout.local] - own).mean(axis=0) / groups
        for other in range(slots):
            matrix[np.ix_(layout.local[:, other], places)] = every[other]
        matrix[layout.local, places[:, None]] += own
    return (matrix + matrix.T) / 2.0


def _balanced(groups: int) -> np.ndarray:
    """Numbers of about unit size that add up to zero.

    >>> _balanced(5)
    array([ 1., -1.,  1.,  1., -2.])
    """
    signs = np.resize([1.0, -1.0], groups)
    if groups % 2 and groups > 1:
        signs[-3:] = 1.0, 1.0, -2.0
    return signs


@dataclass(frozen=True)
class Inverse:
    """Inverse of a curvature."""

    covariance: np.ndarray
    """The inverse, shape (dimensions, dimensions)."""
    root: np.ndarray
    """A matrix whose product with its transpose it is."""
    log_volume: float
    """Log determinant of the root."""


def inverse(matrix: np.ndarray) -> Inverse:
    """Inverse of a symmetric matrix, taken to be nowhere flatter than `FLATTEST`."""
    # Beside a spike the gradient may overflow; such a place is flat for what follows.
    finite = np.nan_to_num(matrix, posinf=0.0, neginf=0.0)
    try:
        np.linalg.cholesky(finite - FLATTEST * np.eye(len(finite)))
        lower = np.linalg.cholesky(finite)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(finite)
        values = np.clip(values, FLATTEST, None)
        root = vectors / np.sqrt(values)
        return Inverse(root @ root.T, root, -0.5 * float(np.log(values).sum()))
    root = linalg.solve_triangular(lower, np.eye(len(lower)), lower=True).T
    return Inverse(root @ root.T, root, -float(np.log(np.diag(lower)).sum()))
