"""The overfitting threshold: labels by their rule, known thresholds found again, honest bands."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from isoflop.inference.sampler import Lengths
from isoflop.inference.threshold import (
    ENOUGH_PASSES,
    EXPONENT,
    LOG_SLOPE,
    OFFSET,
    Labels,
    draw_threshold,
    fit_threshold,
    judge_threshold,
    label_curve,
    label_runs,
    threshold_band,
    threshold_table,
    threshold_target,
)

SHORT = Lengths(chains=2, draws=300, warmup=200)
SIZES, UNIQUE = np.geomspace(1e3, 1e6, 7), np.geomspace(1e3, 1e5, 5)


def simulated(
    *, exponent: float, at_10k: float, slope: float, seed: int, groups: dict[str, float]
) -> pd.DataFrame:
    """Labelled runs on a grid of N and U; `groups` shift log N_thr."""
    generator = np.random.default_rng(seed)
    rows: list[tuple[object, ...]] = []
    for group, shift in groups.items():
        for params in SIZES:
            for unique in UNIQUE:
                threshold = np.log(at_10k) + shift + exponent * np.log(unique / 1e4)
                chance = 1 / (1 + np.exp(-slope * (np.log(params) - threshold)))
                label = "overfitting" if generator.random() < chance else "underfitting"
                rows.append((f"{group}-{len(rows)}", group, params, unique, 16, label))
    columns = ["run_id", "group", "params", "unique_samples", "passes", "label"]
    return pd.DataFrame(rows, columns=columns)


# --- labels ---------------------------------------------------------------------------------------

FALLING = np.linspace(1.0, 0.4, 16)


@pytest.mark.parametrize(
    ("loss", "label"),
    [
        (np.linspace(1.2, 0.9, 16), "underfitting"),
        (np.linspace(1.2, 0.9, 8), "undecided"),
        (np.r_[np.linspace(1.2, 0.9, 13), 0.905, 0.91, 0.92], "overfitting"),  # 2 % above the best
        (np.r_[np.linspace(1.2, 0.9, 13), 0.902, 0.903, 0.904], "underfitting"),  # a wiggle
        (np.r_[np.linspace(1.2, 0.9, 5), np.full(5, 0.901)], "overfitting"),  # stopped early
        (np.r_[1.2, 0.9, 0.92], "overfitting"),
    ],
)
def test_labels_follow_the_rule(loss: np.ndarray, label: str) -> None:
    assert label_curve(FALLING[: len(loss)], loss) == label


def test_a_run_whose_training_loss_rises_too_does_not_overfit() -> None:
    assert label_curve(np.r_[1.0, 0.9, 1.1], np.r_[1.2, 1.0, 1.3]) == "undecided"


def test_only_measured_passes_of_runs_that_did_not_diverge_are_labelled() -> None:
    records = pd.DataFrame(
        {
            "run_id": ["once", "again", "lost"],
            "group": "all",
            "params": 1e4,
            "unique_samples": 1e3,
            "status": ["ok", "ok", "diverged"],
        }
    )
    curve = pd.DataFrame({"samples": [1e3, 2e3, 3e3], "train_loss": [1.0, 0.9, 0.8]})
    curves = pd.concat(
        [
            curve.assign(run_id="once", loss=np.nan),
            curve.assign(run_id="again", loss=[1.0, 0.8, 0.9])[::-1],  # in any order
            curve.assign(run_id="lost", loss=[1.0, 0.8, 0.9]),
        ]
    )
    (row,) = label_runs(records, curves).to_dict("records")
    assert (row["run_id"], row["passes"], row["label"]) == ("again", 3, "overfitting")


def test_runs_of_one_size_are_judged_alike_however_long_they_were_trained() -> None:
    names, given = ["short", "long"], {"short": 16, "long": 40}
    records = pd.DataFrame(
        {"run_id": names, "group": "all", "params": 1e4, "unique_samples": 1e3, "status": "ok"}
    )
    passes = np.arange(1, 41)
    loss = np.where(passes <= 20, 1.2 - 0.01 * passes, 1.0 + 0.01 * (passes - 20))  # turns at 20
    curve = pd.DataFrame({"samples": 1e3 * passes, "train_loss": 1.5 - 0.02 * passes, "loss": loss})
    curves = pd.concat([curve[: given[name]].assign(run_id=name) for name in names])
    alike = label_runs(records, curves)
    assert alike["label"].tolist() == ["underfitting", "underfitting"]
    assert alike["passes"].tolist() == [ENOUGH_PASSES, ENOUGH_PASSES]
    unlike = label_runs(records, curves, every_pass=True)
    assert unlike["label"].tolist() == ["underfitting", "overfitting"]
    assert unlike["passes"].tolist() == [16, 40]


# --- the posterior --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_known_threshold_is_found_again_with_its_group_offsets() -> None:
    shifts = {"kin": 0.7, "full": -0.7}
    runs = simulated(exponent=0.47, at_10k=3e4, slope=3.0, seed=1, groups=shifts)
    found = fit_threshold(runs)
    table = threshold_table(found)
    assert judge_threshold(found, table).ok
    rows: dict[Any, dict[Any, float]] = table.to_dict("index")
    x, k = rows["x"], rows["k"]
    assert x["low_95"] < 0.47 < x["high_95"]
    assert x["high_95"] - x["low_95"] < 2 * 1.96 * EXPONENT.scale / 3
    assert k["low_95"] < 3.0 < k["high_95"]
    for group, shift in shifts.items():
        low, high = np.quantile(found.sizes([1e4], group), (0.025, 0.975))
        assert low < 3e4 * np.exp(shift) < high < 4 * low
    band = threshold_band(found, points=3)
    assert list(band["group"].unique()) == ["full", "kin"]
    assert (band["low_95"] < band["low_68"]).all() and (band["median"] < band["high_68"]).all()


@pytest.mark.slow
def test_posterior_intervals_hold_the_truth_as_often_as_they_promise() -> None:
    """Truths drawn from the prior, so that coverage is exact for the right posterior."""
    generator = np.random.default_rng(5)
    log_n, log_u = (
        grid.ravel() for grid in np.meshgrid(np.linspace(-3, 3, 6), np.linspace(-2, 2, 5))
    )
    plain = Labels(log_n, log_u, np.zeros(30, int), np.zeros(30))
    target, held = threshold_target(plain, 1, SHORT), []
    for seed in range(60):
        x, centre, log_k = (
            p.location + p.scale * generator.normal() for p in (EXPONENT, OFFSET, LOG_SLOPE)
        )
        chance = 1 / (1 + np.exp(-np.exp(log_k) * (log_n - centre - x * log_u)))
        labels = plain._replace(overfits=(generator.random(30) < chance).astype(float))
        sites, _ = draw_threshold(labels, 1, lengths=SHORT, seed=seed, target=target)
        truths = {"exponent": x, "slope": np.exp(log_k), "offset": centre}
        held.append([(sites[name] < truth).mean() for name, truth in truths.items()])
    ranks = np.array(held)
    for level in (0.5, 0.9):
        inside = (np.abs(ranks - 0.5) < level / 2).sum(axis=0)
        spread = 3.0 * np.sqrt(60 * level * (1 - level))
        assert (np.abs(inside - 60 * level) < spread).all(), (level, inside)


@pytest.mark.slow
def test_one_group_is_enough_and_few_runs_are_not_to_be_trusted() -> None:
    runs = simulated(exponent=0.5, at_10k=3e4, slope=3.0, seed=2, groups={"all": 0.0})
    whole = fit_threshold(runs, lengths=SHORT)
    assert whole.groups == ("all",) and whole.log_offset.shape == (2, 300, 1)
    few = runs[(runs["label"] == "underfitting") | (runs["params"] > 5e5)].iloc[-6:]
    found = fit_threshold(few, lengths=SHORT)
    reasons = " ".join(judge_threshold(found, threshold_table(found)).reasons)
    assert f"only {found.counts['underfitting']} run(s) underfitting, at least 5 are" in reasons
    assert "the runs hardly inform x beyond its prior" in reasons


@pytest.mark.parametrize("label", ["overfitting", "underfitting"])
def test_runs_of_one_label_have_no_threshold(label: str) -> None:
    runs = simulated(exponent=0.5, at_10k=3e4, slope=3.0, seed=2, groups={"all": 0.0})
    runs["label"] = [label] * 30 + ["undecided"] * 5
    message = (
        rf"no threshold among 35 runs .* all 30 labelled runs are {label} \(5 undecided\); train"
    )
    with pytest.raises(ValueError, match=message):
        fit_threshold(runs)


def test_runs_that_are_all_too_short_have_no_threshold() -> None:
    runs = simulated(exponent=0.5, at_10k=3e4, slope=3.0, seed=2, groups={"all": 0.0})
    with pytest.raises(ValueError, match=r"35 runs over repeated samples: none \(35 undecided\)"):
        fit_threshold(runs.assign(label="undecided"))
