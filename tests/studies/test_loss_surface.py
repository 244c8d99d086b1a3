"""The page of the loss surface quotes its table, and the exponents of the table agree."""

import pandas as pd
import pytest
from tests.studies.quoting import STUDIES, Row, cell, page_of, rows_of

FORMS = {
    "loss_inf": ".2f",
    "alpha": ".2f",
    "beta": ".2f",
    "gamma": ".2f",
    "A": ".0f",
    "B": ".0f",
    "gamma_alpha": ".2f",
    "gamma_beta": ".2f",
    "params_exponent": ".2f",
    "samples_exponent": ".2f",
    "loss_exponent": ".3f",
}
PUBLISHED = ("arXiv:2602.15781", "GN3")


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str, float], Row]:
    return rows_of("loss_surface")


def test_the_page_quotes_the_table(rows: dict[tuple[str, str, float], Row]) -> None:
    page = page_of("loss_surface")
    groups = list(dict.fromkeys(group for group, *_ in rows))
    for quantity, form in FORMS.items():
        cells = [
            cell(rows[group, quantity, 0.0], form) if (group, quantity, 0.0) in rows else "–"
            for group in groups
        ]
        assert f"| {' | '.join(cells)} |" in page, quantity


def test_the_answer_quotes_the_group_of_the_figure(
    rows: dict[tuple[str, str, float], Row],
) -> None:
    answer = page_of("loss_surface").split("**Answer.**")[1].split("![")[0]
    for quantity in ("loss_exponent", "params_exponent", "samples_exponent"):
        assert cell(rows["full-10", quantity, 0.0], FORMS[quantity]) in answer
    row = rows["full-10", "loss_exponent", 0.0]
    assert f"({row['low_95']:.3f}–{row['high_95']:.3f})" in answer
    assert cell(rows["full-128", "loss_exponent", 0.0], ".3f") in answer


def test_the_published_compute_exponents_follow_from_their_alpha_and_beta() -> None:
    table = pd.read_csv(STUDIES / "loss_surface" / "loss_surface.csv")
    for source, digits in zip(PUBLISHED, (0.005, 0.0005), strict=True):
        own = table[table["group"] == source].set_index("quantity")["median"]
        expected = own["alpha"] * own["beta"] / (own["alpha"] + own["beta"])
        assert own["loss_exponent"] == pytest.approx(expected, abs=digits)


def test_the_page_says_how_surely_the_exponents_exceed_the_papers(
    rows: dict[tuple[str, str, float], Row],
) -> None:
    page = page_of("loss_surface")
    above = {key[:2]: row["share_above_paper"] for key, row in rows.items()}
    groups = ("full-10", "full-128", "full-40", "kin-128")
    least, most = (f(above[group, "gamma_alpha"] for group in groups) for f in (min, max))
    assert f"γα lies above its α with probabilities of {least:.2f} to {most:.2f}" in page
    assert above["full-40", "gamma_beta"] == above["full-128", "gamma_beta"] == 1.0
    ten, kinematics = above["full-10", "gamma_beta"], above["kin-128", "gamma_beta"]
    assert f"with {ten:.2f} in `full-10` and {kinematics:.2f} in `kin-128`" in page


def test_the_page_says_where_the_runs_end(rows: dict[tuple[str, str, float], Row]) -> None:
    page = page_of("loss_surface")
    end = rows["full-10", "params_where_jets_end", 0.0]
    assert f"wherever it is above {cell(end, '.0f')} parameters" in page
    runs = pd.read_parquet(STUDIES / "jets" / "records" / "runs.parquet")
    params, jets = (f"{runs[name].max() / 1e3:.0f} 000" for name in ("params", "samples"))
    flops = f"{runs['flops'].max():.1e}".replace("+", "")
    assert f"at most {params} parameters, {jets} jets and {flops} FLOP" in page
