"""Quantities with units: what they measure is checked, what they are worth is another matter.

A unit is a product of powers of the base measures below; 3 GPU-h and 3 core-h are not of one kind,
and neither are USD and EUR: to go from one to the other takes a price, which a cost file states.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

PREFIXES = {
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Z": 1e21,
    "Y": 1e24,
}
CURRENCIES = ("CHF", "EUR", "USD")
Measures = tuple[tuple[str, int], ...]
"""Base measures with their powers, sorted, none of power 0: (("FLOP", 1), ("s", -1))."""

_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIMES |= {"day": 86400.0, "days": 86400.0, "week": 604800.0, "weeks": 604800.0}
# A Julian year, as in astronomy.
_TIMES |= {"year": 31557600.0, "years": 31557600.0}
_COUNTED = {"GPU": "GPU", "GPUs": "GPU", "core": "core", "cores": "core"}
_COUNTED |= {"device": "device", "devices": "device", "jet": "jet", "jets": "jet"}
# HS23 was tuned to equal HS06 on its reference machine; one number serves for both.
_COUNTED |= {"HS23": "HS23", "HS06": "HS23"}
_PREFIXED = {"FLOP": "FLOP", "FLOPs": "FLOP", "B": "B", "W": "W", "J": "J"}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|inf"
_QUANTITY = re.compile(rf"\s*(?P<number>{_NUMBER})\s*(?P<unit>.*?)\s*")
_CROWD = re.compile(r"(?P<time>.+?)\s+on\s+(?P<count>[\d.eE+]+)\s*(?P<what>GPUs?|devices?|cores?)")


@dataclass(frozen=True)
class Amount:
    """A number in base units with what it measures."""

    value: float
    """In FLOP, s, GPU, device, core, HS23, J, B, jet, currencies and their products."""
    measures: Measures
    """What it measures; empty for a pure number."""


def parse_amount(text: str, *, thing: str = "amount", example: str = "5 GPU-h") -> Amount:
    """Read `1e21 FLOP`, `2.5 USD/GPU-h`, `0.03 core-s/jet`, `2 %`, `5 days on 8 GPUs`.

    Raises `ValueError` that names the thing, the unit that is not known and those that are.

    >>> parse_amount("2 kWh")
    Amount(value=7200000.0, measures=(('J', 1),))
    >>> parse_amount("5 days on 8 GPUs") == parse_amount("960 GPU-h")
    True
    """
    number, unit = split_number(text, thing=thing, example=example)
    crowd = _CROWD.fullmatch(unit)
    try:
        if crowd:
            count = float(crowd["count"])
            unit = f"{crowd['time']}-{crowd['what']}"
            number *= count
        scale, measures = _unit(unit)
    except ValueError as error:
        raise ValueError(f"{thing} {text!r}: {error}") from None
    return Amount(number * scale, measures)


def split_number(text: str, *, thing: str, example: str) -> tuple[float, str]:
    """The number in front of a text, and what follows it."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{thing} {text!r}: no number in front; write it like {example}")
    return float(match["number"]), match["unit"]


def unit_scale(unit: str) -> float:
    """One `unit` in base units."""
    return _unit(unit)[0]


def measures_of(unit: str) -> Measures:
    """What a unit measures.

    >>> measures_of("USD/GPU-h")
    (('GPU', -1), ('USD', 1), ('s', -1))
    """
    return _unit(unit)[1]


def require_amount(
    amount: Amount, units: Iterable[str], *, thing: str, text: str, zero: bool = False
) -> float:
    """The value, if it measures what one of `units` does and is positive (or 0, where allowed)."""
    allowed = tuple(units)
    if amount.measures not in {measures_of(unit) for unit in allowed}:
        given = "has no unit" if not amount.measures else "measures something else"
        wanted = " or ".join(unit or "no unit" for unit in allowed)
        raise ValueError(f"{thing} = {text!r} {given}; give it in {wanted}")
    low = "not be negative" if zero else "be positive"
    if not math.isfinite(amount.value) or amount.value < 0.0 or (amount.value == 0.0 and not zero):
        raise ValueError(f"{thing} = {text!r}: it must {low} and finite")
    return amount.value


def _unit(text: str) -> tuple[float, Measures]:
    """Scale and measures of a unit such as `USD/GPU-h`: `-` multiplies, `/` divides."""
    scale, powers = 1.0, dict[str, int]()
    for place, part in enumerate(text.split("/")):
        power = 1 if place == 0 else -1
        for name in filter(None, (word.strip() for word in part.split("-"))):
            factor, own = _named(name)
            scale *= factor**power
            for measure, exponent in own:
                powers[measure] = powers.get(measure, 0) + power * exponent
    return scale, tuple(sorted((name, power) for name, power in powers.items() if power))


def _named(name: str) -> tuple[float, Measures]:
    if name in _TIMES:
        return _TIMES[name], (("s", 1),)
    if name in _COUNTED:
        return 1.0, ((_COUNTED[name], 1),)
    if name in CURRENCIES:
        return 1.0, ((name, 1),)
    if name == "%":
        return 0.01, ()
    if name.endswith("Wh") and name[:-2] in PREFIXES:
        return 3600.0 * PREFIXES[name[:-2]], (("J", 1),)
    for known, measure in _PREFIXED.items():
        prefix = name.removesuffix(known)
        if name.endswith(known) and prefix in PREFIXES:
            measures = (("J", 1), ("s", -1)) if measure == "W" else ((measure, 1),)
            return PREFIXES[prefix], measures
    spelt = {known.lower(): known for known in (*CURRENCIES, *_TIMES, *_COUNTED)}
    meant = f"did you mean {spelt[name.lower()]}? " if name.lower() in spelt else ""
    raise ValueError(
        f"unknown unit {name!r}; {meant}known are FLOP, B, W, J, Wh (with a prefix "
        f"{', '.join(p for p in PREFIXES if p)}), {', '.join(sorted(_TIMES))}, "
        f"{', '.join(sorted(_COUNTED))}, %, {', '.join(CURRENCIES)}, joined by '-' and '/'"
    )
