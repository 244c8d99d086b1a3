"""The plans that are as good as the best: how far N, U and e may move at the same price."""

from dataclasses import dataclass

import numpy as np

from isoflop.forecast.option import Option, law_loss
from isoflop.forecast.pricing import parts_of
from isoflop.forecast.spending import Runs, runs_at

NEAR = (25, 13)
"""Grid of plans about the best that are compared with it, in log N and v."""
MOST_NOISE = 10.0
"""Noise of so many tolerances hides a difference, no more: where overfitting may cost anything, the
mean over draws is as uncertain as it is bad."""


@dataclass(frozen=True)
class Ranges:
    """Plans that are as good as the best, within the tolerance or the noise; arrays (2, points)."""

    params: np.ndarray
    """Smallest and largest N."""
    unique_samples: np.ndarray
    """Smallest and largest U, in jets."""
    epochs: np.ndarray
    """Fewest and most passes."""
    training_share: np.ndarray
    """Smallest and largest share of the budget that goes into training."""


def ranges_about(
    option: Option, money: np.ndarray, at: tuple[np.ndarray, np.ndarray], *, tolerance: float
) -> Ranges:
    """How far N, U and e may move before the expected loss is worse than the tolerance or noise.

    `money` is what the plans at log N and v cost at the medians, shape (points,).
    """
    spending, every = option.spending, option.searched
    best = law_loss(option.draws, runs_at(spending, money, *at), every=every)
    columns = [[value, value] for value in _sizes(option, runs_at(spending, money, *at))]
    # Closer together about the plan, for an optimum may be sharp.
    near, far = (np.linspace(-1.0, 1.0, points) for points in NEAR)
    reach, passes = np.log(10.0) * near * np.abs(near), 0.25 * far * np.abs(far)
    shape = len(passes), len(money)
    places = np.clip(at[1] + passes[:, None], 0.0, 1.0)
    allowed = tolerance * best.mean(axis=0)
    for shift in reach:
        log_params = np.broadcast_to(np.maximum(at[0] + shift, 0.0), shape)
        runs = runs_at(spending, np.tile(money, len(passes)), log_params.ravel(), places.ravel())
        worse = law_loss(option.draws, runs, every=every).reshape(-1, *shape) - best[:, None]
        noise = np.minimum(2.0 * worse.std(axis=0) / np.sqrt(len(worse)), MOST_NOISE * allowed)
        good = worse.mean(axis=0) <= np.maximum(allowed, noise)
        good &= runs.params.reshape(shape) <= spending.most_params * (1.0 + 1e-9)
        for pair, value in zip(columns, _sizes(option, runs), strict=True):
            of = value.reshape(shape)
            pair[0] = np.minimum(pair[0], of.min(axis=0, where=good, initial=np.inf))
            pair[1] = np.maximum(pair[1], of.max(axis=0, where=good, initial=-np.inf))
    return Ranges(*(np.stack(pair) for pair in columns))


def _sizes(option: Option, runs: Runs) -> tuple[np.ndarray, ...]:
    """N, U, e and the share of training, of runs of shape (points,)."""
    parts = parts_of(option, runs)
    return runs.params, runs.unique_samples, runs.epochs, parts.training / parts.total
