"""The budgets at which the slider stops: even steps in log C, whole decades among them."""

import math

import numpy as np

from isoflop.forecast.budget import parse_budget

STEPS_PER_DECADE = (10, 5, 4, 2, 1)
"""Tried in this order until the slider has few enough stops."""
MOST_STOPS = 121
AHEAD = 1000.0
"""Without a range the slider goes this factor beyond the dearest run of the fit."""


def parse_range(text: str) -> tuple[float, float]:
    """Least and largest budget [FLOP] of `LO:HI`, each as `parse_budget` reads it.

    >>> parse_range("1e12:3 EFLOP")
    (1000000000000.0, 3e+18)
    """
    parts = text.split(":")
    if len(parts) != 2:
        raise ValueError(f"--budgets {text!r} is not LO:HI, for example 1e12:1e16")
    low, high = (parse_budget(part) for part in parts)
    if not low < high:
        raise ValueError(
            f"--budgets {text!r} goes from {low:g} down to {high:g} FLOP; give the smaller first"
        )
    return low, high


def usual_range(flops: np.ndarray) -> tuple[float, float]:
    """From the cheapest of these runs [FLOP] to `AHEAD` times the dearest, in whole decades."""
    first = math.floor(math.log10(flops.min()))
    return _decade(first), _decade(math.ceil(math.log10(flops.max() * AHEAD) - 1e-9))


def _decade(k: int) -> float:
    """The float that 10^k is read as; `10.0 ** 23` is the one above it, a stop of its own."""
    return float(f"1e{k}")


def slider_stops(low: float, high: float) -> list[float]:
    """Budgets [FLOP] from `low` to `high`, both among them, else 10^(k/steps) for whole k.

    >>> [f"{flops:g}" for flops in slider_stops(5e11, 1e12)]
    ['5e+11', '5.01187e+11', '6.30957e+11', '7.94328e+11', '1e+12']
    """
    for steps in STEPS_PER_DECADE:
        first = math.ceil(round(steps * math.log10(low), 9))
        last = math.floor(round(steps * math.log10(high), 9))
        inner = [
            _decade(k // steps) if k % steps == 0 else 10.0 ** (k / steps)
            for k in range(first, last + 1)
        ]
        found = sorted({low, high, *inner})
        if len(found) <= MOST_STOPS:
            return found
    raise ValueError(
        f"--budgets spans {math.log10(high / low):.0f} decades; the slider holds {MOST_STOPS - 1}"
    )


def whole_decades(budgets: list[float]) -> list[float]:
    """Those of these budgets [FLOP] that are powers of ten, and the first and the last."""
    inner = [flops for flops in budgets if math.log10(flops) % 1.0 == 0.0]
    return sorted({budgets[0], *inner, budgets[-1]})
