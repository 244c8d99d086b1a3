"""The complete cost of a tagger: training, making the jets, keeping them and serving the network.

C = c·N·U·e × price of an effective FLOP + U × (k + storage) + 2·N·T × jets served × the same price,
with c = 6·T the training FLOP of a parameter and a jet by the records' convention, T mean particles
a jet, so that the forward pass that serves a jet costs c/3 = 2·T a parameter (arXiv:2602.15781 has
no price; the sum of the three is that of the ATLAS talk on GN3, ATL-SOFT-PUB-2026-002).

Money is in the cost file's currency. Every number may be a log-normal; plans are made at the
medians and their costs are shown with the whole distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from isoflop.forecast.costfile import In, read_sections
from isoflop.forecast.uncertain import Uncertain
from isoflop.forecast.units import CURRENCIES, Amount, measures_of, parse_amount, unit_scale

GRADIENT = 3.0
"""Training FLOP over forward FLOP: the backward pass costs twice the forward one."""
FLOP_ALONE = "FLOP"
"""Currency where nothing but training counts, and no device or price is known."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """What trains and serves the network."""

    name: str
    """As the records name it, for example cpu."""
    peak: Annotated[Uncertain, In("FLOP/s")]
    """Peak speed of one device, in FLOP/s."""
    utilisation: Annotated[Uncertain, In("%", top=1.0)]
    """Share of the peak that training sustains (MFU)."""
    serving: Annotated[Uncertain, In("%", top=1.0)]
    """Share of the peak that the forward pass sustains."""
    price: Annotated[Uncertain | None, In("money/GPU-h", "money/core-h")] = None
    """Rent, in money a second; without it energy is what is paid."""
    power: Annotated[Uncertain | None, In("W")] = None
    """Power, in W."""
    memory: Annotated[Uncertain | None, In("B")] = None
    """Memory, in byte."""


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What energy costs."""

    price: Annotated[Uncertain, In("money/kWh", zero=True)]
    """Price, in money per J."""
    overhead: Annotated[Uncertain, In("")]
    """Energy of the site over that of its devices."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What a jet costs to make."""

    name: str
    """Name of the simulation."""
    time: Annotated[Uncertain, In("core-s/jet", "HS23-s/jet", zero=True)]
    """k, in core-s for a jet that is kept."""
    price: Annotated[Uncertain, In("money/core-h", zero=True)]
    """Price, in money per core-s."""
    core: Annotated[Uncertain, In("HS23/core")]
    """HS23 of one core."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What a jet costs to keep."""

    size: Annotated[Uncertain, In("B/jet", zero=True)]
    """Disk, in byte a jet."""
    price: Annotated[Uncertain, In("money/TB/year", zero=True)]
    """Price, in money per byte and second."""
    kept: Annotated[Uncertain, In("years", zero=True)]
    """How long, in s."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What the finished network has to serve."""

    jets: Annotated[Uncertain, In("jet/year", zero=True)]
    """Jets a second."""
    duration: Annotated[Uncertain, In("years", zero=True)]
    """How long, in s."""


@dataclass(frozen=True, kw_only=True)
class Production:
    """How jets are asked for and made."""

    processes: tuple[str, ...]
    """Processes, of equal shares."""
    jets_per_file: int
    """Jets in a file."""
    cores: int
    """Cores of the farm."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A cost model: read it with `read_costs`; all numbers in base units and one currency."""

    name: str
    """What the file calls itself."""
    currency: str
    """`CHF`, `EUR`, `USD`, or `FLOP` where training alone counts."""
    device: Device
    """What trains and serves."""
    energy: Energy | None
    """Price of energy, if it is known."""
    simulation: Simulation
    """What a jet costs to make."""
    storage: Storage
    """What a jet costs to keep."""
    inference: Inference
    """What is served."""
    production: Production
    """How jets are made."""
    exchange: dict[str, float]
    """Units of `currency` for one of each other currency."""
    measured: str = ""
    """Where the speed was measured, if it was."""

    @property
    def training_alone(self) -> bool:
        """Whether nothing but training FLOP counts."""
        return self.currency == FLOP_ALONE


@dataclass(frozen=True)
class Prices:
    """Coefficients of the cost; floats for the medians, arrays (draws,) for draws."""

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


def read_costs(path: str | Path) -> Costs:
    """Read a cost file (TOML); every fault stands in one `ValueError`.

    A key `base` names a file beside it whose numbers hold where this one gives none. Amounts are
    text with a unit, `"2.5 USD/GPU-h"`, or with a log-normal spread, `"0.03 core-s/jet x/ 6"`.
    """
    sections = {
        "device": Device,
        "energy": Energy,
        "simulation": Simulation,
        "storage": Storage,
        "inference": Inference,
        "production": Production,
    }
    costs = Costs(**read_sections(path, sections, optional=("energy",)))
    costs = replace(costs, simulation=_in_core_seconds(costs.simulation))
    if costs.device.price is None and (costs.energy is None or costs.device.power is None):
        raise ValueError(
            f"{path}: device has no price; give device.price, as '2.5 {costs.currency}/GPU-h', or "
            "device.power with energy.price, so that energy is paid"
        )
    return costs


def training_alone() -> Costs:
    """Costs where a FLOP of training costs one FLOP and nothing else costs anything."""
    one, none = Uncertain("1", 1.0), Uncertain("0", 0.0)
    return Costs(
        name="training alone",
        currency=FLOP_ALONE,
        device=Device(name="", peak=one, utilisation=one, serving=one, price=one),
        energy=None,
        simulation=Simulation(name="", time=none, price=none, core=one),
        storage=Storage(size=none, price=none, kept=none),
        inference=Inference(jets=none, duration=none),
        production=Production(processes=("all",), jets_per_file=100_000, cores=1),
        exchange={},
    )


def prices(costs: Costs) -> Prices:
    """The prices at the medians of the cost model."""
    return _prices({name: one.median for name, one in _numbers(costs)}, costs)


def price_draws(costs: Costs, size: int, *, seed: int) -> Prices:
    """Draws of the prices, shape (size,). A number has the same draws whatever stands beside it."""
    drawn = {
        name: one.draws(size, seed=[seed, crc32(name.encode())]) for name, one in _numbers(costs)
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


def worth(costs: Costs, budget: Amount, *, text: str) -> float:
    """A budget in money, at the medians: FLOP, GPU-h, core-h, HS23-s, kWh or any currency."""
    return budget.value * _unit_price(costs, budget.measures, text)


def in_unit(costs: Costs, money: float, unit: str) -> float:
    """Money in another unit, at the medians."""
    price = _unit_price(costs, measures_of(unit), f"1 {unit}")
    return money / (price * unit_scale(unit))


def units_of(costs: Costs) -> tuple[str, ...]:
    """The units in which this cost model can say what a budget is worth."""
    if costs.training_alone:
        return ("FLOP",)
    energy = ("kWh",) if costs.device.power else ()
    cores = ("core-h", "HS23-h") if costs.simulation.price.median > 0.0 else ()
    return (costs.currency, "GPU-h", "FLOP", *energy, *cores, *costs.exchange)


def with_measured_speed(costs: Costs, records: pd.DataFrame, *, source: str) -> Costs:
    """The costs with the speed that runs reached, in place of peak × utilisation.

    The speed is C/wall time by the records' convention, of the runs within a factor 10 of the
    dearest: its median, and the scatter of its logarithm. The records must name the device.
    """
    timed = records[records["wall_seconds"].notna() & (records["status"] == "ok")]
    if timed.empty:
        raise ValueError(f"{source}: no run has wall_seconds, so no speed is measured")
    own = timed[timed["device"] == costs.device.name]
    if own.empty:
        have = ", ".join(sorted({str(name) for name in timed["device"]}))
        raise ValueError(
            f"{source}: the runs were trained on {have}, and the cost file prices a device "
            f"{costs.device.name!r}; give a cost file for the device of the runs"
        )
    near = own[own["flops"] >= own["flops"].max() / 10.0]
    speed = np.log((near["flops"] / near["wall_seconds"]).to_numpy(float))
    median, spread = float(np.exp(np.median(speed))), float(speed.std())
    share = median / costs.device.peak.median
    used = Uncertain(f"{share:.3g} measured", share, spread)
    return replace(
        costs, device=replace(costs.device, utilisation=used, serving=used), measured=source
    )


def _in_core_seconds(simulation: Simulation) -> Simulation:
    """The simulation with its time in core-s a jet, which may be written in HS23-s."""
    written = simulation.time.text.split("x/")[0]
    if parse_amount(written).measures != measures_of("HS23-s/jet"):
        return simulation
    seconds = simulation.time.median / simulation.core.median
    return replace(simulation, time=replace(simulation.time, median=seconds))


def _prices(of: dict[str, Any], costs: Costs) -> Prices:
    speed = of["device.peak"] * of["device.utilisation"]
    serving_speed = of["device.peak"] * of["device.serving"]
    second = _device_second(of, costs)
    return Prices(
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


def _numbers(costs: Costs) -> Iterator[tuple[str, Uncertain]]:
    """Every number of the model by its name in the file, `device.peak` and so on."""
    for section in fields(costs):
        record = getattr(costs, section.name)
        if not is_dataclass(record):
            continue
        for item in fields(record):
            value = getattr(record, item.name)
            if isinstance(value, Uncertain):
                yield f"{section.name}.{item.name}", value


def _unit_price(costs: Costs, measures: Any, text: str) -> float:
    """Money for one base unit of what a budget measures."""
    of = {name: one.median for name, one in _numbers(costs)}
    at = _prices(of, costs)
    if measures in ((), measures_of("FLOP")):
        return float(at.flop)
    if costs.training_alone:
        raise ValueError(
            f"budget {text!r}: only training FLOP are counted without a cost file; give --costs, "
            "for example costs/delphes.toml, or a budget in FLOP"
        )
    second = float(_device_second(of, costs))
    known = {measures_of("GPU-s"): second, measures_of(costs.currency): 1.0}
    known |= {measures_of(name): rate for name, rate in costs.exchange.items()}
    known[measures_of("core-s")] = of["simulation.price"]
    known[measures_of("HS23-s")] = of["simulation.price"] / of["simulation.core"]
    if costs.device.power:
        overhead = of.get("energy.overhead", 1.0)
        known[measures_of("J")] = second / (of["device.power"] * overhead)
    missing = [name for name in CURRENCIES if measures == measures_of(name)]
    if measures not in known and missing:
        raise ValueError(
            f"budget {text!r}: {costs.name} has no exchange rate of {missing[0]}; add "
            f"exchange.{missing[0]} = '… {costs.currency}'"
        )
    if measures not in known or not known[measures] > 0.0:
        raise ValueError(
            f"budget {text!r} cannot be priced by {costs.name}; give it in "
            f"{', '.join(units_of(costs))}, or as '5 days on 8 GPUs'"
        )
    return float(known[measures])
