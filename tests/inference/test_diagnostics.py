"""Diagnostics say what is wrong with draws that are wrong."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoflop.inference import diagnostics
from isoflop.inference.diagnostics import Diagnosis, Verdict, diagnose

pytestmark = pytest.mark.slow  # a session fixture samples


def _changed(tree: xr.DataTree, group: str, dataset: xr.Dataset) -> xr.DataTree:
    other = tree.copy(deep=True)
    other[group] = xr.DataTree(dataset)
    return other


def test_chains_that_disagree_are_refused(posterior: xr.DataTree) -> None:
    draws = posterior["posterior"].to_dataset().copy(deep=True)
    draws["beta"][0] += 5 * draws["beta"].std()
    verdict = diagnose(_changed(posterior, "posterior", draws)).verdict
    assert not verdict.ok
    assert any(reason.startswith("R-hat of beta[") for reason in verdict.reasons)
    assert "the chains disagree, sample longer (--warmup, --draws)" in " ".join(verdict.reasons)


def test_divergences_are_refused(posterior: xr.DataTree) -> None:
    stats = posterior["sample_stats"].to_dataset().copy(deep=True)
    stats["diverging"][:, :50] = True
    verdict = diagnose(_changed(posterior, "sample_stats", stats)).verdict
    assert any(reason.startswith("200 of 1200 transitions diverged") for reason in verdict.reasons)


def test_too_few_draws_are_refused(posterior: xr.DataTree) -> None:
    draws = posterior["posterior"].to_dataset()
    repeated = draws.isel(draw=np.repeat(np.arange(30), 10))
    verdict = diagnose(_changed(posterior, "posterior", repeated)).verdict
    assert any("below 400; increase --draws" in reason for reason in verdict.reasons)


def test_one_chain_cannot_be_seen_to_converge(posterior: xr.DataTree) -> None:
    one = {
        name: xr.DataTree(node.to_dataset().isel(chain=[0]))
        if "chain" in node.dims
        else xr.DataTree(node.to_dataset())
        for name, node in posterior.children.items()
    }
    reasons = diagnose(xr.DataTree(children=one)).verdict.reasons
    assert "one chain has no R-hat, so it cannot be seen to converge; give --chains 2" in reasons


def test_a_posterior_that_is_its_prior_is_prior_driven(posterior: xr.DataTree) -> None:
    prior = posterior["prior"].to_dataset()
    draws = posterior["posterior"].to_dataset().copy(deep=True)
    narrow = prior.isel(draw=slice(0, draws.sizes["draw"]))
    for name in ("alpha", "omega"):
        draws[name] = draws[name].copy(data=np.repeat(narrow[name].values, 4, axis=0))
    driven = diagnose(_changed(posterior, "posterior", draws)).prior_driven
    assert driven == ("alpha[large]", "alpha[small]", "omega[large]", "omega[small]")


def test_a_run_that_contradicts_the_law_is_named(posterior: xr.DataTree) -> None:
    weights = posterior["log_likelihood"].to_dataset().copy(deep=True)
    rng = np.random.default_rng(0)
    shape = weights["loss"].shape[:2]
    weights["loss"][:, :, 3] = 10 * np.log(rng.random(shape))
    name = str(posterior["constant_data"].to_dataset()["run"].values[3])
    assert name in diagnose(_changed(posterior, "log_likelihood", weights)).influential


@pytest.mark.parametrize(
    ("count", "named"), [(0, ""), (2, ": run-0, run-1; refit"), (10, "run-7 and 2 more; refit")]
)
def test_influential_runs_are_named_as_far_as_one_reads_and_say_what_to_do(
    count: int, named: str
) -> None:
    names = tuple(f"run-{number}" for number in range(count))
    sentence = Diagnosis(pd.DataFrame(), 0, names, (), Verdict(True, ())).influence
    assert named in sentence and bool(sentence) == bool(count)
    if count:
        assert sentence.startswith(
            "Runs that the fit hangs on (leave-one-out is unreliable for them): run-0, run-1"
        )
        assert sentence.endswith("; refit without them to see what changes.")


def test_what_the_prior_decides_is_said_in_symbols_by_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driven = ("omega[a[1]]", "log_P[b]", "alpha[b]", "beta[c]")
    monkeypatch.setattr(diagnostics, "prior_driven", lambda posterior: driven)
    notice = diagnostics.prior_notice(xr.DataTree(), {"a[1]", "b"})
    assert notice == (
        "The prior alone decides ω of a[1], P of b, α of b: no run informs it. A plan that repeats "
        "samples, or avoids it, hangs on that: train some runs over repeated samples, and give "
        "loss_kind best where a run keeps its best loss."
    )
    once = diagnostics.prior_notice(xr.DataTree(), {"a[1]", "b"}, repeats=False)
    assert once == "The prior alone decides α of b: no run informs it."
    assert diagnostics.prior_notice(xr.DataTree(), {"d"}) == ""
