"""The best plan of each draw by itself: what knowing the law would give."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from isoflop.forecast.option import MANY, Option, excess, law_loss
from isoflop.forecast.spending import (
    AXES,
    Spending,
    State,
    best_neighbour,
    descend,
    largest_log_params,
    runs_at,
)
from isoflop.inference.posterior import LAW_VARIABLES

STEP, PRECISION = 1.0, 0.1
"""First and last steps in log N and log e, where the loss is flat."""
Law = tuple[dict[str, Any], Any, Any]
"""Parameters of the law, the largest log N and the budget."""


def best_losses(option: Option, money: np.ndarray, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Loss of the law [nat] at each draw's own best plan, shape (draws, points).

    It is searched from the plan for all draws, at log N and v `at`, (points,), which spends
    `money`.
    """
    draws, spending, budget = option.draws, option.spending, money[None]
    law = draws.columns(*LAW_VARIABLES), largest_log_params(spending, budget), budget
    shape = len(draws.alpha), len(money)
    step = _compiled if np.prod(shape) >= MANY else _step
    start = tuple(np.broadcast_to(one, shape) for one in at)
    (least,) = _values(law, spending, draws.final, start[:1], start[1:])
    log_params, place, *_ = descend(
        partial(step, law, spending, draws.final),
        (*start, least, np.full(shape, STEP)),
        PRECISION,
        moves=2,  # some draw of thousands would always go on
    )
    return law_loss(draws, runs_at(spending, budget, np.asarray(log_params), np.asarray(place)))


def _step(law: Law, spending: Spending, final: bool, state: State) -> State:
    """One step of the search, along the axes."""
    return best_neighbour(partial(_values, law, spending, final), state, law[1], AXES)


_compiled = jax.jit(_step, static_argnames=("spending", "final"))


def _values(
    law: Law, spending: Spending, final: bool, log_params: Sequence[Any], place: Sequence[Any]
) -> Sequence[Any]:
    """u at several log N and v: each draw's loss is least where this is, and it is quicker."""
    columns, _, budget = law
    found = []
    for n, v in zip(log_params, place, strict=True):
        runs = runs_at(spending, budget, n, v)
        found.append(excess(columns, runs.params, runs.unique_samples, runs.epochs, final=final))
    return found
