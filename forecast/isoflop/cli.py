"""The `isoflop` command: one verb a step of the chain, each a thin wrapper of the Python API.

Every import of a part stands inside the command that needs it, so that `--help` is immediate and a
user without torch or Pythia meets them only where they are needed. Bad input ends with one line on
stderr and exit code 2.
"""

import sys
from importlib import metadata
from typing import Annotated, NoReturn

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
from isoflop.commands.usage import usage_line
from isoflop.terminal import show

app = typer.Typer(
    name="isoflop",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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
    *(backtest, threshold, significance, law, bring),
):
    name = "import" if command is bring else None
    # The list of commands cuts a sentence at the width of the terminal, but not a short help.
    app.command(name, short_help=(command.__doc__ or "").splitlines()[0])(command)


def main() -> None:
    """Run the command line; turn what a user can cause into one line and exit code 2."""
    words = sys.argv[1:]
    try:
        code = app(prog_name="isoflop", standalone_mode=False)
    except typer.TyperException as error:
        _end(f"isoflop: {usage_line(error, words)}" if words else error.format_message())
    except (ValueError, OSError, ImportError) as error:
        _end(f"isoflop: {' '.join(str(error).split())}")
    sys.exit(code)


def _end(line: str) -> NoReturn:
    sys.stderr.write(f"{line}\n")
    sys.exit(2)
