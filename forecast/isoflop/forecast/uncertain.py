"""Numbers that are not known exactly, as a scenario writes them: `1`, `1 x/ 3`, `0.77 +- 0.02`."""

import re
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

EXAMPLES = "a number, '1 x/ 3' (log-normal) or, for a share, '0.77 +- 0.02' (logit-normal)"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TEXT = re.compile(rf"\s*({_NUMBER})\s*(?:(x/|\+-|±)\s*({_NUMBER})\s*)?")


@dataclass(frozen=True)
class Uncertain:
    """A number with its distribution."""

    text: str
    """As the user wrote it."""
    median: float
    """Median."""
    spread: float = 0.0
    """Standard deviation of the logarithm, of the log-odds for a share; 0 is an exact number."""
    share: bool = False
    """Whether it is logit-normal, within (0, 1), and not log-normal."""

    def draws(self, size: int, *, seed: int | list[int]) -> np.ndarray:
        """Independent draws, shape (size,)."""
        if self.spread == 0.0:
            return np.full(size, self.median)
        step = self.spread * np.random.default_rng(seed).standard_normal(size)
        if self.share:
            return np.asarray(expit(logit(self.median) + step))
        return np.asarray(self.median * np.exp(step))


def parse_uncertain(value: object, *, name: str, share: bool = False) -> Uncertain:
    """A positive number, or with `share` one within (0, 1), from a number or its text.

    `1 x/ 3` is log-normal: median 1, and 68 % of the draws within a factor 3. `0.77 +- 0.02` is
    logit-normal with median 0.77 and about that standard deviation. Raises `ValueError` that names
    the thing, the value and the bound.

    >>> parse_uncertain("1 x/ 3", name="r1").median
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{name} is {value!r}; write {EXAMPLES}")
    text = f"{value:g}" if not isinstance(value, str) else value.strip()
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} = {text!r} cannot be read; write {EXAMPLES}")
    median, sign = float(match[1]), match[2]
    width = float(match[3]) if sign else 0.0
    _require_median(median, text, name=name, share=share)
    if not sign:
        return Uncertain(text, median, share=share)
    if share != (sign != "x/"):
        kind = "a share: write it as '0.77 +- 0.02'" if share else "not a share: write '1 x/ 3'"
        raise ValueError(f"{name} = {text!r}: {name} is {kind}")
    if share:
        _require(width > 0.0, f"{name} = {text!r}: the error is {width:g}; it must be positive")
        return Uncertain(text, median, width / (median * (1.0 - median)), share=True)
    _require(
        np.isfinite(width) and width > 1.0,
        f"{name} = {text!r}: the factor is {width:g}; it must be above 1, or leave it out",
    )
    return Uncertain(text, median, float(np.log(width)))


def _require_median(median: float, text: str, *, name: str, share: bool) -> None:
    if share:
        _require(
            0.0 < median < 1.0, f"{name} = {text!r}: {median:g} is no share; it must lie in (0, 1)"
        )
    else:
        _require(
            np.isfinite(median) and median > 0.0,
            f"{name} = {text!r} is {median:g}; it must be positive and finite",
        )


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
