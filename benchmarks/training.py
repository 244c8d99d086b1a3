"""Training speed beside a plain padded transformer, on the same jets and with as many parameters.

    python benchmarks/training.py             # jets of random numbers, JetClass's multiplicities
    python benchmarks/training.py data/jets   # jets of a folder of ROOT files, through the cache
    python benchmarks/training.py --threads 2
    python benchmarks/training.py --seconds 0.2    # a look, not a measurement
    python benchmarks/training.py --device cuda    # larger networks, both in bfloat16

A step is all that the training loop does with a batch: gather, forward, backward, clip, AdamW. The
plain one is `torch.nn.TransformerEncoder` with every jet padded to all its slots. Beside them: the
data path without a network, and the rate of a large matrix product, which bounds both.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from isoflop.training.config import RunConfig
from isoflop.training.counting import count_parameters, training_flops
from isoflop.training.feeding import feed
from isoflop.training.jets.batches import JetSet, balanced_subset, open_set
from isoflop.training.jets.features import FEATURE_SETS
from isoflop.training.jets.jetclass import Jets, open_jets
from isoflop.training.models import Transformer, TransformerConfig
from isoflop.training.stepping import GRADIENT_CLIP, adamw, stepper

SLOTS, JETS, WARM_UP = 128, 20_000, 5


@dataclass(frozen=True)
class Cell:
    """What a line is measured on."""

    width: int
    depth: int
    slots: int
    batch: int
    heads: int | None = None


CELLS = {
    "cpu": (Cell(16, 2, 40, 128), Cell(64, 2, 40, 128), Cell(64, 2, 128, 128)),
    "cuda": (
        Cell(32, 2, 128, 64),
        Cell(64, 2, 128, 128),
        Cell(128, 10, 128, 512),
        Cell(128, 10, 128, 512, heads=4),
        Cell(128, 10, 128, 4096),
    ),
}
"""Targets name the last of the CPU's and ten blocks of width 128 on a GPU."""
Batches = Iterator[np.ndarray]


class PlainTransformer(nn.Module):
    """The plain network: PyTorch's encoder over all slots, with the sizes of ours."""

    def __init__(self, config: TransformerConfig) -> None:
        """Build the layers."""
        super().__init__()
        width = config.width
        self.embed = nn.Sequential(
            nn.Linear(config.inputs, width), nn.ReLU(), nn.Linear(width, width)
        )
        layer = nn.TransformerEncoderLayer(
            width,
            config.heads,
            config.mlp_ratio * width,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, config.classes)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Class logits; x (jets, slots, inputs), mask True on particles."""
        x = self.norm(self.encoder(self.embed(x), src_key_padding_mask=~mask))
        weight = mask / mask.sum(dim=1, keepdim=True)
        return self.head(torch.einsum("jp,jpd->jd", weight, x))  # type: ignore[no-any-return]


def random_jets() -> JetSet:
    """Jets of random numbers with about as many particles as those of JetClass, 45 on average."""
    generator = np.random.default_rng(0)
    counts = np.exp(generator.normal(np.log(42.0), 0.4, JETS)).round().clip(2, SLOTS).astype(int)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    features = generator.normal(size=(offsets[-1], len(FEATURE_SETS["full"]))).astype(np.float16)
    label = generator.integers(0, 10, JETS).astype(np.uint8)
    return JetSet(Jets(Path(), offsets, label), features, SLOTS)


def rate(
    steps: Callable[[Batches], Iterator[None]], rows: np.ndarray, batch: int, *, seconds: float
) -> float:
    """Jets a second, over so many seconds, of what takes a step for each batch."""
    generator = np.random.default_rng(0)
    going = steps(generator.choice(rows, batch) for _ in count())
    for _ in range(WARM_UP):
        next(going)
    settle()
    started, jets = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        next(going)
        jets += batch
    settle()
    return jets / (time.perf_counter() - started)


def settle() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def training(
    config: RunConfig, model: Transformer, jets: JetSet, batches: Batches
) -> Iterator[None]:
    """Steps of ours."""
    device = model.centre.device
    optimizer = adamw(model, config.rate, weight_decay=config.weight_decay)
    step = stepper(config, model, optimizer, jets, np.arange(len(jets.jets)))
    for rows, parts in feed(jets, batches, device, step.room):
        step(parts, len(rows), config.rate)
        step.losses(settled=False)
        yield


def plain_training(
    model: PlainTransformer, jets: JetSet, batches: Batches, device: torch.device
) -> Iterator[None]:
    """Steps on batches whose jets fill all slots."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for rows in batches:
        optimizer.zero_grad()
        batch = jets.batch(rows)
        room = jets.particles - batch.mask.shape[1]
        x = torch.from_numpy(np.pad(batch.x, ((0, 0), (0, room), (0, 0)))).to(device).float()
        mask = torch.from_numpy(np.pad(batch.mask, ((0, 0), (0, room)))).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(x, mask)
        loss = functional.cross_entropy(logits.float(), torch.from_numpy(batch.label).to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        optimizer.step()
        yield


def reading(jets: JetSet, batches: Batches, device: torch.device) -> Iterator[None]:
    """The batches on the device, and nothing done with them."""
    for _, parts in feed(jets, batches, device):
        for _ in parts:
            pass
        yield


def matmul_rate(device: torch.device) -> float:
    """FLOP/s of a large product, in float32, or bfloat16 on a GPU."""
    size, kind = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = torch.randn(2, size, size, device=device, dtype=kind)
    for _ in range(3):
        a @ b
    settle()
    started, products = time.perf_counter(), 0
    while time.perf_counter() - started < 1.0:
        a @ b
        settle()
        products += 1
    return 2.0 * size**3 * products / (time.perf_counter() - started)


def measure(
    jets: JetSet, rows: np.ndarray, cell: Cell, device: torch.device, seconds: float
) -> None:
    """Print the lines of one cell."""
    config = RunConfig(
        features="full",
        particles=cell.slots,
        width=cell.width,
        depth=cell.depth,
        heads=cell.heads,
        batch_size=cell.batch,
        unique_samples=100_000_000,
    )
    ours, plain = (
        Transformer(config.network).to(device),
        PlainTransformer(config.network).to(device),
    )
    parameters = count_parameters(config.network).total, sum(p.numel() for p in plain.parameters())
    mean = jets.mean_particles(rows)
    ways = (
        lambda batches: training(config, ours, jets, batches),
        lambda batches: plain_training(plain, jets, batches, device),
        lambda batches: reading(jets, batches, device),
    )
    fast, slow, data = (rate(way, rows, cell.batch, seconds=seconds) for way in ways)
    flops, peak = training_flops(config.network, mean, fast), matmul_rate(device)
    print(
        f"width {cell.width}, depth {cell.depth}, {config.network.heads} head(s), "
        f"{cell.slots} slots, {mean:.0f} particles, batch {cell.batch}\n"
        f"  ours    {fast:9,.0f} jets/s with {parameters[0]:,} parameters, "
        f"{flops / 1e9:,.1f} GFLOP/s, {100 * flops / peak:.0f} % of a matrix product's "
        f"{peak / 1e9:,.0f}\n"
        f"  padded  {slow:9,.0f} jets/s with {parameters[1]:,} parameters: 1 : {fast / slow:.2f}\n"
        f"  data    {data:9,.0f} jets/s without a network: {data / fast:.0f} times ours",
        flush=True,
    )


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", nargs="?", help="folder of ROOT files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=sorted(CELLS), default="cpu")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    on_gpu = device.type == "cuda"
    print(torch.cuda.get_device_name() if on_gpu else f"{chosen.threads} thread(s)")
    for cell in CELLS[chosen.device]:
        if chosen.data:
            train = open_jets(chosen.data, "train")
            jets = open_set(train, "full", cell.slots)
            rows = balanced_subset(train.label, 10_000, seed=0)
        else:
            whole = random_jets()
            jets, rows = JetSet(whole.jets, whole.features, cell.slots), np.arange(JETS)
        measure(jets, rows, cell, device, chosen.seconds)


if __name__ == "__main__":
    main()
