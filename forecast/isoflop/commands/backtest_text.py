"""What `isoflop backtest` prints: how well hidden runs were predicted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.terminal import show

if TYPE_CHECKING:
    from isoflop.inference.backtest import Row, Skipped
    from isoflop.inference.link_backtest import LinkRow


def print_backtest(rows: Sequence["Row"], skipped: Sequence["Skipped"]) -> None:
    """Scores of each method in each group, then what could not be tested."""
    show(
        f"{'group':<22}{'method':<19}{'hold-out':>8}{'runs':>9}{'error %':>9}{'bias %':>8}"
        f"{'in 68 %':>9}{'in 95 %':>9}{'width %':>9}{'CRPS %':>8}{'s':>7}"
    )
    for row in rows:
        show(
            f"{row.group[:21]:<22}{row.method:<19}{row.holdout:>8g}"
            f"{f'{row.n_train}+{row.n_test}':>9}{row.mae:>9.2f}{row.bias:>+8.2f}"
            f"{row.coverage_68:>9.0%}{row.coverage_95:>9.0%}{row.width_95:>9.1f}{row.crps:>8.2f}"
            f"{row.seconds:>7.1f}"
        )
    if rows:
        show("error and bias: predicted over observed loss; a positive bias is a forecast too high")
    for one in skipped:
        who = one.group if one.method == "all" else f"{one.method} in {one.group}"
        show(f"skipped {who} at hold-out {one.holdout:g}: {one.reason}")


def print_link_backtest(rows: Sequence["LinkRow"]) -> None:
    """How well the counts of hidden runs were predicted, given their loss and given its forecast.

    An error of log R is a relative error of R.
    """
    for cut, kind in dict.fromkeys((row.cut, row.kind) for row in rows):
        own = [row for row in rows if (row.cut, row.kind) == (cut, kind)]
        scale = "log R" if kind == "rejection" else "logit ε"
        show(
            f"\n{kind}, {cut} of the runs hidden, {own[0].n_train} fitted; errors of {scale}, "
            "predicted less observed"
        )
        show(
            f"{'signal':<10}{'given':<15}{'counts':>7}{'in 68 %':>9}{'in 95 %':>9}{'error':>8}"
            f"{'bias':>8}{'counting':>10}"
        )
        for row in own:
            show(
                f"{row.signal:<10}{row.given:<15}{row.n_test:>7}{row.coverage_68:>9.0%}"
                f"{row.coverage_95:>9.0%}{row.mae:>8.2f}{row.bias:>+8.2f}{row.counting:>10.2f}"
            )
