"""`isoflop threshold`: from which size on networks overfit the samples they are shown again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.commands.options import (
    UNTRUSTED,
    Figure,
    Json,
    Quiet,
    Strict,
    write_text,
)
from isoflop.commands.threshold_text import print_threshold, threshold_verdict
from isoflop.terminal import note

if TYPE_CHECKING:
    import pandas as pd

    from isoflop.inference.diagnostics import Verdict
    from isoflop.inference.threshold import Threshold


def threshold(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder of records with curves.")],
    group: Annotated[list[str] | None, typer.Option(help="Only these groups.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampler.")] = 0,
    strict: Strict = False,
    figure: Figure = "",
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Find the network size from which repeated samples overfit.

    That is N_thr, a power of U. Every run is judged over its first 16 passes, however many it was
    given.

    Example: isoflop threshold studies/jets/records --figure threshold.png
    """
    from isoflop.training.records import read_curves, read_records

    records, curves = read_records(runs), read_curves(runs)
    from isoflop.inference import threshold as model

    unknown = sorted(set(group or ()) - set(records["group"]))
    if unknown:
        have = ", ".join(records["group"].unique())
        raise ValueError(f"{runs} has no group {unknown[0]}; it has {have}")
    labelled = model.label_runs(records, curves)
    if group:
        labelled = labelled[labelled["group"].isin(group)]
    found = model.fit_threshold(labelled, seed=seed)
    table = model.threshold_table(found)
    verdict = model.judge_threshold(found, table)
    write_text(_as_json(found, table, verdict), json_out)
    if not quiet and json_out != "-":
        print_threshold(found, table, verdict)
    elif not verdict.ok:
        note(threshold_verdict(verdict))
    if figure:
        from isoflop.forecast.figures import save_figure
        from isoflop.forecast.threshold_figure import threshold_figure

        save_figure(threshold_figure(found.runs, model.threshold_band(found)), figure)
        note(f"figure in {figure}")
    if strict and not verdict.ok:
        raise typer.Exit(UNTRUSTED)


def _as_json(found: "Threshold", table: "pd.DataFrame", verdict: "Verdict") -> str:
    from isoflop.inference.threshold import PUBLISHED_EXPONENT, RULE

    content: dict[str, Any] = {
        "verdict": {"ok": verdict.ok, "reasons": verdict.reasons},
        "rule": RULE,
        "counts": found.counts,
        "one_sided_groups": found.one_sided,
        "published_exponent": PUBLISHED_EXPONENT,
        "unique_samples_of_N_thr": found.centre,
        "parameters": json.loads(table.to_json(orient="index")),
        "divergent": found.divergent,
        "runs": json.loads(found.runs.to_json(orient="records")),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
