"""A published law becomes a posterior that says what was published, and no more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.command import run

from isoflop.forecast.allocate import optimal
from isoflop.forecast.exponents import exponent_intervals
from isoflop.forecast.predict import Draws, group_draws, loss_draws
from isoflop.inference import laws
from isoflop.inference.lawfile import Anchor, Interval, PublishedLaw, read_law
from isoflop.inference.posterior import load
from isoflop.inference.published import published_posterior
from isoflop.inference.verdict import judge, sentence

STUDY = Path(__file__).parents[2] / "studies" / "budget"
# The replication of Chinchilla, arXiv:2404.10102.
TRUTH = {"loss_inf": 1.8172, "log_A": np.log(482.01), "log_B": np.log(2085.43)}
TRUTH |= {"alpha": 0.3478, "beta": 0.3658}
FLOPS = 1e21


def exactly(value: float) -> Interval:
    return Interval(value, value, value)


def law(**changes: object) -> PublishedLaw:
    """The replication, exact, by its best run at `FLOPS` instead of A and B."""
    scales = {name: TRUTH[name] for name in ("log_A", "log_B", "alpha", "beta")}
    params, samples = (float(value) for value in laws.compute_optimal(FLOPS, **scales))
    loss = float(laws.loss(params, samples, **TRUTH))
    known = {name: exactly(TRUTH[name]) for name in ("loss_inf", "alpha", "beta")}
    exact = PublishedLaw(
        name="text",
        source="arXiv:2404.10102",
        interval=0.68,
        flops_per_param_sample=6.0,
        scatter=0.001,
        omega=None,
        anchor=Anchor(params, samples, 1.0, exactly(loss), None),
        assumptions=(),
        **known,
    )
    return replace(exact, **changes)  # type: ignore[arg-type]


def draws_of(published: PublishedLaw, *, draws: int = 2000) -> Draws:
    return group_draws(published_posterior(published, draws=draws), published.name)


def test_the_best_run_of_a_law_gives_back_its_a_and_b() -> None:
    drawn = draws_of(law(), draws=100)
    assert drawn.log_A == pytest.approx(TRUTH["log_A"])
    assert drawn.log_B == pytest.approx(TRUTH["log_B"])
    away = np.asarray(laws.loss(7e10, 1.4e12, **TRUTH))
    assert loss_draws(drawn, 7e10, unique_samples=1.4e12) == pytest.approx(np.full((100, 1), away))


def test_a_run_off_the_optimum_has_the_loss_that_it_says() -> None:
    anchor = replace(law().anchor, optimal_within=5.0)
    drawn = draws_of(law(anchor=anchor))
    assert anchor.loss is not None
    there = loss_draws(drawn, anchor.params, unique_samples=anchor.samples)
    assert there == pytest.approx(anchor.loss.median)
    off = np.log(optimal(drawn, FLOPS).params[:, 0] / anchor.params)
    low, middle, high = np.quantile(off, (0.16, 0.5, 0.84))
    assert (low, middle, high) == pytest.approx((-np.log(5), 0, np.log(5)), abs=0.12)


def test_the_draws_hold_the_published_intervals() -> None:
    gn3 = read_law(STUDY / "gn3.toml")
    drawn = draws_of(gn3, draws=20_000)
    for name in ("loss_inf", "alpha", "beta"):
        published: Interval = getattr(gn3, name)
        quantiles = np.quantile(getattr(drawn, name), (0.5, 0.16, 0.84))
        expected = (published.median, published.low, published.high)
        assert quantiles == pytest.approx(expected, rel=0.01), name


def test_the_exponents_of_gn3_are_those_of_the_talk() -> None:
    rows = exponent_intervals(draws_of(read_law(STUDY / "gn3.toml")))["median"]
    assert rows["params_exponent"] == pytest.approx(0.10, abs=0.005)
    assert rows["samples_exponent"] == pytest.approx(0.90, abs=0.005)


def test_what_a_budget_leaves_does_not_depend_on_the_prior_of_the_level() -> None:
    gn3 = read_law(STUDY / "gn3.toml")
    left = []
    for level in (Interval(0.1, 0.04, 0.25), Interval(0.5, 0.4, 0.6)):
        drawn = draws_of(replace(gn3, anchor=replace(gn3.anchor, reducible=level)))
        best = optimal(drawn, [4e20, 1e23])
        loss = loss_draws(drawn, best.params, unique_samples=best.unique_samples)
        above = loss - drawn.loss_inf[:, None]
        left.append(above[:, 1] / above[:, 0])
    assert left[0] == pytest.approx(left[1], rel=1e-9)
    exponent = drawn.alpha * drawn.beta / (drawn.alpha + drawn.beta)
    assert left[0] == pytest.approx(250.0**-exponent, rel=1e-9)


def test_a_floor_above_the_loss_of_the_anchor_is_refused() -> None:
    with pytest.raises(ValueError, match="L∞ lies above the loss of the anchor in 100% of the"):
        published_posterior(law(loss_inf=exactly(3.0)))


def test_the_verdict_says_that_nothing_here_tests_the_law() -> None:
    tree = published_posterior(law(), draws=100)
    assert not judge(tree).ok
    assert sentence(tree, decades=2.0) == (
        "Verdict: the law of arXiv:2404.10102, taken at its word; no run here tests it; "
        "2.0 decades beyond its anchor."
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scatter = 0.002", "", "no scatter"),
        ("scatter = 0.002", "scatter = 2", "scatter is 2; it must be a number between 0 and 1"),
        ("beta = [", "betta = [", "no parameters.beta; unknown parameters.betta; there are"),
        ("0.644, 0.764]", "0.7, 0.764]", r"parameters.alpha is \[0.677, 0.7, 0.764\]; it must be"),
        ("optimal_within = 2.0", "optimal_within = 0.5", "optimal_within is 0.5; at least 1"),
        ("reducible = [0.1, 0.04, 0.25]", "", "anchor needs either loss or reducible"),
        ("[anchor]", "[anchor", "not readable TOML"),
    ],
)
def test_a_fault_of_a_law_file_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (STUDY / "gn3.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "law.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_law(tmp_path / "law.toml")


def test_a_law_file_is_forecast_like_a_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "gn3.nc")
    assert run("law", str(STUDY / "gn3.toml"), "-o", out) == 0
    assert "Assumed: the check run" in capsys.readouterr().out
    assert load(out).attrs["engine"] == "published"
    figure = ["--figure", str(tmp_path / "gn3.png")]
    assert run("forecast", out, "--budget", "1e23", *figure) == 0
    printed = capsys.readouterr()
    assert "2.4 decades beyond its anchor's compute" in printed.out
    assert "Assumed: L − L∞ at the check run" in printed.out
    assert "no run here tests it" in printed.err
    assert run("forecast", out, "--budget", "1e23", "--strict", "-q") == 3
    assert run("check", out) == 0
    capsys.readouterr()
    assert run("report", out, "-o", str(tmp_path / "gn3.html")) == 2
    assert "is a published law and has no runs to report" in capsys.readouterr().err
