"""What a loss is worth: rejection, b-efficiency, significance and luminosity, draw by draw.

`loss` itself is an outcome too, so that a plan can be made for any of them. Names are `loss`,
`rejection:<signal>`, `efficiency:b`, `significance_ratio` and `luminosity_equivalent`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import expit, logit

from isoflop.forecast.allocate import best_plan
from isoflop.forecast.budget import parse_budget
from isoflop.forecast.predict import Draws, group_draws, group_names, loss_draws
from isoflop.forecast.rejection import (
    fixed_values,
    link_draws,
    rejection_draws,
    working_points,
)
from isoflop.forecast.scenario import DEAREST
from isoflop.forecast.significance import Scenario, gain

REJECTION = "rejection:"
EFFICIENCY = "efficiency:b"
RATIO = "significance_ratio"
LUMINOSITY = "luminosity_equivalent"
SCENARIO = (EFFICIENCY, RATIO, LUMINOSITY)
"""Quantities that need a scenario."""


@dataclass(frozen=True)
class Quantity:
    """Something that a loss is worth."""

    name: str
    """`loss`, `rejection:<signal>`, `efficiency:b`, `significance_ratio`, …"""
    unit: str
    """`nat`, or empty for a pure number."""
    higher_is_better: bool
    """Whether a plan should raise it."""


def quantities(
    posterior: xr.DataTree, group: str, scenario: Scenario | None = None
) -> tuple[Quantity, ...]:
    """The quantities that can be computed in a group, the loss first.

    Those of a scenario are among them where the link has its signal at fixed rejection.
    """
    names = [REJECTION + point for point in working_points(posterior, "rejection", group)]
    if scenario is not None and _has_point(posterior, group, scenario):
        names += SCENARIO
    return (Quantity("loss", "nat", False), *(Quantity(name, "", True) for name in names))


def outcome_draws(
    posterior: xr.DataTree,
    group: str,
    loss: np.ndarray,
    *,
    names: Sequence[str],
    scenario: Scenario | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draws of the named quantities at a loss [nat], shape (draws, points) each.

    Draw i of `loss` belongs to draw i of the posterior. Rejections and efficiencies are those of a
    new tagger on new jets, its scatter about the link included. Raises `ValueError` for an unknown
    name, and for a working point that the posterior has no link for.
    """
    found: dict[str, np.ndarray] = {}
    _require_draws(posterior, loss)
    for name in names:
        if name == "loss":
            found[name] = loss
        elif name.startswith(REJECTION):
            link = link_draws(posterior, group, name.removeprefix(REJECTION), kind="rejection")
            found[name] = rejection_draws(link, loss, seed=seed)
        elif name not in SCENARIO:
            known = ", ".join(one.name for one in quantities(posterior, group, scenario))
            raise ValueError(f"unknown quantity {name!r}; group {group!r} has {known}")
        elif scenario is None:
            raise ValueError(f"{name} needs a scenario, for example scenarios/hh4b.toml")
    wanted = [name for name in names if name in SCENARIO]
    if wanted and scenario is not None:
        worth = _scenario_draws(posterior, group, loss, scenario, seed)
        found |= {name: worth[name] for name in wanted}
    return found


def missing_link(posterior: xr.DataTree, scenario: Scenario) -> str:
    """Why the quantities of a scenario cannot be computed in any group; empty if they can."""
    groups = group_names(posterior)
    if any(_has_point(posterior, name, scenario) for name in groups):
        return ""
    try:
        link_draws(posterior, groups[0], scenario_point(posterior, scenario), kind="efficiency")
    except ValueError as error:
        return str(error)
    return ""


def require_signal(posterior: xr.DataTree, scenario: Scenario) -> None:
    """Raise `ValueError` if efficiencies of signals were counted, but not the scenario's."""
    if fixed_values(posterior, "efficiency") and (reason := missing_link(posterior, scenario)):
        raise ValueError(f"the scenario cannot be used: {reason}")


def scenario_point(posterior: xr.DataTree, scenario: Scenario) -> str:
    """Name of the working point that a scenario means, such as `Hbb`, or `Hbb@100` of several.

    `ValueError` lists the rejections there are if the scenario names none of them and there are
    several, or one that was not counted at. A signal that has none keeps its name.
    """
    signal, asked = scenario.signal, scenario.rejection
    fixed = fixed_values(posterior, "efficiency")
    own = {name: at for name, at in fixed.items() if signal in (name, name.split("@")[0])}
    meant = [name for name, at in own.items() if asked is None or np.isclose(at, asked)]
    if len(meant) == 1 or not own:
        return meant[0] if meant else signal
    there = ", ".join(f"{at:g}" for at in sorted(own.values()))
    if asked is None:
        raise ValueError(
            f"signal {signal!r} is counted at rejections of {there}; say in the scenario which is "
            f"meant, as rejection = {max(own.values()):g}"
        )
    raise ValueError(
        f"signal {signal!r} is not counted at the scenario's rejection of {asked:g}; the records "
        f"have {there}"
    )


def _has_point(posterior: xr.DataTree, group: str, scenario: Scenario) -> bool:
    try:
        point = scenario_point(posterior, scenario)
    except ValueError:
        return False
    return point in working_points(posterior, "efficiency", group)


def _scenario_draws(
    posterior: xr.DataTree, group: str, loss: np.ndarray, scenario: Scenario, seed: int
) -> dict[str, np.ndarray]:
    """ε₂ and what it is worth: the log-odds of ε move from the reference as the link says.

    ε₂ = σ(logit ε₁ + link(L₂) − link(L₁)): the scenario sets where the reference tagger stands, on
    jets of its own, and the link how far the new one moves from it. The error of the jets that both
    were counted on all but cancels.
    """
    at_reference = scenario.reference_group or group
    point = scenario_point(posterior, scenario)
    here, there = (
        link_draws(posterior, name, point, kind="efficiency") for name in (group, at_reference)
    )
    reference = scenario.reference_efficiency.draws(len(loss), seed=[seed, 0])
    first = reference_loss(posterior, at_reference, scenario.reference)
    new, old = here.mean(loss), there.mean(first)
    moved = new - old + here.deviation(loss, seed=seed)
    moved += here.other_jets(new, seed=seed) - there.other_jets(old, seed=seed)
    efficiency = np.asarray(expit(logit(reference)[:, None] + moved))
    worth = gain(scenario, reference, efficiency, seed=seed)
    return {EFFICIENCY: efficiency, RATIO: worth.ratio, LUMINOSITY: worth.luminosity}


def reference_loss(posterior: xr.DataTree, group: str, reference: str) -> np.ndarray:
    """Loss [nat] of the reference tagger, shape (draws, 1): `dearest run fitted`, `0.9 nat`, `1e15
    FLOP`.

    For a run or a budget it is the law's, which each draw of the posterior has its own of.
    """
    draws = group_draws(posterior, group)
    if reference == DEAREST:
        return _dearest_loss(posterior, draws)
    if reference.endswith("nat"):
        return np.full((len(draws.loss_inf), 1), _nat(reference))
    try:
        flops = parse_budget(reference)
    except ValueError as error:
        raise ValueError(
            f"reference of the scenario: {error}; or '{DEAREST}', or '0.9 nat'"
        ) from error
    plan = best_plan(draws, flops)
    return loss_draws(draws, plan.params, unique_samples=plan.unique_samples, epochs=plan.epochs)


def _dearest_loss(posterior: xr.DataTree, draws: Draws) -> np.ndarray:
    runs = posterior["constant_data"].to_dataset()
    own = runs.isel(run=runs["run_group"].values.astype(str) == draws.group)
    dearest = own.isel(run=int(np.argmax(own["flops"].values)))
    samples, unique = float(dearest["samples"]), float(dearest["unique_samples"])
    return loss_draws(
        draws, float(dearest["params"]), unique_samples=unique, epochs=samples / unique
    )


def _nat(reference: str) -> float:
    try:
        loss = float(reference.removesuffix("nat"))
    except ValueError:
        loss = float("nan")
    if not (np.isfinite(loss) and loss > 0.0):
        raise ValueError(
            f"reference of the scenario is {reference!r}; a loss is written like '0.9 nat'"
        )
    return loss


def _require_draws(posterior: xr.DataTree, loss: np.ndarray) -> None:
    sizes = posterior["posterior"].to_dataset().sizes
    draws = sizes["chain"] * sizes["draw"]
    if loss.ndim != 2 or len(loss) != draws:
        raise ValueError(
            f"the loss has shape {loss.shape}; it must be (draws, points) with the posterior's "
            f"{draws} draws"
        )
