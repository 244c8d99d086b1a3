"""The `isoflop` command: one verb a step of the chain, each a thin wrapper of the Python API.

Every import of a part stands inside the command that needs it, so that `--help` is immediate and a
user without torch or Pythia meets them only where they are needed. Bad input ends with one line on
stderr and exit code 2.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from isoflop.inference.diagnostics import Diagnosis

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
        _note(f"{summary.n_jets} jets in {summary.directory} ({rate:.0f} jets/s this time)")


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
        _note(f"{summary.trained} of {summary.runs} runs trained; records in {summary.out}")


@app.command()
def fit(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Records: CSV, Parquet or folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Posterior file (.nc).")],
    law: Annotated[str, typer.Option(help="coupled or additive.")] = "coupled",
    hold_out: Annotated[float, typer.Option(help="Share of the dearest runs kept apart.")] = 0.0,
    loss_below: Annotated[
        float, typer.Option(help="Leave out runs above this loss [nat], near guessing.")
    ] = float("inf"),
    rename: Annotated[
        list[str] | None, typer.Option("--map", help="Column of the table, as params=N.")
    ] = None,
    chains: Annotated[int, typer.Option(min=1, help="Markov chains.")] = 4,
    draws: Annotated[int, typer.Option(min=1, help="Draws a chain.")] = 1000,
    warmup: Annotated[int, typer.Option(min=1, help="Adaptation steps a chain.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the sampler.")] = 0,
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
    records = read_records(runs, rename=_renames(rename or []))
    from isoflop.inference.fit import fit as sample

    posterior = sample(
        records,
        law,
        hold_out=hold_out,
        loss_below=loss_below,
        chains=chains,
        draws=draws,
        warmup=warmup,
        seed=seed,
        source=str(runs),
        source_sha256=records_hash(runs),
        progress=not quiet and sys.stderr.isatty(),
    )
    save(posterior, out)
    _note(f"posterior in {out}")
    _report(posterior, json_out, quiet=quiet)
    _draw_check(posterior, figure)


@app.command()
def check(
    path: PosteriorPath,
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
        _print_forecast(posterior, table.to_intervals(rows))
    if figure:
        _draw_forecast(posterior, [row.budget_flops for row in rows], group, figure)


def _draw_check(posterior: "xr.DataTree", out: str) -> None:
    if not out:
        return
    from isoflop.forecast.figures import check_figure, save_figure
    from isoflop.forecast.table import fitted_comparison, held_out_comparison

    held = held_out_comparison(posterior) if "predictions" in posterior.children else None
    save_figure(check_figure(fitted_comparison(posterior), held), out)
    _note(f"figure in {out}")


def _draw_forecast(
    posterior: "xr.DataTree", budgets: list[float], groups: list[str] | None, out: str
) -> None:
    from isoflop.forecast.fans import forecast_curves
    from isoflop.forecast.figures import forecast_figure, save_figure

    curves = forecast_curves(posterior, sorted(set(budgets)), groups=groups)
    save_figure(forecast_figure(curves), out)
    _note(f"figure in {out}")


def _print_forecast(posterior: "xr.DataTree", intervals: "pd.DataFrame") -> None:
    """The forecast as a person reads it, and what of it the prior decides."""
    from isoflop.inference.diagnostics import prior_driven

    names = {
        "loss": "loss of a run [nat]",
        "params_opt": "best N",
        "samples_opt": "best D [sample]",
        "epochs_opt": "best epochs",
    }
    for _, rows in intervals.groupby(["group", "budget_flops"], sort=False):
        plan: dict[Any, Any] = rows.to_dict("records")[0]
        group, flops = plan["group"], plan["budget_flops"]
        decades = plan["extrapolation_decades"]
        where = f"{decades:.1f} decades beyond its runs" if decades else "within its runs"
        _print(f"\n{group} at C = {_number(flops)} FLOP, {where}")
        _print(
            f"with N = {_number(plan['params'])}, {_number(plan['unique_samples'])} distinct "
            f"samples, {_number(plan['epochs'])} epoch(s)"
        )
        _print(f"  {'':<20}{'median':>10}{'68 %':>22}{'95 %':>22}")
        for row in rows.to_dict("records"):
            ranges = [_range(row["low_68"], row["high_68"]), _range(row["low_95"], row["high_95"])]
            name = names[row["quantity"]]
            _print(f"  {name:<20}{_number(row['median']):>10}{ranges[0]:>22}{ranges[1]:>22}")
    shown = set(intervals["group"])
    driven = [name for name in prior_driven(posterior) if name.split("[")[1][:-1] in shown]
    if driven:
        _print(f"\nThe prior alone decides {', '.join(driven)}: no run informs it.")


def _report(posterior: "xr.DataTree", json_out: str, *, quiet: bool) -> None:
    """Parameters, diagnostics, verdict and the runs that were kept apart."""
    if quiet and not json_out:
        return
    from isoflop.forecast.table import held_out_comparison, summarise_held_out
    from isoflop.inference.diagnostics import diagnose

    diagnosis = diagnose(posterior)
    held = None
    if "predictions" in posterior.children:
        held = summarise_held_out(held_out_comparison(posterior))
    if json_out:
        content = {
            "verdict": asdict(diagnosis.verdict),
            "divergent": diagnosis.divergent,
            "prior_driven": diagnosis.prior_driven,
            "influential": diagnosis.influential,
            "parameters": json.loads(diagnosis.table.to_json(orient="index")),
            "held_out": None if held is None else asdict(held),
        }
        _write(json.dumps(content, indent=1, ensure_ascii=False) + "\n", json_out)
    if quiet or json_out == "-":
        return
    _print_law(posterior, diagnosis)
    if held is not None:
        _print(
            f"Kept apart: the {held.runs} most expensive runs. "
            f"Mean error of the predicted loss {held.mean_absolute_error_percent:.2f} % "
            f"(bias {held.bias_percent:+.2f} %); the 68 % interval holds "
            f"{held.coverage_68:.0%} of them, the 95 % interval {held.coverage_95:.0%} "
            f"(width {held.median_width_95_percent:.1f} %)."
        )


def _print_law(posterior: "xr.DataTree", diagnosis: "Diagnosis") -> None:
    """The law's parameters per group, median and 68 % interval, then the verdict."""
    from rich import box
    from rich.table import Table

    from isoflop.inference.laws import law_named
    from isoflop.inference.posterior import LAW_VARIABLES

    law = law_named(posterior.attrs["law"])
    runs = posterior["constant_data"].to_dataset()
    groups = [str(group) for group in runs["group"].values]
    _print(f"{law.equation}, {runs.sizes['run']} runs; median and 68 % interval:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", overflow="fold", min_width=10)
    shown = [name for name in law.parameters if name not in ("log_A", "log_B")]
    for name in shown:
        table.add_column(LAW_VARIABLES[name].symbol, no_wrap=True, justify="right")
    rows: dict[Any, dict[Any, Any]] = diagnosis.table.to_dict("index")
    for group in groups:
        cells = []
        for key in (f"{name}[{group}]" for name in shown):
            mark = "*" if key in diagnosis.prior_driven else ""
            row = rows[key]
            cells.append(f"{row['median']:.3g}{mark}\n{row['q16']:.3g} – {row['q84']:.3g}")
        table.add_row(group, *cells)
    _print(table)
    if diagnosis.prior_driven:
        _print("* decided by the prior: no run informs it.")
    rhat, ess = diagnosis.table["rhat"].max(), diagnosis.table["ess_bulk"].min()
    _print(
        f"R-hat at most {rhat:.3f}, effective draws at least {ess:.0f}, "
        f"{diagnosis.divergent} divergent."
    )
    if diagnosis.influential:
        _print(f"Runs that decide the fit by themselves: {', '.join(diagnosis.influential)}.")
    if diagnosis.verdict.ok:
        _print("Verdict: the sampler converged.")
    for reason in diagnosis.verdict.reasons:
        _print(f"Verdict: NOT converged. {reason}.")


def _number(value: float) -> str:
    """Four digits where that is plain, else as 7.49e9."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def _range(low: float, high: float) -> str:
    return f"{_number(low)} – {_number(high)}"


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


def _write(text: str, out: str) -> None:
    """Write text to a file, or to stdout for `-`; nothing for an empty name."""
    if out == "-":
        sys.stdout.write(text)
    elif out:
        from isoflop.files import writing

        with writing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _print(content: Any) -> None:
    from rich.console import Console

    # A pipe has no width; 100 columns hold the tables without folding.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print(content, markup=False, soft_wrap=isinstance(content, str))


def _note(line: str) -> None:
    sys.stderr.write(line + "\n")
