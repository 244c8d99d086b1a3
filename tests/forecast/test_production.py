"""What a plan asks of others: requests, manifests, the JSON and the figure."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from isoflop.forecast.advice import Advice, advise
from isoflop.forecast.advice_json import to_json
from isoflop.forecast.costmodel import Costs, read_costs, training_alone
from isoflop.forecast.option import Option, make_option
from isoflop.forecast.plan import Plans, make_plans
from isoflop.forecast.plan_figure import plan_figure
from isoflop.forecast.production import production_table, training_jobs, write_rows
from isoflop.forecast.target import Target

COSTS = Path(__file__).parents[2] / "costs"


@pytest.fixture(scope="module")
def costs() -> Costs:
    return read_costs(COSTS / "delphes.toml")


@pytest.fixture(scope="module")
def options(posterior: xr.DataTree, costs: Costs) -> list[Option]:
    return [make_option(posterior, name, costs) for name in ("all", "kinematic")]


@pytest.fixture(scope="module")
def plans(options: list[Option]) -> Plans:
    return make_plans(options[0], 300.0)


@pytest.fixture(scope="module")
def advice(options: list[Option]) -> Advice:
    return advise(options, budget=300.0, target=Target("loss", 0.42, 0.9))


def test_production_holds_the_jets_of_the_plan_in_full_files(plans: Plans, costs: Costs) -> None:
    rows = production_table(plans)
    *parts, total = rows
    assert [row.process for row in parts] == list(costs.production.processes)
    assert total.jets == sum(row.jets for row in parts)
    assert total.files == sum(row.files for row in parts)
    assert total.jets == total.files * costs.production.jets_per_file
    spare = total.jets - plans.runs.at(0)[1]
    assert 0 <= spare < len(parts) * costs.production.jets_per_file
    # 0.03 core-s and 1.7 kB a jet, on 1000 cores.
    assert total.core_hours == pytest.approx(total.jets * 0.03 / 3600.0)
    assert total.disk_GB == pytest.approx(total.jets * 1.7e-6)
    assert total.wall_days == pytest.approx(total.core_hours / 1000.0 / 24.0)
    assert total.core_hours_high_68 == pytest.approx(6.0 * total.core_hours, rel=0.3)
    assert total.core_hours_low_68 == pytest.approx(total.core_hours / 6.0, rel=0.3)


def test_production_without_a_cost_file_is_refused(posterior: xr.DataTree) -> None:
    bare = make_plans(make_option(posterior, "all", training_alone()), 1e16)
    with pytest.raises(ValueError, match="a production request needs a cost file; give --costs"):
        production_table(bare)


def test_jobs_train_the_plan_once_a_seed(plans: Plans) -> None:
    jobs = training_jobs([plans], devices=4, seeds=range(3))
    assert [job.seed for job in jobs] == [0, 1, 2]
    assert len({job.job for job in jobs}) == 3
    params, unique, epochs = plans.runs.at(0)
    assert jobs[0].params == round(params)
    assert jobs[0].samples == pytest.approx(unique * epochs)
    assert jobs[0].flops == pytest.approx(6.0 * params * unique * epochs)
    hours = jobs[0].flops / (0.006 * 989e12) / 3600.0
    assert jobs[0].device_hours == pytest.approx(hours)
    assert jobs[0].wall_hours == pytest.approx(hours / 4.0)


def test_requests_are_written_in_the_format_of_their_name(plans: Plans, tmp_path: Path) -> None:
    rows, jobs = production_table(plans), training_jobs([plans])
    write_rows(rows, tmp_path / "p.csv", thing="production")
    with (tmp_path / "p.csv").open() as file:
        read = list(csv.DictReader(file))
    assert read[-1]["process"] == "all" and int(read[-1]["jets"]) == rows[-1].jets
    write_rows(rows, tmp_path / "p.md", thing="production")
    lines = (tmp_path / "p.md").read_text().splitlines()
    assert lines[0].startswith("| process | jets | files | core hours |")
    assert len(lines) == len(rows) + 2
    write_rows(jobs, tmp_path / "j.json", thing="jobs")
    assert json.loads((tmp_path / "j.json").read_text())["jobs"][0]["params"] == jobs[0].params
    with pytest.raises(
        ValueError, match=r"cannot write .*j\.md; its name must end in \.csv or \.js"
    ):
        write_rows(jobs, tmp_path / "j.md", thing="jobs")


def test_json_has_the_promised_keys(advice: Advice) -> None:
    content = json.loads(to_json(advice))
    assert set(content) == {"quantity", "currency", "budget", "options", "comparisons"}
    option = content["options"][0]
    assert set(option) == {"option", "group", "costs", "plan", "target"}
    spans = {"low_95", "low_68", "median", "high_68", "high_95"}
    plan = option["plan"]
    assert set(plan) == {
        "params", "unique_samples", "epochs", "samples", "flops", "extrapolation_decades",
        "most_passes_fitted", "bounds", "tolerance", "as_good", "budget", "spent", "budget_in",
        "cost", "resources", "outcomes", "regret", "marginal",
    }  # fmt: skip
    assert set(plan["as_good"]) == {"params", "unique_samples", "epochs", "training_share"}
    parts = {"training", "simulation", "storage", "inference"}
    assert set(plan["cost"]) == parts | {"total", "shares", "within_budget"}
    assert set(plan["cost"]["total"]) == spans
    assert sum(plan["cost"]["shares"].values()) == pytest.approx(1.0)
    assert set(plan["outcomes"]) == {"loss"} and set(plan["outcomes"]["loss"]) == spans
    assert set(plan["regret"]) == spans | {"mean"}
    assert [one["more"] for one in plan["marginal"]] == ["1e6 jets", "1 GPU-day", "1 pass"]
    assert set(plan["marginal"][0]) == {"more", "spent_on", "factor", "price", "change"}
    assert set(plan["resources"]) == {
        "memory_byte", "device_hours", "device_days", "core_hours", "disk_byte", "training_kWh",
    }  # fmt: skip
    target = option["target"]
    assert set(target) == {
        "quantity", "value", "probability", "reached_by_plan", "cheapest", "beyond_limit",
        "sentence",
    }  # fmt: skip
    assert set(target["cheapest"]) == {
        "params", "unique_samples", "epochs", "budget", "probability",
    }  # fmt: skip
    assert content["options"][1]["target"]["cheapest"] is None
    assert set(content["comparisons"][0]) == {
        "first", "second", "quantity", "budget", "probability", "low", "high", "crossing",
        "sentence",
    }  # fmt: skip


def test_a_cheapest_plan_is_what_its_budget_buys(advice: Advice, options: list[Option]) -> None:
    """Asking for the cheapest plan's budget gives back a plan that is about as sure."""
    cheapest = advice.answers[0].cheapest
    assert cheapest is not None and cheapest.plans is not None
    same = advise(options[:1], budget=float(cheapest.plans.budget[0]), target=cheapest.target)
    assert same.answers[0].reach == pytest.approx(0.9, abs=0.03)


def test_advice_needs_a_question_and_one_currency(options: list[Option]) -> None:
    with pytest.raises(ValueError, match="give a budget, a target, or both"):
        advise(options)
    other = make_option(options[0].posterior, "all", training_alone())
    with pytest.raises(ValueError, match="the cost files are in FLOP and USD; options are compa"):
        advise([options[0], other], budget=300.0)
    with pytest.raises(ValueError, match="the tolerance is 2; it must lie between 0 and 1"):
        advise(options, budget=300.0, tolerance=2.0)


def test_figure_shows_every_option_and_the_split_of_its_costs(advice: Advice) -> None:
    figure = plan_figure(advice)
    assert len(figure.axes) == 1 + len(advice.answers)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[:2] == ["all", "kinematic"]
    assert figure.axes[-1].get_xlabel() == "complete cost [USD]"
    drawn = figure.axes[0].lines[0].get_xdata()
    assert np.all(np.diff(np.asarray(drawn, float)) > 0.0)
