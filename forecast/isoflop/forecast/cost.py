"""The complete cost of a tagger: training, making the jets, keeping them and serving the network.

C = c·N·U·e × price of an effective FLOP + U × (k + storage) + 2·N·T × jets served × the same price,
with c = 6·T the training FLOP of a parameter and a jet by the records' convention, T mean particles
a jet, so that the forward pass that serves a jet costs c/3 = 2·T a parameter (arXiv:2602.15781 has
no price; the sum of the three is that of the ATLAS talk on GN3, ATL-SOFT-PUB-2026-002).

Money is in the cost file's currency. Every number of the model may be a log-normal; plans are made
at the medians and their costs are shown with the whole distribution.
"""

from dataclasses import dataclass, fields
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike

from isoflop.forecast.costmodel import Costs, numbers_of

GRADIENT = 3.0
"""Training FLOP over forward FLOP: the backward pass costs twice the forward one."""


@dataclass(frozen=True)
class Prices:
    """Coefficients of the cost; floats for the medians, arrays (draws,) for draws."""

    second: Any
    """Money per second of one device."""
    flop: Any
    """Money per FLOP of training."""
    served_flop: Any
    """Money per FLOP of the forward pass of one jet, times all the jets served."""
    made: Any
    """Money per jet simulated."""
    kept: Any
    """Money per jet stored."""
    speed: Any
    """FLOP/s that one device sustains in training."""
    serving_speed: Any
    """FLOP/s that one device sustains in serving."""
    core_seconds: Any
    """Core-s per jet simulated."""


@dataclass(frozen=True)
class Parts:
    """A cost by what it is spent on, in money; arrays that broadcast with each other."""

    training: np.ndarray
    """Training."""
    simulation: np.ndarray
    """Making the jets."""
    storage: np.ndarray
    """Keeping the jets."""
    inference: np.ndarray
    """Serving the network."""

    @property
    def total(self) -> np.ndarray:
        """The sum."""
        return np.asarray(self.training + self.simulation + self.storage + self.inference)


PARTS = tuple(field.name for field in fields(Parts))


def prices(costs: Costs) -> Prices:
    """The prices at the medians of the cost model."""
    return _prices({name: one.median for name, one in numbers_of(costs)}, costs)


def price_draws(costs: Costs, size: int, *, seed: int) -> Prices:
    """Draws of the prices, shape (size,). A number has the same draws whatever stands beside it."""
    drawn = {
        name: one.draws(size, seed=[seed, crc32(name.encode())]) for name, one in numbers_of(costs)
    }
    return _prices(drawn, costs)


def cost_parts(
    at: Prices,
    params: ArrayLike,
    *,
    unique_samples: ArrayLike,
    epochs: ArrayLike,
    flops_per_param_sample: float,
) -> Parts:
    """What a run of N parameters, U jets and e passes costs at these prices."""
    n, unique = np.asarray(params, float), np.asarray(unique_samples, float)
    flops = flops_per_param_sample * n * unique * np.asarray(epochs, float)
    forward = flops_per_param_sample / GRADIENT * n
    return Parts(
        training=flops * at.flop,
        simulation=unique * at.made,
        storage=unique * at.kept,
        inference=forward * at.served_flop,
    )


def cost_draws(
    costs: Costs,
    size: int,
    *,
    params: ArrayLike,
    unique_samples: ArrayLike,
    epochs: ArrayLike,
    flops_per_param_sample: float,
    seed: int,
) -> Parts:
    """Draws of what runs cost, shape (size, points)."""
    drawn = price_draws(costs, size, seed=seed)
    columns = {f.name: np.atleast_1d(getattr(drawn, f.name))[:, None] for f in fields(Prices)}
    return cost_parts(
        Prices(**columns),
        np.atleast_1d(params),
        unique_samples=np.atleast_1d(unique_samples),
        epochs=np.atleast_1d(epochs),
        flops_per_param_sample=flops_per_param_sample,
    )


def _prices(of: dict[str, Any], costs: Costs) -> Prices:
    speed = of["device.peak"] * of["device.utilisation"]
    serving_speed = of["device.peak"] * of["device.serving"]
    second = _device_second(of, costs)
    return Prices(
        second=second,
        flop=second / speed,
        served_flop=of["inference.jets"] * of["inference.duration"] * second / serving_speed,
        made=of["simulation.time"] * of["simulation.price"],
        kept=of["storage.size"] * of["storage.price"] * of["storage.kept"],
        speed=speed,
        serving_speed=serving_speed,
        core_seconds=of["simulation.time"],
    )


def _device_second(of: dict[str, Any], costs: Costs) -> Any:
    """Money for one second of one device: its rent, or the energy it takes."""
    if costs.device.price is not None:
        return of["device.price"]
    return of["device.power"] * of["energy.overhead"] * of["energy.price"]
