"""The page on calibration quotes its table."""

from typing import Any

import pandas as pd
import pytest
from tests.studies.quoting import STUDIES, page_of


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(STUDIES / "calibration" / "summary.csv").set_index("quantity")


def test_the_page_quotes_the_smallest_p_values(table: pd.DataFrame) -> None:
    page = page_of("calibration")
    (replications,) = set(table["replications"])
    assert f"Over {replications} replications none of {len(table)} quantities departs" in page
    assert table["ecdf_p"].min() * len(table) > 0.05
    by_bins, by_curve = (
        f"{table[name].min():.3f} by {words} (`{table[name].idxmin()}`)"
        for name, words in (("chi2_p", "χ²"), ("ecdf_p", "the ECDF"))
    )
    assert f"the smallest of {len(table)} p-values is {by_bins} and {by_curve}" in page


def test_the_page_quotes_what_the_intervals_hold(table: pd.DataFrame) -> None:
    page, held = page_of("calibration"), 100.0 * table[["cover_50", "cover_90"]]
    half, most = held.mean()
    assert f"50 % intervals hold {half:.0f} % of the truths, 90 % intervals {most:.0f} %" in page
    spans = [f"{low:.0f} to {high:.0f} %" for low, high in zip(held.min(), held.max(), strict=True)]
    assert f"(mean over the quantities; {' and '.join(spans)} among them)" in page


def test_the_page_quotes_how_much_the_runs_say(table: pd.DataFrame) -> None:
    page = page_of("calibration")
    site = table.index.str.partition("[").get_level_values(0)
    found: dict[Any, list[float]] = (100.0 * table["contraction"]).groupby(site).agg(list).to_dict()

    def span(*sites: str) -> str:
        values = [value for name in sites for value in found[name]]
        ends = [f"{min(values):.0f}", f"{max(values):.0f}"]
        return " to ".join(dict.fromkeys(ends)) + " %"

    sure = span("loss_inf", "log_A", "log_B", "sigma").split(" to ")[0]
    assert f"The runs remove {sure} % or more of the prior variance of L∞, A, B and σ" in page
    assert f"{span('alpha', 'beta')} of α and β" in page
    assert f"{found['log_penalty'][0]:.0f} % of the overfitting penalty" in page
    assert f"{span('gamma')} of γ and {span('omega')} of ω" in page
    assert f"law's error within the runs {span('walk')}" in page
    assert f"its error off the optimum {span('small_wall', 'large_wall')}" in page
    assert f"the scatter there, ρ, {span('rho')}" in page
    assert f"of ν {found['nu'][0]:.0f} %" in page
    scales = [name for name in found if name.startswith("tau")]
    assert f"scales τ {span(*scales)}" in page


def test_the_page_quotes_the_worst_convergence(table: pd.DataFrame) -> None:
    page = page_of("calibration")
    worst = table["rhat_max"].max()
    assert worst < 1.1
    assert (
        f"0 of {table['replications'].iloc[0]} have R-hat above 1.1 (at most {worst:.2f})" in page
    )
    least, most = (f"{value:.2f}" for value in table["z_sd"].agg(["min", "max"]))
    assert f"z-scores have standard deviations of {least} to {most}" in page
