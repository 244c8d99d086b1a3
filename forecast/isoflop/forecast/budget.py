"""Read a budget as a user writes it: FLOP with an SI prefix, or GPU time at a stated speed."""

import math
import re

from isoflop.forecast.units import PREFIXES, split_number

SECONDS = {"GPU-s": 1.0, "GPU-h": 3600.0, "GPU-d": 86400.0}
UNITS = f"FLOP (with a prefix {', '.join(p for p in PREFIXES if p)}), {', '.join(SECONDS)}"


def parse_budget(text: str, *, flops_per_second: float | None = None) -> float:
    """Training compute in FLOP from text such as `1e21`, `3 EFLOP` or `100 GPU-h`.

    GPU time needs the sustained speed of one GPU, `flops_per_second` [FLOP/s]. Raises `ValueError`
    for a number that is not positive and finite, and for an unknown unit.

    >>> parse_budget("3 EFLOP")
    3e+18
    >>> parse_budget("2 GPU-h", flops_per_second=1e14)
    7.2e+17
    """
    number, unit = split_number(text, thing="budget", example="1e21")
    prefix = re.fullmatch(r"(.?)FLOPs?", unit)
    if not unit:
        scale = 1.0
    elif prefix and prefix[1] in PREFIXES:
        scale = PREFIXES[prefix[1]]
    elif unit in SECONDS:
        scale = SECONDS[unit] * _speed(text, flops_per_second)
    else:
        raise ValueError(f"budget {text!r}: unknown unit {unit!r}; use one of {UNITS}")
    return _positive(number * scale, text, thing="budget", unit="FLOP", example="1e21")


def parse_speed(text: str) -> float:
    """Sustained speed of one GPU in FLOP/s from text such as `4e14` or `400 TFLOP/s`.

    >>> parse_speed("400 TFLOP/s")
    400000000000000.0
    """
    number, unit = split_number(text, thing="speed", example="400 TFLOP/s")
    prefix = re.fullmatch(r"(.?)FLOP/s", unit or "FLOP/s")
    if not prefix or prefix[1] not in PREFIXES:
        raise ValueError(f"speed {text!r}: unknown unit {unit!r}; use FLOP/s, e.g. 400 TFLOP/s")
    speed = number * PREFIXES[prefix[1]]
    return _positive(speed, text, thing="speed", unit="FLOP/s", example="400 TFLOP/s")


def _speed(text: str, flops_per_second: float | None) -> float:
    if flops_per_second is None:
        raise ValueError(
            f"budget {text!r} is GPU time and the speed of the GPU is not known; "
            "give the FLOP/s that it sustains with --speed, e.g. --speed '400 TFLOP/s'"
        )
    return _positive(
        flops_per_second,
        f"{flops_per_second:g}",
        thing="speed",
        unit="FLOP/s",
        example="400 TFLOP/s",
    )


def _positive(value: float, text: str, *, thing: str, unit: str, example: str) -> float:
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(
            f"{thing} {text!r} is {value:g} {unit}; it must be positive and finite, e.g. {example}"
        )
    return value
