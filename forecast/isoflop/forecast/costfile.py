"""Reads a cost file: sections of amounts with units, each key known, each unit checked.

A section is a frozen dataclass; its fields give the keys, and `In` beside a type the units and the
bounds of an amount.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from isoflop.forecast.uncertain import Uncertain, parse_uncertain
from isoflop.forecast.units import CURRENCIES, parse_amount, require_amount

EXAMPLE = "costs/delphes.toml"
BASES = "base = 'training.toml' or 'delphes.toml'"
"""The files that have every section, one for samples that exist and one for jets to simulate."""
SHOWN = 5
"""A message names so many faults, the mistakes of writing first, and counts the others."""
_SPREAD = re.compile(r"(?P<amount>.*?)\s*x/\s*(?P<factor>\S+)\s*")
Money = tuple[str, dict[str, float]]
"""The currency of a file, and its units for one of each other currency."""


@dataclass(frozen=True, init=False)
class In:
    """The units that an amount may be given in, and its bounds."""

    units: tuple[str, ...]
    """Units, any of them; `money` stands for every currency."""
    zero: bool
    """Whether it may be 0."""
    top: float
    """The most it may be, in base units."""

    def __init__(self, *units: str, zero: bool = False, top: float = math.inf) -> None:
        """Positive and without an upper bound unless said otherwise."""
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "zero", zero)
        object.__setattr__(self, "top", top)


def read_sections(
    path: str | Path, sections: Mapping[str, type], *, optional: Sequence[str] = ()
) -> dict[str, Any]:
    """The file's name, currency, exchange rates and sections; one `ValueError` for all faults."""
    given = _read(Path(path), seen=())
    faults = _unknown_keys(given, sections) + _missing_sections(given, sections, optional)
    currency = given.get("currency")
    if currency not in CURRENCIES:
        faults.append(f"currency is {currency!r}; choose one of {', '.join(CURRENCIES)}")
        raise _refusal(path, faults)
    exchange = _exchange(given.get("exchange", {}), currency, faults)
    read: dict[str, Any] = {"currency": currency, "exchange": exchange}
    read["name"] = given.get("name", Path(path).stem)
    for name, record in sections.items():
        read[name] = None
        if name in given:
            read[name] = _section(name, record, given[name], (currency, exchange), faults)
    if faults:
        raise _refusal(path, faults)
    return read


def _refusal(path: str | Path, faults: Sequence[str]) -> ValueError:
    """The error of a file, one line that a person can still read."""
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return ValueError(f"{path}: {len(faults)} fault(s): " + "; ".join([*faults[:SHOWN], *more]))


def _read(source: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's tables, laid over those of its `base`."""
    if not source.is_file():
        what = f", the base of {seen[-1].name}" if seen else ""
        raise FileNotFoundError(
            f"no cost file at {source}{what}; {EXAMPLE} in isoflop's repository is an example"
        )
    if source.resolve() in seen:
        raise ValueError(f"{source}: base leads back to this file; leave one base out")
    try:
        given = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not a TOML file that can be read ({error})") from error
    if "base" not in given:
        return given
    base = _read(source.parent / str(given.pop("base")), (*seen, source.resolve()))
    for key, value in given.items():
        laid = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = base[key] | value if laid else value
    return base


def _unknown_keys(given: Mapping[str, Any], sections: Mapping[str, type]) -> list[str]:
    """The faults of all keys that are not known, in the file and in its tables."""
    faults = _unknown(given, ("base", "name", "currency", "exchange", *sections), where="")
    rates = [name for name in CURRENCIES if name != given.get("currency")]
    known = {"exchange": rates} | {name: list(get_type_hints(sections[name])) for name in sections}
    for name, keys in known.items():
        if isinstance(given.get(name), dict):
            faults += _unknown(given[name], keys, where=f"{name}.")
    return faults


def _missing_sections(
    given: Mapping[str, Any], sections: Mapping[str, type], optional: Sequence[str]
) -> list[str]:
    """One fault for all sections that are not there, with what brings them."""
    missing = [name for name in sections if name not in given and name not in optional]
    if not missing:
        return []
    *others, last = missing
    if not others:
        return [f"section {last} is missing: {BASES} as the first line brings it"]
    named = f"sections {', '.join(others)} and {last}"
    return [f"{named} are missing: {BASES} as the first line brings them"]


def _unknown(given: Mapping[str, Any], known: Sequence[str], *, where: str) -> list[str]:
    """One fault for each key that is not known, with the nearest that is."""
    return [
        f"unknown key {where + key!r}, did you mean "
        f"{where + get_close_matches(key, known, n=1, cutoff=0.0)[0]!r}?"
        for key in given
        if key not in known
    ]


def _exchange(given: object, currency: str, faults: list[str]) -> dict[str, float]:
    """Units of `currency` for one of each other currency."""
    if not isinstance(given, dict):
        faults.append("exchange must be a table, with lines such as EUR = '1.1 USD'")
        return {}
    others = [name for name in CURRENCIES if name != currency]
    rates = {}
    for name in (name for name in given if name in others):
        try:
            rates[name] = _median(str(given[name]), (currency,), f"exchange.{name}", zero=False)
        except ValueError as error:
            faults.append(str(error))
    return dict(sorted(rates.items()))


def _section(name: str, record: type, given: object, money: Money, faults: list[str]) -> Any:
    """One section as its record, or None and its faults."""
    if not isinstance(given, dict):
        faults.append(f"{name} must be a table of keys, [{name}]")
        return None
    hints = get_type_hints(record, include_extras=True)
    before = len(faults)
    for item in fields(record):
        if item.name not in given and item.default is MISSING:
            bounds = _bounds(hints[item.name])
            units = f", in {' or '.join(bounds.units)}" if bounds and any(bounds.units) else ""
            faults.append(f"{name}.{item.name} is missing{units}")
    values: dict[str, Any] = {}
    for key in (key for key in given if key in hints):
        try:
            values[key] = _value(given[key], hints[key], f"{name}.{key}", money)
        except ValueError as error:
            faults.append(str(error))
    return record(**values) if len(faults) == before else None


def _bounds(hint: Any) -> In | None:
    return next(iter(getattr(hint, "__metadata__", ())), None)


def _value(given: object, hint: Any, thing: str, money: Money) -> Any:
    """What a key holds, as the type of its field says."""
    bounds = _bounds(hint)
    if bounds is not None:
        return _amount(given, bounds, thing, money)
    if hint is str:
        if not isinstance(given, str) or not given.strip():
            raise ValueError(f"{thing} is {given!r}; it must be text")
        return given.strip()
    if hint is int:
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise ValueError(f"{thing} is {given!r}; it must be a whole number of at least 1")
        return given
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        raise ValueError(f"{thing} is {given!r}; it must be a list of names")
    return tuple(given)


def _amount(given: object, bounds: In, thing: str, money: Money) -> Uncertain:
    """An amount with its spread, in base units and the file's currency."""
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise ValueError(f"{thing} is {given!r}; write it like '1 {_shown(bounds.units[0])}'")
    text = given if isinstance(given, str) else f"{given:g}"
    spread = _SPREAD.fullmatch(text)
    number = spread["amount"] if spread else text
    median = _median(number, bounds.units, thing, zero=bounds.zero, money=money)
    if median > bounds.top:
        raise ValueError(f"{thing} = {text!r}: it must be at most {bounds.top:.0%}")
    if not spread or median == 0.0:
        return Uncertain(text, median)
    return Uncertain(text, median, parse_uncertain(f"1 x/ {spread['factor']}", name=thing).spread)


def _median(
    text: str,
    units: Sequence[str],
    thing: str,
    *,
    zero: bool,
    money: Money | None = None,
) -> float:
    """The number of a text in base units, its currency changed into the file's."""
    read = parse_amount(text, thing=thing, example=f"1 {_shown(units[0])}")
    for name in CURRENCIES if money else ():
        if money and name in dict(read.measures):
            currency, exchange = money
            if name != currency and name not in exchange:
                raise ValueError(f"{thing} = {text!r}: add exchange.{name} = '… {currency}'")
            allowed = [unit.replace("money", name) for unit in units]
            value = require_amount(read, allowed, thing=thing, text=text, zero=zero)
            return value * (1.0 if name == currency else exchange[name])
    shown = [unit.replace("money", money[0] if money else "USD") for unit in units]
    return require_amount(read, shown, thing=thing, text=text, zero=zero)


def _shown(unit: str) -> str:
    return unit.replace("money", "USD")
