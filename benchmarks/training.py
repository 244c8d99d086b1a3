"""Training speed on one CPU thread: jets a second at two widths, 40 particles.

    python benchmarks/training.py            # jets of random numbers
    python benchmarks/training.py data/jets  # jets of a folder of ROOT files, through the cache

A step is all that the training loop does with a batch: gather, forward, backward, AdamW.
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from isoflop.training.config import RunConfig
from isoflop.training.counting import training_flops
from isoflop.training.jets.batches import Batch, balanced_subset, open_set, shuffled_batches
from isoflop.training.jets.jetclass import open_jets
from isoflop.training.models import Transformer

PARTICLES, BATCH, SECONDS = 40, 128, 5.0


def jets_of(data: str) -> Iterator[Batch]:
    """Batches of the training jets in a folder, without end."""
    jets = open_jets(data, "train")
    seen = open_set(jets, "full", PARTICLES)
    rows = balanced_subset(jets.label, 10_000, seed=0)
    while True:
        for part in shuffled_batches(rows, BATCH, np.random.default_rng(0)):
            yield seen.batch(part)


def random_jets() -> Iterator[Batch]:
    """The same batch of random numbers, without end."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(BATCH, PARTICLES, 17)).astype(np.float16)
    mask = np.arange(PARTICLES) < generator.integers(20, PARTICLES + 1, BATCH)[:, None]
    while True:
        yield Batch(x, mask, generator.integers(0, 10, BATCH))


def measure(config: RunConfig, batches: Iterator[Batch]) -> float:
    """Jets trained on a second."""
    model = Transformer(config.network)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> int:
        batch = next(batches)
        logits = model(torch.from_numpy(batch.x).float(), torch.from_numpy(batch.mask))
        optimizer.zero_grad()
        loss = functional.cross_entropy(logits, torch.from_numpy(batch.label))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return len(batch.label)

    for _ in range(5):
        step()
    started, jets = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        jets += step()
    return jets / (time.perf_counter() - started)


def main() -> None:
    """Print one line a width."""
    torch.set_num_threads(1)
    batches = jets_of(sys.argv[1]) if len(sys.argv) > 1 else random_jets()
    for width in (16, 64):
        config = RunConfig(features="full", particles=PARTICLES, width=width, unique_samples=BATCH)
        rate = measure(config, batches)
        flops = training_flops(config.network, PARTICLES, rate)
        print(
            f"width {width:3d}, {PARTICLES} particles, 1 thread: {rate:,.0f} jets/s, "
            f"{flops / 1e9:.1f} GFLOP/s"
        )


if __name__ == "__main__":
    main()
