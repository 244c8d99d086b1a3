"""The `isoflop` command: one verb a step of the chain, each a thin wrapper of the Python API.

Every import of a part stands inside the command that needs it, so that `--help` is immediate and a
user without torch or Pythia meets them only where they are needed. Bad input ends with one line on
stderr and exit code 2.
"""

import sys
from importlib import metadata
from typing import Annotated

import typer

from isoflop.commands.bring import bring
from isoflop.commands.design import design
from isoflop.commands.law import backtest, check, fit
from isoflop.commands.outlook import forecast
from isoflop.commands.plan import plan
from isoflop.commands.published import law
from isoflop.commands.report import report
from isoflop.commands.runs import simulate, train
from isoflop.commands.significance import significance
from isoflop.commands.threshold import threshold
from isoflop.terminal import show

app = typer.Typer(
    name="isoflop",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        show(f"isoflop {metadata.version('isoflop')}")
        raise typer.Exit


@app.callback()
def isoflop(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
        ),
    ] = False,
) -> None:
    """Bayesian scaling laws: from training runs to forecasts with honest intervals."""


for command in (
    *(simulate, train, fit, check, forecast, plan, design, report),
    *(backtest, threshold, significance, law),
):
    app.command()(command)
app.command("import")(bring)


def main() -> None:
    """Run the command line; turn what a user can cause into one line and exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"isoflop: {' '.join(str(error).split())}\n")
        sys.exit(2)
