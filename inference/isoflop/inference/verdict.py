"""Whether a forecast can be trusted, in one sentence: sampler, runs, distance, and rolling refits.

It needs only what the posterior file holds, so that every command can say it.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from isoflop.inference.diagnostics import Verdict, prior_driven

MIN_HELD = 0.8
"""Share of the runs that the 95 % intervals of the rolling refits must hold."""
PUBLISHED = "published"
"""Engine of a posterior that was made from a published law."""
MIN_PREDICTED = 5
"""Predicted runs below which that share means little."""


@dataclass(frozen=True)
class RollingSummary:
    """How refits on the cheaper runs of this very table predicted the dearer ones."""

    runs: int
    """Predictions made; a run may be predicted at more than one cut-off."""
    decades: float
    """Largest distance beyond the runs of a refit, in decades of compute."""
    mae: float
    """Mean absolute error of the predicted loss, in per cent."""
    coverage_95: float
    """Share within the 95 % interval."""


def rolling_summary(posterior: xr.DataTree) -> RollingSummary | None:
    """The rolling refits of a posterior, or None where no run could be predicted."""
    if "rolling" not in posterior.children:
        return None
    rolled = posterior["rolling"].to_dataset()
    if not rolled.sizes["prediction"]:
        return None
    held = (rolled["low_95"].values <= 0.0) & (rolled["high_95"].values >= 0.0)
    return RollingSummary(
        runs=len(held),
        decades=float(rolled["decades"].max()),
        mae=float(100.0 * np.abs(rolled["error"].values).mean()),
        coverage_95=float(held.mean()),
    )


def judge(posterior: xr.DataTree, *, decades: float = 0.0) -> Verdict:
    """The verdict on a fit, or on a forecast `decades` of compute beyond its runs (or below)."""
    if posterior.attrs.get("engine") == PUBLISHED:
        return Verdict(False, ("no run of this law is at hand, so nothing here tests it",))
    reasons = str(posterior.attrs.get("sampler_faults", "")).splitlines()
    driven = [name for name in prior_driven(posterior) if name.startswith(("alpha", "beta"))]
    if driven:
        reasons.append(f"no run informs {', '.join(driven)}; add runs of other sizes")
    rolled = rolling_summary(posterior)
    if rolled and rolled.runs >= MIN_PREDICTED and rolled.coverage_95 < MIN_HELD:
        reasons.append(
            f"refits on the cheaper runs held {rolled.coverage_95:.0%} of the dearer ones in their "
            f"95 % intervals, at least {MIN_HELD:.0%} is asked; leave out runs near guessing "
            "(--loss-below) or try --metric bounded"
        )
    reasons += distance_fault(posterior, decades)
    return Verdict(not reasons, tuple(reasons))


def distance_fault(posterior: xr.DataTree, decades: float) -> list[str]:
    """Why a budget `decades` beyond the runs is too far, in one sentence; empty if it is not.

    Negative decades lie below the cheapest run, where nothing was fitted at all.
    """
    if decades < 0.0:
        return [
            f"the budget lies {-decades:.1f} decades below the cheapest run; train cheaper ones"
        ]
    span = compute_span(posterior)
    if decades <= span:
        return []
    return [
        f"the budget lies {decades:.1f} decades beyond runs that span {span:.1f}; train dearer "
        "runs first"
    ]


def compute_span(posterior: xr.DataTree) -> float:
    """Decades of compute between the cheapest and the most expensive fitted run."""
    flops = posterior["constant_data"].to_dataset()["flops"].values
    return float(np.log10(flops.max() / flops.min()))


def sentence(posterior: xr.DataTree, *, decades: float = 0.0) -> str:
    """The verdict as one sentence."""
    if posterior.attrs.get("engine") == PUBLISHED:
        where = f"{decades:.1f} decades beyond its anchor" if decades else "up to its anchor"
        source = posterior.attrs["source"]
        return f"Verdict: the law of {source}, taken at its word; no run here tests it; {where}."
    verdict = judge(posterior, decades=decades)
    rolled = rolling_summary(posterior)
    tested = "no rolling refit was possible"
    if rolled:
        tested = (
            f"refits on its cheaper runs missed the dearer ones by {rolled.mae:.2g} % up to "
            f"{rolled.decades:.1f} decades away and held {rolled.coverage_95:.0%} of them at 95 %"
        )
    distance = f"{decades:.1f} decades beyond the runs" if decades > 0.0 else "within the runs"
    distance = "below the runs" if decades < 0.0 else distance
    if not verdict.ok:
        return f"Verdict: NOT to be trusted {distance}: {'; '.join(verdict.reasons)}."
    engine = posterior.attrs.get("engine", "nuts")
    sampler = "the sampler converged" if engine == "nuts" else f"{engine} with its bootstrap"
    return f"Verdict: {sampler}, the runs inform the exponents, {tested}; {distance}."
