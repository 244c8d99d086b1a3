"""What b-tagging is worth in a search for HH(4b): significance, its ratio, its luminosity.

A final state with k tagged objects keeps ε^k of the signal and of the irreducible background; the
reducible background is what passes the tagger at its fixed background rejection, whatever ε:

    Z(ε) = s ε^k √𝓛 / √(f b_r + b_ir ε^k)

With q = ε₂/ε₁ and r₁ = f b_r / (b_ir ε₁^k), the reducible over the irreducible background at the
reference, s and 𝓛 cancel in the ratio of two taggers:

    Z₂/Z₁ = q^k √[(1 + r₁) / (r₁ + q^k)]

k = 4 where each b jet is tagged by itself, k = 2 where each boosted H→bb is one jet.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from isoflop.forecast.scenario import Scenario as Scenario
from isoflop.forecast.scenario import read_scenario as read_scenario
from isoflop.forecast.uncertain import parse_uncertain

LARGEST_GAIN = 1e4
"""Luminosity equivalent at which the search stops: with an uncertain background the significance
of the reference may never reach that of the new tagger."""


@dataclass(frozen=True)
class Gain:
    """What a tagger gains over the reference, draw by draw."""

    ratio: np.ndarray
    """Z₂/Z₁."""
    luminosity: np.ndarray
    """Luminosity with which the reference would do as well, over that of the scenario."""


def significance_ratio(q: ArrayLike, r1: ArrayLike, *, objects: int = 4) -> np.ndarray:
    """Z₂/Z₁ of S/√B for q = ε₂/ε₁ and k tagged objects; broadcasts.

    >>> round(float(significance_ratio(1.05, 1.0)), 3)
    1.155
    """
    kept = np.asarray(q, float) ** objects
    return np.asarray(kept * np.sqrt((1.0 + np.asarray(r1)) / (np.asarray(r1) + kept)))


def asimov_significance(
    signal: ArrayLike, background: ArrayLike, *, background_uncertainty: float = 0.0
) -> np.ndarray:
    """Median significance of a counting experiment with s and b expected events.

    With an exact background that is Eq. 97 of Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727. A
    relative uncertainty δ, that is σ_b = δ b, is one of a control region of b/(δ² b) = 1/δ²
    background events; its profile likelihood gives Cowan's extension ("Discovery sensitivity for a
    counting experiment with background uncertainty", 2012, Eq. 20). S/√B is the limit s ≪ b.

    >>> round(float(asimov_significance(1.0, 1e4)), 5)
    0.01
    """
    s, b = np.asarray(signal, float), np.asarray(background, float)
    more = np.log1p(s / b)
    if background_uncertainty == 0.0:
        return np.asarray(np.sqrt(2.0 * np.maximum((s + b) * more - s, 0.0)))
    variance = (background_uncertainty * b) ** 2
    fitted = np.log1p(variance * s / (b * (b + variance)))
    log_ratio = (s + b) * (more - fitted) - fitted * b**2 / variance
    return np.asarray(np.sqrt(2.0 * np.maximum(log_ratio, 0.0)))


def luminosity_equivalent(ratio: ArrayLike) -> np.ndarray:
    """How much more luminosity the reference would need for the same S/√B: (Z₂/Z₁)²."""
    return np.asarray(ratio, float) ** 2


def reducible_share(scenario: Scenario, efficiency: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """r₁ at the reference's efficiency ε₁, draw by draw, shape of `efficiency`: (draws,)."""
    size = len(efficiency)
    if scenario.r1 is not None:
        return scenario.r1.draws(size, seed=[seed, 1])
    passed = scenario.f.draws(size, seed=[seed, 2]) * _known(scenario, "reducible_cross_section")
    irreducible = _known(scenario, "irreducible_cross_section")
    return np.asarray(passed / (irreducible * efficiency**scenario.tagged_objects))


def gain(
    scenario: Scenario, reference: np.ndarray, efficiency: np.ndarray, *, seed: int = 0
) -> Gain:
    """Significance ratio and luminosity equivalent of a tagger.

    `reference` is ε₁, shape (draws,); `efficiency` is ε₂ at the same background rejection, shape
    (draws, points). The result has the latter's shape.
    """
    r1 = reducible_share(scenario, reference, seed=seed)[:, None]
    q, k = efficiency / reference[:, None], scenario.tagged_objects
    if scenario.formula == "s_over_sqrt_b":
        ratio = significance_ratio(q, r1, objects=k)
        return Gain(ratio, luminosity_equivalent(ratio))
    kept = reference[:, None] ** k * _known(scenario, "luminosity")
    signal = _known(scenario, "signal_cross_section") * kept
    irreducible = _known(scenario, "irreducible_cross_section") * kept
    background = irreducible * (1.0 + r1)
    error = scenario.background_uncertainty

    def of_reference(luminosity: ArrayLike) -> np.ndarray:
        more = np.asarray(luminosity)
        return asimov_significance(signal * more, background * more, background_uncertainty=error)

    new = asimov_significance(
        signal * q**k, irreducible * (q**k + r1), background_uncertainty=error
    )
    return Gain(new / of_reference(1.0), _matching_luminosity(of_reference, new))


def _matching_luminosity(
    reference: Callable[[ArrayLike], np.ndarray], wanted: np.ndarray
) -> np.ndarray:
    """Factor of luminosity at which the rising `reference` reaches `wanted`, by bisection.

    It stays within `LARGEST_GAIN` either way.
    """
    edge = math.log(LARGEST_GAIN)
    low, high = np.full(wanted.shape, -edge), np.full(wanted.shape, edge)
    for _ in range(50):
        middle = 0.5 * (low + high)
        short = reference(np.exp(middle)) < wanted
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.asarray(np.exp(0.5 * (low + high)))


def _known(scenario: Scenario, name: str) -> float:
    value = getattr(scenario, name)
    if value is None:  # `read_scenario` has asked for it
        raise ValueError(f"scenario {scenario.name!r} needs {name}")
    return float(value)


def compare(scenario: Scenario, q: float, *, draws: int, seed: int = 0) -> dict[str, Any]:
    """Quantiles of the gain of a tagger whose ε is q times that of the scenario's reference."""
    first = scenario.reference_efficiency
    if not 0.0 < q <= 1.0 / first.median:
        raise ValueError(
            f"q is {q:g}; it must be positive and at most {1.0 / first.median:.3g}: the reference "
            f"keeps {first.text} of the b jets, and more than all cannot be kept"
        )
    reference = first.draws(draws, seed=[seed, 0])
    efficiency = np.minimum(q * reference, 1.0)[:, None]
    found = gain(scenario, reference, efficiency, seed=seed)
    r1 = None if scenario.r1 is None else scenario.r1.text
    return _comparison(q, scenario.tagged_objects, r1, found)


def compare_plainly(
    q: float, r1: str, *, objects: int, draws: int, seed: int = 0
) -> dict[str, Any]:
    """`compare` by S/√B where nothing but r₁ and k is known: ε₁ cancels."""
    if not (math.isfinite(q) and q > 0.0):
        raise ValueError(f"q is {q:g}; it must be positive and finite, as 1.05")
    if objects < 1:
        raise ValueError(f"the number of tagged objects is {objects}; it must be at least 1")
    share = parse_uncertain(r1, name="r1")
    ratio = significance_ratio(q, share.draws(draws, seed=[seed, 1])[:, None], objects=objects)
    return _comparison(q, objects, share.text, Gain(ratio, luminosity_equivalent(ratio)))


def _comparison(q: float, objects: int, r1: str | None, found: Gain) -> dict[str, Any]:
    return {
        "q": q,
        "tagged_objects": objects,
        "r1": r1,
        "significance_ratio": _interval(found.ratio[:, 0]),
        "luminosity_equivalent": _interval(found.luminosity[:, 0]),
    }


def _interval(values: np.ndarray) -> dict[str, float]:
    names = ("low_95", "low_68", "median", "high_68", "high_95")
    found = np.quantile(values, (0.025, 0.16, 0.5, 0.84, 0.975))
    return {name: float(value) for name, value in zip(names, found, strict=True)}
