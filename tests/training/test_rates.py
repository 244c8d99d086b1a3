"""The learning-rate rule is the fit to the committed runs, and is not extrapolated in steps."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isoflop.training import rates

STUDY = Path(__file__).parents[2] / "studies" / "jets"


def test_constants_are_those_that_the_committed_runs_give() -> None:
    best = runpy.run_path(str(STUDY / "rates.py"))["fit"](pd.read_csv(STUDY / "rates.csv"))
    assert len(best) == 10
    ruled = [
        rates.learning_rate_rule(int(width), int(steps))
        for width, steps in zip(best["width"], best["steps"], strict=True)
    ]
    np.testing.assert_allclose(ruled, best["rule"], rtol=0.02)
    assert (best["steps"].min(), best["steps"].max()) == rates.MEASURED_STEPS


def test_rate_stays_where_it_was_measured() -> None:
    low, high = rates.MEASURED_STEPS
    assert rates.learning_rate_rule(32, 10 * high) == rates.learning_rate_rule(32, high)
    assert rates.learning_rate_rule(32, 1) == rates.learning_rate_rule(32, low)


@pytest.mark.parametrize(
    ("samples", "batch"), [(1_000, 16), (4_000, 32), (16_000, 64), (64_000, 128), (10**8, 128)]
)
def test_batch_grows_with_the_root_of_the_samples(samples: int, batch: int) -> None:
    assert rates.batch_size_rule(samples) == batch
