"""Fit the students' runs, with the dearest hidden or not, and set the fits beside the known floor.

python -m studies.known_floor.fits    # laws.csv and forecasts.csv, minutes
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from studies.study import COLUMNS

from isoflop.files import writing
from isoflop.forecast.predict import Draws, group_draws, group_names, predictive_draws, quantiles
from isoflop.inference.fit import fit
from isoflop.inference.priors import DEFAULT, Normal
from isoflop.inference.rolling import below_cut
from isoflop.inference.scores import score
from isoflop.training.records import read_records

HERE = Path(__file__).parent
CUTS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Runs above a group's largest compute over this are hidden; 1 hides none."""
PARAMETERS = ("loss_inf", "alpha", "beta", "gamma")
SCORES = ("mae", "bias", "coverage_68", "coverage_95", "width_95", "crps")
NO_FLOOR = replace(DEFAULT, irreducible=Normal(-12.0, 0.1, "the floor is known and taken off"))


def law_rows(posterior: xr.DataTree) -> Iterator[dict[str, object]]:
    """Quantiles of each group's L∞ and exponents."""
    for group in group_names(posterior):
        draws = group_draws(posterior, group)
        for name in PARAMETERS:
            values = quantiles(getattr(draws, name)[:, None])[:, 0]
            yield {"group": group, "parameter": name, **dict(zip(COLUMNS, values, strict=True))}


def forecast_rows(posterior: xr.DataTree, hidden: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Scores of each group's hidden runs, all of them and by decade beyond the fitted ones."""
    for group, runs in hidden.groupby("group"):
        draws = group_draws(posterior, str(group))
        decade = np.floor(np.log10(runs["flops"] / draws.largest_flops))
        for name, some in [("all", runs), *runs.groupby(decade.astype(int).astype(str))]:
            yield {"group": group, "decade": name, "runs": len(some), **scored(draws, some)}


def scored(draws: Draws, runs: pd.DataFrame) -> dict[str, float]:
    """Scores of the forecast of these runs [%], coverages as shares."""
    unique, samples = (runs[name].to_numpy(float) for name in ("unique_samples", "samples"))
    predicted = predictive_draws(
        draws,
        runs["params"].to_numpy(float),
        unique_samples=unique,
        epochs=samples / unique,
        seed=0,
    )
    found = score(np.log(predicted), np.log(runs["loss"].to_numpy(float)))
    return {name: getattr(found, name) for name in SCORES}


def tables(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Laws and forecasts of one fit to all groups at each cut."""
    laws, forecasts = [], []
    for cut in CUTS:
        below = below_cut(runs, cut)
        posterior = fit(runs[below])
        settings = {"law": "coupled", "cut": cut}
        laws += [settings | row for row in law_rows(posterior)]
        forecasts += [settings | row for row in forecast_rows(posterior, runs[~below])]
    return pd.DataFrame(laws), pd.DataFrame(forecasts)


def knowing(runs: pd.DataFrame) -> pd.DataFrame:
    """Laws of a fit to a group's loss above its known floor."""
    above = runs.assign(loss=runs["excess"])
    rows = law_rows(fit(above, priors=NO_FLOOR))
    return pd.DataFrame([{"law": "coupled, floor known", "cut": 1.0} | row for row in rows])


def main() -> None:
    """Write the tables."""
    runs = read_records(HERE / "runs.csv")
    laws, forecasts = tables(runs)
    known = [knowing(own) for _, own in runs.groupby("group")]
    for name, table in (("laws", pd.concat([laws, *known])), ("forecasts", forecasts)):
        with writing(HERE / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
