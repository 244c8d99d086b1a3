"""The scenario file: an analysis that a tagger serves, read from TOML and checked.

`scenarios/hh4b.toml` is the example; every number in it has its source beside it.
"""

import math
import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from isoflop.forecast.uncertain import Uncertain, parse_uncertain

FORMULAS = ("s_over_sqrt_b", "asimov")
DEAREST = "dearest run fitted"
"""Reference tagger that is the dearest run of the fit."""
EXACT = Uncertain("1", 1.0)
LUMINOSITY_UNITS = {"ab^-1": 1000.0, "fb^-1": 1.0, "pb^-1": 1e-3}
CROSS_SECTION_UNITS = {"pb": 1000.0, "fb": 1.0, "ab": 1e-3}
YIELDS = ("signal_cross_section", "irreducible_cross_section", "reducible_cross_section")


@dataclass(frozen=True)
class Scenario:
    """An analysis that a tagger serves, and the reference tagger it is compared with."""

    name: str
    """What the analysis is called."""
    signal: str
    """Working point at fixed background rejection that stands for the tagger, as `Hbb`."""
    tagged_objects: int
    """k: 4 resolved b jets, 2 boosted H→bb jets."""
    reference_efficiency: Uncertain
    """ε₁ of the reference tagger."""
    rejection: float | None = None
    """Background rejection of the working point; needed where jets are counted at several."""
    reference: str = DEAREST
    """Where the reference tagger stands: `dearest run fitted`, a loss `0.9 nat`, or a budget."""
    reference_group: str | None = None
    """Group of the reference tagger; that of the forecast if None."""
    r1: Uncertain | None = None
    """Reducible over irreducible background after tagging by the reference."""
    f: Uncertain = EXACT
    """Share of the reducible background that passes the tagger."""
    formula: str = FORMULAS[0]
    """Significance: `s_over_sqrt_b` or `asimov`."""
    background_uncertainty: float = 0.0
    """Relative uncertainty of the background, of `asimov`."""
    luminosity: float | None = None
    """𝓛, in fb⁻¹."""
    signal_cross_section: float | None = None
    """s: signal before tagging, acceptance included, in fb."""
    irreducible_cross_section: float | None = None
    """b_ir, in fb."""
    reducible_cross_section: float | None = None
    """b_r, before the share f, in fb."""


def read_scenario(path: str | Path) -> Scenario:
    """Read a scenario from a TOML file; every fault stands in one `ValueError`.

    The keys are the fields of `Scenario`. Luminosity and cross-sections carry their unit
    (`"3000 fb^-1"`, `"0.4 fb"`); r₁, f and ε₁ are numbers or distributions (`parse_uncertain`).
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no scenario at {source}; scenarios/hh4b.toml is an example")
    try:
        given = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not a TOML file that can be read ({error})") from error
    faults: list[str] = []
    values = {key: value for key, value in given.items() if key in _READERS}
    for key in given.keys() - _READERS.keys():
        near = get_close_matches(key, _READERS, n=1, cutoff=0.0)[0]
        faults.append(f"unknown key {key!r}, did you mean {near!r}?")
    required = ("name", "signal", "tagged_objects", "reference_efficiency")
    faults += [f"{key} is missing" for key in required if key not in given]
    for key, value in values.items():
        try:
            values[key] = _READERS[key](value, key)
        except ValueError as error:
            faults.append(str(error))
    faults += _contradictions(given)
    if faults:
        raise ValueError(f"{source}: {len(faults)} fault(s): " + "; ".join(faults))
    return Scenario(**values)


def _contradictions(given: dict[str, Any]) -> list[str]:
    """What a scenario needs together, and what excludes each other."""
    faults = []
    if "r1" in given and ("f" in given or "reducible_cross_section" in given):
        faults.append("r1 and f with reducible_cross_section both say how much passes; give one")
    if "r1" not in given:
        faults += [
            f"without r1, {key} is needed"
            for key in ("reducible_cross_section", "irreducible_cross_section")
            if key not in given
        ]
    if given.get("formula") == "asimov":
        needed = ("luminosity", "signal_cross_section", "irreducible_cross_section")
        faults += [f"formula 'asimov' needs {key}" for key in needed if key not in given]
    elif "background_uncertainty" in given:
        faults.append("background_uncertainty needs formula = 'asimov'")
    return faults


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r}; it must be text")
    return value.strip()


def _formula(value: object, name: str) -> str:
    if value not in FORMULAS:
        raise ValueError(f"{name} is {value!r}; choose {' or '.join(map(repr, FORMULAS))}")
    return str(value)


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
    return value


def _rejection(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1.0 < value < math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a number above 1, as 100")
    return float(value)


def _relative(value: object, name: str) -> float:
    """A relative uncertainty, `0.05` or `"5 %"`."""
    text = value if isinstance(value, str) else f"{value}"
    match = re.fullmatch(r"\s*([-+.\deE]+)\s*(%?)\s*", text)
    try:
        number = float(match[1]) / (100.0 if match[2] else 1.0) if match else math.nan
    except ValueError:
        number = math.nan
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name} is {value!r}; it must lie in [0, 1), as 0.05 or '5 %'")
    return number


def _with_unit(value: object, name: str, units: dict[str, float]) -> float:
    """A positive number in the unit whose factor is 1, from text with a unit."""
    usual = next(unit for unit, factor in units.items() if factor == 1.0)
    if not isinstance(value, str) or re.fullmatch(r"\s*[-+.\deE]+\s*", value):
        raise ValueError(f"{name} = {value} has no unit; write it as '{value} {usual}'")
    match = re.fullmatch(r"\s*([-+]?[.\d]+(?:[eE][-+]?\d+)?)\s*(\S.*?)\s*", value)
    unit = match[2].replace("⁻¹", "^-1") if match else ""
    if match is None or unit not in units:
        raise ValueError(f"{name} = {value!r}: the unit must be one of {', '.join(units)}")
    number = float(match[1]) * units[unit]
    if not (math.isfinite(number) and number > 0.0):
        raise ValueError(f"{name} = {value!r} is {number:g} {usual}; it must be positive")
    return number


def _cross_section(value: object, name: str) -> float:
    return _with_unit(value, name, CROSS_SECTION_UNITS)


_READERS: dict[str, Any] = {
    "name": _text,
    "signal": _text,
    "tagged_objects": _count,
    "reference_efficiency": lambda value, name: parse_uncertain(value, name=name, share=True),
    "rejection": _rejection,
    "reference": _text,
    "reference_group": _text,
    "r1": lambda value, name: parse_uncertain(value, name=name),
    "f": lambda value, name: parse_uncertain(value, name=name),
    "formula": _formula,
    "background_uncertainty": _relative,
    "luminosity": lambda value, name: _with_unit(value, name, LUMINOSITY_UNITS),
    **dict.fromkeys(YIELDS, _cross_section),
}
