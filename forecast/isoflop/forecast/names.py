"""What quantities are called in every table: by the name that --target and --quantity take.

A rejection is shown with the signal efficiency ε that it is quoted at, the b-efficiency with the
background rejection R.
"""

import xarray as xr

from isoflop.forecast.outcomes import EFFICIENCY, REJECTION, scenario_point
from isoflop.forecast.rejection import fixed_values
from isoflop.forecast.scenario import Scenario

MEANT = {
    "loss": "loss [nat]",
    "params_opt": "params_opt, best N",
    "samples_opt": "samples_opt, best D",
    "epochs_opt": "epochs_opt, best passes",
}


def label(name: str, posterior: xr.DataTree, scenario: Scenario | None = None) -> str:
    """A quantity as a table shows it."""
    if name.startswith(REJECTION):
        at = fixed_values(posterior, "rejection").get(name.removeprefix(REJECTION))
        return name if at is None else f"{name} at ε {at:.3g}"
    if name == EFFICIENCY and scenario is not None:
        at = fixed_values(posterior, "efficiency").get(scenario_point(posterior, scenario))
        return name if at is None else f"{name} at R {at:.3g}"
    return MEANT.get(name, name)
