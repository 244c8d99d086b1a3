"""Plans against closed forms, brute force and an independent optimiser."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import NonlinearConstraint, minimize
from tests.forecast.conftest import COST, TRUTH, make_posterior

from isoflop.forecast.allocate import best_plan, best_plans
from isoflop.forecast.compare import Curve, compare
from isoflop.forecast.cost import prices
from isoflop.forecast.costmodel import Costs, training_alone
from isoflop.forecast.limits import Constraints
from isoflop.forecast.marginal import marginals
from isoflop.forecast.option import MANY, Option, law_loss, make_option
from isoflop.forecast.plan import make_plans
from isoflop.forecast.pricing import require_reach
from isoflop.forecast.spending import Runs, Spending, largest_log_params, runs_at, search
from isoflop.forecast.target import Target, cheapest_plan, parse_target, reach_probability
from isoflop.forecast.uncertain import Uncertain
from isoflop.inference import laws


def priced(
    *, jet: float = 0.0, served: float = 0.0, spread: float = 0.0, currency: str = "USD"
) -> Costs:
    """Costs where a FLOP of training costs one unit of money, a jet `jet`, serving `served`."""
    alone = training_alone()
    made = Uncertain("", jet, spread)
    one = Uncertain("1", 1.0)
    return replace(
        alone,
        name="priced",
        currency=currency,
        simulation=replace(alone.simulation, time=made, price=one),
        inference=replace(alone.inference, jets=Uncertain("", served), duration=one),
    )


def _set(tree: xr.DataTree, name: str, value: float) -> None:
    """Give a variable of a posterior one value in all draws."""
    variable = tree["posterior"].to_dataset()[name]
    tree["posterior"] = tree["posterior"].to_dataset().assign({name: xr.full_like(variable, value)})


def option(posterior: xr.DataTree, costs: Costs | None = None, **more: object) -> Option:
    constraints = Constraints(**more)  # type: ignore[arg-type]
    return make_option(posterior, "all", costs or training_alone(), constraints=constraints)


def losses(tree: xr.DataTree, runs: Runs) -> np.ndarray:
    return law_loss(option(tree).draws, runs)


def test_the_compiled_law_of_many_runs_is_that_of_each(posterior: xr.DataTree) -> None:
    draws = replace(option(posterior).draws, final=True, ceiling=9.0)
    points = -(-MANY // len(draws.alpha))
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform([5.0, 5.0, 0.0], [15.0, 20.0, 4.0], size=(points, 3)))
    together = law_loss(draws, Runs(*sizes.T))
    assert together.size >= MANY
    each = [law_loss(draws, Runs(*size[:, None])) for size in sizes]
    np.testing.assert_allclose(together, np.concatenate(each, axis=1), rtol=1e-12)


def test_plan_of_training_alone_is_the_closed_form(exact: xr.DataTree) -> None:
    budgets = np.geomspace(1e14, 1e20, 13)
    plans = make_plans(option(exact), budgets)
    terms = {name: TRUTH[name] for name in ("log_A", "log_B", "alpha", "beta")}
    params, samples = laws.compute_optimal(budgets, **terms, flops_per_param_sample=COST)
    np.testing.assert_allclose(plans.runs.params, params, rtol=0.02)
    np.testing.assert_allclose(plans.runs.unique_samples, samples, rtol=0.02)
    np.testing.assert_allclose(plans.runs.epochs, 1.0)
    # The loss is flat there: a percent of N is nothing in it.
    best = losses(exact, Runs(np.asarray(params), np.asarray(samples), np.ones(13)))
    np.testing.assert_allclose(plans.law_loss, best, rtol=1e-6)


def test_plan_over_draws_has_the_expected_loss_of_the_golden_section(
    posterior: xr.DataTree,
) -> None:
    budgets = np.geomspace(1e15, 1e19, 5)
    plans = make_plans(option(posterior), budgets)
    wanted = [plan.expected_loss for plan in best_plans(option(posterior).draws, budgets)]
    np.testing.assert_allclose(plans.law_loss.mean(axis=0), wanted, rtol=1e-6)


def test_plan_with_a_cap_on_jets_is_that_of_the_capped_search(posterior: xr.DataTree) -> None:
    plans = make_plans(option(posterior, jets=1e6), 1e17)
    wanted = best_plan(option(posterior).draws, 1e17, unique_cap=1e6)
    assert plans.runs.at(0)[1] == pytest.approx(1e6)
    assert plans.runs.at(0)[2] == pytest.approx(wanted.epochs, rel=0.05)
    assert plans.law_loss.mean() == pytest.approx(wanted.expected_loss, rel=1e-6)
    assert plans.bounds() == ("at most 1e+06 jets",)


@pytest.mark.parametrize(
    ("jet", "served", "caps"),
    [
        (1e9, 0.0, {}),
        (1e12, 0.0, {}),
        (1e9, 1e9, {}),
        (1e9, 0.0, {"jets": 3e5}),
        (1e9, 0.0, {"passes": 2.0}),
        (1e9, 1e8, {"days": 1e13 / 86400.0, "gpus": 100.0}),
    ],
)
def test_plan_is_the_optimum_of_an_independent_optimiser(
    exact: xr.DataTree, jet: float, served: float, caps: dict[str, float]
) -> None:
    """SLSQP in log N, log U and log e with the budget and the caps as constraints."""
    money = 1e17
    own = option(exact, priced(jet=jet, served=served), **caps)
    plans, spending = make_plans(own, money), own.spending

    def total(x: np.ndarray) -> float:
        n, u, e = np.exp(x)
        return float(spending.training * n * u * e + spending.jet * u + spending.serving * n)

    def loss(x: np.ndarray) -> float:
        return float(np.asarray(laws.loss(*np.exp(x), **TRUTH)))

    bounds = [
        (0.0, 60.0),
        (0.0, min(60.0, np.log(spending.most_jets))),
        (0.0, np.log(spending.most_passes)),
    ]
    trained = np.log(min(spending.most_training, 1e60))
    constraints = [
        NonlinearConstraint(lambda x: np.log(money) - np.log(total(x)), 0.0, np.inf),
        NonlinearConstraint(lambda x: trained - x.sum(), 0.0, np.inf),
    ]
    start = np.log(plans.runs.at(0)) + np.array([-0.3, -0.4, -0.1])
    start = np.clip(start, 0.0, [high for _, high in bounds])
    found = minimize(loss, start, bounds=bounds, constraints=constraints, method="SLSQP", tol=1e-12)
    assert found.success, found.message
    reached = float(plans.law_loss[0, 0])
    assert reached == pytest.approx(found.fun, rel=1e-6)
    assert total(np.log(plans.runs.at(0))) <= money * (1.0 + 1e-9)


def test_dear_jets_mean_a_larger_network_and_more_passes(exact: xr.DataTree) -> None:
    money = 1e17
    free = make_plans(option(exact), money)
    dear = make_plans(option(exact, priced(jet=1e10)), money)
    assert dear.runs.epochs[0] > 3.0 > free.runs.epochs[0]
    assert dear.flops[0] < free.flops[0]
    compute = make_plans(option(exact), float(dear.flops[0]))
    assert dear.runs.params[0] > 1.5 * compute.runs.params[0], "than is optimal for its compute"
    assert dear.runs.unique_samples[0] < compute.runs.unique_samples[0]


def test_passes_balance_a_fresh_jet_against_another_pass(exact: xr.DataTree) -> None:
    """g′(e)·(e + r) = g(e), r = price of a jet over that of a pass over it: dD_eff/de = 0."""
    own = option(exact, priced(jet=1e9))
    params, _, epochs = make_plans(own, 1e16).runs.at(0)
    ratio = own.spending.jet / (own.spending.training * params)
    spare = TRUTH["omega"] - 1.0
    gain = float(np.asarray(laws.effective_samples(1.0, epochs, TRUTH["omega"])))
    slope = np.exp(-(epochs - 1.0) / spare)
    assert slope * (epochs + ratio) == pytest.approx(gain, rel=0.02)


def test_serving_makes_the_network_smaller(exact: xr.DataTree) -> None:
    sizes = [
        make_plans(option(exact, priced(served=served)), 1e16).runs.params[0]
        for served in (0.0, 1e10, 1e11)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_regret_is_not_negative_and_vanishes_where_the_law_is_known(
    posterior: xr.DataTree, exact: xr.DataTree
) -> None:
    costs = priced(jet=1e9, served=1e9)
    budgets = np.geomspace(1e15, 1e18, 4)
    regret = make_plans(option(posterior, costs), budgets).regret
    assert regret.min() >= 0.0
    assert regret.mean() > 1e-7
    assert make_plans(option(exact, costs), budgets).regret.max() < 1e-6


def test_each_draws_own_best_is_the_closed_form(posterior: xr.DataTree) -> None:
    own = option(posterior)
    plans = make_plans(own, 1e17)
    draws = own.draws
    params, samples = laws.compute_optimal(
        1e17,
        **{name: getattr(draws, name) for name in ("log_A", "log_B", "alpha", "beta")},
        flops_per_param_sample=COST,
    )
    each = Runs(np.asarray(params)[:, None], np.asarray(samples)[:, None], np.ones((400, 1)))
    np.testing.assert_allclose(plans.best_loss, law_loss(draws, each), rtol=2e-5)


def test_penalty_of_overfitting_holds_passes_down() -> None:
    free, kept = make_posterior(width=0.0, draws=5), make_posterior(width=0.0, draws=5)
    _set(kept, "log_P", 0.0)
    costs = priced(jet=1e10)
    many, few = (make_plans(option(tree, costs), 1e16).runs.epochs[0] for tree in (free, kept))
    assert few < many


def test_a_loss_that_may_be_anything_is_not_as_good(posterior: xr.DataTree) -> None:
    """A network too large to be paid for sees one jet; its loss is unknown and vast."""
    law = posterior["posterior"].to_dataset()
    penalty = np.random.default_rng(0).normal(-10.0, 6.0, law["log_P"].shape)
    tree = posterior.copy()
    tree["posterior"] = law.assign(log_P=(law["log_P"].dims, penalty))
    served = make_plans(option(tree, priced(jet=1e9, served=1e12)), 1e17)
    low, high = served.ranges.unique_samples[:, 0]
    (unique,) = served.runs.unique_samples
    assert 0.1 * unique < low <= unique <= high < 10.0 * unique


def test_all_plans_within_the_ranges_are_as_good(posterior: xr.DataTree) -> None:
    own = option(posterior, priced(jet=1e9))
    plans = make_plans(own, 1e17, tolerance=0.002)
    low, high = plans.ranges.params[:, 0]
    assert low < plans.runs.params[0] < high
    best = plans.law_loss.mean()
    for params, good in ((low, True), (high, True), (low / 3.0, False), (high * 3.0, False)):
        places = np.linspace(0.0, 1.0, 400)
        runs = runs_at(own.spending, np.full(400, 1e17), np.full(400, np.log(params)), places)
        reached = law_loss(own.draws, runs).mean(axis=0).min()
        assert (reached <= best * 1.0021) is np.True_ or not good
        assert good or reached > best * 1.002


def test_marginal_values_are_finite_differences_of_the_law(exact: xr.DataTree) -> None:
    own = option(exact, priced(jet=1e9, served=1e8))
    plans = make_plans(own, 1e18)
    params, unique, epochs = plans.runs.at(0)
    by_name = {one.more: one for one in marginals(plans)}
    for name, run in (
        ("1e6 jets", (params, unique + 1e6, epochs)),
        ("1 pass", (params, unique, epochs + 1.0)),
    ):
        change = by_name[name].loss - plans.loss
        # The scatter of the run is shared and relative, so the change is in proportion.
        law = np.asarray(laws.loss(*run, **TRUTH)) / plans.law_loss[0, 0] - 1.0
        np.testing.assert_allclose(change[:, 0] / plans.loss[:, 0], law, rtol=0.1)
        spending = own.spending
        price = spending.training * (np.prod(run) - params * unique * epochs)
        price += spending.jet * (run[1] - unique)
        assert by_name[name].price[0] == pytest.approx(price, rel=1e-9)


def test_a_small_step_has_the_slope_of_the_law(exact: xr.DataTree) -> None:
    """A million jets are a small step where there are billions: the derivative in U."""
    plans = make_plans(option(exact), 1e21)
    params, unique, epochs = plans.runs.at(0)
    assert unique > 1e8
    step = unique * 1e-4
    up, down = (
        float(np.asarray(laws.loss(params, unique + s, epochs, **TRUTH))) for s in (step, -step)
    )
    slope = (up - down) / (2.0 * step)
    jets = next(one for one in marginals(plans) if one.more == "1e6 jets")
    change = (jets.loss - plans.loss)[:, 0] / plans.loss[:, 0] * plans.law_loss[:, 0]
    # The scatter falls a little with more jets, by as much again in some draws.
    np.testing.assert_allclose(change, slope * 1e6, rtol=0.1)


def test_device_day_is_spent_the_better_way(posterior: xr.DataTree) -> None:
    own = option(posterior, priced(jet=1e9))
    plans = make_plans(own, 1e16)
    day = next(one for one in marginals(plans) if one.more == "1 GPU-day")
    factor = 1.0 + 86400.0 * prices(own.costs).speed / plans.flops[0]
    assert day.factor[0] == pytest.approx(factor)
    n, u, e = plans.runs.at(0)
    both = [losses(posterior, Runs(*map(np.array, run))).mean() for run in (
        ([n * factor], [u], [e]), ([n], [u], [e * factor]))]  # fmt: skip
    assert losses(posterior, day.runs).mean() == pytest.approx(min(both), rel=1e-9)


def test_a_day_of_what_is_no_gpu_is_a_device_day(posterior: xr.DataTree) -> None:
    costs = priced(jet=1e9)
    core = replace(costs, device=replace(costs.device, unit="device"))
    found = marginals(make_plans(option(posterior, core), 1e16))
    assert [one.more for one in found] == ["1e6 jets", "1 device-day", "1 pass"]


@pytest.mark.parametrize(
    "caps", [{}, {"jets": 3e5}, {"days": 1e13 / 86400.0, "gpus": 100.0}, {"jets": 3e5, "passes": 4}]
)
def test_plans_are_the_best_of_what_uncertain_costs_let_them_spend(
    posterior: xr.DataTree, caps: dict[str, float]
) -> None:
    """Sixty budgets are scaled and searched together; a search of each to 1e-4 finds no more."""
    own = option(posterior, priced(jet=1e9, served=1e8, spread=0.3), **caps)
    money = np.geomspace(1e12, 1e19, 60)
    plans = make_plans(own, money)

    def expected(*run: np.ndarray) -> np.ndarray:
        loss = law_loss(own.draws, Runs(*run), every=own.searched)
        return np.asarray(loss.mean(axis=0))

    for place in range(0, 60, 6):
        point = slice(place, place + 1)
        start, spent = tuple(at[point] for at in plans.at), plans.spent[point]
        best = search(expected, own.spending, spent, start=(start[0], start[1]), precision=1e-4)
        found, wanted = (runs_at(own.spending, spent, *at) for at in (start, best))
        losses = (expected(run.params, run.unique_samples, run.epochs) for run in (found, wanted))
        assert next(losses) == pytest.approx(next(losses), rel=3e-4)
    assert (np.median(plans.cost_draws.total, axis=0) < 1.004 * money).all()


def test_true_cost_stays_within_the_budget_as_surely_as_asked(posterior: xr.DataTree) -> None:
    own = option(posterior, priced(jet=1e9, spread=np.log(4.0)))
    for within in (0.5, 0.9):
        plans = make_plans(own, 1e17, within=within)
        assert (plans.cost_draws.total <= 1e17).mean() == pytest.approx(within, abs=0.01)
    assert make_plans(own, 1e17, within=0.9).spent < make_plans(own, 1e17).spent


def test_cheapest_plan_reaches_the_target_and_a_tenth_less_does_not(
    posterior: xr.DataTree,
) -> None:
    own = option(posterior, priced(jet=1e9))
    target = Target("loss", 0.45, 0.9)
    found = cheapest_plan(own, target)
    assert found.plans is not None
    assert found.probability == pytest.approx(0.9, abs=0.01) and found.probability >= 0.9
    assert found.beyond == 0.0
    # No run of a fine grid that costs a tenth less is as sure.
    money = np.full(25, found.plans.spent[0] * 0.9)
    top = float(largest_log_params(own.spending, money[:1])[0])
    for v in np.linspace(0.0, 0.6, 25):
        runs = runs_at(own.spending, money, np.linspace(0.4 * top, top, 25), np.full(25, v))
        sure = (own.predicted_loss(runs) <= 0.45).mean(axis=0)
        assert sure.max() < 0.9
    assert reach_probability(own, found.plans.runs, target) == found.probability


def test_target_beyond_the_limit_is_said_to_be(posterior: xr.DataTree) -> None:
    found = cheapest_plan(option(posterior), Target("loss", 0.34, 0.9))
    assert found.plans is None
    limit = option(posterior).draws.loss_inf
    assert found.beyond == pytest.approx((limit > 0.34).mean())
    assert found.sentence.startswith("all: no budget up to ")
    assert "the target lies beyond its limit with probability 1.00" in found.sentence


def test_target_met_by_the_cheapest_run_is_refused(posterior: xr.DataTree) -> None:
    with pytest.raises(ValueError, match=r"target loss 9 is met already by the cheapest run ever"):
        cheapest_plan(option(posterior), Target("loss", 9.0, 0.9))


@pytest.mark.parametrize("text", ["loss", "0.4", "loss zero", "loss -1", "loss inf", ""])
def test_a_target_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a quantity and a positive number, as 'loss 0.4'"):
        parse_target(text)


def test_a_target_needs_a_probability_between_0_and_1() -> None:
    assert parse_target("rejection:Hbb=1000") == Target("rejection:Hbb", 1000.0, 0.9)
    with pytest.raises(ValueError, match="the probability is 1; it must lie between 0 and 1"):
        parse_target("loss 0.4", probability=1.0)


def test_unknown_quantity_is_named_with_those_there_are(posterior: xr.DataTree) -> None:
    with pytest.raises(ValueError, match=r"unknown quantity 'los'; group 'all' has loss"):
        cheapest_plan(option(posterior), Target("los", 0.4, 0.9))
    with pytest.raises(ValueError, match=r"no working points at fixed efficiency; measure them"):
        cheapest_plan(option(posterior), Target("rejection:Hbb", 100.0, 0.9))
    with pytest.raises(ValueError, match=r"significance_ratio needs a scenario"):
        cheapest_plan(option(posterior), Target("significance_ratio", 1.05, 0.9))


def test_caps_below_the_smallest_run_contradict_it_by_name(posterior: xr.DataTree) -> None:
    with pytest.raises(ValueError) as caught:
        option(posterior, priced(), latency=2.0, jets=10.0)
    assert "at most 10 jets allows 10 jets, which contradicts 1e+05" in str(caught.value)
    assert "2 s to serve a jet allows 1 parameters, which contradicts 1e+04" in str(caught.value)
    far = make_option(posterior, "all", priced(), constraints=Constraints(jets=10.0), far=True)
    assert far.spending.most_jets == 10.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"days": 3.0}, "a constraint on days needs one on gpus"),
        ({"jets": -1.0}, "the constraint on jets is -1; it must be finite and at least 1"),
        ({"passes": 0.5}, "the constraint on passes is 0.5; it must be finite and at least 1"),
        ({"latency": 0.0}, "the constraint on latency is 0; it must be finite and positive"),
    ],
)
def test_constraints_that_make_no_sense_are_refused(
    posterior: xr.DataTree, given: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        option(posterior, priced(), **given)
    with pytest.raises(ValueError, match="needs a device and its speed; give --costs"):
        option(posterior, latency=1.0)


def test_budgets_out_of_reach_of_the_runs_are_refused_with_the_reason(
    posterior: xr.DataTree,
) -> None:
    own = option(posterior)
    cheapest = COST * 1e4 * 1e5
    for money, reason in (
        (cheapest * 0.9, "below 6e+09 FLOP, what the cheapest run ever trained in all costs"),
        (cheapest * 2e10, "10.3 decades above the cheapest run ever trained in all, 6e+09 FLOP"),
    ):
        with pytest.raises(ValueError) as caught:
            require_reach(own, money, far=False, text="x")
        assert reason in str(caught.value)
        assert "--far" in str(caught.value)
        require_reach(own, money, far=True, text="x")


def test_a_budget_below_one_parameter_and_one_jet_is_refused(posterior: xr.DataTree) -> None:
    with pytest.raises(ValueError, match=r"what one parameter and one jet cost in all"):
        make_plans(option(posterior), 1.0)


def curve(tree: xr.DataTree, group: str, costs: Costs, budgets: np.ndarray) -> Curve:
    plans = make_plans(make_option(tree, group, costs, name=f"{group} {costs.name}"), budgets)
    return Curve(plans, "loss", plans.loss)


def test_a_dear_good_option_overtakes_a_cheap_poor_one_where_their_losses_meet() -> None:
    """The floor of `poor` is higher; the jets of `good` cost more. Exact law: one crossing."""
    tree = make_posterior(width=0.0, draws=50, offsets={"good": 0.0, "poor": 0.1})
    _set(tree, "sigma", 1e-9)
    budgets = np.geomspace(1e13, 1e20, 31)
    dear = replace(priced(jet=1e11), name="dear")
    cheap = replace(priced(jet=1e6), name="cheap")
    good, poor = curve(tree, "good", dear, budgets), curve(tree, "poor", cheap, budgets)
    (found,) = compare([good, poor], place=0)
    assert found.probability == 0.0
    assert found.probabilities[-1] == 1.0
    gap = good.drawn[0] - poor.drawn[0]
    exact = np.exp(np.interp(0.0, -gap, np.log(budgets)))
    assert found.crossing is not None
    np.testing.assert_allclose(found.crossing, exact, rtol=0.02)
    assert found.sentence.startswith("poor cheap is better than good dear in loss with probabilit")
    assert f"from {exact:.2e}"[:8] in found.sentence
    assert found.sentence.endswith(" USD) good dear is ahead, below it poor cheap")


def test_options_that_do_not_cross_are_said_not_to(posterior: xr.DataTree) -> None:
    budgets = np.geomspace(1e15, 1e18, 5)
    curves = [curve(posterior, name, priced(), budgets) for name in ("all", "kinematic")]
    (found,) = compare(curves, place=2)
    assert found.probability == 1.0 and found.crossing is None
    assert "they do not cross between 1.00e15 and 1.00e18 USD" in found.sentence


def test_plans_of_one_group_share_their_luck(posterior: xr.DataTree) -> None:
    """With the law known and shared scatter, the cheaper jets are better in every draw."""
    budgets = np.array([1e17])
    cheap, dear = (
        curve(posterior, "all", replace(priced(jet=jet), name=str(jet)), budgets)
        for jet in (1e8, 1e10)
    )
    (found,) = compare([cheap, dear], place=0)
    assert found.probability == 1.0


def test_the_law_error_beyond_the_runs_widens_the_outcome() -> None:
    exact, wandering = make_posterior(width=0.0), make_posterior(width=0.0)
    _set(wandering, "kappa", 1.0)
    money = 1e19
    narrow, wide = (make_plans(option(tree), money).loss for tree in (exact, wandering))
    assert wide.std() > 2.0 * narrow.std()


def test_spending_never_exceeds_budget_or_caps() -> None:
    spending = Spending(
        6.0, 1e9, 1e8, most_params=1e7, most_jets=1e6, most_training=1e14, most_passes=50.0
    )
    random = np.random.default_rng(0)
    budget = 10.0 ** random.uniform(11.0, 18.0, 2000)
    log_params = random.uniform(0.0, 1.0, 2000) * largest_log_params(spending, budget)
    runs = runs_at(spending, budget, log_params, random.uniform(0.0, 1.0, 2000))
    total = 6.0 * runs.params * runs.unique_samples * runs.epochs
    total += 1e9 * runs.unique_samples + 1e8 * runs.params
    inside = runs.unique_samples > 1.0
    assert (total[inside] <= budget[inside] * (1.0 + 1e-9)).all()
    assert (runs.unique_samples <= 1e6).all() and (runs.epochs <= 50.0 * (1 + 1e-9)).all()
    trained = (runs.params * runs.unique_samples * runs.epochs)[inside]
    assert (trained <= 1e14 * (1.0 + 1e-9)).all()
    assert (runs.epochs >= 1.0).all()
