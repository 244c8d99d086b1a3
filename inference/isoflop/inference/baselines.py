"""Baselines: the fits in common use, against which the hierarchical model is measured.

Each takes the runs of one group, counts D as the samples seen (repeats included), and gives point
estimates with bootstrap draws. Only NumPy and SciPy are needed. The methods by name:

* `approach3`: L = E + A N^−α + B D^−β by the sum of Huber losses of log L, as the replication of
  Chinchilla does it (arXiv:2404.10102; the method is approach 3 of arXiv:2203.15556);
* `approach3-coupled`: the same for L = E + (A N^−α + B D^−β)^γ with γ between 0.1 and 10;
* `varpro`: the plain law by least squares of the relative error, with variable projection: the
  best E, A, B ≥ 0 follow from α and β, which are searched between 0.01 and 3;
* `parabola`: approach 2 of arXiv:2203.15556, a parabola through the runs of each isoFLOP bin and
  power laws through their minima;
* `power-law`: log L = log K − k log C by least squares.

A forecast is a draw of the parameters plus a residual of the point fit drawn at random. The
bootstrap draws runs with replacement; a draw that leaves too little to fit is drawn again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import minimize, nnls

from isoflop.inference.threads import one_blas_thread

LAWS = {"approach3": "additive", "approach3-coupled": "coupled", "varpro": "additive"}
"""The law that a method fits, for those that fit one."""
HUBER_DELTA = 1e-3
"""Residual of log loss at which the Huber loss turns from quadratic to linear (both papers)."""
BIN_WIDTH = 0.1
"""Widest isoFLOP bin, in decades of compute."""
FLOOR_BINS = 5
"""Minima from which on their law gets a floor E; three parameters need more than three minima."""

# The published starts, in the order of `product`; those of γ are ours.
_START_EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0)
_START_LEVELS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
_START_FLOORS = (-1.0, -0.5, 0.0, 0.5, 1.0)
_START_GAMMAS = (0.3, 0.6, 1.0)
# γ → 0 is the larger of two terms and γ → ∞ their product; a decade about the plain law nears both.
_GAMMA_BOUNDS = (0.1, 10.0)
_EXPONENT_BOUNDS = (0.01, 3.0)
_EXPONENT_GRID = (0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5)
_ATTEMPTS = 100


@dataclass(frozen=True)
class Baseline:
    """A method fitted to the runs of one group, with bootstrap draws of its parameters."""

    method: str
    """One of `METHODS`."""
    theta: dict[str, np.ndarray]
    """Bootstrap draws by name, shape (draws,). The laws: loss_inf [nat], log_A, log_B, alpha, beta,
    gamma; a term that vanishes has log −inf. power-law: log_K, k. parabola: loss_inf, log_K, k of
    the optimal loss, log_G, a of N* = G C^a, curvature [nat]."""
    best: dict[str, float]
    """The fit to all runs, same names."""
    residuals: np.ndarray
    """log loss of the runs less that of `best`, shape (runs,)."""


Point = dict[str, float]
"""Parameters of a method by name."""


@dataclass(frozen=True)
class _Runs:
    """Logarithms of the runs, shape (runs,) each."""

    log_params: np.ndarray
    log_samples: np.ndarray
    log_flops: np.ndarray
    log_loss: np.ndarray


@dataclass(frozen=True)
class _Method:
    """How many parameters a method has, how it is solved, and what loss they mean.

    `solve` takes the runs, a weight for each, and the fit to all runs to restart from, if any; it
    raises `ValueError` where the weighted runs are too few for it.
    """

    parameters: int
    solve: Callable[[_Runs, np.ndarray, Point | None], Point]
    log_loss: Callable[[Mapping[str, np.ndarray], _Runs], np.ndarray]


@one_blas_thread()
def fit_baseline(
    method: str, records: pd.DataFrame, *, draws: int = 400, seed: int = 0
) -> Baseline:
    """Fit one of `METHODS` to the checked run records of one group, with `draws` resamplings.

    Raises `ValueError` for an unknown method, runs without a loss, fewer runs than parameters and
    one more, and runs that the method cannot use.
    """
    if method not in _METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if draws < 1:
        raise ValueError(f"the number of draws is {draws}; it must be at least 1")
    form = _METHODS[method]
    if len(records) <= form.parameters:
        raise ValueError(
            f"{method} has {form.parameters} parameters and needs at least "
            f"{form.parameters + 1} runs, not {len(records)}; add runs"
        )
    if records["loss"].isna().any():
        raise ValueError(f"{records['loss'].isna().sum()} run(s) have no loss; leave them out")
    runs = _log_runs(records)
    best = form.solve(runs, np.ones(len(records)), None)
    rng = np.random.default_rng(seed)
    points = [_resampled(method, runs, best, rng) for _ in range(draws)]
    theta = {name: np.array([point[name] for point in points]) for name in best}
    return Baseline(method, theta, best, runs.log_loss - form.log_loss(_arrays(best), runs))


def predict_log_loss(baseline: Baseline, records: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """Log loss that a baseline expects of runs, shape (draws, runs).

    Each draw of the parameters, plus a residual of the point fit, drawn anew for draw and run.
    `records` are checked run records; their losses are not looked at.
    """
    columns = {name: values[:, None] for name, values in baseline.theta.items()}
    mean = _METHODS[baseline.method].log_loss(columns, _log_runs(records))
    noise = np.random.default_rng(seed).choice(baseline.residuals, size=mean.shape)
    return np.asarray(mean + noise)


def huber_objective(
    point: np.ndarray,
    log_params: np.ndarray,
    log_samples: np.ndarray,
    log_loss: np.ndarray,
    weights: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Objective of approach 3 over δ², with its gradient, shape (6,).

    Σ w Huber_δ(r) with r = LSE(e, γ LSE(a − α log N, b − β log D)) − log L at the point
    (e, a, b, α, β, log γ); γ = 1 is the objective of arXiv:2404.10102. Runs have shape (runs,).
    """
    e, a, b, alpha, beta, log_gamma = point
    gamma = np.exp(log_gamma)
    n_term, d_term = a - alpha * log_params, b - beta * log_samples
    both = np.logaddexp(n_term, d_term)
    fitted = np.logaddexp(e, gamma * both)
    residual = fitted - log_loss
    clipped = np.clip(residual, -HUBER_DELTA, HUBER_DELTA)
    # Undivided the sum is about 1e-3 and an optimiser takes its slopes for convergence.
    value = float(weights @ (clipped * (residual - clipped / 2))) / HUBER_DELTA**2
    pull = weights * clipped / HUBER_DELTA**2
    reducible = pull * np.exp(gamma * both - fitted) * gamma
    by_n, by_d = reducible * np.exp(n_term - both), reducible * np.exp(d_term - both)
    floor = pull @ np.exp(e - fitted)
    slopes = (-(by_n @ log_params), -(by_d @ log_samples), reducible @ both)
    return value, np.array([floor, by_n.sum(), by_d.sum(), *slopes])


def _log_runs(records: pd.DataFrame) -> _Runs:
    names = ("params", "samples", "flops", "loss")
    return _Runs(*(np.log(records[name].to_numpy(float)) for name in names))


def _arrays(point: Point) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in point.items()}


def _log(values: np.ndarray) -> np.ndarray:
    """Logarithm, −inf at 0 without a warning: a term that is absent."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))


def _resampled(method: str, runs: _Runs, best: Point, rng: np.random.Generator) -> Point:
    """The method solved for runs drawn with replacement: how often each came is its weight."""
    count = len(runs.log_loss)
    for _ in range(_ATTEMPTS):
        weights = rng.multinomial(count, np.full(count, 1 / count)).astype(float)
        try:
            return _METHODS[method].solve(runs, weights, best)
        except ValueError:
            continue
    raise ValueError(
        f"{method}: {_ATTEMPTS} resamplings of {count} runs left too few of them to fit; add runs"
    )


def _law_log_loss(theta: Mapping[str, np.ndarray], runs: _Runs) -> np.ndarray:
    n_term = theta["log_A"] - theta["alpha"] * runs.log_params
    d_term = theta["log_B"] - theta["beta"] * runs.log_samples
    reducible = theta["gamma"] * np.logaddexp(n_term, d_term)
    return np.asarray(np.logaddexp(_log(theta["loss_inf"]), reducible))


def _solve_huber(
    runs: _Runs, weights: np.ndarray, best: Point | None, *, gammas: tuple[float, ...]
) -> Point:
    """Approach 3 by L-BFGS, with log N and log D about their means, which unties a from α.

    A first fit evaluates every published start and descends from the lowest of each pair of
    exponents (and γ). A resampling restarts from `best`, and from there with a floor of half the
    lowest loss: once E is near 0 the objective is flat in e and no descent returns.
    """
    centre = runs.log_params.mean(), runs.log_samples.mean()
    centred = (runs.log_params - centre[0], runs.log_samples - centre[1], runs.log_loss, weights)
    if best is None:
        starts = _published_starts(gammas, centre)
        values = [[huber_objective(start, *centred)[0] for start in cell] for cell in starts]
        starts = starts[np.arange(len(starts)), np.argmin(values, axis=1)]
    else:
        floor = _log(np.array(max(best["loss_inf"], np.finfo(float).tiny)))
        levels = [
            best["log_A"] - best["alpha"] * centre[0],
            best["log_B"] - best["beta"] * centre[1],
        ]
        rest = [*levels, best["alpha"], best["beta"], np.log(best["gamma"])]
        starts = np.array([[floor, *rest], [runs.log_loss.min() - np.log(2), *rest]])
    bounds = [(None, None)] * 5 + [tuple(np.log(_GAMMA_BOUNDS)) if len(gammas) > 1 else (0.0, 0.0)]
    fits = [
        minimize(
            huber_objective,
            start,
            args=centred,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-11, "gtol": 1e-6},
        )
        for start in starts
    ]
    e, a, b, alpha, beta, log_gamma = min(fits, key=lambda fit: float(fit.fun)).x
    return _law_point(
        np.exp(e), a + alpha * centre[0], b + beta * centre[1], alpha, beta, np.exp(log_gamma)
    )


def _law_point(*values: float) -> Point:
    names = ("loss_inf", "log_A", "log_B", "alpha", "beta", "gamma")
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _published_starts(gammas: tuple[float, ...], centre: tuple[float, float]) -> np.ndarray:
    """Starts (e, a, b, α, β, log γ), a and b at the centre, shape (exponents, levels, 6)."""
    exponents = product(_START_EXPONENTS, _START_EXPONENTS, np.log(gammas))
    levels = list(product(_START_FLOORS, _START_LEVELS, _START_LEVELS))
    cells = [
        [(e, a - alpha * centre[0], b - beta * centre[1], alpha, beta, lg) for e, a, b in levels]
        for alpha, beta, lg in exponents
    ]
    return np.array(cells)


def _solve_projected(runs: _Runs, weights: np.ndarray, best: Point | None) -> Point:
    """Variable projection of the plain law."""
    logs = np.stack([runs.log_params, runs.log_samples])
    start = None if best is None else np.array([best["alpha"], best["beta"]])
    exponents, (floor, *levels) = _project(logs, np.exp(runs.log_loss), weights, start)
    return _law_point(floor, *_log(np.array(levels)), *exponents, 1.0)


def _project(
    logs: np.ndarray, loss: np.ndarray, weights: np.ndarray, start: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit loss = c₀ + Σ_j c_j exp(−k_j x_j), c ≥ 0, to the least squares of the relative error.

    `logs` are the x_j, shape (terms, runs). Gives k, shape (terms,), and c, shape (1 + terms,).
    The gradient in k is that at fixed c, since c minimises (Golub and Pereyra 1973).
    """
    centre = logs.mean(axis=1, keepdims=True)
    root = np.sqrt(weights)

    def coefficients(exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        terms = np.exp(-exponents[:, None] * (logs - centre))
        design = np.vstack([np.ones_like(loss), terms]) * (root / loss)
        # Columns of unit length: a steep term spans ten decades.
        length = np.linalg.norm(design, axis=1)
        solution, _ = nnls((design / length[:, None]).T, root, maxiter=100)
        parts = (solution / length)[:, None] * design
        return solution / length, parts[1:], parts.sum(axis=0) - root

    def objective(exponents: np.ndarray) -> tuple[float, np.ndarray]:
        _, parts, residual = coefficients(exponents)
        slope = -2 * (parts * (logs - centre)) @ residual
        return float(residual @ residual) / scale, slope / scale

    scale = 1.0
    if start is None:
        grid = [np.array(point) for point in product(_EXPONENT_GRID, repeat=len(logs))]
        start = min(grid, key=lambda point: objective(point)[0])
    # About 1 at the start, whatever the scatter, so that one tolerance serves all.
    scale = max(objective(start)[0], np.finfo(float).tiny)
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[_EXPONENT_BOUNDS] * len(logs),
        options={"ftol": 1e-13, "gtol": 1e-9},
    ).x
    solution = coefficients(found)[0]
    return found, np.append(solution[0], solution[1:] * np.exp(found * centre[:, 0]))


def _solve_power_law(runs: _Runs, weights: np.ndarray, best: Point | None) -> Point:
    log_K, slope = _line(runs.log_flops, runs.log_loss, weights)
    return {"log_K": log_K, "k": -slope}


def _power_log_loss(theta: Mapping[str, np.ndarray], runs: _Runs) -> np.ndarray:
    return np.asarray(theta["log_K"] - theta["k"] * runs.log_flops)


def _line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the least-squares line through weighted points."""
    if len(np.unique(x[weights > 0])) < 2:
        raise ValueError("flops takes 1 distinct value, a power law needs at least 2; add runs")
    middle = np.average(x, weights=weights)
    slope = (weights * (x - middle)) @ y / (weights @ (x - middle) ** 2)
    return float(np.average(y, weights=weights) - slope * middle), float(slope)


def _solve_parabola(runs: _Runs, weights: np.ndarray, best: Point | None) -> Point:
    """Power laws through the minima of the isoFLOP bins, and their mean curvature by precision."""
    minima = _minima(runs, weights)
    if len(minima) < 3:
        raise ValueError(
            f"parabola: {len(minima)} usable isoFLOP bin(s), it needs at least 3 (3 sizes within "
            f"{BIN_WIDTH} decades of flops, with a minimum between them); add runs at equal flops"
        )
    log_flops, log_optimum, loss, curvature, precision = minima.T
    equal = np.ones(len(minima))
    log_G, a = _line(log_flops, log_optimum, equal)
    if len(minima) < FLOOR_BINS:
        log_K, slope = _line(log_flops, np.log(loss), equal)
        floor, k = 0.0, -slope
    else:
        start = None if best is None else np.array([best["k"]]).clip(*_EXPONENT_BOUNDS)
        (k,), (floor, level) = _project(log_flops[None], loss, equal, start)
        log_K = float(_log(level))
    law = {"loss_inf": float(floor), "log_K": log_K, "k": float(k)}
    return law | {
        "log_G": log_G,
        "a": a,
        "curvature": float(np.average(curvature, weights=precision)),
    }


def _parabola_log_loss(theta: Mapping[str, np.ndarray], runs: _Runs) -> np.ndarray:
    optimal = theta["loss_inf"] + np.exp(theta["log_K"] - theta["k"] * runs.log_flops)
    off = runs.log_params - theta["log_G"] - theta["a"] * runs.log_flops
    return np.asarray(np.log(optimal + theta["curvature"] * off**2))


def _minima(runs: _Runs, weights: np.ndarray) -> np.ndarray:
    """The bins with a minimum inside, shape (bins, 5).

    Columns: log C, log N*, loss [nat], half the second derivative [nat] and its precision (but for
    the scatter). Losses are moved to the mean log C of their bin along the power law of all runs.
    """
    _, slope = _line(runs.log_flops, runs.log_loss, weights)
    bins = _bins(runs.log_flops)
    minima = []
    for number in range(bins.max() + 1):
        inside = (bins == number) & (weights > 0)
        size, root = runs.log_params[inside], np.sqrt(weights[inside])
        if len(np.unique(size.round(2))) < 3:  # digitised sizes differ by less
            continue
        log_flops = np.average(runs.log_flops[inside], weights=weights[inside])
        loss = np.exp(runs.log_loss[inside] - slope * (runs.log_flops[inside] - log_flops))
        x = size - size.mean()
        design = np.stack([np.ones_like(x), x, x**2], axis=1)
        q, r = np.linalg.qr(design * root[:, None])
        c0, c1, c2 = np.linalg.solve(r, q.T @ (loss * root))
        if c2 > 0 and x.min() <= -c1 / (2 * c2) <= x.max():
            minimum = (size.mean() - c1 / (2 * c2), c0 - c1**2 / (4 * c2))
            if minimum[1] > 0:  # a steep bin of few sizes may dip below any loss
                minima.append([log_flops, *minimum, c2, r[2, 2] ** 2])
    return np.array(minima)


def _bins(log_flops: np.ndarray) -> np.ndarray:
    """Number of each run's isoFLOP bin, shape (runs,); a bin opens at the first run beyond one."""
    order = np.argsort(log_flops, kind="stable")
    number, opened = -1, -np.inf
    bins = np.empty(len(log_flops), dtype=int)
    for index in order:
        if log_flops[index] > opened + BIN_WIDTH * np.log(10):
            number, opened = number + 1, log_flops[index]
        bins[index] = number
    return bins


_METHODS = {
    "approach3": _Method(5, partial(_solve_huber, gammas=(1.0,)), _law_log_loss),
    "approach3-coupled": _Method(6, partial(_solve_huber, gammas=_START_GAMMAS), _law_log_loss),
    "varpro": _Method(5, _solve_projected, _law_log_loss),
    "parabola": _Method(6, _solve_parabola, _parabola_log_loss),
    "power-law": _Method(2, _solve_power_law, _power_log_loss),
}
METHODS: tuple[str, ...] = tuple(_METHODS)
