"""What a loss is worth: rejections, b-efficiency and significance from known links."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.special import expit, logit
from tests.command import run
from tests.forecast.legible import SMALLEST, smallest_text

from isoflop.forecast.outcomes import (
    missing_link,
    outcome_draws,
    quantities,
    reference_loss,
)
from isoflop.forecast.predict import group_draws, loss_draws
from isoflop.forecast.rejection_curves import PART_REJECTIONS, rejection_curves
from isoflop.forecast.rejection_figure import rejection_figure
from isoflop.forecast.significance import Scenario, read_scenario, significance_ratio
from isoflop.forecast.table import forecast_budget, to_intervals
from isoflop.forecast.uncertain import Uncertain
from isoflop.inference.posterior import save

SCENARIOS = Path(__file__).parents[2] / "scenarios"
CENTRE = 0.6
LEVEL = {"Hbb": 6.0, "Tbl": 5.0}
B_LEVEL, B_SLOPE = 0.8, 1.5
COUNTED = (0.5, 0.7, 1.2)


def _link(
    posterior: xr.DataTree,
    kind: str,
    *,
    scatter: float = 0.0,
    tested: float = np.inf,
    cut_error: float = 0.0,
) -> xr.Dataset:
    """The same known link in every draw and group, counted on so many jets that they do not err."""
    law = posterior["posterior"].to_dataset()
    groups, signals = law["group"].values, list(LEVEL) if kind == "rejection" else ["Hbb"]
    shape = (law.sizes["chain"], law.sizes["draw"], len(groups), len(signals))
    level = list(LEVEL.values()) if kind == "rejection" else [B_LEVEL]
    slope = 3.0 if kind == "rejection" else B_SLOPE
    dims = ("chain", "draw", "group", "signal")
    return xr.Dataset(
        {
            "level": (dims, np.broadcast_to(level, shape)),
            "slope": ((*dims, "segment"), np.full((*shape, 2), slope)),
            "knots": ("knot", [min(COUNTED)]),
            "tested": ("signal", np.full(len(signals), tested)),
            "cut_error": ("signal", np.full(len(signals), cut_error)),
            "scatter": (("chain", "draw", "signal"), np.full((*shape[:2], shape[3]), scatter)),
            "scatter_slope": (("chain", "draw"), np.zeros(shape[:2])),
            "at": ("signal", [0.5, 0.995] if kind == "rejection" else [100.0]),
            "centre": CENTRE,
            "lowest_loss": ("group", np.full(len(groups), min(COUNTED))),
            "highest_loss": ("group", np.full(len(groups), max(COUNTED))),
        },
        coords={"group": groups, "signal": signals},
        attrs={"kind": kind, "runs": 3, "faults": "", "datasets": "JetClass, 100 M jets"},
    )


def _counts(posterior: xr.DataTree) -> xr.Dataset:
    groups = posterior["posterior"].to_dataset()["group"].values
    rows = [(g, s, loss) for g in groups for s in LEVEL for loss in COUNTED]
    columns = {
        "row_group": [row[0] for row in rows],
        "row_signal": [row[1] for row in rows],
        "loss": [row[2] for row in rows],
        "flops": [1e12 * row[2] ** -8 for row in rows],
        "passed": [0.0 if row[2] == min(COUNTED) else 40.0 * row[2] for row in rows],
        "tested": [5000.0] * len(rows),
    }
    return xr.Dataset({name: ("row", np.array(value)) for name, value in columns.items()})


def _linked(
    posterior: xr.DataTree, *, scatter: float = 0.0, efficiency: bool = True
) -> xr.DataTree:
    tree = posterior.copy()
    tree["link/rejection"] = xr.DataTree(_link(tree, "rejection", scatter=scatter))
    tree["link/rejection_counts"] = xr.DataTree(_counts(tree))
    if efficiency:
        tree["link/efficiency"] = xr.DataTree(_link(tree, "efficiency", scatter=scatter))
    return tree


@pytest.fixture(scope="module")
def known(exact: xr.DataTree) -> xr.DataTree:
    """Law and links known exactly, no scatter."""
    return _linked(exact)


def _scenario(**changes: object) -> Scenario:
    base = {"reference_efficiency": Uncertain("0.77", 0.77, share=True), "reference": "0.6 nat"}
    ours = {"name": "x", "signal": "Hbb", "tagged_objects": 4, "r1": Uncertain("1", 1.0)} | base
    return Scenario(**(ours | changes))  # type: ignore[arg-type]


def _loss(posterior: xr.DataTree, *values: float) -> np.ndarray:
    return np.tile(values, (len(group_draws(posterior, "all").alpha), 1))


def test_the_rejection_rises_by_the_slope_as_the_loss_falls(known: xr.DataTree) -> None:
    found = outcome_draws(known, "all", _loss(known, 0.6, 0.4), names=["rejection:Hbb"])
    log_r = np.log(found["rejection:Hbb"])
    np.testing.assert_allclose(log_r[:, 0], 6.0, atol=1e-4)
    np.testing.assert_allclose(log_r[:, 1] - log_r[:, 0], 0.6, atol=1e-4)


def test_a_new_tagger_scatters_about_the_link(posterior: xr.DataTree) -> None:
    tree = _linked(posterior, scatter=0.3)
    loss = _loss(tree, 0.6, 0.5)
    found = outcome_draws(tree, "all", loss, names=["rejection:Hbb", "rejection:Tbl"])
    log_r = {name: np.log(value) for name, value in found.items()}
    assert log_r["rejection:Hbb"][:, 0].std() == pytest.approx(0.3, rel=0.15)
    both = np.corrcoef(log_r["rejection:Hbb"][:, 0], log_r["rejection:Tbl"][:, 0])[0, 1]
    assert abs(both) < 0.2  # each signal by itself
    np.testing.assert_allclose(np.ptp(np.diff(log_r["rejection:Hbb"], axis=1)), 0.0, atol=1e-3)


def test_other_jets_than_those_of_the_runs_err_as_their_count_does(posterior: xr.DataTree) -> None:
    """One error for all losses and groups, and it all but cancels between two taggers."""
    tree = _linked(posterior)
    tree["link/rejection"] = xr.DataTree(_link(tree, "rejection", tested=20_000.0, cut_error=0.02))
    tree["link/efficiency"] = xr.DataTree(_link(tree, "efficiency", cut_error=0.1))
    loss = _loss(tree, 0.6, 0.5, 0.3)
    log_r = {
        group: np.log(outcome_draws(tree, group, loss, names=["rejection:Hbb"])["rejection:Hbb"])
        for group in ("all", "kinematic")
    }
    expected = [np.hypot(1.0 / np.sqrt(1.0 + 20_000.0 * np.exp(-u)), 0.02) for u in (6.0, 6.3)]
    np.testing.assert_allclose(log_r["all"][:, :2].std(axis=0), expected, rtol=0.15)
    off = log_r["all"] - log_r["all"].mean(axis=0)
    np.testing.assert_allclose(off[:, 1], off[:, 2], atol=1e-3)  # none was counted below 0.5 nat
    np.testing.assert_allclose(log_r["kinematic"], log_r["all"])
    found = outcome_draws(
        tree, "all", loss, names=["significance_ratio"], scenario=_scenario(reference="0.6 nat")
    )
    np.testing.assert_allclose(found["significance_ratio"][:, 0], 1.0)


def test_the_worth_of_a_loss_beyond_all_sense_is_finite_and_nothing_warns(
    posterior: xr.DataTree,
) -> None:
    """Heavy tails give such losses, a few of the draws, decades beyond the runs."""
    tree = _linked(posterior)
    for kind in ("rejection", "efficiency"):
        link = _link(tree, kind, scatter=0.3, tested=20_000.0, cut_error=0.02)
        tree[f"link/{kind}"] = xr.DataTree(link.assign(scatter_slope=link["scatter_slope"] + 0.7))
    names = ["rejection:Hbb", "efficiency:b", "significance_ratio", "luminosity_equivalent"]
    loss = _loss(tree, 0.6, 1e3, 1e35, 1e217)
    found = outcome_draws(tree, "all", loss, names=names, scenario=_scenario())
    assert all(np.isfinite(values).all() for values in found.values())


def _at_several(posterior: xr.DataTree) -> xr.DataTree:
    """Jets counted at rejections of 10 and 100, the efficiency at 10 much higher."""
    tree = _linked(posterior)
    one = _link(tree, "efficiency").assign_coords(signal=["Hbb@100"])
    other = one.assign_coords(signal=["Hbb@10"])
    other["slope"] = 2.0 * other["slope"]
    other["at"] = ("signal", [10.0])
    tree["link/efficiency"] = xr.DataTree(
        xr.concat([other, one], "signal", data_vars="minimal", combine_attrs="override")
    )
    return tree


def test_a_scenario_finds_the_rejection_it_asks_for(exact: xr.DataTree) -> None:
    tree = _at_several(exact)
    for changes, slope in (
        ({"rejection": 100.0}, B_SLOPE),
        ({"rejection": 10.0}, 2.0 * B_SLOPE),
        ({"signal": "Hbb@10"}, 2.0 * B_SLOPE),
    ):
        scenario = _scenario(**changes)
        assert "efficiency:b" in [one.name for one in quantities(tree, "all", scenario)]
        found = outcome_draws(
            tree, "all", _loss(tree, 0.5), names=["efficiency:b"], scenario=scenario
        )
        expected = expit(logit(0.77) + 0.1 * slope)
        np.testing.assert_allclose(found["efficiency:b"], expected)


def test_a_scenario_that_names_no_rejection_of_several_is_asked_which(exact: xr.DataTree) -> None:
    tree = _at_several(exact)
    reason = missing_link(tree, _scenario())
    assert reason == (
        "signal 'Hbb' is counted at rejections of 10, 100; say in the scenario which is meant, as "
        "rejection = 100"
    )
    reason = missing_link(tree, _scenario(rejection=50.0))
    assert reason == (
        "signal 'Hbb' is not counted at the scenario's rejection of 50; the records have 10, 100"
    )
    assert [one.name for one in quantities(tree, "all", _scenario())][-1] == "rejection:Tbl"
    with pytest.raises(ValueError, match="counted at rejections of 10, 100"):
        outcome_draws(tree, "all", _loss(tree, 0.5), names=["efficiency:b"], scenario=_scenario())


def test_a_scenario_asks_for_a_rejection_above_one(tmp_path: Path) -> None:
    text = (SCENARIOS / "hh4b.toml").read_text(encoding="utf-8")
    path = tmp_path / "own.toml"
    path.write_text(text + "\nrejection = 100\n", encoding="utf-8")
    assert read_scenario(path).rejection == 100.0
    path.write_text(text + "\nrejection = 0.5\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"rejection is 0\.5; it must be a number above 1, as 100"):
        read_scenario(path)


def test_links_of_an_earlier_version_are_refused(known: xr.DataTree, tmp_path: Path) -> None:
    tree = known.copy()
    tree["link/rejection"] = xr.DataTree(_link(tree, "rejection").drop_vars("knots"))
    with pytest.raises(
        ValueError, match=r"1 fault\(s\): link/rejection has no knots; fit the runs"
    ):
        save(tree, tmp_path / "posterior.nc")


def test_the_log_odds_of_b_jets_move_with_the_loss(known: xr.DataTree) -> None:
    found = outcome_draws(
        known, "all", _loss(known, 0.5), names=["efficiency:b"], scenario=_scenario()
    )
    expected = expit(logit(0.77) + 0.1 * B_SLOPE)
    np.testing.assert_allclose(found["efficiency:b"], expected)


def test_the_significance_is_that_of_the_formula(known: xr.DataTree) -> None:
    names = ["efficiency:b", "significance_ratio", "luminosity_equivalent"]
    found = outcome_draws(known, "all", _loss(known, 0.5), names=names, scenario=_scenario())
    ratio = significance_ratio(found["efficiency:b"] / 0.77, 1.0)
    np.testing.assert_allclose(found["significance_ratio"], ratio)
    np.testing.assert_allclose(found["luminosity_equivalent"], ratio**2)


def test_the_reference_tagger_gains_nothing_over_itself(known: xr.DataTree) -> None:
    dearest = reference_loss(known, "all", "dearest run fitted")
    scenario = _scenario(reference="dearest run fitted")
    found = outcome_draws(known, "all", dearest, names=["significance_ratio"], scenario=scenario)
    np.testing.assert_allclose(found["significance_ratio"], 1.0)


def test_the_dearest_run_is_the_reference(exact: xr.DataTree) -> None:
    draws = group_draws(exact, "all")
    expected = loss_draws(draws, 1e6, unique_samples=1e7)
    np.testing.assert_allclose(reference_loss(exact, "all", "dearest run fitted"), expected)
    budget = reference_loss(exact, "all", "6e13 FLOP")
    assert (budget < expected).all()  # the same compute, spent best


def test_a_reference_group_makes_groups_comparable(known: xr.DataTree) -> None:
    scenario = _scenario(reference="dearest run fitted", reference_group="all")
    names = ["significance_ratio"]
    here, other = (
        outcome_draws(
            known,
            group,
            reference_loss(known, group, "dearest run fitted"),
            names=names,
            scenario=scenario,
        )["significance_ratio"]
        for group in ("all", "kinematic")
    )
    np.testing.assert_allclose(here, 1.0)
    assert (other < 1.0).all()  # 0.4 nat worse at the same size


def test_uncertain_inputs_are_propagated(posterior: xr.DataTree) -> None:
    tree = _linked(posterior)
    fixed, uncertain = (
        outcome_draws(
            tree,
            "all",
            _loss(tree, 0.4),
            names=["significance_ratio"],
            scenario=_scenario(r1=r1),
        )["significance_ratio"]
        for r1 in (Uncertain("1", 1.0), Uncertain("1 x/ 3", 1.0, np.log(3.0)))
    )
    assert np.ptp(fixed) < 1e-12
    assert np.median(uncertain) == pytest.approx(float(fixed[0, 0]), rel=0.01)
    assert np.ptp(uncertain) > 0.02


def test_quantities_are_those_that_can_be_computed(known: xr.DataTree, exact: xr.DataTree) -> None:
    names = [one.name for one in quantities(known, "all", _scenario())]
    assert names == [
        "loss",
        "rejection:Hbb",
        "rejection:Tbl",
        "efficiency:b",
        "significance_ratio",
        "luminosity_equivalent",
    ]
    assert [one.name for one in quantities(exact, "all", _scenario())] == ["loss"]
    assert [one.higher_is_better for one in quantities(known, "all")] == [False, True, True]
    assert missing_link(known, _scenario()) == ""


@pytest.mark.parametrize(
    ("names", "scenario", "fault"),
    [
        (["rejection:Hcc"], None, "signal 'Hcc' has no working points at fixed efficiency; the re"),
        (["speed"], None, "unknown quantity 'speed'; group 'all' has loss, rejection:Hbb"),
        (["efficiency:b"], None, "efficiency:b needs a scenario, for example scenarios/hh4b.toml"),
        (
            ["efficiency:b"],
            _scenario(signal="Hcc"),
            "signal 'Hcc' has no working points at fixed rejection; the records have Hbb",
        ),
        (["efficiency:b"], _scenario(reference="-1 nat"), "a loss is written like '0.9 nat'"),
        (["efficiency:b"], _scenario(reference="1e15 J"), "reference of the scenario: budget"),
    ],
)
def test_what_cannot_be_computed_is_said(
    known: xr.DataTree, names: list[str], scenario: Scenario | None, fault: str
) -> None:
    with pytest.raises(ValueError) as found:
        outcome_draws(known, "all", _loss(known, 0.5), names=names, scenario=scenario)
    assert fault in str(found.value)


def test_records_without_working_points_are_named(exact: xr.DataTree) -> None:
    with pytest.raises(ValueError, match="no working points at fixed efficiency; measure them"):
        outcome_draws(exact, "all", _loss(exact, 0.5), names=["rejection:Hbb"])
    only = _linked(exact, efficiency=False)
    with pytest.raises(ValueError, match="its records have no working points at fixed rejection"):
        outcome_draws(
            only, "all", _loss(only, 0.5), names=["significance_ratio"], scenario=_scenario()
        )
    assert "no link from the loss to the efficiency of Hbb" in missing_link(only, _scenario())


def test_a_loss_of_other_draws_is_refused(known: xr.DataTree) -> None:
    with pytest.raises(ValueError, match=r"the loss has shape \(3, 1\); it must be .* 10 draws"):
        outcome_draws(known, "all", np.ones((3, 1)), names=["loss"])


def test_the_table_has_the_physics(posterior: xr.DataTree) -> None:
    scenario = read_scenario(SCENARIOS / "hh4b.toml")
    rows = forecast_budget(_linked(posterior, scatter=0.2), 1e15, scenario=scenario)
    table = to_intervals(rows)
    own = table[table["group"] == "all"].set_index("quantity")
    for name in ("rejection:Hbb", "rejection:Tbl", "efficiency:b", "significance_ratio"):
        assert own["low_95"][name] < own["low_68"][name] < own["median"][name]
        assert own["median"][name] < own["high_68"][name] < own["high_95"][name]
    assert own["median"]["luminosity_equivalent"] == pytest.approx(
        own["median"]["significance_ratio"] ** 2, rel=0.01
    )


def test_published_rejections_are_drawn_for_the_real_jetclass_alone(posterior: xr.DataTree) -> None:
    tree = _linked(posterior, scatter=0.2)
    curves = rejection_curves(tree, [1e15])
    assert [one.published for one in curves] == [PART_REJECTIONS["Hbb"][1], 15873.0]
    tree["link/rejection"].attrs["datasets"] = "isoflop simulation"
    assert [one.published for one in rejection_curves(tree, [1e15])] == [None, None]


def test_a_rejection_with_none_passed_is_drawn_as_a_limit(posterior: xr.DataTree) -> None:
    curves = rejection_curves(_linked(posterior), [1e15])
    counts = curves[0].counts[0]
    assert not np.isfinite(counts.middle[0])
    assert counts.low[0] == pytest.approx(5000.0 / -np.log(0.16))
    figure = rejection_figure(curves)
    lines = [line for ax in figure.axes for line in ax.lines]
    arrows = [line for line in lines if "uparrow" in str(line.get_marker())]
    limits = sum(np.size(line.get_xdata()) for line in arrows)
    assert limits == 2 * 2 * 2  # signals, groups, axes
    assert smallest_text(figure) >= SMALLEST


def test_every_signal_has_a_panel_against_loss_above_one_against_compute(
    posterior: xr.DataTree,
) -> None:
    one, other = rejection_curves(_linked(posterior, scatter=0.2), [1e15])
    figure = rejection_figure((one, other) * 4 + (one,))  # nine: three in a row
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_xlabel() for ax in shown[:6]] == ["loss $L$ [nat]"] * 3 + [
        "compute $C$ [FLOP]"
    ] * 3
    assert len(shown) == 18
    assert shown[0].get_title() == shown[3].get_title() == r"$H\to b\bar{b}$ (Hbb), 50 %"
    assert shown[0].get_ylabel() == "background rejection"
    few = [ax for ax in rejection_figure((one,) * 5).axes if ax.get_visible()]
    assert len(few) == 10


def test_signals_are_chosen_by_name(posterior: xr.DataTree) -> None:
    tree = _linked(posterior)
    (only,) = rejection_curves(tree, [1e15], signals=["Tbl"])
    assert (only.signal, only.efficiency) == ("Tbl", 0.995)
    with pytest.raises(ValueError, match="unknown signal 'Hxx'; this posterior has Hbb, Tbl"):
        rejection_curves(tree, [1e15], signals=["Hxx"])


def test_the_command_line_forecasts_the_physics(
    posterior: xr.DataTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "posterior.nc"
    save(_linked(posterior, scatter=0.2), path)
    words = ["--budget", "1e15", "--group", "all", "--scenario", str(SCENARIOS / "hh4b.toml")]
    assert run("forecast", str(path), *words, "--json", "-", "--quiet") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["quantity"] for row in rows} >= {
        "rejection:Hbb", "rejection:Tbl", "efficiency:b", "significance_ratio",
        "luminosity_equivalent",
    }  # fmt: skip
    figure = tmp_path / "rejection.png"
    assert run("forecast", str(path), *words, "--signal", "Hbb") == 2
    assert "--signal chooses what --rejection-figure draws" in capsys.readouterr().err
    chosen = ["--rejection-figure", str(figure), "--signal", "Hbb"]
    assert run("forecast", str(path), *words, *chosen) == 0
    shown = capsys.readouterr().out
    rows = [line[:28].strip() for line in shown.splitlines()]
    for name in (
        *("loss [nat]", "params_opt, best N", "samples_opt, best D"),
        *("rejection:Hbb at ε 0.5", "rejection:Tbl at ε 0.995", "efficiency:b at R 100"),
        *("significance_ratio", "luminosity_equivalent"),
    ):
        assert name in rows
    assert max(map(len, shown.splitlines()[3:11])) < 80
    assert figure.stat().st_size > 10_000


def test_a_posterior_without_fixed_rejections_still_forecasts_the_rest(
    posterior: xr.DataTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "posterior.nc"
    save(_linked(posterior, efficiency=False), path)
    words = ["--budget", "1e15", "--scenario", str(SCENARIOS / "hh4b.toml")]
    assert run("forecast", str(path), *words) == 0
    shown = capsys.readouterr()
    assert "rejection:Hbb at ε 0.5" in shown.out
    assert "Without significance: the posterior has no link from the loss to the eff" in shown.err


@pytest.mark.parametrize("command", ["forecast", "plan"])
def test_a_scenario_of_a_signal_that_was_not_counted_is_refused(
    command: str, posterior: xr.DataTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, scenario = tmp_path / "posterior.nc", tmp_path / "hxx.toml"
    save(_linked(posterior), path)
    text = (SCENARIOS / "hh4b.toml").read_text(encoding="utf-8")
    scenario.write_text(text.replace('signal = "Hbb"', 'signal = "Hxx"'), encoding="utf-8")
    assert run(command, str(path), "--budget", "1e15", "--scenario", str(scenario)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "the scenario cannot be used: signal 'Hxx' has no working points" in shown.err


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--q", "1.05"], "give --r1, reducible over irreducible background, or --scenario"),
        (["--q", "-1", "--r1", "1"], "q is -1; it must be positive and finite, as 1.05"),
        (["--q", "inf", "--r1", "1"], "q is inf; it must be positive and finite, as 1.05"),
        (["--q", "1", "--r1", "0"], "r1 = '0' is 0; it must be positive and finite"),
        (["--q", "1", "--r1", "1", "-k", "0"], "the number of tagged objects is 0"),
        (
            ["--q", "2", "--scenario", str(SCENARIOS / "hh4b.toml")],
            "at most 1.3: the reference kee",
        ),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    words: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("significance", *words) == 2
    assert fault in capsys.readouterr().err


def test_five_per_cent_of_efficiency_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("significance", "--q", "1.05", "--r1", "1", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["significance_ratio"]["median"] == pytest.approx(1.155, abs=5e-4)
    assert found["luminosity_equivalent"]["median"] == pytest.approx(1.33, abs=5e-3)
    assert found["tagged_objects"] == 4


def test_an_exact_comparison_is_two_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("significance", "--q", "1.05", "--r1", "1") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [["significance_ratio", "1.155"], ["luminosity_equivalent", "1.334"]]


def test_an_uncertain_comparison_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("significance", "--q", "1.05", "--scenario", str(SCENARIOS / "hh4b.toml")) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines[0] == ["median", "68", "%", "95", "%"]
    assert lines[1][:2] == ["significance_ratio", "1.155"] and lines[1].count("–") == 2


def test_an_uncertain_r1_has_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("significance", "--q", "1.05", "--r1", "1 x/ 3", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)["significance_ratio"]
    assert found["median"] == pytest.approx(1.155, abs=2e-3)
    assert found["low_95"] == pytest.approx(float(significance_ratio(1.05, 3.0**-1.96)), abs=2e-3)
