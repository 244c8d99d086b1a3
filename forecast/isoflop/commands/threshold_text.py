"""What `isoflop threshold` prints: labels, exponent, thresholds, verdict."""

from typing import TYPE_CHECKING

from isoflop.terminal import number, show, span

if TYPE_CHECKING:
    import pandas as pd

    from isoflop.inference.diagnostics import Verdict
    from isoflop.inference.threshold import Threshold


def print_threshold(found: "Threshold", table: "pd.DataFrame", verdict: "Verdict") -> None:
    """The labels, the exponent beside the published one, the thresholds, the verdict."""
    from isoflop.inference.threshold import PUBLISHED_EXPONENT, RULE

    counted = ", ".join(f"{count} {label}" for label, count in found.counts.items())
    show(f"N_thr ∝ U^x, {len(found.runs)} runs over repeated samples: {counted}.")
    show(f"{RULE[0].upper()}{RULE[1:]}.")
    show(f"\n  {'':<32}{'median':>10}{'68 %':>22}{'95 %':>22}")
    names = {"x": "x", "k": "k, logit per e-fold of N"}
    for name, row in table.iterrows():
        group = str(name).removeprefix("N_thr[").removesuffix("]")
        title = names.get(str(name), f"N_thr at U = {number(found.centre)}, {group}")
        ranges = [span(row[f"low_{level}"], row[f"high_{level}"]) for level in (68, 95)]
        show(f"  {title:<32}{number(row['median']):>10}{ranges[0]:>22}{ranges[1]:>22}")
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
    if verdict.ok:
        show("Verdict: the sampler converged, and runs on both sides inform the threshold.")
    else:
        show(f"Verdict: NOT to be trusted: {'; '.join(verdict.reasons)}.")
