"""Plans for what a loss is worth: with a link that is known they are those for the loss."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from isoflop.forecast.advice import advise
from isoflop.forecast.costmodel import read_costs
from isoflop.forecast.option import Option, make_option
from isoflop.forecast.plan import make_plans
from isoflop.forecast.scenario import Scenario
from isoflop.forecast.significance import significance_ratio
from isoflop.forecast.target import Target, cheapest_plan
from isoflop.forecast.uncertain import Uncertain

COSTS = Path(__file__).parents[2] / "costs" / "delphes.toml"
CENTRE, LEVEL, SLOPE = 0.6, 6.0, 3.0


def with_link(posterior: xr.DataTree) -> xr.DataTree:
    """The posterior with log R and logit ε of Hbb exactly LEVEL − SLOPE (L − CENTRE)."""
    law = posterior["posterior"].to_dataset()
    shape = (law.sizes["chain"], law.sizes["draw"], law.sizes["group"], 1)
    dims, tree = ("chain", "draw", "group", "signal"), posterior.copy()
    values = {"level": LEVEL, "slope": SLOPE}
    for kind, at in (("rejection", 0.5), ("efficiency", 100.0)):
        link = xr.Dataset(
            {name: (dims, np.full(shape, value)) for name, value in values.items()},
            coords={"group": law["group"], "signal": ["Hbb"]},
        )
        link["slope"] = link["slope"].expand_dims(segment=2, axis=-1)
        link["knots"] = ("knot", [0.4])
        link["tested"], link["cut_error"] = ("signal", [np.inf]), ("signal", [0.0])
        link["scatter"] = (("chain", "draw", "signal"), np.zeros((*shape[:2], 1)))
        link["scatter_slope"] = (("chain", "draw"), np.zeros(shape[:2]))
        link["at"], link["centre"] = ("signal", [at]), CENTRE
        link["lowest_loss"] = ("group", np.full(shape[2], 0.4))
        link["highest_loss"] = ("group", np.full(shape[2], 1.5))
        tree[f"link/{kind}"] = xr.DataTree(link)
    return tree


def scenario() -> Scenario:
    return Scenario(
        name="HH",
        signal="Hbb",
        tagged_objects=4,
        reference="0.6 nat",
        reference_efficiency=Uncertain("0.77", 0.77, share=True),
        r1=Uncertain("1", 1.0),
    )


@pytest.fixture(scope="module")
def linked(posterior: xr.DataTree) -> Option:
    return make_option(with_link(posterior), "all", read_costs(COSTS), scenario=scenario())


def test_cheapest_plan_for_a_rejection_is_that_for_its_loss(linked: Option) -> None:
    loss = 0.44
    rejection = float(np.exp(LEVEL - SLOPE * (loss - CENTRE)))
    one = cheapest_plan(linked, Target("loss", loss, 0.8))
    same = cheapest_plan(linked, Target("rejection:Hbb", rejection, 0.8))
    assert one.plans is not None and same.plans is not None
    assert same.plans.spent[0] == pytest.approx(one.plans.spent[0], rel=0.01)
    assert same.beyond == one.beyond


@pytest.mark.parametrize("quantity", ["rejection:Hbb", "significance_ratio", "efficiency:b"])
def test_plan_for_an_outcome_is_no_worse_in_it_than_the_plan_for_the_loss(
    linked: Option, quantity: str
) -> None:
    for_loss, for_it = make_plans(linked, 100.0), make_plans(linked, 100.0, quantity=quantity)
    for_loss_worth, worth = (
        linked.worth(plans.law_loss, [quantity])[quantity] for plans in (for_loss, for_it)
    )
    assert np.log(worth).mean() >= np.log(for_loss_worth).mean() - 1e-6
    np.testing.assert_allclose(np.log(for_it.runs.params), np.log(for_loss.runs.params), atol=0.3)


def test_significance_follows_the_loss_of_the_plan_by_the_link(linked: Option) -> None:
    plans = make_plans(linked, 100.0)
    drawn = linked.worth(plans.loss, ["efficiency:b", "significance_ratio"])
    q = drawn["efficiency:b"] / 0.77
    np.testing.assert_allclose(drawn["significance_ratio"], significance_ratio(q, 1.0), rtol=1e-9)
    odds = np.log(drawn["efficiency:b"] / (1.0 - drawn["efficiency:b"]))
    expected = np.log(0.77 / 0.23) - SLOPE * (plans.loss - CENTRE)
    np.testing.assert_allclose(odds, expected, atol=1e-9)


def test_a_run_worse_than_any_fitted_is_worth_no_more_than_the_worst(
    posterior: xr.DataTree,
) -> None:
    """No tagger worse than those was counted."""
    option = make_option(with_link(posterior), "all", read_costs(COSTS))
    loss = np.tile([option.worst_loss, 30.0], (len(option.draws.alpha), 1))
    drawn = option.worth(loss, ["loss", "rejection:Hbb"])
    np.testing.assert_array_equal(drawn["rejection:Hbb"][:, 0], drawn["rejection:Hbb"][:, 1])
    np.testing.assert_array_equal(drawn["loss"], loss)
    # And the cheapest plan for a rejection is no such run.
    found = cheapest_plan(option, Target("rejection:Hbb", 500.0, 0.8))
    assert found.plans is not None and found.plans.law_loss.max() < option.worst_loss


def test_options_are_compared_in_the_outcome_asked_for(posterior: xr.DataTree) -> None:
    tree, costs = with_link(posterior), read_costs(COSTS)
    options = [make_option(tree, name, costs) for name in ("all", "kinematic")]
    advice = advise(options, target=Target("rejection:Hbb", 500.0, 0.8))
    assert advice.quantity == "rejection:Hbb"
    assert advice.comparisons[0].probability == 1.0
    assert "all is better than kinematic in rejection:Hbb wi" in advice.comparisons[0].sentence
