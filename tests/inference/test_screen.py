"""What a table cannot say is said in one line, and tables that can be fitted pass."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isoflop.inference.laws import LAWS
from isoflop.inference.screen import looks_bounded, screen
from isoflop.inference.simulate import simulate_runs
from isoflop.training.records import complete_records, read_records

ROOT = Path(__file__).parents[2]
PUBLIC_RUNS = ROOT / ".." / "shared" / "runs"
COUPLED, ADDITIVE = LAWS["coupled"], LAWS["additive"]
SIZES = np.array([[n, d] for n in np.geomspace(1e7, 1e10, 5) for d in np.geomspace(1e9, 1e12, 5)])
N, D = np.rint(SIZES).T


def _table(params: np.ndarray = N, samples: np.ndarray = D, **changes: object) -> pd.DataFrame:
    """Runs of a sweep of language models; the loss follows the sizes as counts."""
    loss = 1.8 + 480.0 * N**-0.35 + 2100.0 * D**-0.37
    columns: dict[str, object] = {"params": params, "samples": samples, "loss": loss[: len(params)]}
    return complete_records(pd.DataFrame(columns | changes))


def _fault(records: pd.DataFrame) -> str:
    with pytest.raises(ValueError) as caught:
        screen(records, COUPLED)
    return str(caught.value)


def test_a_sweep_passes_silently() -> None:
    assert screen(_table(), COUPLED) == ()


def test_small_whole_networks_pass_silently() -> None:
    params, samples = np.meshgrid([110.0, 240.0, 410.0, 730.0], [500.0, 2e3, 8e3, 3e4])
    runs = _table(params.ravel(), samples.ravel())
    assert screen(runs, COUPLED) == ()


def test_under_tuned_runs_are_counted_and_the_first_is_named() -> None:
    tuning = np.where(np.isin(np.arange(25), (3, 7)), "under-tuned", "ok")
    said = screen(_table(tuning=tuning), COUPLED)
    assert said == (
        "2 run(s) are recorded as under-tuned, first row-4; such losses flatten the law and raise "
        "its floor: train them again at other rates, or drop them",
    )
    assert screen(_table(tuning="unmeasured"), COUPLED) == ()


def test_one_size_and_one_amount_of_data_name_the_exponents() -> None:
    runs = _table(np.full(25, 1e8), np.full(25, 2e9))
    message = (
        "alpha cannot be identified: params takes 1 distinct value(s), law 'coupled' needs at "
        "least 3; beta cannot be identified: samples takes 1 distinct value(s), law 'coupled' "
        "needs at least 3; add runs of other sizes"
    )
    assert _fault(runs) == message
    with pytest.raises(ValueError) as caught:
        screen(runs, COUPLED)
    assert str(caught.value) == message
    assert screen(_table(), COUPLED) == ()


def test_one_run_is_too_few() -> None:
    assert _fault(_table(N[:1], D[:1])).startswith(
        "the table has 1 run(s) to fit and law 'coupled' with its 6 free parameters needs at least "
        "7 (12 or more are advised); add runs; alpha cannot be identified"
    )


def test_as_many_runs_as_free_parameters_and_one_are_needed() -> None:
    runs = _table().sample(7, random_state=1)
    assert screen(runs, COUPLED) == ()
    assert "has 6 run(s) to fit" in _fault(runs[:6])
    assert screen(runs[:6], ADDITIVE) == ()
    repeated = runs.assign(unique_samples=runs["samples"] / 2, loss_kind="best")
    assert "with its 7 free parameters needs at least 8 (12 or more are adv" in _fault(repeated)


def test_a_hold_out_that_leaves_too_few_is_blamed_and_not_the_table() -> None:
    with pytest.raises(ValueError) as caught:
        screen(_table().iloc[[0, 6, 12]], COUPLED, apart=27)
    assert str(caught.value) == (
        "--hold-out keeps 27 of 30 runs apart, 3 are left and law 'coupled' with its 6 free "
        "parameters needs at least 7 (12 or more are advised); keep fewer apart"
    )
    with pytest.raises(ValueError, match=r"2 of 5 runs .*; keep fewer apart and add runs"):
        screen(_table().iloc[[0, 6, 12]], COUPLED, apart=2)
    with pytest.raises(ValueError, match=r"other sizes, or keep fewer apart \(--hold-out\)"):
        screen(_table().iloc[:5], COUPLED, apart=20)


def test_diverged_runs_do_not_count() -> None:
    runs = _table(status=["ok"] * 5 + ["diverged"] * 20)
    assert _fault(runs).startswith("the table has 5 run(s) to fit")
    assert _fault(runs.assign(status="diverged")).startswith("the table has 0 run(s) to fit")


def test_tiny_groups_are_pooled_with_a_warning() -> None:
    runs = _table(group=["main"] * 19 + ["a"] * 5 + ["b"])
    assert screen(runs, COUPLED) == (
        "group(s) a (5), b (1) hold fewer than the 7 runs that law 'coupled' needs; the other "
        "groups and the prior decide the rest, so add runs to them",
    )


@pytest.mark.parametrize("spread", [0.0, 1e-11])
def test_a_loss_that_does_not_move_is_refused(spread: float) -> None:
    runs = _table(loss=2.3 + spread * np.arange(25) / 25)
    assert _fault(runs).startswith("loss is 2.3 in all 25 runs (relative spread ")
    assert _fault(runs).endswith(
        ", at least 1e-09 is needed); check that the column is the validation loss of each run"
    )


def test_runs_at_one_number_of_samples_a_parameter_are_known_to_hide_the_split() -> None:
    params = np.rint(np.geomspace(1e7, 1e10, 25))
    (warning,) = screen(_table(params, np.rint(20 * params / 512) * 512), COUPLED)
    assert warning == (
        "in every group N and D lie on one line, log N = a + b log D (20 to 20 samples a "
        "parameter), so alpha and beta cannot be told apart and the prior decides the split; "
        "add runs at other samples a parameter"
    )
    group = ["near"] * 12 + ["far"] * 13
    spread = params * np.where(np.array(group) == "near", 20.0, 200.0)
    (warning,) = screen(_table(params, spread, group=group), COUPLED)
    assert "(20 to 200 samples a parameter)" in warning


def test_repetition_or_groups_along_other_lines_tell_the_terms_apart() -> None:
    params = np.rint(np.geomspace(1e7, 1e10, 25))
    repeated = _table(params, 20 * params, unique_samples=20 * params / ([1, 8, 64, 8, 1] * 5))
    assert screen(repeated, COUPLED) == ()
    wide = np.where(np.arange(25) < 12, params, 1e8)
    long = np.where(np.arange(25) < 12, 2e9, 20 * params)
    assert screen(_table(wide, long, group=["n"] * 12 + ["d"] * 13), COUPLED) == ()


def test_compute_shows_sizes_in_larger_units() -> None:
    flops = 6 * N * D
    runs = _table(np.rint(N / 1e6), D, flops=6 * np.rint(N / 1e6) * 1e6 * D)
    assert _fault(runs) == (
        "flops is 6e+06 per parameter and sample, 0.001 to 2e+06 is plausible: params (largest "
        "10000) looks given in millions; multiply it by 1e6 (nothing is converted silently)"
    )
    assert "samples (largest 1000) looks given in billions; multiply it by 1e9" in _fault(
        _table(N, D / 1e9, flops=flops)
    )
    assert "params (largest 10000) times samples (largest 1000) looks 1e15 too small" in _fault(
        _table(N / 1e6, D / 1e9, flops=flops)
    )
    assert "flops looks given in a larger unit; multiply it to get FLOP" in _fault(
        _table(N, D, flops=flops / 1e18)
    )
    half = np.where(np.arange(25) % 2, np.nan, flops)
    assert "params (largest 10000) looks given in millions" in _fault(_table(N / 1e6, flops=half))


@pytest.mark.parametrize("tokens", [1, 40, 128, 8192])
def test_many_tokens_a_sample_are_no_wrong_unit(tokens: int) -> None:
    assert screen(_table(flops=6.0 * tokens * N * D), COUPLED) == ()


def test_sizes_that_are_no_whole_numbers_are_refused() -> None:
    runs = _table(np.array([44.0, 73.8, 510.25, 1400.0, 2810.0]).repeat(5), D)
    assert _fault(runs) == (
        "params: the largest is 2810 and 10 of 25 are not whole numbers; N looks given in "
        "thousands, millions or billions; multiply the column by that, or round it if it is a "
        "count (nothing is converted silently)"
    )
    assert "samples: the largest is 1000 and 15 of 25 are not whole" in _fault(_table(N, D / 1e9))
    # Sizes of a planned sweep, spaced evenly in the logarithm and never rounded.
    assert screen(_table(N + 0.25, D + 0.5), COUPLED) == ()


def test_whole_millions_are_warned_of() -> None:
    (warning,) = screen(_table(np.rint(N / 1e6)), COUPLED)
    assert warning == (
        "the median run has 1e+08 samples a parameter, 1e-6 to 1e6 is usual; if params is in "
        "millions or billions, make it a count"
    )


def test_whole_thousands_are_warned_of() -> None:
    (warning,) = screen(_table(np.rint(N / 2e6), np.rint(D / 1e3)), COUPLED)
    assert warning == (
        "the smallest params is 5, which is no network; if params is in thousands or millions, "
        "make it a count"
    )


def test_compute_by_two_conventions_is_warned_of() -> None:
    half = np.where(np.arange(25) % 2, np.nan, 6 * 40 * N * D)
    assert screen(_table(flops=half), COUPLED) == (
        "flops per parameter and sample differs by a factor 40 between the runs of group all, at "
        "most 10 is usual; give flops by one convention (absent values are filled by 6ND)",
    )


def _noisy(loss: np.ndarray, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return _table(loss=loss * np.exp(0.02 * rng.normal(size=len(loss))))


@pytest.mark.parametrize("seed", range(5))
def test_an_error_rate_that_starts_at_guessing_looks_bounded(seed: int) -> None:
    odds = 30.0 * (0.5 * (N / N.min()) ** -0.5 + 0.5 * (D / D.min()) ** -0.5) ** 1.5
    runs = _noisy(0.9 * odds / (1.0 + odds), seed)
    assert looks_bounded(runs)
    (warning,) = screen(runs, COUPLED)
    assert "looks like a bounded metric that saturates: the cheapest runs hardly fall" in warning
    assert "use --metric bounded, or leave the flat runs out with --loss-below" in warning


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_a_power_law_below_one_does_not_look_bounded(share: float, gamma: float, seed: int) -> None:
    falling = share * (N / N.min()) ** -0.35 + (1.0 - share) * (D / D.min()) ** -0.3
    assert not looks_bounded(_noisy(0.1 + 0.8 * falling**gamma, seed))


def test_a_cross_entropy_above_one_does_not_look_bounded() -> None:
    assert not looks_bounded(_table())


def test_all_faults_stand_in_one_message() -> None:
    message = _fault(_table(np.full(4, 7.5), D[:4], loss=[1.0] * 4))
    parts = ("the table has 4 run(s)", "alpha cannot", "loss is 1 in all 4", "params: the largest")
    assert all(part in message for part in parts)
    assert "\n" not in message


def test_simulated_runs_pass() -> None:
    theta = {"loss_inf": 0.8, "log_A": 3.0, "log_B": 3.4, "alpha": 0.45, "beta": 0.35, "omega": 6.0}
    cells = [(n, u, e) for n in (1e3, 2e4, 3e5) for u in (2e3, 4e4) for e in (1.0, 4.0)]
    assert screen(simulate_runs({"all": theta}, cells, sigma=0.003), COUPLED) == ()


def test_the_jet_study_passes_silently() -> None:
    assert screen(read_records(ROOT / "studies" / "jets" / "records"), COUPLED) == ()


@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("chinchilla_kyotakano", 0),
        ("datablations_c4", 1),
        ("gadre_overtraining", 0),
        ("olmo_ladder", 0),
    ],
)
def test_public_tables_pass(name: str, warnings: int) -> None:
    table = PUBLIC_RUNS / f"{name}.csv"
    if not table.is_file():
        pytest.skip("the public run tables are not beside this checkout (../shared/runs)")
    found = screen(read_records(table), COUPLED)
    assert len(found) == warnings
    assert all(text.startswith("group(s) c4-perplexity (1), ") for text in found)
