"""What `isoflop plan` prints: the plan of each option as a person reads it."""

from collections.abc import Iterator

from isoflop.forecast.account import changes, equivalents, outcomes, resources, shares, summary
from isoflop.forecast.advice import Advice, Answer
from isoflop.forecast.limits import bounds_broken
from isoflop.forecast.marginal import JETS, PASS, Marginal
from isoflop.forecast.money import currency_of
from isoflop.forecast.names import label
from isoflop.forecast.plan import Plans
from isoflop.forecast.units import parse_amount
from isoflop.inference.diagnostics import prior_driven
from isoflop.terminal import interval_head, interval_row, number, span


def advice_lines(advice: Advice) -> Iterator[str]:
    """The whole advice, a line at a time."""
    for answer in advice.answers:
        yield ""
        # The first option's costs say what a budget is worth; by others it may buy another amount.
        first = answer.option.costs == advice.answers[0].option.costs
        yield from _option_lines(answer, advice.quantity, asked=advice.text if first else "")
    if advice.comparisons:
        yield ""
        unit = advice.answers[0].option.costs.currency
        yield f"At {number(advice.comparisons[0].budget)} {unit}:"
        yield from (f"  {one.sentence}" for one in advice.comparisons)
    if advice.comparisons and len({a.option.group for a in advice.answers}) < len(advice.answers):
        yield "  Options of one group have one law: their jets are taken to teach the same."


def _option_lines(answer: Answer, quantity: str, *, asked: str) -> Iterator[str]:
    option, plans = answer.option, answer.plans
    if plans is None:
        if answer.cheapest is not None:
            yield answer.cheapest.sentence
        return
    money, unit = float(plans.budget[0]), option.costs.currency
    same = [f"{number(v)} {u}" for u, v in equivalents(option, money).items() if u != unit]
    speed = option.costs.measured and f"; speed of the runs in {option.costs.measured}"
    yield f"{option.name} for {_budget(plans, asked)} ({option.costs.name}{speed})"
    if same:
        yield f"  worth {', '.join(same)} at the medians of the cost file"
    yield from _plan_lines(plans)
    yield from _outcome_lines(plans)
    yield from _marginal_lines(answer, quantity)
    if answer.cheapest is not None and answer.reach is not None:
        target = answer.cheapest.target
        yield (
            f"  this plan reaches {target.quantity} {target.value:g} with probability "
            f"{answer.reach:.2f}"
        )
        yield f"  {answer.cheapest.sentence}"


def _budget(plans: Plans, asked: str) -> str:
    """The budget in money, behind what was asked for where that is not money itself."""
    money = f"{number(plans.budget[0])} {plans.option.costs.currency}"
    measures = parse_amount(asked).measures if asked else ()
    if not asked or plans.option.costs.training_alone or currency_of(measures):
        return money
    # GPU-hours become money, and that pays for the jets as well.
    whole = " for all of it" if len(_paid(plans)) > 1 else ""
    return f"{asked}{'' if measures else ' FLOP'}, {money}{whole}"


def _paid(plans: Plans) -> dict[str, float]:
    """The share in the cost of every part that costs anything."""
    return {name: share for name, share in shares(plans).items() if share > 0.0}


def _plan_lines(plans: Plans) -> Iterator[str]:
    (params, unique, epochs), near = plans.runs.at(0), plans.ranges
    decades = plans.decades()
    where = f"{decades:.1f} decades beyond its runs" if decades else "within its runs"
    yield f"  train on {number(plans.flops[0])} FLOP, {where}"
    rows = (
        ("parameters N", params, near.params),
        ("distinct jets U", unique, near.unique_samples),
        ("passes", epochs, near.epochs),
    )
    for name, value, ends in rows:
        yield f"  {name:<24}{number(value):>10}   as good: {span(*ends[:, 0])}"
    if epochs > plans.option.most_passes > 0.0:
        blind = f"omega[{plans.option.group}]" in prior_driven(plans.option.posterior)
        source = "prior" if blind else "law"
        yield (
            f"  no run made more than {number(plans.option.most_passes)} pass(es): "
            f"what more are worth is the {source}'s word"
        )
    for reason in plans.bounds():
        yield f"  on a bound: {reason}"
    yield from _cost_lines(plans)
    if not plans.option.costs.training_alone:
        yield f"  takes {', '.join(_needs(plans))}"


def _needs(plans: Plans) -> Iterator[str]:
    """What the run of a plan takes, without what it takes none of."""
    costs, needs = plans.option.costs, resources(plans)
    # Where training is all that costs, its speed is all that decides.
    share = f" at {number(100.0 * costs.device.utilisation.median)} % of its peak"
    alone = len(_paid(plans)) == 1
    yield f"{number(needs['device_hours'])} h of {costs.device.name}{share if alone else ''}"
    if needs["core_hours"]:
        yield f"{number(needs['core_hours'])} core-h of {costs.simulation.name}"
    if needs["disk_byte"]:
        yield f"{number(needs['disk_byte'] / 1e9)} GB of disk"


def _cost_lines(plans: Plans) -> Iterator[str]:
    if plans.option.costs.training_alone:
        yield "  only training is counted; give --costs for the complete cost"
        return
    paid = _paid(plans)
    if len(paid) > 1:
        share = ", ".join(f"{name} {value:.0%}" for name, value in paid.items())
        near = plans.ranges.training_share[:, 0]
        yield f"  cost: {share} (training as good from {near[0]:.0%} to {near[1]:.0%})"
    drawn = plans.cost_draws
    total, within = summary(drawn.total), float((drawn.total <= plans.budget).mean())
    planned, unit = float(plans.parts.total[0]), plans.option.costs.currency
    if total["low_95"] == total["high_95"]:
        yield f"  costs {number(planned)} {unit}; no number of the cost file is uncertain"
        return
    widths = {name: summary(getattr(drawn, name)) for name in paid}
    widest = max(paid, key=lambda name: widths[name]["high_68"] - widths[name]["low_68"])
    least_known = f"; least known is that of {widest}" if len(paid) > 1 else ""
    yield (
        f"  costs {number(planned)} {unit} at the medians of the cost file; the true cost is "
        f"uncertain, and the plan is scaled so that it stays within {number(plans.budget[0])} "
        f"{unit} with probability {within:.2f}"
    )
    if planned < 0.9 * plans.spent[0]:
        yield "  the rest of the budget buys nothing under these bounds"
    yield (
        f"  true cost 68 % {span(total['low_68'], total['high_68'])} {unit}, 95 % "
        f"{span(total['low_95'], total['high_95'])} {unit}{least_known}"
    )


def _outcome_lines(plans: Plans) -> Iterator[str]:
    option = plans.option
    yield interval_head()
    for name, drawn in outcomes(option, plans.loss).items():
        yield interval_row(label(name, option.posterior, option.scenario), summary(drawn))
    regret = summary(plans.regret) | {"mean": float(plans.regret.mean())}
    yield (
        f"  knowing the law would save {number(regret['mean'])} nat on average, "
        f"at least {number(regret['high_95'])} in 2.5 % of the draws"
    )


def _beyond(plans: Plans, one: Marginal) -> str:
    """The bounds that the plan keeps and one more of something would break, in words."""
    broken = bounds_broken(one.runs, plans.option.caps, 0)
    return f"; over the bound: {' and '.join(broken)}" if broken else ""


def _marginal_lines(answer: Answer, quantity: str) -> Iterator[str]:
    plans = answer.plans
    if plans is None:
        return
    option, unit = plans.option, plans.option.costs.currency
    shown = label(quantity, option.posterior, option.scenario)
    yield f"  what more would change in {shown}, median and 95 %:"
    for one in answer.marginals:
        row = summary(changes(plans, one)[quantity])
        count, thing = one.more.split(" ")
        whole = {JETS: "jets", PASS: "passes"}.get(one.more, "training")
        large = "" if one.factor[0] < 1.5 else f", {number(one.factor[0])} times the plan's {whole}"
        yield (
            f"  {f'{count} more {thing}':<20}{number(row['median']):>9}"
            f"  {span(row['low_95'], row['high_95']):>20}  for {number(one.price[0])} {unit} more: "
            f"{one.spent_on[0]}{large}{_beyond(plans, one)}"
        )
