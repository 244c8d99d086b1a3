"""What a budget is worth in other units, at the medians of a cost model.

FLOP, GPU-hours (device-hours of what is no GPU), core-hours of simulation, HS23-seconds, kWh and
currencies are each worth money, and so each other.
"""

from dataclasses import replace
from typing import TypeVar

from isoflop.forecast.cost import prices
from isoflop.forecast.costmodel import DEVICE, Costs, Device, Energy, Simulation, Storage
from isoflop.forecast.units import CURRENCIES, Amount, Measures, measures_of, unit_scale

Section = TypeVar("Section", Device, Energy, Simulation, Storage)


def worth(costs: Costs, budget: Amount, *, text: str) -> float:
    """A budget in money: FLOP, GPU-h or device-h, core-h, HS23-s, kWh or any currency."""
    return budget.value * _price_of(costs, budget.measures, text)


def in_unit(costs: Costs, money: float, unit: str) -> float:
    """Money in another unit."""
    price = _price_of(costs, measures_of(unit), f"1 {unit}")
    return money / (price * unit_scale(unit))


def currency_of(measures: Measures) -> str | None:
    """The currency that an amount of these measures is in, if it is money alone."""
    return next((name for name in CURRENCIES if measures == measures_of(name)), None)


def in_currency(costs: Costs, currency: str, *, text: str) -> Costs:
    """The same costs with every price in another currency.

    Raises `ValueError` that quotes `text`, the budget that asks for it, where there is no rate.
    """
    if currency == costs.currency:
        return costs
    rate = _price_of(costs, measures_of(currency), text)

    def priced(section: Section) -> Section:
        price = section.price
        if price is None:
            return section
        return replace(section, price=replace(price, median=price.median / rate))

    rates = {**costs.exchange, costs.currency: 1.0}
    return replace(
        costs,
        currency=currency,
        exchange={name: rates[name] / rate for name in sorted(rates) if name != currency},
        device=priced(costs.device),
        energy=costs.energy and priced(costs.energy),
        simulation=priced(costs.simulation),
        storage=priced(costs.storage),
    )


def units_of(costs: Costs) -> tuple[str, ...]:
    """The units in which this cost model can say what a budget is worth."""
    if costs.training_alone:
        return ("FLOP",)
    energy = ("kWh",) if costs.device.power else ()
    cores = ("core-h", "HS23-h") if costs.simulation.price.median > 0.0 else ()
    return (costs.currency, f"{costs.device.unit}-h", "FLOP", *energy, *cores, *costs.exchange)


def _price_of(costs: Costs, measures: Measures, text: str) -> float:
    """Money for one base unit of what a budget measures."""
    if measures in ((), measures_of("FLOP")):
        return float(prices(costs).flop)
    if costs.training_alone:
        raise ValueError(
            f"budget {text!r}: only training FLOP are counted without a cost file; give --costs "
            "costs/training.toml for samples that exist already, costs/delphes.toml for jets to "
            "simulate, or a budget in FLOP"
        )
    known = _known_prices(costs)
    currency = currency_of(measures)
    if measures not in known and currency:
        raise ValueError(
            f"budget {text!r}: {costs.name} has no exchange rate of {currency}; add "
            f"exchange.{currency} = '… {costs.currency}'"
        )
    if measures not in known or not known[measures] > 0.0:
        raise ValueError(
            f"budget {text!r} cannot be priced by {costs.name}; give it in "
            f"{', '.join(units_of(costs))}, or as '5 days on 8 {costs.device.unit}s'"
        )
    return known[measures]


def _known_prices(costs: Costs) -> dict[Measures, float]:
    """Money for one base unit of all that the cost model prices, FLOP apart."""
    second, simulation = float(prices(costs).second), costs.simulation
    # Time of a GPU is not time of a CPU core: only a device that is a GPU prices it.
    devices = {DEVICE, costs.device.unit}
    known = {measures_of(f"{unit}-s"): second for unit in devices}
    known[measures_of(costs.currency)] = 1.0
    known |= {measures_of(name): rate for name, rate in costs.exchange.items()}
    known[measures_of("core-s")] = simulation.price.median
    known[measures_of("HS23-s")] = simulation.price.median / simulation.core.median
    if costs.device.power:
        overhead = costs.energy.overhead.median if costs.energy else 1.0
        known[measures_of("J")] = second / (costs.device.power.median * overhead)
    return known
