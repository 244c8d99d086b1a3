"""The report: one HTML page that holds everything it shows and asks nothing of the network.

`collect` gathers the contents, `render` writes them into `page.html` with `page.css` and the three
scripts beside it. Jinja escapes every value. The page's own security policy lets only these scripts
and styles act, known by their hashes, and no request leave it.
"""

import base64
import hashlib
import math
from importlib.resources import files

import xarray as xr
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from isoflop.forecast.report.contents import Contents, Request, collect

SCRIPTS = ("law.js", "chart.js", "page.js")
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def build_report(posterior: xr.DataTree, request: Request | None = None) -> str:
    """The report of a posterior as the text of one HTML file.

    Raises `ValueError` for a group that the posterior does not have, for one without runs, and for
    a budget that pays for no run.
    """
    return render(collect(posterior, request or Request()))


def render(contents: Contents) -> str:
    """The page of these contents."""
    here = files("isoflop.forecast.report")
    template, style, *scripts = (
        here.joinpath(name).read_text("utf-8") for name in ("page.html", "page.css", *SCRIPTS)
    )
    script = "".join(('"use strict";\n', *scripts))
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"number": format_number, "digits": format_digits}
    environment.filters |= {"optional": _optional}
    environment.globals |= {"ends": format_interval}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    return environment.from_string(template).render(
        contents=contents, style=Markup(style), script=Markup(script), policy=Markup(policy)
    )


def format_number(value: float) -> str:
    """Four digits where that is plain, else as 7.49×10⁹; `number` of `page.js` does the same.

    >>> format_number(0.45678), format_number(7.49e9), format_number(-2e-7)
    ('0.4568', '7.49×10⁹', '-2.00×10⁻⁷')
    """
    if _plain(value):
        return f"{value:.4g}"
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}×10{str(int(exponent)).translate(RAISED)}"


def format_digits(value: float) -> str:
    """`format_number` with zeros at the end kept, except of a whole number; as in `page.js`.

    >>> format_digits(2.7000002), format_digits(12.0), format_digits(9999.6)
    ('2.700', '12', '10000')
    """
    if value == round(value) or not _plain(value):
        return format_number(value)
    return f"{value:.{_decimals(value)}f}"


def format_interval(low: float, high: float) -> str:
    r"""Both ends with the decimals of the one that has fewer, unless they are far apart.

    >>> format_interval(2.619, 2.7), format_interval(0.98765, 1.2), format_interval(0.0012, 12.345)
    ('2.619\xa0– 2.700', '0.988\xa0– 1.200', '0.001200\xa0– 12.35')
    """
    fewer, more = sorted(map(_decimals, (low, high)))
    whole = all(end == round(end) for end in (low, high))
    if whole or more - fewer > 1 or not (_plain(low) and _plain(high)):
        return f"{format_digits(low)}\xa0– {format_digits(high)}"
    return f"{low:.{fewer}f}\xa0– {high:.{fewer}f}"


def _plain(value: float) -> bool:
    """Whether a number is written without a power of ten."""
    return value == 0 or 1e-3 <= abs(value) < 1e4


def _decimals(value: float) -> int:
    """Decimals that show four digits."""
    return max(3 - int(f"{value:.3e}".split("e")[1]), 0)


def _optional(value: float, form: str) -> str:
    """A number in this form, or a dash where it is not known."""
    return "–" if math.isnan(value) else form % value


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
