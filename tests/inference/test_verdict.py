"""The verdict follows the sampler, the refits, the runs and the distance, each by its reason."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from isoflop.inference import posterior as contract
from isoflop.inference.verdict import compute_span, judge, rolling_summary, sentence

pytestmark = pytest.mark.slow  # a session fixture samples


def _with_errors(tree: xr.DataTree, factor: float) -> xr.DataTree:
    other = tree.copy(deep=True)
    rolled = other["rolling"].to_dataset()
    shift = (factor - 1.0) * rolled["error"]
    moved = {name: rolled[name] + shift for name in ("error", "low_95", "high_95")}
    other["rolling"] = xr.DataTree(rolled.assign(moved))
    return other


def test_a_sound_fit_is_trusted_in_one_sentence(posterior: xr.DataTree) -> None:
    found = posterior.copy(deep=True)
    found.attrs["sampler_faults"] = ""
    said = sentence(found, decades=0.4)
    assert judge(found, decades=0.4).ok
    assert said.startswith("Verdict: the sampler converged, the runs inform the exponents, refits")
    assert said.endswith("; 0.4 decades beyond the runs.")
    assert said.count("\n") == 0


def test_refits_that_miss_the_dearer_runs_are_told(posterior: xr.DataTree) -> None:
    rolled = rolling_summary(posterior)
    assert rolled is not None and rolled.runs >= 5
    wrong = judge(_with_errors(posterior, 100.0))
    assert any(reason.startswith("refits on the cheaper runs held") for reason in wrong.reasons)


def test_a_budget_further_than_the_runs_span_is_refused(posterior: xr.DataTree) -> None:
    span = compute_span(posterior)
    (*_, reason) = judge(posterior, decades=span + 1.0).reasons
    assert reason == (
        f"the budget lies {span + 1.0:.1f} decades beyond runs that span {span:.1f}; train dearer "
        "runs first"
    )


def test_the_verdict_survives_the_file(posterior: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "p.nc"
    contract.save(posterior, path)
    again = contract.load(path)
    assert sentence(again) == sentence(posterior)
    assert judge(again) == judge(posterior)
    assert np.isinf(again.attrs["ceiling"])
