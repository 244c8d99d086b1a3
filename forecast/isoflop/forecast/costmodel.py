"""A cost model: what trains and serves the network, what a jet costs to make and to keep.

It is read from a file of amounts with units (`costs/delphes.toml`), any of which may be a
log-normal. Money is in the file's currency. `isoflop.forecast.cost` says what a run costs by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from isoflop.forecast.costfile import In, read_sections
from isoflop.forecast.uncertain import Uncertain
from isoflop.forecast.units import Measures, measures_of, parse_amount

FLOP_ALONE = "FLOP"
"""Currency where nothing but training counts, and no device or price is known."""
GPU, DEVICE = "GPU", "device"
"""Units of what trains and serves. A CPU core is a `device`: `core` is one of the simulation's."""


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
    price: Annotated[Uncertain | None, In("money/GPU-h", "money/device-h", "money/core-h")] = None
    """Rent, in money a second; without it energy is what is paid."""
    unit: str = GPU
    """What one of it is called in GPU-h or device-h: `GPU`, or `device` for all that is none."""
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
    _require_unit(path, costs.device)
    if costs.device.price is None and (costs.energy is None or costs.device.power is None):
        raise ValueError(
            f"{path}: device has no price; give device.price, as '2.5 {costs.currency}/"
            f"{costs.device.unit}-h', or "
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


def numbers_of(costs: Costs) -> Iterator[tuple[str, Uncertain]]:
    """Every number of the model by its name in the file, `device.peak` and so on."""
    for section in fields(costs):
        record = getattr(costs, section.name)
        if not is_dataclass(record):
            continue
        for item in fields(record):
            value = getattr(record, item.name)
            if isinstance(value, Uncertain):
                yield f"{section.name}.{item.name}", value


def _in_core_seconds(simulation: Simulation) -> Simulation:
    """The simulation with its time in core-s a jet, which may be written in HS23-s."""
    if _measures(simulation.time) != measures_of("HS23-s/jet"):
        return simulation
    seconds = simulation.time.median / simulation.core.median
    return replace(simulation, time=replace(simulation.time, median=seconds))


def _require_unit(path: str | Path, device: Device) -> None:
    """Refuse a unit that is not known, and a price by the GPU of what is none or the reverse."""
    if device.unit not in (GPU, DEVICE):
        raise ValueError(
            f"{path}: device.unit is {device.unit!r}; give 'GPU', or 'device' for a CPU core or "
            "anything else that is no GPU"
        )
    if device.price is None:
        return
    by_gpu = GPU in dict(_measures(device.price))
    if by_gpu != (device.unit == GPU):
        right = f"'GPU', or the price by the {DEVICE}-h" if by_gpu else f"{DEVICE!r}"
        raise ValueError(
            f"{path}: device.price = {device.price.text!r} is not by the {device.unit}; set "
            f"device.unit = {right}"
        )


def _measures(amount: Uncertain) -> Measures:
    """What an amount of the file measures, as it was written."""
    return parse_amount(amount.text.split("x/")[0]).measures
