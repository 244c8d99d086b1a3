"""What `isoflop backtest` prints: how well hidden runs were predicted."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, geometric_mean
from typing import TYPE_CHECKING, Any

from isoflop.terminal import show

if TYPE_CHECKING:
    from isoflop.inference.backtest import Row, Skipped
    from isoflop.inference.link_backtest import LinkRow


MEANS = ("mae", "bias", "coverage_68", "coverage_95", "width_95")
SUMS = ("n_train", "n_test", "seconds")
"""How the scores of several groups are put together."""


def print_backtest(rows: Sequence["Row"], skipped: Sequence["Skipped"]) -> None:
    """Scores of each method in each group and over all groups, then what could not be tested."""
    show(
        f"{'group':<22}{'method':<19}{'hold-out':>8}{'runs':>9}{'error %':>9}{'bias %':>8}"
        f"{'in 68 %':>9}{'in 95 %':>9}{'width %':>9}{'CRPS %':>8}{'s':>7}"
    )
    whole = _over_groups(rows)
    for row in (*rows, *whole):
        show(
            f"{row.group[:21]:<22}{row.method:<19}{row.holdout:>8g}"
            f"{f'{row.n_train}+{row.n_test}':>9}{row.mae:>9.2f}{row.bias:>+8.2f}"
            f"{row.coverage_68:>9.0%}{row.coverage_95:>9.0%}{row.width_95:>9.1f}{row.crps:>8.2f}"
            f"{row.seconds:>7.1f}"
        )
    if whole:
        show("over groups: means, that of the CRPS geometric; runs and seconds in all")
    if rows:
        show("error and bias: predicted over observed loss; a positive bias is a forecast too high")
    for one in skipped:
        who = one.group if one.method == "all" else f"{one.method} in {one.group}"
        show(f"skipped {who} at hold-out {one.holdout:g}: {one.reason}")


def _over_groups(rows: Sequence["Row"]) -> list["Row"]:
    """A row a method and hold-out factor where it has several groups."""
    found = []
    for method, holdout in dict.fromkeys((row.method, row.holdout) for row in rows):
        own = [row for row in rows if (row.method, row.holdout) == (method, holdout)]
        if len(own) == 1:
            continue
        together: dict[str, Any] = {
            **{name: fmean(getattr(row, name) for row in own) for name in MEANS},
            **{name: sum(getattr(row, name) for row in own) for name in SUMS},
            "crps": geometric_mean(row.crps for row in own),
        }
        found.append(replace(own[0], group=f"{len(own)} groups", **together))
    return found


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
