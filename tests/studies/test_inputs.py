"""The page on the inputs quotes its table."""

import pytest
from tests.studies.quoting import Row, cell, page_of, rows_of

FORMS = {"loss_inf": ".2f", "beta": ".2f", "gamma_beta": ".2f"}
POINTS = (16_000.0, 64_000.0, 200_000.0)


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str, float], Row]:
    return rows_of("inputs")


def test_the_page_quotes_each_input_set(rows: dict[tuple[str, str, float], Row]) -> None:
    page = page_of("inputs")
    groups = [group for group, quantity, _ in rows if quantity == "loss_inf"]
    for group in groups:
        cells = [cell(rows[group, quantity, 0.0], form) for quantity, form in FORMS.items()]
        assert f"| `{group}` | {' | '.join(cells)} |" in page


def test_the_page_quotes_every_difference(rows: dict[tuple[str, str, float], Row]) -> None:
    page = page_of("inputs")
    for pair, quantity, _ in rows:
        if quantity == "loss_inf_difference":
            row = rows[pair, quantity, 0.0]
            text = f"| {cell(row, '.2f')} | {row['share_positive']:.3f} |"
            assert f"| {pair.replace(' - ', ' − ')} {text}" in page


def test_the_page_quotes_the_ratios_of_jets(rows: dict[tuple[str, str, float], Row]) -> None:
    page = page_of("inputs")
    pairs = dict.fromkeys(pair for pair, quantity, _ in rows if quantity == "jets_ratio")
    for pair in pairs:
        cells = [cell(rows[pair, "jets_ratio", at], ".1f") for at in POINTS]
        assert f"| {pair} | {' | '.join(cells)} |" in page


def test_the_answer_quotes_the_scale_of_beta(rows: dict[tuple[str, str, float], Row]) -> None:
    page = page_of("inputs")
    row = rows["all", "tau_beta", 0.0]
    assert cell(row, ".2f") in page
    assert f"{row['share_below_common']:.2f}" in page
    prior = rows["all", "tau_beta_prior", 0.0]
    assert cell(prior, ".2f") in page
    assert f"{prior['share_below_common']:.2f}" in page


def test_the_answer_quotes_the_tables(rows: dict[tuple[str, str, float], Row]) -> None:
    answer = page_of("inputs").split("**Answer.**")[1].split("![")[0]
    lower = rows["kin-128 - full-40", "loss_inf_difference", 0.0]
    jets = [rows[f"{poor} / full-40", "jets_ratio", POINTS[-1]] for poor in ("kin-128", "full-10")]
    assert cell(lower, ".2f") in answer
    for group in ("kin-128", "full-10", "full-40"):
        assert cell(rows[group, "beta", 0.0], ".2f") in answer
    for row in (*jets, rows["full-128 / full-40", "jets_ratio", POINTS[-1]]):
        assert cell(row, ".1f") in answer


def test_the_page_says_how_sure_the_order_of_beta_is(
    rows: dict[tuple[str, str, float], Row],
) -> None:
    page = page_of("inputs")
    ten, kinematics = (
        1.0 - rows[f"{poor} - full-128", "log_beta_ratio", 0.0]["share_positive"]
        for poor in ("full-10", "kin-128")
    )
    assert f"with a probability of {ten:.3f} and that of kinematics with {kinematics:.2f}" in page


def test_the_page_says_at_which_size_the_best_inputs_change_places(
    rows: dict[tuple[str, str, float], Row],
) -> None:
    page = page_of("inputs")
    small, level = (
        rows["full-40 / full-128", "jets_ratio_by_params", size] for size in (7_000.0, 27_000.0)
    )
    assert f"`full-40` that needs more jets, {cell(small, '.1f')} times as many" in page
    assert "at 27 000 the two are level" in page
    assert level["low_68"] < 1.0 < level["high_68"]
