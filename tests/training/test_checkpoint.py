"""A killed run goes on from its checkpoint and ends in the same numbers, to the last bit."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isoflop.training.checkpoint import LoopState, load_checkpoint, save_checkpoint
from isoflop.training.config import RunConfig
from isoflop.training.jets.batches import Splits
from isoflop.training.loop import TrainResult, train
from isoflop.training.models import Transformer

RUN = RunConfig(
    features="full",
    particles=20,
    width=16,
    depth=1,
    unique_samples=400,
    batch_size=10,
    stopping_samples=100,
    validation_samples=300,
)
SCRIPT = """
from pathlib import Path
import torch
from isoflop.training.config import RunConfig
from isoflop.training.jets.batches import open_splits
from isoflop.training.loop import train
torch.set_num_threads(1)
train(
    {config!r}, open_splits({data!r}), device="cpu",
    checkpoint=Path({checkpoint!r}), save_every=0.0,
)
"""


def numbers(result: TrainResult) -> tuple[object, ...]:
    return replace(result.record, wall_seconds=None), result.working_points, result.curve


def kill_in_the_middle(script: str, checkpoint: Path, seconds: float) -> bool:
    """Start the run, kill it so long after it has saved again; whether it was still running."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    with subprocess.Popen([sys.executable, "-c", script]) as run:
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            if run.poll() is not None:
                return False
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(run.pid, signal.SIGKILL)
    return run.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_run_killed_at_random_moments_ends_in_the_same_numbers(
    splits: Splits, jet_folder: Path, tmp_path: Path, epochs: int
) -> None:
    checkpoint = tmp_path / "run.checkpoint"
    config = replace(RUN, epochs=epochs)
    script = SCRIPT.format(config=config, data=str(jet_folder), checkpoint=str(checkpoint))
    moments = np.random.default_rng(epochs).uniform(0.0, 0.1, 3)
    killed = [kill_in_the_middle(script, checkpoint, float(seconds)) for seconds in moments]
    assert killed[0]
    resumed = train(config, splits, device="cpu", checkpoint=checkpoint, save_every=0.0)
    assert numbers(resumed) == numbers(train(config, splits, device="cpu"))
    # What a kill leaves behind is a whole checkpoint and at most the next one in the making.
    assert len(list(tmp_path.iterdir())) <= 4


@pytest.mark.parametrize("damage", ["cut short", "of another run", "no checkpoint"])
def test_a_checkpoint_that_cannot_be_used_starts_the_run_again(
    splits: Splits, tmp_path: Path, damage: str
) -> None:
    checkpoint = tmp_path / "run.checkpoint"
    model = Transformer(RUN.network)
    optimizer = torch.optim.AdamW(model.parameters())
    run_id = "other" if damage == "of another run" else RUN.run_id
    save_checkpoint(checkpoint, run_id, LoopState(step=7), model, optimizer, {})
    if damage == "cut short":
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    if damage == "no checkpoint":
        checkpoint.write_text("text")
    assert load_checkpoint(checkpoint, RUN.run_id, model, optimizer) is None
    resumed = train(RUN, splits, device="cpu", checkpoint=checkpoint)
    assert numbers(resumed) == numbers(train(RUN, splits, device="cpu"))


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    checkpoint = tmp_path / "run.checkpoint"
    torch.save({"made_by": Evil()}, checkpoint)
    model = Transformer(RUN.network)
    optimizer = torch.optim.AdamW(model.parameters())
    assert load_checkpoint(checkpoint, RUN.run_id, model, optimizer) is None
    assert not (tmp_path / "made").exists()
