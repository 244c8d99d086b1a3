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
    environment.filters |= {"number": format_number, "optional": _optional}
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
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits}×10{str(int(exponent)).translate(RAISED)}"


def _optional(value: float, form: str) -> str:
    """A number in this form, or a dash where it is not known."""
    return "–" if math.isnan(value) else form % value


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
