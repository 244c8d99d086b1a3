"""The significance of HH(4b) against published numbers, limits and an independent likelihood."""

import math
from pathlib import Path

import numpy as np
import pyhf
import pytest

from isoflop.forecast.significance import (
    LARGEST_GAIN,
    Scenario,
    asimov_significance,
    gain,
    luminosity_equivalent,
    read_scenario,
    reducible_share,
    significance_ratio,
)
from isoflop.forecast.uncertain import Uncertain, parse_uncertain

SCENARIOS = Path(__file__).parents[2] / "scenarios"
ASIMOV = """
name = "counting"
signal = "Hbb"
tagged_objects = 4
reference_efficiency = 0.8
r1 = 1
formula = "asimov"
background_uncertainty = "{error}"
luminosity = "3 ab^-1"
signal_cross_section = "{signal} fb"
irreducible_cross_section = "1 pb"
"""


@pytest.mark.parametrize(("r1", "ratio"), [(0.25, 1.123), (1.0, 1.155), (4.0, 1.190)])
def test_five_per_cent_of_efficiency_are_worth_what_is_published(r1: float, ratio: float) -> None:
    assert significance_ratio(1.05, r1) == pytest.approx(ratio, abs=5e-4)


def test_the_luminosity_equivalent_is_the_ratio_squared() -> None:
    assert luminosity_equivalent(significance_ratio(1.05, 1.0)) == pytest.approx(1.33, abs=5e-3)


def test_without_reducible_background_four_tags_gain_q_squared() -> None:
    assert significance_ratio(1.05, 1e-12) == pytest.approx(1.05**2)


@pytest.mark.parametrize("objects", [1, 2, 4])
def test_the_ratio_is_that_of_two_significances(objects: int) -> None:
    s, reducible, irreducible, luminosity = 0.3, 7.0, 11.0, 3000.0

    def significance(efficiency: float) -> float:
        kept = efficiency**objects
        background = reducible + irreducible * kept
        return s * kept * math.sqrt(luminosity) / math.sqrt(background)

    r1 = reducible / (irreducible * 0.7**objects)
    ratio = significance_ratio(0.8 / 0.7, r1, objects=objects)
    assert ratio == pytest.approx(significance(0.8) / significance(0.7))


def test_s_over_sqrt_b_is_the_limit_of_the_asimov_significance() -> None:
    for s, b in ((1.0, 1e6), (0.1, 1e5)):
        assert asimov_significance(s, b) == pytest.approx(s / math.sqrt(b), rel=1e-5)


def test_an_exact_background_is_the_limit_of_an_uncertain_one() -> None:
    sharp = asimov_significance(20.0, 100.0, background_uncertainty=1e-6)
    assert sharp == pytest.approx(float(asimov_significance(20.0, 100.0)), rel=1e-6)


def test_a_small_signal_over_an_uncertain_background_is_s_over_its_error() -> None:
    z = asimov_significance(1.0, 1e4, background_uncertainty=0.05)
    assert z == pytest.approx(1.0 / math.sqrt(1e4 + 500.0**2), rel=1e-3)


@pytest.mark.parametrize(("s", "b", "error"), [(15.0, 50.0, 0.0), (15.0, 50.0, 0.1), (8, 20, 0.3)])
def test_the_asimov_significance_is_that_of_pyhf(s: float, b: float, error: float) -> None:
    assert asimov_significance(s, b, background_uncertainty=error) == pytest.approx(
        _pyhf_significance(s, b, error), rel=2e-3
    )


def _pyhf_significance(s: float, b: float, error: float) -> float:
    """√q₀ of the Asimov data of one bin; the background's error is a control region's."""
    free = [{"name": "error", "type": "shapesys", "data": [error * b]}] if error else []
    signal = {"name": "mu", "type": "normfactor", "data": None}
    spec = {
        "channels": [
            {
                "name": "counts",
                "samples": [
                    {"name": "signal", "data": [s], "modifiers": [signal]},
                    {"name": "background", "data": [b], "modifiers": free},
                ],
            }
        ]
    }
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-12))
    # Its validation warns of what jsonschema will drop.
    model = pyhf.Model(spec, poi_name="mu", validate=False)
    data = [s + b, *model.config.auxdata]
    bounds = [(0.0, 10.0) if n == "mu" else (1e-6, 10.0) for n in model.config.par_order]
    q0 = pyhf.infer.test_statistics.q0(
        0.0, data, model, model.config.suggested_init(), bounds, model.config.suggested_fixed()
    )
    return math.sqrt(float(q0))


def _scenario(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return read_scenario(path)


def test_gains_of_a_small_signal_are_those_of_s_over_sqrt_b(tmp_path: Path) -> None:
    scenario = _scenario(tmp_path, ASIMOV.format(error="0 %", signal=1e-3))
    found = gain(scenario, np.array([0.8]), np.array([[0.84]]))
    assert found.ratio[0, 0] == pytest.approx(float(significance_ratio(1.05, 1.0)), rel=1e-4)
    assert found.luminosity[0, 0] == pytest.approx(found.ratio[0, 0] ** 2, rel=1e-4)


def test_no_luminosity_makes_up_for_an_uncertain_background(tmp_path: Path) -> None:
    scenario = _scenario(tmp_path, ASIMOV.format(error="10 %", signal=1.0))
    found = gain(scenario, np.array([0.8]), np.array([[0.8, 0.88]]))
    np.testing.assert_allclose(found.ratio[0, 0], 1.0)
    assert found.luminosity[0, 0] == pytest.approx(1.0, rel=1e-4)
    assert found.luminosity[0, 1] == pytest.approx(LARGEST_GAIN)


def test_yields_give_the_reducible_share(tmp_path: Path) -> None:
    text = ASIMOV.format(error="5 %", signal=1.0).replace("r1 = 1\n", "f = 0.01\n")
    scenario = _scenario(tmp_path, text + 'reducible_cross_section = "3 pb"\n')
    share = reducible_share(scenario, np.array([0.8]))
    assert share == pytest.approx(0.01 * 3000.0 / (1000.0 * 0.8**4))


def test_a_factor_is_the_width_of_a_log_normal() -> None:
    draws = parse_uncertain("1 x/ 3", name="r1").draws(100_000, seed=1)
    low, median, high = np.quantile(draws, (0.1587, 0.5, 0.8413))
    np.testing.assert_allclose([low, median, high], [1 / 3, 1.0, 3.0], rtol=0.03)


def test_the_error_of_a_share_is_its_standard_deviation() -> None:
    draws = parse_uncertain("0.77 +- 0.02", name="e", share=True).draws(100_000, seed=1)
    assert np.median(draws) == pytest.approx(0.77, abs=1e-3)
    assert draws.std() == pytest.approx(0.02, abs=1e-3)
    assert draws.min() > 0.0
    assert draws.max() < 1.0


def test_an_exact_number_is_the_same_in_every_draw() -> None:
    assert set(parse_uncertain(4, name="r1").draws(5, seed=0)) == {4.0}


def test_the_default_scenario_is_that_of_the_hl_lhc() -> None:
    resolved, boosted = (read_scenario(SCENARIOS / f"{n}.toml") for n in ("hh4b", "hh4b_boosted"))
    assert resolved.tagged_objects == 4
    assert boosted.tagged_objects == 2
    assert resolved.r1 == Uncertain("1 x/ 3", 1.0, math.log(3.0))
    assert resolved.reference_efficiency.median == 0.77
    assert resolved.luminosity == 3000.0


def test_every_number_of_a_scenario_stands_beside_its_source() -> None:
    for path in SCENARIOS.glob("*.toml"):
        before = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                assert before.startswith("#") or line.startswith("name"), f"{path}: {line}"
            before = line


GOOD = 'name = "x"\nsignal = "Hbb"\ntagged_objects = 4\nreference_efficiency = 0.77\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("r_1 = 1", "unknown key 'r_1', did you mean 'r1'?"),
        ("r1 = 1\nluminosty = '1 fb'", "unknown key 'luminosty', did you mean 'luminosity'?"),
        ("r1 = 1\nluminosity = 3000", "luminosity = 3000 has no unit; write it as '3000 fb^-1'"),
        ("r1 = 1\nluminosity = '3 GeV'", "the unit must be one of ab^-1, fb^-1, pb^-1"),
        ("r1 = 1\nluminosity = '-3 fb^-1'", "is -3 fb^-1; it must be positive"),
        ("r1 = -1", "r1 = '-1' is -1; it must be positive and finite"),
        ("r1 = '1 x/ 0.5'", "the factor is 0.5; it must be above 1, or leave it out"),
        ("r1 = '1 +- 0.5'", "r1 is not a share: write '1 x/ 3'"),
        ("r1 = 'about one'", "r1 = 'about one' cannot be read"),
        ("r1 = true", "r1 is True; write a number"),
        ("r1 = 1\nreference_efficiency = 77", "77 is no share; it must lie in (0, 1)"),
        ("r1 = 1\nreference_efficiency = '0.7 x/ 2'", "is a share: write it as '0.77 +- 0.02'"),
        (
            "r1 = 1\ntagged_objects = 0",
            "tagged_objects is 0; it must be a whole number of at least",
        ),
        ("r1 = 1\nformula = 'bayes'", "choose 's_over_sqrt_b' or 'asimov'"),
        ("r1 = 1\nformula = 'asimov'", "formula 'asimov' needs luminosity"),
        ("r1 = 1\nbackground_uncertainty = 0.1", "background_uncertainty needs formula = 'asimov'"),
        ("r1 = 1\nbackground_uncertainty = '120 %'", "it must lie in [0, 1), as 0.05 or '5 %'"),
        ("r1 = 1\nf = 0.1", "both say how much passes; give one"),
        ("f = 0.1", "without r1, reducible_cross_section is needed"),
        ("r1 = [", "not a TOML file that can be read"),
    ],
)
def test_a_bad_scenario_is_refused_in_words(tmp_path: Path, text: str, fault: str) -> None:
    given = {line.split(" =")[0] for line in text.splitlines()}
    rest = "".join(f"{line}\n" for line in GOOD.splitlines() if line.split(" =")[0] not in given)
    with pytest.raises(ValueError) as found:
        _scenario(tmp_path, rest + text + "\n")
    assert fault in str(found.value)


def test_a_scenario_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no scenario at .*nothing\.toml"):
        read_scenario(tmp_path / "nothing.toml")


def test_every_fault_of_a_scenario_stands_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 fault\(s\)") as found:
        _scenario(tmp_path, GOOD.replace("4", "-4") + "r1 = 0\nr2 = 1\n")
    for part in ("tagged_objects is -4", "r1 = '0' is 0", "unknown key 'r2'"):
        assert part in str(found.value)
