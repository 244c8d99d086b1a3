"""A published law as a TOML file: its parameters with intervals, and one run that it goes through.

    name = "GN3"                       # of its group
    source = "ATL-SOFT-PUB-2026-002"
    interval = 0.68                    # what the bounds below hold
    flops_per_param_sample = 600.0     # c in C = c·N·D
    scatter = 0.002                    # relative SD of the loss between seeds
    assumptions = ["…"]                # what is not published, in words; shown with every forecast

    [parameters]                       # [median, low, high]
    loss_inf = [0.619, 0.539, 0.671]
    alpha = [0.677, 0.644, 0.764]
    beta = [0.077, 0.065, 0.086]
    # omega = […], if published

    [anchor]
    params = 86e6
    samples = 7.7e9
    optimal_within = 2.0               # its N is the compute-optimal one to this factor
    reducible = [0.1, 0.033, 0.3]      # L − L∞ there, in nat; or loss = […]

A and B are not asked for. They are extrapolations to one parameter and one sample, so correlated
with α and β that published alone they fix nothing; the anchor says where the law stands.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOP = ("name", "source", "interval", "flops_per_param_sample", "scatter", "assumptions")
PARAMETERS = ("loss_inf", "alpha", "beta", "omega")
ANCHOR = ("params", "samples", "optimal_within", "loss", "reducible")
OPTIONAL = ("omega", "loss", "reducible", "assumptions")


@dataclass(frozen=True)
class Interval:
    """A parameter as it is published; all three are positive and in order."""

    median: float
    """Median."""
    low: float
    """Lower bound."""
    high: float
    """Upper bound."""


@dataclass(frozen=True)
class Anchor:
    """One run that the law goes through."""

    params: float
    """N."""
    samples: float
    """D, in samples, each counted as new."""
    optimal_within: float
    """Factor, at least 1, to which N is the compute-optimal one at the same compute."""
    loss: Interval | None
    """Loss of the law there [nat], if it is known."""
    reducible: Interval | None
    """L − L∞ there [nat], a prior, if the loss is not."""


@dataclass(frozen=True)
class PublishedLaw:
    """L = L∞ + A N^−α + B D^−β (arXiv:2203.15556, Eq. 2) without the runs it was fitted to."""

    name: str
    """Name of its group."""
    source: str
    """Where it was published."""
    interval: float
    """Probability that each interval, and `optimal_within`, holds."""
    flops_per_param_sample: float
    """c in C = c·N·D, in FLOP."""
    scatter: float
    """Relative standard deviation of the loss of a run about the law."""
    loss_inf: Interval
    """L∞, in nat."""
    alpha: Interval
    """Exponent of the parameters."""
    beta: Interval
    """Exponent of the samples."""
    omega: Interval | None
    """Bound of the repetition gain; None takes the prior of a fit."""
    anchor: Anchor
    """The run that fixes A and B."""
    assumptions: tuple[str, ...]
    """What is not published, in words."""


def read_law(path: str | Path) -> PublishedLaw:
    """Read a law file. A `ValueError` names every fault."""
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no law file at {source}; give a .toml file")
    try:
        given = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not readable TOML ({error})") from error
    faults = _shape_faults(given) or _value_faults(given)
    if faults:
        raise ValueError(f"{source}: {len(faults)} fault(s): " + "; ".join(faults))
    top = {key: given[key] for key in TOP if key != "assumptions"}
    known = {key: _interval(given["parameters"].get(key)) for key in PARAMETERS}
    anchor = given["anchor"]
    level = {key: _interval(anchor.get(key)) for key in ("loss", "reducible")}
    params, samples, within = (float(anchor[key]) for key in ANCHOR[:3])
    return PublishedLaw(
        **top,
        **known,
        anchor=Anchor(params, samples, within, **level),
        assumptions=tuple(given.get("assumptions", ())),
    )


def _interval(values: Any) -> Any:
    return None if values is None else Interval(*map(float, values))


def _shape_faults(given: dict[str, Any]) -> list[str]:
    """Keys that are missing or unknown, of every table."""
    tables = [
        ("", given, (*TOP, "parameters", "anchor")),
        ("parameters.", given.get("parameters", {}), PARAMETERS),
        ("anchor.", given.get("anchor", {}), ANCHOR),
    ]
    faults = []
    for prefix, table, keys in tables:
        if not isinstance(table, dict):
            faults.append(f"{prefix.rstrip('.')} is no table")
            continue
        faults += [f"no {prefix}{k}" for k in keys if k not in table and k not in OPTIONAL]
        unknown = [key for key in table if key not in keys]
        faults += [f"unknown {prefix}{k}; there are {', '.join(keys)}" for k in unknown]
    return faults


def _value_faults(given: dict[str, Any]) -> list[str]:
    """Values out of bounds, of a file whose keys are right."""
    anchor = given["anchor"]
    numbers = [
        ("interval", given["interval"], 0.0, 1.0),
        ("flops_per_param_sample", given["flops_per_param_sample"], 0.0, math.inf),
        ("scatter", given["scatter"], 0.0, 1.0),
        ("anchor.params", anchor["params"], 0.0, math.inf),
        ("anchor.samples", anchor["samples"], 0.0, math.inf),
    ]
    faults = [
        f"{name} is {value!r}; it must be a number between {low:g} and {high:g}"
        for name, value, low, high in numbers
        if not (_is_number(value) and low < value < high)
    ]
    if not (_is_number(anchor["optimal_within"]) and 1 <= anchor["optimal_within"] < math.inf):
        faults.append(f"anchor.optimal_within is {anchor['optimal_within']!r}; at least 1 is asked")
    if ("loss" in anchor) == ("reducible" in anchor):
        faults.append("anchor needs either loss or reducible")
    listed = [(f"parameters.{key}", value) for key, value in given["parameters"].items()]
    listed += [(f"anchor.{key}", anchor[key]) for key in ("loss", "reducible") if key in anchor]
    for name, values in listed:
        floor = 1.0 if name.endswith("omega") else 0.0
        if not _in_order(values, floor):
            faults.append(
                f"{name} is {values!r}; it must be [median, low, high], "
                f"{floor:g} < low ≤ median ≤ high"
            )
    return faults


def _in_order(values: Any, floor: float) -> bool:
    if not (isinstance(values, list) and len(values) == 3 and all(map(_is_number, values))):
        return False
    median, low, high = values
    return bool(floor < low <= median <= high < math.inf)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
