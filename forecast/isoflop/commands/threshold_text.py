"""What `isoflop threshold` prints: labels, exponent, thresholds, verdict."""

from typing import TYPE_CHECKING

from isoflop.terminal import interval_head, interval_row, number, show

if TYPE_CHECKING:
    import pandas as pd

    from isoflop.inference.diagnostics import Verdict
    from isoflop.inference.threshold import Threshold

WIDTH = 30
"""Columns of the names."""


def print_threshold(found: "Threshold", table: "pd.DataFrame", verdict: "Verdict") -> None:
    """The labels, the exponent beside the published one, the thresholds, the verdict."""
    from isoflop.inference.threshold import PUBLISHED_EXPONENT, RULE

    counted = ", ".join(f"{count} {label}" for label, count in found.counts.items())
    show(f"N_thr ∝ U^x, {len(found.runs)} runs over repeated samples: {counted}.")
    show(f"{RULE[0].upper()}{RULE[1:]}.")
    show("\n" + interval_head(WIDTH))
    names = {"x": "x", "k": "k, logit per e-fold of N"}
    for name, row in table.iterrows():
        group = str(name).removeprefix("N_thr[").removesuffix("]")
        title = names.get(str(name), f"N_thr at U = {number(found.centre)}, {group}")
        show(interval_row(title, row.to_dict(), WIDTH))
    for group, label in found.one_sided.items():
        show(f"All labelled runs of {group} are {label}: other groups and the prior set its N_thr.")
    low, high = table[["low_95", "high_95"]].to_numpy()[0]
    within = low <= PUBLISHED_EXPONENT <= high
    show(
        f"\nPublished for jets: x = {PUBLISHED_EXPONENT} (arXiv:2602.15781), "
        f"{'within' if within else 'outside'} the 95 % interval."
    )
    show(
        f"R-hat at most {table['rhat'].max():.3f}, effective draws at least "
        f"{table['ess'].min():.0f}, {found.divergent} divergent."
    )
    show(threshold_verdict(verdict))


def threshold_verdict(verdict: "Verdict") -> str:
    """The verdict in one sentence."""
    if verdict.ok:
        return "Verdict: the sampler converged, and runs on both sides inform the threshold."
    return f"Verdict: NOT to be trusted: {'; '.join(verdict.reasons)}."
