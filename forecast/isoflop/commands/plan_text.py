"""What `isoflop plan` prints: the plan of each option as a person reads it."""

from collections.abc import Iterator

from isoflop.forecast.account import changes, equivalents, outcomes, resources, shares, summary
from isoflop.forecast.advice import Advice, Answer
from isoflop.forecast.cost import PARTS
from isoflop.forecast.plan import Plans

WORDS = {
    "loss": "loss of a run [nat]",
    "efficiency:b": "b-efficiency",
    "significance_ratio": "significance ratio",
    "luminosity_equivalent": "luminosity equivalent",
}


def advice_lines(advice: Advice) -> Iterator[str]:
    """The whole advice, a line at a time."""
    for answer in advice.answers:
        yield ""
        yield from _option_lines(answer, advice.quantity)
    if advice.comparisons:
        yield ""
        unit = advice.answers[0].option.costs.currency
        yield f"At {number(advice.comparisons[0].budget)} {unit}:"
        yield from (f"  {one.sentence}" for one in advice.comparisons)
    if advice.comparisons and len({a.option.group for a in advice.answers}) < len(advice.answers):
        yield "  Options of one group have one law: their jets are taken to teach the same."


def number(value: float) -> str:
    """Three digits where that is plain, else as 7.49e9."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.3g}'):g}"
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}e{int(exponent)}"


def _option_lines(answer: Answer, quantity: str) -> Iterator[str]:
    option, plans = answer.option, answer.plans
    if plans is None:
        if answer.cheapest is not None:
            yield answer.cheapest.sentence
        return
    money, unit = float(plans.budget[0]), option.costs.currency
    same = [f"{number(v)} {u}" for u, v in equivalents(option, money).items() if u != unit]
    yield f"{option.name} for {number(money)} {unit} ({option.costs.name})"
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
        yield f"  {name:<24}{number(value):>10}   as good: {_span(*ends[:, 0])}"
    if epochs > plans.option.most_passes > 0.0:
        yield (
            f"  no run made more than {number(plans.option.most_passes)} passes: "
            "what more are worth is the law's word"
        )
    for reason in plans.bounds():
        yield f"  on a bound: {reason}"
    yield from _cost_lines(plans)
    needs = resources(plans)
    if "device_hours" in needs:
        yield (
            f"  takes {number(needs['device_hours'])} h of {plans.option.costs.device.name}, "
            f"{number(needs['core_hours'])} core-h of {plans.option.costs.simulation.name}, "
            f"{number(needs['disk_byte'] / 1e9)} GB of disk"
        )


def _cost_lines(plans: Plans) -> Iterator[str]:
    if plans.option.costs.training_alone:
        yield "  only training is counted; give --costs for the complete cost"
        return
    share = ", ".join(f"{name} {value:.0%}" for name, value in shares(plans).items())
    near = plans.ranges.training_share[:, 0]
    yield f"  cost: {share} (training as good from {near[0]:.0%} to {near[1]:.0%})"
    drawn = plans.cost_draws
    total, within = summary(drawn.total), float((drawn.total <= plans.budget).mean())
    widths = {name: summary(getattr(drawn, name)) for name in PARTS}
    widest = max(PARTS, key=lambda name: widths[name]["high_68"] - widths[name]["low_68"])
    planned, unit = float(plans.parts.total[0]), plans.option.costs.currency
    yield (
        f"  planned at {number(planned)} {unit} by the medians, "
        f"within the budget with probability {within:.2f}"
    )
    if planned < 0.9 * plans.spent[0]:
        yield "  the rest of the budget buys nothing under these bounds"
    yield (
        f"  true cost 68 % {_span(total['low_68'], total['high_68'])}, "
        f"95 % {_span(total['low_95'], total['high_95'])}; least known: {widest}"
    )


def _outcome_lines(plans: Plans) -> Iterator[str]:
    yield f"  {'':<24}{'median':>10}{'68 %':>20}{'95 %':>20}"
    for name, drawn in outcomes(plans.option, plans.loss).items():
        row = summary(drawn)
        spans = _span(row["low_68"], row["high_68"]), _span(row["low_95"], row["high_95"])
        head = f"  {WORDS.get(name, name):<24}{number(row['median']):>10}"
        yield f"{head}{spans[0]:>20}{spans[1]:>20}"
    regret = summary(plans.regret) | {"mean": float(plans.regret.mean())}
    yield (
        f"  knowing the law would save {number(regret['mean'])} nat on average, "
        f"at least {number(regret['high_95'])} in 2.5 % of the draws"
    )


def _marginal_lines(answer: Answer, quantity: str) -> Iterator[str]:
    plans = answer.plans
    if plans is None:
        return
    unit = plans.option.costs.currency
    name = plans.option.quantity(quantity)
    yield f"  one more changes the {quantity} by{f' [{name.unit}]' if name.unit else ''}, 95 %:"
    for one in answer.marginals:
        row = summary(changes(plans, one)[quantity])
        large = "" if one.factor[0] < 1.5 else f"; {number(one.factor[0])} times the plan's"
        yield (
            f"  {one.more:<12}{number(row['median']):>12}   {_span(row['low_95'], row['high_95'])} "
            f"for {number(one.price[0])} {unit}, {one.spent_on[0]}{large}"
        )


def _span(low: float, high: float) -> str:
    return f"{number(low)} – {number(high)}"
