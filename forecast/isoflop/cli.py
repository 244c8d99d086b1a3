"""The `isoflop` command: one verb a step of the chain, each a thin wrapper of the Python API.

Every import of a part stands inside the command that needs it, so that `--help` is immediate and a
user without torch or Pythia meets them only where they are needed. Bad input ends with one line on
stderr and exit code 2.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.terminal import note, print_backtest, print_forecast, print_law, progress_bar, show

if TYPE_CHECKING:
    import xarray as xr


UNTRUSTED = 3
"""Exit code of a failed verdict under --strict."""

app = typer.Typer(
    name="isoflop",
    help="Bayesian scaling laws: from training runs to forecasts with honest intervals.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]
Json = Annotated[str, typer.Option("--json", metavar="FILE", help="Write JSON; - is stdout.")]
Figure = Annotated[str, typer.Option("--figure", metavar="FILE", help="Draw (.png, .pdf, .svg).")]
LawName = Annotated[str, typer.Option("--law", help="coupled or additive.")]
LossBelow = Annotated[
    float, typer.Option(help="Leave out runs above this loss [nat], near guessing.")
]
Renames = Annotated[
    list[str] | None, typer.Option("--map", help="Column of the table, as params=N.")
]
Metric = Annotated[
    str, typer.Option(help="loss; or bounded: a rate that saturates at its ceiling.")
]
Ceiling = Annotated[
    float | None, typer.Option(help="Largest value of a bounded metric; 1 if not given.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 if the verdict is bad.")]
PosteriorPath = Annotated[Path, typer.Argument(metavar="POSTERIOR", help="File of `isoflop fit`.")]


def main() -> None:
    """Run the command line; turn what a user can cause into one line and exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"isoflop: {' '.join(str(error).split())}\n")
        sys.exit(2)


@app.command()
def simulate(
    number: Annotated[str, typer.Option("-n", "--number", help="Jets in all, as 100k or 1e5.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the ROOT files.")],
    split: Annotated[str, typer.Option(help="train, val or test: the file indices.")] = "train",
    jets_per_file: Annotated[str, typer.Option(help="Jets in one file.")] = "10k",
    workers: Annotated[int | None, typer.Option(help="Processes; default one a core.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same jets.")] = 1,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Simulate jets of the ten JetClass classes into JetClass-layout ROOT files.

    Example: isoflop simulate -n 100k -o jets/
    """
    from isoflop.training.jets.simulate import simulate as run

    summary = run(
        out,
        _count(number, "-n"),
        seed=seed,
        split=split,
        jets_per_file=_count(jets_per_file, "--jets-per-file"),
        workers=workers,
        quiet=quiet,
    )
    _write(json.dumps(asdict(summary), default=str) + "\n", json_out)
    if not quiet:
        rate = summary.n_simulated / max(summary.seconds, 1e-9)
        note(f"{summary.n_jets} jets in {summary.directory} ({rate:.0f} jets/s this time)")


@app.command()
def train(
    grid: Annotated[Path, typer.Argument(metavar="GRID", help="TOML file of the sweep.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run records.")],
    data: Annotated[Path | None, typer.Option(help="Folder of jets, if not the grid's.")] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at once.")] = None,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Train every run of a grid that has no record yet; call again to resume.

    Example: isoflop train studies/jets/grid.toml -o runs/
    """
    from isoflop.training.sweep import train_grid

    summary = train_grid(grid, out, data=data, workers=workers, quiet=quiet)
    _write(json.dumps(asdict(summary), default=str) + "\n", json_out)
    if not quiet:
        note(f"{summary.trained} of {summary.runs} runs trained; records in {summary.out}")


@app.command()
def fit(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Records: CSV, Parquet or folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Posterior file (.nc).")],
    law: LawName = "coupled",
    engine: Annotated[
        str, typer.Option(help="nuts, or the bootstrap of approach3, approach3-coupled, varpro.")
    ] = "nuts",
    metric: Metric = "loss",
    ceiling: Ceiling = None,
    hold_out: Annotated[float, typer.Option(help="Share of the dearest runs kept apart.")] = 0.0,
    loss_below: LossBelow = float("inf"),
    rename: Renames = None,
    chains: Annotated[int, typer.Option(min=1, help="Markov chains.")] = 4,
    draws: Annotated[int, typer.Option(min=1, help="Draws a chain.")] = 1000,
    warmup: Annotated[int, typer.Option(min=1, help="Adaptation steps a chain.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the sampler.")] = 0,
    strict: Strict = False,
    figure: Figure = "",
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Fit the hierarchical scaling law to run records.

    Example: isoflop fit runs/ -o posterior.nc --hold-out 0.1
    """
    from isoflop.files import check_writable
    from isoflop.inference.posterior import save
    from isoflop.training.records import read_records, records_hash

    check_writable(out)
    if figure:
        _require_figure_name(figure)
    records = read_records(runs, rename=_renames(rename or []))
    from isoflop.inference.fit import fit as sample

    with progress_bar("sampling", visible=not quiet) as tick:
        posterior = sample(
            records,
            law,
            engine=engine,
            ceiling=_ceiling(metric, ceiling),
            hold_out=hold_out,
            loss_below=loss_below,
            chains=chains,
            draws=draws,
            warmup=warmup,
            seed=seed,
            source=str(runs),
            source_sha256=records_hash(runs),
            tick=tick,
        )
    save(posterior, out)
    note(f"posterior in {out}")
    _report(posterior, json_out, quiet=quiet)
    _draw_check(posterior, figure)
    _stop_if_untrusted(posterior, 0.0, strict)


@app.command()
def check(
    path: PosteriorPath,
    strict: Strict = False,
    figure: Figure = "",
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Show parameters, diagnostics and verdict; compare with the runs that were kept apart.

    Example: isoflop check posterior.nc --figure check.png
    """
    from isoflop.inference.posterior import load

    posterior = load(path)
    _report(posterior, json_out, quiet=quiet)
    _draw_check(posterior, figure)
    _stop_if_untrusted(posterior, 0.0, strict)


@app.command()
def forecast(
    path: PosteriorPath,
    budget: Annotated[
        list[str] | None, typer.Option(help="Compute, as 1e21, '3 EFLOP' or '100 GPU-h'.")
    ] = None,
    params: Annotated[float | None, typer.Option(help="N, instead of a budget.")] = None,
    unique: Annotated[
        float | None, typer.Option(help="U, distinct samples, with --params.")
    ] = None,
    epochs: Annotated[float, typer.Option(help="Passes over them, with --params.")] = 1.0,
    unique_cap: Annotated[
        float | None, typer.Option(help="Distinct samples there are; beyond it data repeat.")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(help="What one GPU sustains, as '4e14' or '400 TFLOP/s'.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only these groups.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the run-to-run scatter.")] = 0,
    json_out: Json = "",
    csv_out: Annotated[str, typer.Option("--csv", metavar="FILE", help="Write CSV.")] = "",
    strict: Strict = False,
    figure: Figure = "",
    quiet: Quiet = False,
) -> None:
    """Forecast the loss and the compute-optimal plan at budgets nobody has spent.

    Example: isoflop forecast posterior.nc --budget 1e15 --json -
    """
    from isoflop.forecast.budget import parse_budget, parse_speed

    sustained = parse_speed(speed) if speed else None
    budgets = [parse_budget(text, flops_per_second=sustained) for text in budget or []]
    if bool(budgets) == (params is not None):
        raise ValueError("give either --budget, or --params with --unique (and --epochs)")
    if params is not None and unique is None:
        raise ValueError("--params needs --unique, the number of distinct samples")
    from isoflop.forecast import table
    from isoflop.inference.posterior import load

    posterior = load(path)
    if params is not None and unique is not None:
        rows = table.forecast_point(
            posterior, params, unique_samples=unique, epochs=epochs, groups=group, seed=seed
        )
    else:
        rows = []
        for flops in budgets:
            rows += table.forecast_budget(
                posterior, flops, groups=group, unique_cap=unique_cap, seed=seed
            )
    _write(table.to_json(rows), json_out)
    if csv_out:
        table.write_csv(rows, csv_out)
    if not quiet and json_out != "-":
        print_forecast(posterior, table.to_intervals(rows))
    if figure:
        _draw_forecast(posterior, [row.budget_flops for row in rows], group, figure)
    farthest = max(row.extrapolation_decades for row in rows)
    if not quiet:
        from isoflop.inference.verdict import sentence

        note(sentence(posterior, decades=farthest))
    _stop_if_untrusted(posterior, farthest, strict)


@app.command()
def backtest(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Records: CSV, Parquet or folder.")],
    holdout: Annotated[
        float, typer.Option(help="Hide the runs above the largest compute over this.")
    ] = 10.0,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Several cut-offs: 3, 10, 30 and 100.")
    ] = False,
    methods: Annotated[
        str, typer.Option(help="Comma-separated: isoflop, approach3, approach3-coupled, varpro, …")
    ] = "isoflop",
    law: LawName = "coupled",
    metric: Metric = "loss",
    ceiling: Ceiling = None,
    loss_below: LossBelow = float("inf"),
    rename: Renames = None,
    seed: Annotated[int, typer.Option(help="Seed of the samplers.")] = 0,
    figure: Figure = "",
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Hide the most expensive runs, forecast them from the rest, and score the forecast.

    Example: isoflop backtest runs.csv --holdout 10 --methods isoflop,approach3
    """
    import pandas as pd

    from isoflop.training.records import read_records

    if figure:
        _require_figure_name(figure)
    records = read_records(runs, rename=_renames(rename or []))
    from isoflop.inference.backtest import ROLLING_HOLDOUTS, to_json
    from isoflop.inference.backtest import backtest as run

    outcomes = [
        run(
            records[~(records["loss"] >= loss_below)],
            holdout=factor,
            methods=tuple(name.strip() for name in methods.split(",")),
            law=law,
            ceiling=_ceiling(metric, ceiling),
            file=str(runs),
            seed=seed,
        )
        for factor in (ROLLING_HOLDOUTS if rolling else (holdout,))
    ]
    rows = [row for outcome in outcomes for row in outcome.rows]
    skipped = [one for outcome in outcomes for one in outcome.skipped]
    if not rows:
        reasons = (f"{one.group} at holdout {one.holdout:g}: {one.reason}" for one in skipped)
        raise ValueError(f"no group of {runs} can be back-tested: {'; '.join(reasons)}")
    _write(to_json(rows), json_out)
    if not quiet and json_out != "-":
        print_backtest(rows, skipped)
    if figure:
        from isoflop.forecast.figures import backtest_figure, save_figure

        save_figure(backtest_figure(pd.DataFrame(map(asdict, rows))), figure)
        note(f"figure in {figure}")


def _draw_check(posterior: "xr.DataTree", out: str) -> None:
    if not out:
        return
    from isoflop.forecast.figures import check_figure, save_figure
    from isoflop.forecast.table import fitted_comparison, held_out_comparison

    held = held_out_comparison(posterior) if "predictions" in posterior.children else None
    save_figure(check_figure(fitted_comparison(posterior), held), out)
    note(f"figure in {out}")


def _draw_forecast(
    posterior: "xr.DataTree", budgets: list[float], groups: list[str] | None, out: str
) -> None:
    from isoflop.forecast.fans import forecast_curves
    from isoflop.forecast.figures import forecast_figure, save_figure

    curves = forecast_curves(posterior, sorted(set(budgets)), groups=groups)
    save_figure(forecast_figure(curves), out)
    note(f"figure in {out}")


def _report(posterior: "xr.DataTree", json_out: str, *, quiet: bool) -> None:
    """Parameters, diagnostics, verdict and the runs that were kept apart."""
    if quiet and not json_out:
        return
    from isoflop.forecast.table import held_out_comparison, summarise_held_out
    from isoflop.inference.diagnostics import diagnose
    from isoflop.inference.verdict import judge, sentence

    diagnosis = diagnose(posterior)
    held = None
    if "predictions" in posterior.children:
        held = summarise_held_out(held_out_comparison(posterior))
    if json_out:
        content = {
            "verdict": asdict(judge(posterior)),
            "sentence": sentence(posterior),
            "divergent": diagnosis.divergent,
            "prior_driven": diagnosis.prior_driven,
            "influential": diagnosis.influential,
            "parameters": json.loads(diagnosis.table.to_json(orient="index")),
            "held_out": None if held is None else asdict(held),
        }
        _write(json.dumps(content, indent=1, ensure_ascii=False) + "\n", json_out)
    if quiet or json_out == "-":
        return
    print_law(posterior, diagnosis)
    if held is not None:
        show(
            f"Kept apart: the {held.runs} most expensive runs. "
            f"Mean error of the predicted loss {held.mean_absolute_error_percent:.2f} % "
            f"(bias {held.bias_percent:+.2f} %); the 68 % interval holds "
            f"{held.coverage_68:.0%} of them, the 95 % interval {held.coverage_95:.0%} "
            f"(width {held.median_width_95_percent:.1f} %)."
        )
    for warning in str(posterior.attrs.get("warnings", "")).splitlines():
        show(f"Note: {warning}.")
    show(sentence(posterior))


def _count(text: str, option: str) -> int:
    """A number of jets from `100k`, `1.5M` or `1e5`."""
    scale = {"k": 1e3, "M": 1e6}.get(text[-1:], 1.0)
    try:
        value = float(text.rstrip("kM")) * scale
    except ValueError:
        value = float("nan")
    if not value >= 1 or value != round(value):
        raise ValueError(f"{option} is {text!r}; it must be a whole number, as 100k or 1e5")
    return round(value)


def _renames(pairs: list[str]) -> dict[str, str]:
    """`params=N` pairs as a mapping from the contract's names to the table's."""
    wrong = [pair for pair in pairs if len(pair.split("=")) != 2]
    if wrong:
        raise ValueError(f"--map {wrong[0]!r} is not NAME=COLUMN, for example --map params=N")
    return dict(pair.split("=") for pair in pairs)


def _ceiling(metric: str, ceiling: float | None) -> float:
    """The bound of the metric: none for a loss, 1 for a rate unless another is given."""
    if metric not in ("loss", "bounded"):
        raise ValueError(f"unknown metric {metric!r}; choose loss or bounded")
    if metric == "loss" and ceiling is not None:
        raise ValueError(f"--ceiling {ceiling:g} needs --metric bounded")
    bound = 1.0 if ceiling is None else ceiling
    if not bound > 0:
        raise ValueError(f"the ceiling is {bound:g}; it must be positive, 1 for a rate")
    return bound if metric == "bounded" else float("inf")


def _require_figure_name(path: str) -> None:
    """Refuse a figure that could not be drawn before anything is computed for it."""
    from isoflop.forecast.figures import require_figure_format

    require_figure_format(path)


def _stop_if_untrusted(posterior: "xr.DataTree", decades: float, strict: bool) -> None:
    """Exit 3 on a bad verdict, if that was asked for."""
    if not strict:
        return
    from isoflop.inference.verdict import judge

    if not judge(posterior, decades=decades).ok:
        raise typer.Exit(UNTRUSTED)


def _write(text: str, out: str) -> None:
    """Write text to a file, or to stdout for `-`; nothing for an empty name."""
    if out == "-":
        sys.stdout.write(text)
    elif out:
        from isoflop.files import writing

        with writing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
