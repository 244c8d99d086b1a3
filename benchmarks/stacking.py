"""Several small networks in one process: one after the other, or stacked with `torch.func.vmap`.

    python benchmarks/stacking.py data/jets

Prints jets per second of CPU time for eight networks of equal shape on batches of their own, as a
sweep would train them. This decided that a sweep trains one network a process: stacked runs must
agree in shape, batch and steps, which few do, and their numbers would depend on their neighbours.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from isoflop.training.config import RunConfig
from isoflop.training.feeding import feed
from isoflop.training.jets.batches import JetSet, balanced_subset, open_set
from isoflop.training.jets.jetclass import open_jets
from isoflop.training.models import Padded, Transformer, TransformerConfig
from isoflop.training.stepping import GRADIENT_CLIP, accumulate

COUNT, SECONDS, ROUNDS = 8, 0.7, 3
CELLS = [(w, p, b) for w in (8, 16) for p, b in ((10, 16), (10, 64), (40, 16), (40, 128))]
"""Width, leading particles and batch."""


def separate_step(
    config: TransformerConfig, jets: JetSet, draw: Callable[[], np.ndarray]
) -> Callable[[], None]:
    """A step of each network, one after the other."""
    models = [Transformer(config) for _ in range(COUNT)]
    optimizers = [torch.optim.AdamW(model.parameters(), fused=True) for model in models]

    def step() -> None:
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            [(rows, parts)] = feed(jets, [draw()], torch.device("cpu"))
            accumulate(model, parts, len(rows))
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
            optimizer.step()

    return step


def stacked_step(
    config: TransformerConfig, jets: JetSet, draw: Callable[[], np.ndarray]
) -> Callable[[], None]:
    """A step of all networks at once, their weights stacked along a first axis."""
    models = [Transformer(config) for _ in range(COUNT)]
    weights, buffers = stack_module_state(models)
    optimizer = torch.optim.AdamW(weights.values(), fused=True)

    def loss(
        weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, mask: Tensor, y: Tensor
    ) -> Tensor:
        return functional.cross_entropy(
            functional_call(models[0], (weights, buffers), (x, Padded(mask))), y
        )

    def step() -> None:
        batches = [jets.batch(draw()) for _ in range(COUNT)]
        slots = max(batch.mask.shape[1] for batch in batches)
        rooms = [(0, slots - batch.mask.shape[1]) for batch in batches]
        x = [np.pad(b.x, ((0, 0), room, (0, 0))) for b, room in zip(batches, rooms, strict=True)]
        mask = [np.pad(b.mask, ((0, 0), room)) for b, room in zip(batches, rooms, strict=True)]
        given = [torch.from_numpy(np.stack(a)) for a in (x, mask, [b.label for b in batches])]
        optimizer.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no rule for vmap
            total = vmap(loss)(weights, buffers, given[0].float(), *given[1:]).sum()
            total.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in weights.values() if weight.grad is not None]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        scale = (GRADIENT_CLIP / norm).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
        optimizer.step()

    return step


def cpu_seconds(step: Callable[[], None]) -> float:
    """CPU time of a step."""
    started, steps = time.process_time(), 0
    while time.process_time() - started < SECONDS:
        step()
        steps += 1
    return (time.process_time() - started) / steps


def main() -> None:
    """Print one line a cell; the rounds alternate and the best of each way counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", help="folder of ROOT files")
    train = open_jets(parser.parse_args().data, "train")
    torch.set_num_threads(1)
    for width, particles, batch in CELLS:
        jets, rows = open_set(train, "full", particles), balanced_subset(train.label, 8_000, seed=0)
        config = RunConfig(features="full", particles=particles, width=width, unique_samples=1000)
        generator = np.random.default_rng(0)

        def draw(rows: np.ndarray = rows, batch: int = batch) -> np.ndarray:
            return generator.choice(rows, batch)  # noqa: B023

        ways = [make(config.network, jets, draw) for make in (separate_step, stacked_step)]
        rounds = [[cpu_seconds(way) for way in ways] for _ in range(ROUNDS)]
        separate, stacked = COUNT * batch / np.min(rounds, axis=0)
        print(
            f"width {width:2}, {particles} slots, batch {batch:3}: {separate:7,.0f} jets/s one "
            f"after the other, {stacked:7,.0f} stacked, {stacked / separate:.2f} times as many",
            flush=True,
        )


if __name__ == "__main__":
    main()
