"""Label the repeated runs, sample the threshold, write its numbers and its figure.

python studies/overfitting_threshold/draw.py studies/jets/records
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isoflop.files import writing
from isoflop.forecast.figures import save_figure
from isoflop.forecast.threshold_figure import BAND, OVER, UNDER, threshold_axes
from isoflop.inference.threshold import (
    ENOUGH_PASSES,
    EXPONENT,
    PUBLISHED_EXPONENT,
    RULE,
    Threshold,
    fit_threshold,
    judge_threshold,
    label_runs,
    threshold_band,
    threshold_table,
)
from isoflop.training.records import read_curves, read_records

HERE = Path(__file__).parent
NAME = "overfitting_threshold"
ALL = "all passes"
"""Name of the fit to labels from all the passes that each run was given."""


def main(records: str) -> None:
    """Fit all runs, a group with both labels alone, and all passes; write JSON and PNG."""
    table, curves = read_records(records), read_curves(records)
    runs = label_runs(table, curves)
    found = fit_threshold(runs)
    alone = {
        group: fit_threshold(runs[runs["group"] == group])
        for group in found.groups
        if group not in found.one_sided
    }
    others = alone | {ALL: fit_threshold(label_runs(table, curves, every_pass=True))}
    with writing(HERE / f"{NAME}.json") as temporary:
        temporary.write_text(json.dumps(numbers(found, others), indent=1) + "\n", encoding="utf-8")
    save_figure(figure(found, threshold_band(found), others[ALL]), HERE / f"{NAME}.png")


def numbers(found: Threshold, others: dict[str, Threshold]) -> dict[str, Any]:
    """Everything that the page quotes, and every run with its label."""
    table = threshold_table(found)
    verdict = judge_threshold(found, table)
    labels = found.runs.groupby(["group", "label"]).size().unstack(fill_value=0)
    return {
        "verdict": {"ok": verdict.ok, "reasons": verdict.reasons},
        "rule": RULE,
        "passes_judged": ENOUGH_PASSES,
        "counts": found.counts,
        "counts_by_group": json.loads(labels.to_json(orient="index")),
        "one_sided_groups": found.one_sided,
        "range": {
            name: [float(found.runs[name].min()), float(found.runs[name].max())]
            for name in ("params", "unique_samples", "passes")
        },
        "unique_samples_of_N_thr": found.centre,
        "parameters": json.loads(table.to_json(orient="index", double_precision=6)),
        "published_exponent": PUBLISHED_EXPONENT,
        "share_of_posterior_below_published": float((found.exponent < PUBLISHED_EXPONENT).mean()),
        "exponent_otherwise": {
            group: json.loads(threshold_table(one).loc["x"].to_json(double_precision=6))
            for group, one in others.items()
        },
        "counts_otherwise": {name: one.counts for name, one in others.items()},
        "divergent": found.divergent,
        "runs": json.loads(found.runs.to_json(orient="records")),
    }


def figure(found: Threshold, band: pd.DataFrame, every: Threshold) -> Figure:
    """A panel for each group, and the posterior of the exponent."""
    count = len(found.groups)
    down = -(-(count + 1) // 2)
    whole = Figure(figsize=(9.0, 3.6 * down + 0.4), layout="constrained")
    panels = whole.subplots(down, 2).ravel()
    for ax in panels[count + 1 :]:
        ax.set_visible(False)
    handles = {}
    shown = found.runs[found.runs["group"].isin(found.groups)]["params"]
    for ax, group in zip(panels, found.groups, strict=False):
        own = found.runs[found.runs["group"] == group]
        threshold_axes(ax, own, band[band["group"] == group])
        ax.set_ylim(shown.min() / 3, shown.max() * 3)
        side = found.one_sided.get(group)
        ax.set_title(f"{group}, all {side}" if side else group, fontsize=10)
        handles |= {
            text: handle for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)
        }
    for ax in panels[:count]:
        ax.set_ylabel("parameters $N$")
        ax.set_xlabel("distinct jets $U$")
    whole.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=9)
    exponent_axes(panels[count], found.exponent.ravel(), every.exponent.ravel())
    return whole


def exponent_axes(ax: Axes, draws: np.ndarray, every: np.ndarray) -> None:
    """The posterior of x with its 68 % interval, that of all passes, prior and published value."""
    edges = np.linspace(-0.75, 2.25, 73)
    ax.hist(draws, bins=edges, density=True, color=BAND, alpha=0.35, label="posterior")
    low, high = np.quantile(draws, (0.16, 0.84))
    ax.axvspan(low, high, color=BAND, alpha=0.15, lw=0, label="68 %")
    style = {"density": True, "histtype": "step", "color": UNDER, "lw": 1.2}
    ax.hist(every, bins=edges, label=ALL, **style)
    prior = np.exp(-0.5 * ((edges - EXPONENT.location) / EXPONENT.scale) ** 2)
    prior /= EXPONENT.scale * np.sqrt(2.0 * np.pi)
    ax.plot(edges, prior, color="black", lw=1.0, ls=":", label="prior")
    ax.axvline(PUBLISHED_EXPONENT, color=OVER, lw=1.6, label="arXiv:2602.15781")
    ax.set_xlabel("exponent $x$ in $N_{thr} \\propto U^x$")
    ax.set_ylabel("posterior density")
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17)}
    ax.legend(fontsize=8, frameon=False, ncols=3, **below)
    ax.set_title("all groups", fontsize=10)


if __name__ == "__main__":
    main(*sys.argv[1:])
