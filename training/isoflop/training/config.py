"""What a run is: its frozen configuration and its id; a TOML file asks for a grid of them."""

import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from isoflop.training.counting import count_parameters, law_flops
from isoflop.training.jets.features import FEATURE_SETS
from isoflop.training.metrics import REJECTIONS
from isoflop.training.models import POOLS, Pool, TransformerConfig
from isoflop.training.rates import batch_size_rule, judge_tuning, learning_rate_rule


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides the outcome of one training run."""

    study: str = ""
    """The sweep the run belongs to."""
    dataset: str = ""
    """Name of the data, for the record."""
    features: str
    """Feature set: `kin` or `full`."""
    particles: int
    """Leading particles kept per jet, at most 128."""
    width: int
    """Width d of the network, 4 to 512."""
    depth: int = 2
    """Blocks of the network."""
    heads: int | None = None
    """Attention heads; by default one per 16 of width."""
    pool: Pool = "mean"
    """`mean` or `attention`."""
    unique_samples: int
    """Distinct training jets U."""
    epochs: int = 1
    """Passes over them; above 1 the run stops early."""
    seed: int = 0
    """Seed of the subset of jets, the initialisation and the shuffling."""
    batch_size: int | None = None
    """Jets a step; by default the rule of `rates`."""
    learning_rate: float | None = None
    """Peak rate; by default the rule of `rates`."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises linearly."""
    decay: float | None = None
    """Share of the steps in which it falls linearly to zero; by default all after the warm-up."""
    trunk_samples: int | None = None
    """Jets of the longest of several runs that are one run until their rates begin to fall.

    Batch size, rate and warm-up are those of that longest run, the jets are the first it sees.
    """
    patience: int = 5
    """Validations without a new best before a run over repeated data stops."""
    stopping_samples: int = 5_000
    """Validation jets that choose the checkpoint of a run over repeated data."""
    validation_samples: int = 50_000
    """Other validation jets, the same for every run, that give the recorded loss."""
    test_samples: int = 0
    """Test jets that give the recorded loss instead, if any."""
    efficiencies: tuple[float, ...] = ()
    """Signal efficiencies to count the background at, besides the convention's."""
    rejections: tuple[float, ...] = REJECTIONS
    """Background rejections to count the signal at."""

    @property
    def group(self) -> str:
        """The unit of the law: feature set and particles, for example `full-40`."""
        return f"{self.features}-{self.particles}"

    @property
    def samples(self) -> int:
        """Jets planned, repeats included."""
        return self.unique_samples * self.epochs

    @property
    def trunk(self) -> "RunConfig":
        """The run whose start this one shares: itself, unless it is a branch."""
        return replace(self, unique_samples=self.trunk_samples or self.unique_samples)

    @property
    def batch(self) -> int:
        """Jets a step."""
        return self.batch_size or batch_size_rule(self.trunk.samples)

    @property
    def steps(self) -> int:
        """Optimiser steps planned."""
        return self.epochs * math.ceil(self.unique_samples / self.batch)

    @property
    def rising(self) -> float:
        """Steps in which the rate rises."""
        return self.warmup * self.trunk.steps

    @property
    def falling(self) -> float:
        """Steps in which the rate falls."""
        return self.steps - self.rising if self.decay is None else self.decay * self.steps

    @property
    def branch_step(self) -> int:
        """Steps before the rate begins to fall, where a branch leaves the trunk."""
        return math.floor(self.steps - self.falling)

    @property
    def rate(self) -> float:
        """Peak learning rate."""
        return self.learning_rate or learning_rate_rule(self.width, self.trunk.steps)

    @property
    def tuning(self) -> str:
        """Whether the rate is near the best: `ok`, `under-tuned` or `unmeasured`."""
        if self.epochs > 1:
            return "unmeasured"
        return judge_tuning(
            self.width, self.samples, batch=self.batch, steps=self.steps, rate=self.rate
        )

    @property
    def schedule(self) -> str:
        """The course of the learning rate in words."""
        if self.decay is None:
            return f"warm-up {self.warmup:g}, linear to zero over {self.steps} steps"
        stable = f"warm-up {self.rising:.4g}, constant, linear to zero over the last {self.decay:g}"
        return f"{stable} of {self.steps} steps"

    @property
    def network(self) -> TransformerConfig:
        """The network's sizes."""
        return TransformerConfig(
            inputs=len(FEATURE_SETS[self.features]),
            width=self.width,
            depth=self.depth,
            heads=self.heads or max(1, self.width // 16),
            pool=self.pool,
        )

    @property
    def architecture(self) -> str:
        """The network and its sizes in words."""
        network = self.network
        return (
            f"transformer width={network.width} depth={network.depth} heads={network.heads} "
            f"pool={network.pool}"
        )

    @property
    def run_id(self) -> str:
        """Short hash of all that decides the outcome; the name of the study does not.

        Settings at their default are left out, so that a new setting renames no run.
        """
        usual = {item.name: item.default for item in fields(self)}
        settled = {name: value for name, value in asdict(self).items() if value != usual[name]}
        settled |= {"batch_size": self.batch, "learning_rate": self.rate}
        settled.pop("study", None)
        return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Grid:
    """The runs that a grid file asks for."""

    data: Path
    """Folder of the ROOT files."""
    runs: tuple[RunConfig, ...]
    """One configuration a run, without repeats."""


def grid(path: str | Path) -> Grid:
    """Read a grid from TOML: settings for all runs, then `[[grid]]` tables whose lists are crossed.

    `data` is a folder, relative to the file. Of the settings only `efficiencies` and `rejections`
    are lists themselves and are not crossed. `max_flops` in a table leaves out the runs above that
    many FLOP (6 N D T with T = `particles`). Raises one `ValueError` that names every fault.
    """
    source = Path(path)
    content = _read_toml(source)
    tables = content.pop("grid", None)
    data = content.pop("data", "jets")
    faults: list[str] = []
    runs: dict[str, RunConfig] = {}
    if not isinstance(tables, list) or not tables:
        faults.append("no [[grid]] table; add one with features, particles, width, unique_samples")
        tables = []
    if not isinstance(data, str):
        faults.append(f"data must be a folder, is {data!r}")
    for number, table in enumerate(tables, start=1):
        settings = {**content, **table}
        settings |= {name: tuple(v) for name in _CUTS if isinstance(v := settings.get(name), list)}
        cap = settings.pop("max_flops", math.inf)
        found = _faults(settings, cap)
        faults += [f"[[grid]] {number}: {fault}" for fault in found]
        if not found:
            runs.update((run.run_id, run) for run in _crossed(settings) if _flops(run) <= cap)
    if faults:
        raise ValueError(f"{source}: {len(faults)} fault(s): " + "; ".join(dict.fromkeys(faults)))
    return Grid((source.parent / data).resolve(), tuple(runs.values()))


def _read_toml(source: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no grid file {source}; give a .toml file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not a TOML file ({error})") from error


def _crossed(settings: Mapping[str, Any]) -> Iterator[RunConfig]:
    lists = [value if isinstance(value, list) else [value] for value in settings.values()]
    for values in product(*lists):
        yield RunConfig(**dict(zip(settings, values, strict=True)))


def _flops(run: RunConfig) -> float:
    return law_flops(count_parameters(run.network).total, run.particles, run.samples)


@dataclass(frozen=True)
class _Rule:
    """What a setting may be."""

    kind: type | tuple[type, ...]
    holds: Callable[[Any], bool]
    bound: str


def _between(low: int, high: int) -> _Rule:
    return _Rule(int, lambda value: low <= value <= high, f"a whole number from {low} to {high}")


def _all(holds: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda values: all(isinstance(value, int | float) and holds(value) for value in values)


_RULES: dict[str, _Rule] = {
    "study": _Rule(str, lambda value: True, "text"),
    "dataset": _Rule(str, lambda value: True, "text"),
    "features": _Rule(
        str, lambda value: value in FEATURE_SETS, f"one of {', '.join(FEATURE_SETS)}"
    ),
    "particles": _between(1, 128),
    "width": _between(4, 512),
    "depth": _between(1, 64),
    "heads": _between(1, 512),
    "pool": _Rule(str, lambda value: value in POOLS, f"one of {', '.join(POOLS)}"),
    "unique_samples": _between(10, 10**12),
    "epochs": _between(1, 10**6),
    "seed": _between(0, 2**32 - 1),
    "batch_size": _between(1, 10**6),
    "learning_rate": _Rule((int, float), lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "weight_decay": _Rule((int, float), lambda value: 0 <= value <= 1, "from 0 to 1"),
    "warmup": _Rule((int, float), lambda value: 0 <= value < 1, "from 0 to below 1"),
    "decay": _Rule((int, float), lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "trunk_samples": _between(10, 10**12),
    "patience": _between(1, 10**6),
    "stopping_samples": _between(10, 10**12),
    "validation_samples": _between(10, 10**12),
    "test_samples": _between(0, 10**12),
    "efficiencies": _Rule(tuple, _all(lambda value: 0 < value < 1), "a list of shares below 1"),
    "rejections": _Rule(tuple, _all(lambda value: value > 1), "a list of numbers above 1"),
}
_CUTS = ("efficiencies", "rejections")


def _faults(settings: Mapping[str, Any], cap: Any) -> list[str]:
    """Every unknown, missing or wrong setting of one table, in words."""
    faults = [
        f"{name} is unknown; the settings are {', '.join(_RULES)}, max_flops"
        for name in settings.keys() - _RULES.keys()
    ]
    faults += [
        f"{item.name} is missing"
        for item in fields(RunConfig)
        if item.default is MISSING and item.name not in settings
    ]
    for name, rule in _RULES.items():
        given = settings.get(name, [])
        values = given if isinstance(given, list) else [given]
        faults += [f"{name} must be {rule.bound}, is {value!r}" for value in _wrong(rule, values)]
        if given == [] and name in settings:
            faults.append(f"{name} is an empty list; give at least one value")
    if not isinstance(cap, int | float) or not cap > 0:
        faults.append(f"max_flops must be above 0, is {cap!r}")
    return faults or _uneven_heads(settings) + _bad_branches(settings)


def _wrong(rule: _Rule, values: list[Any]) -> list[Any]:
    return [
        value
        for value in values
        if isinstance(value, bool) or not isinstance(value, rule.kind) or not rule.holds(value)
    ]


def _uneven_heads(settings: Mapping[str, Any]) -> list[str]:
    networks = {run.network for run in _crossed(settings)}
    return [
        f"heads must divide the width, {network.heads} does not divide {network.width}"
        for network in sorted(networks, key=lambda network: network.width)
        if network.width % network.heads
    ]


def _bad_branches(settings: Mapping[str, Any]) -> list[str]:
    """Runs that cannot share the start of a longer one."""
    faults = []
    for run in _crossed(settings):
        if run.decay is not None and run.rising > run.steps - run.falling:
            faults.append(
                f"decay {run.decay:g} of {run.steps} steps begins before the {run.rising:g} steps "
                "of the warm-up end; lower one of them"
            )
        if run.trunk_samples and (run.decay is None or run.epochs > 1):
            faults.append("trunk_samples needs a decay and one epoch")
        if run.trunk_samples and run.unique_samples > run.trunk_samples:
            faults.append(
                f"unique_samples must not exceed trunk_samples {run.trunk_samples}, "
                f"is {run.unique_samples}"
            )
    return faults
