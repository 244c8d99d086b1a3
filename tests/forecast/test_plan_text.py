"""What `isoflop plan` says: costs that are not known, what more would change, options compared."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from isoflop.commands.plan_text import advice_lines
from isoflop.forecast.advice import advise
from isoflop.forecast.costmodel import read_costs
from isoflop.forecast.limits import Constraints
from isoflop.forecast.option import make_option
from isoflop.forecast.target import Target
from isoflop.forecast.uncertain import Uncertain

COSTS = Path(__file__).parents[2] / "costs"


@pytest.fixture(scope="module")
def lines(posterior: xr.DataTree) -> list[str]:
    costs = read_costs(COSTS / "delphes.toml")
    options = [make_option(posterior, name, costs) for name in ("all", "kinematic")]
    return list(advice_lines(advise(options, budget=300.0, target=Target("loss", 0.42, 0.9))))


def found(lines: list[str], pattern: str) -> str:
    """The one line of the first option that the pattern is in."""
    (line,) = [line for line in lines[: lines.index("", 1)] if re.search(pattern, line)]
    return line


def test_an_uncertain_cost_is_said_to_be_one(lines: list[str]) -> None:
    assert re.fullmatch(
        r"  costs \d+ USD at the medians of the cost file; the true cost is uncertain, and the "
        r"plan is scaled so that it stays within 300 USD with probability 0\.50",
        found(lines, "^  costs "),
    )
    assert re.fullmatch(
        r"  true cost 68 % \d+ – \d+ USD, 95 % [\d.]+ – \d+ USD; least known is that of \w+",
        found(lines, "true cost 68"),
    )


def test_a_certain_cost_is_said_to_be_one(posterior: xr.DataTree) -> None:
    costs = read_costs(COSTS / "delphes.toml")
    sections = ("device", "energy", "simulation", "storage", "inference")
    exact = replace(costs, **{name: without_spread(getattr(costs, name)) for name in sections})
    lines = list(advice_lines(advise([make_option(posterior, "all", exact)], budget=300.0)))
    assert "  costs 300 USD; no number of the cost file is uncertain" in lines
    assert not any("true cost" in line for line in lines)


def test_training_alone_is_planned_without_a_word_on_jets(posterior: xr.DataTree) -> None:
    option = make_option(posterior, "all", read_costs(COSTS / "training.toml"))
    lines = [*advice_lines(advise([option], budget=2.8, text="1 GPU-h")), ""]
    assert lines[1] == "all for 1 GPU-h, 2.80 USD (training alone, one H100)"
    assert re.fullmatch(
        r"  takes (1|1\.0\d|0\.9\d+) h of H100 SXM at 42 % of its peak", found(lines, "takes")
    )
    assert re.fullmatch(r"  true cost 68 % .* USD, 95 % [\d. –]+ USD", found(lines, "true cost 68"))
    assert not re.search("simul|storage|inference|core-h|disk|least known", "\n".join(lines))


@pytest.mark.parametrize(
    ("asked", "head"),
    [
        ("30 GPU-h", "all for 30 GPU-h, 84 USD for all of it (Delphes-like jets, H100)"),
        ("3 h on 10 GPUs", "all for 3 h on 10 GPUs, 84 USD for all of it (Delphes-like jets, H"),
        ("6.41e17", "all for 6.41e17 FLOP, 84 USD for all of it (Delphes-like jets, H100)"),
        ("84 USD", "all for 84 USD (Delphes-like jets, H100)"),
        ("", "all for 84 USD (Delphes-like jets, H100)"),
    ],
)
def test_a_budget_that_becomes_money_is_said_to(
    asked: str, head: str, posterior: xr.DataTree
) -> None:
    option = make_option(posterior, "all", read_costs(COSTS / "delphes.toml"))
    lines = list(advice_lines(advise([option], budget=84.0, text=asked)))
    assert lines[1].startswith(head)


def test_a_budget_is_that_of_the_first_cost_file(posterior: xr.DataTree) -> None:
    files = [read_costs(COSTS / f"{name}.toml") for name in ("delphes", "training")]
    options = [make_option(posterior, "all", one, name=one.name) for one in files]
    text = "\n".join(advice_lines(advise(options, budget=84.0, text="30 GPU-h")))
    assert "Delphes-like jets, H100 for 30 GPU-h, 84 USD for all of it (" in text
    assert "training alone, one H100 for 84 USD (" in text


def without_spread(section: Any) -> Any:
    """A section of a cost file with the medians alone."""
    values = vars(section).items()
    known = {k: replace(v, spread=0.0) for k, v in values if isinstance(v, Uncertain)}
    return replace(section, **known)


def test_what_more_would_change_has_its_price_and_its_use(lines: list[str]) -> None:
    change = r"-?[\d.e-]+ +-[\d.e-]+ to [\d.e-]+  for [\d.]+ USD more: "
    assert found(lines, "what more would change in loss")
    assert re.search(rf"  1e6 more jets +{change}the same network and passes$", found(lines, "1e6"))
    assert re.search(rf"  1 more GPU-day +{change}a larger network", found(lines, "GPU-day"))
    assert re.search(
        rf"  1 more pass +{change}the same network and jets$", found(lines, "1 more p")
    )


def test_more_that_is_no_small_step_is_said_to_be_none(posterior: xr.DataTree) -> None:
    option = make_option(posterior, "all", read_costs(COSTS / "delphes.toml"))
    lines = [*advice_lines(advise([option], budget=1.0)), ""]
    assert re.search(r", \d\.\d\d times the plan's jets$", found(lines, "1e6 more"))
    assert re.search(r"network, \d[\d.]+ times the plan's training$", found(lines, "GPU-day"))


def test_more_than_a_bound_allows_is_said_to_be(posterior: xr.DataTree) -> None:
    costs, bounds = read_costs(COSTS / "delphes.toml"), Constraints(passes=1.0)
    option = make_option(posterior, "all", costs, constraints=bounds)
    lines = [*advice_lines(advise([option], budget=300.0)), ""]
    assert found(lines, "1 more pass").endswith("; over the bound: at most 1 pass")
    assert "bound" not in found(lines, "1e6 more")


def test_options_are_compared_by_name_and_in_money(lines: list[str]) -> None:
    assert lines[-2] == "At 300 USD:"
    assert re.fullmatch(
        r"  all is better than kinematic in loss with probability 1\.00; they do not cross between "
        r"[\d.e-]+ and [\d.]+ USD",
        lines[-1],
    )
