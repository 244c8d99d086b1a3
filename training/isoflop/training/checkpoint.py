"""The state of a run in a file, so that a killed run goes on where it was, to the same last bit.

A checkpoint holds tensors and plain Python values only and is read with `weights_only`, so a file
from elsewhere cannot run code.
"""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isoflop.files import writing
from isoflop.training.config import RunConfig
from isoflop.training.records import CurvePoint

Weights = dict[str, torch.Tensor]


@dataclass
class LoopState:
    """What changes while a run trains, apart from the network and its optimiser."""

    epoch: int = 0
    """Passes completed."""
    batch: int = 0
    """Batches of the current pass that are done."""
    order: Mapping[str, Any] = field(default_factory=dict)
    """State of the generator of batches at the start of the pass."""
    step: int = 0
    """Steps of the optimiser."""
    seen: int = 0
    """Jets seen."""
    waited: int = 0
    """Passes without a new best loss."""
    last_loss: float = float("inf")
    """Loss on the stopping jets after the last pass [nat]."""
    best_loss: float = float("inf")
    """The best of these [nat]."""
    kept_seen: int = 0
    """Jets that the best weights had seen."""
    losses: list[float] = field(default_factory=list)
    """Training losses since the last point of the curve [nat]."""
    curve: list[CurvePoint] = field(default_factory=list)
    """Points of the curve."""
    seconds: float = 0.0
    """Wall time of the calls before this one."""
    branched: int = 0
    """Jets that the trunk had seen where this run branched off; 0 if it did not."""


def save_checkpoint(
    path: Path,
    run_id: str,
    state: LoopState,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    kept: Weights,
) -> None:
    """Write the whole state of a run, whole or not at all."""
    content = {
        "made_by": _maker(run_id, model),
        "state": asdict(state),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "kept": kept,
    }
    buffer = io.BytesIO()  # torch itself hides the reason why a file cannot be written
    torch.save(content, buffer)
    with writing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(
    path: Path, run_id: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[LoopState, Weights] | None:
    """Put a run back where its checkpoint left it; None where there is none of it and this version.

    A file that cannot be read costs the run its start, not its numbers: it begins again.
    """
    try:
        content = torch.load(path, weights_only=True)
        if content["made_by"] != _maker(run_id, model):
            return None
    except Exception:  # a file that is no checkpoint may raise anything
        return None
    state = LoopState(**content["state"])
    state.curve = [CurvePoint(**point) for point in content["state"]["curve"]]
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    return state, content["kept"]


def trunk_file(folder: Path, config: RunConfig, step: int) -> Path:
    """The checkpoint of the trunk of `config` after so many steps."""
    return folder / f".{config.trunk.run_id}.{step:09d}.trunk"


def load_trunk(
    folder: Path, config: RunConfig, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[LoopState, Weights] | None:
    """Put a branch where the longest piece of its trunk that others left in `folder` ends."""
    last = trunk_file(folder, config, config.branch_step)
    pieces = folder.glob(f".{config.trunk.run_id}.*.trunk")
    for path in sorted((path for path in pieces if path <= last), reverse=True):
        found = load_checkpoint(path, config.trunk.run_id, model, optimizer)
        if found:
            state, kept = found
            state.branched, state.seconds = state.seen, 0.0
            state.losses.clear()
            state.curve.clear()
            return state, kept
    return None


def _maker(run_id: str, model: torch.nn.Module) -> str:
    """The run, the version and the device: another one would go on with other arithmetic."""
    device = next(model.parameters()).device.type
    return f"{run_id} isoflop {version('isoflop')} torch {torch.__version__} {device}"


def generator_at(state: Mapping[str, Any]) -> np.random.Generator:
    """The generator of batches in a saved state."""
    generator = np.random.default_rng()
    generator.bit_generator.state = state
    return generator
