"""What a budget can buy: the runs (N, U, e) that it pays for under caps, and the best of them.

A run costs a·N·U·e + b·U + d·N: training, jets, serving. Once N and e are chosen the budget and the
caps leave the largest U, so a run has two coordinates, log N and v, the place of log e between the
fewest and the most passes that make sense at this N:

* fewest: 1, or as many as spend the budget where the number of jets is capped;
* most: where the training that is allowed is used up, or `MOST_PASSES`.

All caps lie on edges of that rectangle. In it log u is convex (all but the overfitting term):
log D_eff = min over caps of log U, each concave in log N and log e, plus the concave log gain. So a
pattern search finds the one minimum, from the best point of a coarse grid.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST_PASSES = 1e4
"""Passes beyond which none is looked for: no gain ω known comes near."""
COARSE = (13, 5)
"""Points of the coarse grid in log N and v."""
AXES = (-1, 0), (1, 0), (0, -1), (0, 1)
ALL = (*AXES, (-1, -1), (1, 1), (1, -1), (-1, 1))
"""Neighbours of a plan in log N and log e: along the axes, and with those across."""
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""What is minimised, of N, U and e."""


@dataclass(frozen=True)
class Spending:
    """Prices of a run and the caps on it."""

    training: float
    """a: money per parameter and jet seen."""
    jet: float
    """b: money per distinct jet, made and kept."""
    serving: float
    """d: money per parameter, for all the jets that are served."""
    most_params: float = math.inf
    """Cap on N."""
    most_jets: float = math.inf
    """Cap on U, in jets."""
    most_training: float = math.inf
    """Cap on N·U·e."""
    most_passes: float = MOST_PASSES
    """Cap on e."""

    @property
    def least(self) -> float:
        """What one parameter and one jet cost."""
        return self.training + self.jet + self.serving


@dataclass(frozen=True)
class Runs:
    """Runs that a budget buys; arrays of one shape."""

    params: np.ndarray
    """N."""
    unique_samples: np.ndarray
    """U, in jets."""
    epochs: np.ndarray
    """e."""

    def at(self, place: int) -> tuple[float, float, float]:
        """N, U and e of one of them."""
        return (
            float(self.params[place]),
            float(self.unique_samples[place]),
            float(self.epochs[place]),
        )


def largest_log_params(spending: Spending, budget: np.ndarray) -> np.ndarray:
    """log N of the largest network whose training on one jet the budget and the caps allow."""
    paid = (budget - spending.jet) / (spending.training + spending.serving)
    top = np.minimum(paid, min(spending.most_params, spending.most_training))
    return np.asarray(np.log(np.maximum(top, 1.0)))


def runs_at(
    spending: Spending, budget: np.ndarray, log_params: np.ndarray, place: np.ndarray
) -> Runs:
    """The runs at log N and v that spend the budget as far as the caps allow."""
    params = np.exp(log_params)
    left = np.maximum(budget - spending.serving * params, 0.0)
    fewest, most = (np.log(passes) for passes in _passes(spending, left, params))
    epochs = np.exp(fewest + place * (most - fewest))
    seen = params * epochs
    unique = left / (spending.training * seen + spending.jet)
    if math.isfinite(spending.most_training):
        unique = np.minimum(unique, spending.most_training / seen)
    return Runs(params, np.clip(unique, 1.0, spending.most_jets), epochs)


def search(
    score: Score,
    spending: Spending,
    budget: np.ndarray,
    *,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    step: float = 0.5,
    precision: float = 0.01,
    ways: tuple[tuple[int, int], ...] = ALL,
) -> tuple[np.ndarray, np.ndarray]:
    """log N and v of the best run of each budget, to `precision` in log N and log e.

    `budget` has shape (points,), or (1, points) where each draw has a search of its own: `score`
    then returns (draws, points). It is asked of several runs of each budget at once, which stand
    one after the other along the last axis. From `start` with steps of `step`, or from the best
    point of the coarse grid with steps of its spacing. Neighbours on all sides are looked at, or
    on some.
    """
    top = largest_log_params(spending, budget)

    def value(log_params: np.ndarray, place: np.ndarray) -> np.ndarray:
        several = log_params.shape[-1] // budget.shape[-1]
        runs = runs_at(spending, np.tile(budget, several), log_params, place)
        return score(runs.params, runs.unique_samples, runs.epochs)

    if start is None:
        log_params, place = _coarse(value, top)
        steps = np.broadcast_to(top / (COARSE[0] - 1), log_params.shape)
    else:
        log_params, place = start
        steps = np.full(log_params.shape, step)
    return _descend(value, log_params, place, steps, top, precision, ways)


def _passes(
    spending: Spending, left: np.ndarray, params: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The fewest and the most passes that make sense at N, with `left` to spend on jets.

    Without a cap on jets or training, either is one number.
    """
    a, b, cap, most = spending.training, spending.jet, spending.most_jets, spending.most_training
    fewest, limit = np.array(1.0), np.array(min(spending.most_passes, MOST_PASSES))
    if math.isfinite(cap):
        fewest = np.maximum((left / cap - b) / (a * params), fewest)
    if math.isfinite(most):
        # Passes from which on the training allowed, and not the budget or the jets, sets U.
        with np.errstate(divide="ignore"):
            paid = np.where(left > a * most, most * b / (params * (left - a * most)), np.inf)
        limit = np.minimum(limit, np.maximum(np.maximum(paid, most / (params * cap)), 1.0))
    return np.minimum(fewest, limit), limit


def _coarse(
    value: Callable[[np.ndarray, np.ndarray], np.ndarray], top: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """log N and v of the best point of the coarse grid."""
    shares, places = np.meshgrid(*(np.linspace(0.0, 1.0, n) for n in COARSE), indexing="ij")
    log_params = np.multiply.outer(shares.ravel(), top)
    passes = np.multiply.outer(places.ravel(), np.ones_like(top))
    _, best_params, best_place = _best_of(value, log_params, passes)
    return best_params, best_place


def _best_of(
    value: Callable[[np.ndarray, np.ndarray], np.ndarray], log_params: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least value over the first axis of log N and v, shape (several, ...), and where it is."""
    found = value(np.concatenate([*log_params], axis=-1), np.concatenate([*place], axis=-1))
    found = np.stack(np.split(found, len(log_params), axis=-1))
    # What is no number is not the least, though argmin has it so.
    least = np.where(np.isnan(found), np.inf, found).argmin(axis=0)[None]
    found, log_params, place = (
        np.take_along_axis(of, least, axis=0)[0] for of in (found, log_params, place)
    )
    return found, log_params, place


def _descend(
    value: Callable[[np.ndarray, np.ndarray], np.ndarray],
    log_params: np.ndarray,
    place: np.ndarray,
    step: np.ndarray,
    top: np.ndarray,
    precision: float,
    ways: tuple[tuple[int, int], ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Pattern search: go to the best of the neighbours, halve the step where none is better."""
    per_log = 1.0 / math.log(MOST_PASSES)
    best = value(log_params, place)
    rounds = math.ceil(math.log2(max(float(step.max()) / precision, 2.0)))
    # Each halving may be preceded by moves; a start from a grid needs one or two a scale.
    for _ in range(3 * rounds):
        near_n = {n: np.clip(log_params + n * step, 0.0, top) for n in (-1, 1)} | {0: log_params}
        near_v = {v: np.clip(place + v * step * per_log, 0.0, 1.0) for v in (-1, 1)} | {0: place}
        around = np.stack([near_n[n] for n, _ in ways]), np.stack([near_v[v] for _, v in ways])
        found, next_n, next_v = _best_of(value, *around)
        moved = found < best
        best = np.minimum(found, best)
        log_params, place = np.where(moved, next_n, log_params), np.where(moved, next_v, place)
        step = np.where(moved, step, step / 2.0)
        if float(step.max()) < precision / 2.0:
            break
    return log_params, place
