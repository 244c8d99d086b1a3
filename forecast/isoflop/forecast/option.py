"""One way to build a tagger: a law (group), a cost model and its constraints; what it is worth.

Options are compared draw by draw. The law's parameters of draw i come from the same sample of the
posterior in all of them; the law's own error and the scatter of runs are drawn once a group and
shared by all its plans, so that two plans of a group differ by what they do and not by luck.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from isoflop.forecast.costmodel import Costs
from isoflop.forecast.limits import Cap, Constraints, Smallest, caps_of, spending_of
from isoflop.forecast.outcomes import Quantity, outcome_draws, quantities
from isoflop.forecast.predict import Draws, group_draws, predictive_draws
from isoflop.forecast.significance import Scenario
from isoflop.forecast.spending import Runs, Spending
from isoflop.inference import laws
from isoflop.inference.posterior import LAW_VARIABLES

SEARCHED_DRAWS = 400
"""The search for a plan looks at so many draws, evenly taken; all that is shown uses all."""
MANY = 100_000
"""Numbers in a call from which on XLA, five times as fast as NumPy, is worth a tenth of a second
that it takes to compile for their shape."""


@dataclass(frozen=True)
class Option:
    """A group of the posterior under a cost model and caps."""

    name: str
    """How it is called in tables."""
    posterior: xr.DataTree
    """The posterior that the group is of."""
    draws: Draws
    """The law of the group, draw by draw."""
    costs: Costs
    """What its runs cost."""
    caps: tuple[Cap, ...]
    """Upper bounds, with their reasons."""
    scenario: Scenario | None
    """The analysis that gives losses their worth, if one is asked for."""
    seed: int
    """Seed of all that is drawn besides the posterior."""

    @property
    def group(self) -> str:
        """Name of the group."""
        return self.draws.group

    @property
    def searched(self) -> int:
        """The search for a plan looks at every so-many-th draw."""
        return max(1, len(self.draws.alpha) // SEARCHED_DRAWS)

    @cached_property
    def spending(self) -> Spending:
        """Prices at the medians, with the caps."""
        return spending_of(self.costs, self.draws, self.caps)

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """What a loss is worth here; the loss itself first."""
        return quantities(self.posterior, self.group, self.scenario)

    def quantity(self, name: str) -> Quantity:
        """The quantity of this name; `ValueError` says what it lacks, or lists those there are."""
        for one in self.quantities:
            if one.name == name:
                return one
        self.worth(self.draws.loss_inf[:, None], [name])
        known = ", ".join(one.name for one in self.quantities)
        raise ValueError(f"unknown quantity {name!r}; {self.name} has {known}")

    def worth(self, loss: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Draws of the named quantities at a loss [nat], shape (draws, points) each.

        A loss above that of the worst fitted run is worth what that is: the link has seen no worse
        tagger.
        """
        others = [name for name in names if name != "loss"]
        found = outcome_draws(
            self.posterior,
            self.group,
            np.minimum(loss, self.worst_loss),
            names=others,
            scenario=self.scenario,
            seed=self.seed,
        )
        return {name: loss if name == "loss" else found[name] for name in names}

    @cached_property
    def worst_loss(self) -> float:
        """The largest loss of a fitted run of the group, in nat."""
        return float(fitted_runs(self.posterior, self.group)["loss"].max())

    @cached_property
    def most_passes(self) -> float:
        """The most passes that a fitted run of the group made over its jets."""
        runs = fitted_runs(self.posterior, self.group)
        return float((runs["samples"] / runs["unique_samples"]).max())

    def predicted_loss(self, runs: Runs) -> np.ndarray:
        """Loss of new runs [nat], shape (draws, points), the law's error and scatter included."""
        own = np.random.SeedSequence([self.seed, crc32(self.group.encode())])
        return predictive_draws(
            self.draws,
            runs.params,
            unique_samples=runs.unique_samples,
            epochs=runs.epochs,
            seed=int(own.generate_state(1)[0]),
        )


def make_option(
    posterior: xr.DataTree,
    group: str,
    costs: Costs,
    *,
    name: str = "",
    constraints: Constraints | None = None,
    scenario: Scenario | None = None,
    seed: int = 0,
    far: bool = False,
) -> Option:
    """An option of a group of the posterior; raises `ValueError` for caps that leave no room."""
    draws = group_draws(posterior, group)
    caps = caps_of(
        constraints or Constraints(),
        costs,
        draws,
        smallest=smallest_runs(posterior, draws),
        far=far,
    )
    return Option(name or group, posterior, draws, costs, caps, scenario, seed)


def smallest_runs(posterior: xr.DataTree, draws: Draws) -> Smallest:
    """The smallest N, U and N·U·e among the fitted runs of a group."""
    own = fitted_runs(posterior, draws.group)
    return Smallest(
        params=float(own["params"].min()),
        jets=float(own["unique_samples"].min()),
        training=float((own["params"] * own["samples"]).min()),
    )


def fitted_runs(posterior: xr.DataTree, group: str) -> xr.Dataset:
    """The fitted runs of a group with their observed losses."""
    runs = posterior["constant_data"].to_dataset()
    runs = runs.assign(loss=("run", posterior["observed_data"].to_dataset()["loss"].values))
    return runs.isel(run=runs["run_group"].values.astype(str) == group)


def law_loss(draws: Draws, runs: Runs, *, every: int = 1) -> np.ndarray:
    """The law's loss [nat] of every so-many-th draw, shape (draws, points).

    Its error within the runs is left out: that is a property of the compute, which at a budget
    that also pays for jets would reward spending less of it.
    """
    columns = {name: value[::every] for name, value in draws.columns(*LAW_VARIABLES).items()}
    size = runs.params, runs.unique_samples, runs.epochs
    numbers = len(columns["alpha"]) * np.shape(runs.params)[-1]
    loss = _compiled_loss if numbers >= MANY else _loss
    return np.asarray(loss(columns, *size, final=draws.final, ceiling=draws.ceiling))


def _loss(
    columns: dict[str, Any], params: Any, unique: Any, epochs: Any, *, final: bool, ceiling: float
) -> Any:
    base, gamma = excess(columns, params, unique, epochs, final=final), columns["gamma"]
    # A power takes XLA twice as long; NumPy would warn of the logarithm of 0.
    reducible = base**gamma if isinstance(base, np.ndarray) else jnp.exp(gamma * jnp.log(base))
    return laws.bounded(columns["loss_inf"] + reducible, ceiling)


_compiled_loss = jax.jit(_loss, static_argnames=("final", "ceiling"))


def excess(columns: dict[str, Any], params: Any, unique: Any, epochs: Any, *, final: bool) -> Any:
    """u of the law's parameters at N, U and e: what the loss is a rising function of."""
    effective = laws.effective_samples(unique, epochs, columns["omega"])
    penalty = laws.overfitting(params, unique, epochs, log_P=columns["log_P"]) if final else 0.0
    terms = {name: columns[name] for name in ("log_A", "log_B", "alpha", "beta")}
    return laws.reducible_base(params, effective, **terms, penalty=penalty)
