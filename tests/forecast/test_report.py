"""The report as a file: what it holds, how small it is, and that all text stays text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from tests.command import run
from tests.forecast.full_posterior import full_posterior

from isoflop.forecast.predict import deviates, group_draws
from isoflop.forecast.report.contents import Request
from isoflop.forecast.report.grid import parse_range, slider_stops, usual_range, whole_decades
from isoflop.forecast.report.live import Question, find_stops, live_data
from isoflop.forecast.report.packing import pack, pack_exactly, unpack
from isoflop.forecast.report.page import build_report, format_digits
from isoflop.forecast.table import (
    forecast_budget,
    held_out_comparison,
    summarise_held_out,
    to_intervals,
)
from isoflop.inference.posterior import save

HOSTILE = "<script>alert(1)</script>"
NARROW = (1e13, 1e14)


class Elements(HTMLParser):
    """Tags, attributes and script texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.scripts and self.tags[-1] == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def posterior() -> xr.DataTree:
    return full_posterior()


@pytest.fixture(scope="module")
def page(posterior: xr.DataTree) -> str:
    return build_report(posterior, Request(budgets=NARROW))


@given(st.lists(st.floats(-40.0, 40.0, allow_subnormal=False), min_size=1, max_size=30))
def test_a_packed_column_keeps_eight_decimals(values: list[float]) -> None:
    column = np.array(values)
    back = unpack(json.loads(json.dumps(pack(column))), len(column))
    np.testing.assert_allclose(back, column, rtol=0.0, atol=1e-8)


def test_a_column_of_wide_range_is_packed_exactly() -> None:
    column = np.array([1e-12, 3.0, 1e9])
    np.testing.assert_array_equal(unpack(pack(column), 3), column)
    np.testing.assert_array_equal(unpack(pack_exactly(column[:2]), 2), column[:2])


def test_a_column_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="values that are not finite; fit the runs again"):
        pack(np.array([1.0, np.nan]))


def test_the_slider_stops_at_whole_decades_and_at_its_ends() -> None:
    stops = slider_stops(3e11, 2e14)
    assert (stops[0], stops[-1]) == (3e11, 2e14)
    assert whole_decades(stops) == [3e11, 1e12, 1e13, 1e14, 2e14]
    assert np.diff(np.log10(stops)).max() < 0.1001
    assert len(slider_stops(1e3, 1e30)) <= 121


def test_without_a_range_the_slider_reaches_three_decades_beyond_the_dearest_run() -> None:
    assert usual_range(np.array([3e9, 5e12])) == (1e9, 1e16)
    assert usual_range(np.array([1e9, 1e12])) == (1e9, 1e15)


@pytest.mark.parametrize("decade", range(4, 40))
def test_no_decade_stands_twice_on_the_usual_slider(decade: int) -> None:
    low, high = float(f"1e{decade - 4}"), float(f"1e{decade}")
    told = whole_decades(slider_stops(*usual_range(np.array([low, high / 1000.0]))))
    assert told == [float(f"1e{k}") for k in range(decade - 4, decade + 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1e16:1e12", "goes from 1e+16 down to 1e+12 FLOP; give the smaller first"),
        ("1e12:1e12", "goes from 1e+12 down to 1e+12 FLOP"),
        ("1e12", "is not LO:HI, for example 1e12:1e16"),
        ("1e12:soon", "no number in front"),
    ],
)
def test_a_bad_range_of_budgets_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_range(text)


def test_the_page_asks_nothing_of_the_network(page: str) -> None:
    found = Elements(page)
    sources = [value for name, value in found.attributes if name in ("src", "href", "action")]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert not {"link", "iframe", "object", "embed", "base"} & set(found.tags)
    (policy,) = [v for n, v in found.attributes if n == "content" and "default-src" in v]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_a_hostile_group_name_stays_text() -> None:
    page = build_report(full_posterior(offsets={HOSTILE: 0.0}, held=False), Request(budgets=NARROW))
    found = Elements(page)
    assert found.tags.count("script") == 2
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    data = json.loads(found.scripts[0])
    assert [group["name"] for group in data["groups"]] == [HOSTILE]


def test_a_name_that_looks_like_a_broken_formula_is_drawn_as_it_stands() -> None:
    posterior = full_posterior(offsets={r"$\bad$": 0.0})
    page = build_report(posterior, Request(budgets=NARROW))
    assert r"<option selected>$\bad$</option>" in page


def test_the_same_posterior_gives_the_same_bytes(posterior: xr.DataTree, page: str) -> None:
    assert build_report(posterior, Request(budgets=NARROW)) == page


def test_the_page_holds_the_forecast_table_of_every_stop(posterior: xr.DataTree) -> None:
    question = Question(("all", "kinematic"), (1e13, 1e17), seed=3)
    data = live_data(posterior, question, find_stops(posterior, question))
    rows = [row for row in forecast_budget(posterior, 1e17, seed=3) if row.group == "kinematic"]
    group = data["groups"][1]
    assert group["params"][1] == rows[0].params
    assert group["decades"][1] == rows[0].extrapolation_decades
    law = group_draws(posterior, "kinematic")
    scatter = unpack(group["columns"]["scatter"], data["draws"])
    np.testing.assert_allclose(scatter, law.sigma * deviates(law, seed=3).scatter, atol=1e-8)


def test_many_draws_are_thinned_and_the_page_says_so() -> None:
    groups = {f"group {i}": 0.01 * i for i in range(10)}
    posterior = full_posterior(offsets=groups, draws=2000, held=False)
    page = build_report(posterior, Request(budgets=NARROW))
    assert len(page.encode()) < 3e6
    assert "one in 2 of the posterior&#39;s 4000" in page
    data = json.loads(Elements(page).scripts[0])
    assert (data["draws"], data["stride"]) == (2000, 2)
    every = group_draws(posterior, "group 9").loss_inf
    kept = unpack(data["groups"][9]["columns"]["loss_inf"], 2000)
    np.testing.assert_allclose(kept, every[::2], atol=1e-8)


def test_the_page_opens_on_the_lowest_forecast_and_says_it_first() -> None:
    posterior = full_posterior(offsets={"a kinematic": 0.4, "full": 0.0})
    page = build_report(posterior, Request(budgets=NARROW))
    assert "<option selected>full</option>" in page
    assert "<option>a kinematic</option>" in page
    (rows,) = [
        one
        for one in to_intervals(forecast_budget(posterior, 1e14, groups=["full"])).to_dict(
            "records"
        )
        if one["quantity"] == "loss"
    ]
    text = " ".join(page.split())
    said = f"a run of full is forecast at <strong>{format_digits(rows['median'])} nat</strong> (68"
    assert said in text
    assert text.index("can be trusted") < text.index(said) < text.index('id="forecast"')
    assert "The law of full: loss against size" in page


def test_the_page_says_what_it_was_made_from(posterior: xr.DataTree, page: str) -> None:
    text = " ".join(page.split())
    flops = posterior["constant_data"].to_dataset()["flops"].values
    assert f"<dt>fitted to</dt><dd>{len(flops)} runs of " in text
    assert f"nat, {flops.min():.2e} to {flops.max():.2e} FLOP</dd>" in text
    assert "<dt>draws</dt><dd>2 chain(s) of 200</dd>" in text


def test_errors_have_one_sign_and_the_page_says_which(posterior: xr.DataTree, page: str) -> None:
    assert "error, predicted / observed − 1 [%]" in page
    assert "predicted over observed loss − 1, positive where the prediction was too high" in page
    bias = summarise_held_out(held_out_comparison(posterior)).bias_percent
    assert f"(bias {bias:+.2f} %, predicted over observed)" in page.replace("&#43;", "+")


def test_groups_are_chosen_by_name_and_shown_in_order(posterior: xr.DataTree) -> None:
    page = build_report(posterior, Request(groups=["kinematic"], budgets=NARROW))
    assert "<option selected>kinematic</option>" in page
    assert "<option>all</option>" not in page
    with pytest.raises(ValueError, match="unknown group 'full'; this posterior has all, kinematic"):
        build_report(posterior, Request(groups=["full"]))


def test_a_law_without_runs_is_refused_with_the_remedy() -> None:
    bare = full_posterior(held=False)
    for name in ("constant_data", "observed_data", "posterior_predictive"):
        bare[name] = bare[name].to_dataset().isel(run=slice(0, 9))
    with pytest.raises(ValueError, match=r"group 'kinematic' has no runs in the posterior, .*fit`"):
        build_report(bare)
    build_report(bare, Request(groups=["all"], budgets=NARROW))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "{folder}"), "it is a folder; name a file in it"),
        (("-o", "{file}/r.html"), "choose a folder you can write to"),
        (("-o", "r.html", "--group", "full"), "unknown group 'full'; this posterior has all, kin"),
        (("-o", "r.html", "--budgets", "1e16:1e12"), "down to 1e+12 FLOP; give the smaller first"),
        (("-o", "r.html", "--budgets", "1:1e12"), "budget is 1 FLOP; it must be finite and at"),
        (("-o", "r.html", "--scenario", "no.toml"), "no scenario at no.toml"),
    ],
)
def test_a_mistake_leaves_one_line_and_no_file(
    words: tuple[str, ...],
    message: str,
    posterior: xr.DataTree,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "p.nc"
    save(posterior, file)
    monkeypatch.chdir(tmp_path)
    given_words = [word.format(folder=tmp_path, file=file) for word in words]
    assert run("report", "p.nc", *given_words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["p.nc"]
