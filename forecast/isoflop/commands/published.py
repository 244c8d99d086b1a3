"""`isoflop law`: a posterior file from a published law, without the runs behind it."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.commands.options import Json, PosteriorOut, Quiet, write_text
from isoflop.terminal import interval_head, interval_row, note, number, show

if TYPE_CHECKING:
    import pandas as pd

NAMES = {
    "loss_inf": "L∞ [nat]",
    "alpha": "α",
    "beta": "β",
    "params_exponent": "a in N* ∝ C^a",
    "samples_exponent": "b in D* ∝ C^b",
    "loss_exponent": "c in L* − L∞ ∝ C^−c",
}


def law(
    path: Annotated[Path, typer.Argument(metavar="LAW", help="TOML file of the law.")],
    out: PosteriorOut,
    draws: Annotated[int, typer.Option(min=100, help="Draws.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Turn a published law into a posterior file.

    `isoflop forecast` reads it.

    Example: isoflop law studies/budget/gn3.toml -o gn3.nc
    """
    from isoflop.inference.lawfile import read_law

    published = read_law(path)
    from isoflop.forecast.exponents import exponent_intervals
    from isoflop.forecast.predict import group_draws
    from isoflop.inference.posterior import save
    from isoflop.inference.published import published_posterior

    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    posterior = published_posterior(
        published, draws=draws, seed=seed, sha256=sha256, path=str(path)
    )
    save(posterior, out)
    note(f"posterior in {out}")
    table = exponent_intervals(group_draws(posterior, published.name))
    write_text(table.to_json(orient="index", indent=1) + "\n" if json_out else "", json_out)
    if quiet or json_out == "-":
        return
    show(f"{published.name}: L = L∞ + A N^−α + B D^−β, from {published.source}")
    _print_intervals(table)
    at = published.anchor
    flops = published.flops_per_param_sample * at.params * at.samples
    sizes = [number(value) for value in (at.params, at.samples, flops)]
    show("anchored at N = {}, D = {}, C = {} FLOP".format(*sizes))
    for line in published.assumptions:
        show(f"Assumed: {line}")


def _print_intervals(table: "pd.DataFrame") -> None:
    show(interval_head())
    for name, row in table.iterrows():
        show(interval_row(NAMES[str(name)], row.to_dict()))
