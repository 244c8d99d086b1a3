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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from isoflop.inference.laws import namespace

MOST_PASSES = 1e4
"""Passes beyond which none is looked for: no gain ω known comes near."""
COARSE = (13, 5)
"""Points of the coarse grid in log N and v."""
AXES = (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)
"""Neighbours of a plan in log N and log e, along the axes."""
NEIGHBOURS, TURN = 8, math.pi * (math.sqrt(5.0) - 1.0) / 8.0
"""Neighbours on a circle, and the angle by which it is turned from step to step."""
MOVES = 9
"""Moves for a halving, at most: one or two are needed but in narrow valleys, which caps make."""
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""What is minimised, of N, U and e."""
Values = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
"""The same at several log N and v, in NumPy or in JAX."""
State = tuple[Any, Any, Any, Any]
"""Where a search is: log N, v, the value there, and the step in log N and log e."""


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


def runs_at(spending: Spending, budget: Any, log_params: Any, place: Any) -> Runs:
    """The runs at log N and v that spend the budget as far as the caps allow."""
    xp = namespace(log_params)
    params = xp.exp(log_params)
    left = xp.maximum(budget - spending.serving * params, 0.0)
    fewest, most = (xp.log(passes) for passes in _passes(spending, left, params))
    epochs = xp.exp(fewest + place * (most - fewest))
    seen = params * epochs
    unique = left / (spending.training * seen + spending.jet)
    if math.isfinite(spending.most_training):
        unique = xp.minimum(unique, spending.most_training / seen)
    return Runs(params, xp.clip(unique, 1.0, spending.most_jets), epochs)


def search(
    score: Score,
    spending: Spending,
    budget: np.ndarray,
    *,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    step: float = 0.5,
    precision: float = 0.01,
) -> tuple[np.ndarray, np.ndarray]:
    """log N and v of the best run of each budget, (points,), to `precision` in log N and log e.

    From `start` with steps of `step`, or from the best point of the coarse grid with steps of its
    spacing. The score is asked of several runs of each budget at once.
    """
    top = largest_log_params(spending, budget)

    def values(log_params: Sequence[Any], place: Sequence[Any]) -> Sequence[Any]:
        several = len(log_params)
        many = np.concatenate(log_params), np.concatenate(place)
        runs = runs_at(spending, np.tile(budget, several), *many)
        return np.split(score(runs.params, runs.unique_samples, runs.epochs), several)

    steps = np.full(top.shape, step)
    if start is None:
        start, steps = _coarse(values, top), top / (COARSE[0] - 1)
    (least,) = values(start[:1], start[1:])
    state = (*start, least, steps)
    turns = count()

    def move(at: State) -> State:
        return best_neighbour(values, at, top, around(next(turns)))

    log_params, place, *_ = descend(move, state, precision, moves=MOVES)
    return log_params, place


def descend(step: Callable[[State], State], state: State, precision: float, *, moves: int) -> State:
    """Where a pattern search by these steps ends: all of them shorter than the precision.

    Each halving may be preceded by so many moves on average.
    """
    halvings = math.ceil(math.log2(max(float(state[3].max()) / precision, 2.0)))
    for _ in range((1 + moves) * halvings):
        state = step(state)
        if float(state[3].max()) < precision / 2.0:
            break
    return state


def around(turn: int) -> list[tuple[float, float]]:
    """Neighbours of a plan in log N and log e; every direction comes near in some turn.

    A valley that caps make may be narrower than the angle between neighbours that stand still
    (mesh adaptive direct search: Audet and Dennis, SIAM J. Optim. 17 (2006) 188).
    """
    angles = (turn * TURN + 2.0 * math.pi * k / NEIGHBOURS for k in range(NEIGHBOURS))
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def best_neighbour(
    values: Values, state: State, top: Any, ways: Sequence[tuple[float, float]]
) -> State:
    """One step of a pattern search: to the best of the neighbours; half as long if none is better.

    `top` is the largest log N.
    """
    log_params, place, least, step = state
    xp, per_log = namespace(log_params), 1.0 / math.log(MOST_PASSES)
    all_n = [xp.clip(log_params + n * step, 0.0, top) if n else log_params for n, _ in ways]
    all_v = [xp.clip(place + v * step * per_log, 0.0, 1.0) if v else place for _, v in ways]
    best = least
    for value, n, v in zip(values(all_n, all_v), all_n, all_v, strict=True):
        better = value < best  # never so of what is no number
        best = xp.where(better, value, best)
        log_params, place = xp.where(better, n, log_params), xp.where(better, v, place)
    return log_params, place, best, xp.where(best < least, step, step / 2.0)


def _passes(spending: Spending, left: Any, params: Any) -> tuple[Any, Any]:
    """The fewest and the most passes that make sense at N, with `left` to spend on jets.

    Without a cap on jets or training, either is one number.
    """
    a, b, cap, most = spending.training, spending.jet, spending.most_jets, spending.most_training
    xp = namespace(left)
    fewest, limit = xp.asarray(1.0), xp.asarray(min(spending.most_passes, MOST_PASSES))
    if math.isfinite(cap):
        fewest = xp.maximum((left / cap - b) / (a * params), fewest)
    if math.isfinite(most):
        # Passes from which on the training allowed, and not the budget or the jets, sets U.
        with np.errstate(divide="ignore"):
            paid = xp.where(left > a * most, most * b / (params * (left - a * most)), np.inf)
        limit = xp.minimum(limit, xp.maximum(xp.maximum(paid, most / (params * cap)), 1.0))
    return xp.minimum(fewest, limit), limit


def _coarse(values: Values, top: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log N and v of the best point of the coarse grid."""
    shares, places = np.meshgrid(*(np.linspace(0.0, 1.0, n) for n in COARSE), indexing="ij")
    log_params = np.multiply.outer(shares.ravel(), top)
    passes = np.multiply.outer(places.ravel(), np.ones_like(top))
    found = np.stack(values([*log_params], [*passes]))
    # What is no number is not the least, though argmin has it so.
    least = np.where(np.isnan(found), np.inf, found).argmin(axis=0)[None]
    return (
        np.take_along_axis(log_params, least, axis=0)[0],
        np.take_along_axis(passes, least, axis=0)[0],
    )
