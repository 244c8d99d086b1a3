"""Training speed beside a plain padded transformer, on the same jets and with as many parameters.

    python benchmarks/training.py             # jets of random numbers, JetClass's multiplicities
    python benchmarks/training.py data/jets   # jets of a folder of ROOT files, through the cache
    python benchmarks/training.py --threads 2
    python benchmarks/training.py --seconds 0.2    # a look, not a measurement

A step is all that the training loop does with a batch: gather, forward, backward, clip, AdamW. The
plain one is `torch.nn.TransformerEncoder` with every jet padded to all its slots. Beside them: the
data path without a network, and the rate of a large matrix product, which bounds both.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from isoflop.training.config import RunConfig
from isoflop.training.counting import count_parameters, training_flops
from isoflop.training.jets.batches import JetSet, balanced_subset, open_set
from isoflop.training.jets.features import FEATURE_SETS
from isoflop.training.jets.jetclass import Jets, open_jets
from isoflop.training.loop import PART_SLOTS, accumulate
from isoflop.training.models import Transformer, TransformerConfig

SLOTS, BATCH, JETS = 128, 128, 20_000
CELLS = ((16, 40), (64, 40), (64, 128))
"""Width and slots of each line; the last is the one that the target names."""
CPU = torch.device("cpu")


class Padded(nn.Module):
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


def rate(step: Callable[[np.ndarray], object], rows: np.ndarray, *, seconds: float) -> float:
    """Jets a second, over so many seconds, of a step that takes the rows of a batch."""
    generator = np.random.default_rng(0)
    for _ in range(3):
        step(generator.choice(rows, BATCH))
    started, jets = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step(generator.choice(rows, BATCH))
        jets += BATCH
    return jets / (time.perf_counter() - started)


def stepper(
    model: nn.Module, gradient: Callable[[np.ndarray], object]
) -> Callable[[np.ndarray], None]:
    """A training step around what adds the gradient of a batch."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(rows: np.ndarray) -> None:
        optimizer.zero_grad()
        gradient(rows)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def padded_gradient(model: Padded, jets: JetSet) -> Callable[[np.ndarray], None]:
    """Adds the gradient of a batch whose jets fill all slots."""

    def gradient(rows: np.ndarray) -> None:
        batch = jets.batch(rows)
        room = jets.particles - batch.mask.shape[1]
        x = torch.from_numpy(np.pad(batch.x, ((0, 0), (0, room), (0, 0)))).float()
        mask = torch.from_numpy(np.pad(batch.mask, ((0, 0), (0, room))))
        loss = functional.cross_entropy(model(x, mask), torch.from_numpy(batch.label))
        loss.backward()  # type: ignore[no-untyped-call]

    return gradient


def matmul_rate() -> float:
    """FLOP/s of a large product in float32."""
    a, b = torch.randn(2, 1024, 1024)
    a @ b
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 1.0:
        a @ b
        count += 1
    return 2.0 * 1024**3 * count / (time.perf_counter() - started)


def measure(jets: JetSet, rows: np.ndarray, *, width: int, seconds: float) -> None:
    """Print the lines of one width and number of slots."""
    config = RunConfig(features="full", particles=jets.particles, width=width, unique_samples=BATCH)
    ours, plain = Transformer(config.network), Padded(config.network)
    parameters = count_parameters(config.network).total, sum(p.numel() for p in plain.parameters())
    mean = jets.mean_particles(rows)
    size = PART_SLOTS // jets.particles
    steps = (
        stepper(ours, lambda part: accumulate(ours, jets, part, CPU)),
        stepper(plain, padded_gradient(plain, jets)),
        lambda part: [jets.batch(part[at]) for at in jets.by_length(part, size)],
    )
    fast, slow, data = (rate(step, rows, seconds=seconds) for step in steps)
    flops, peak = training_flops(config.network, mean, fast), matmul_rate()
    print(
        f"width {width}, {jets.particles} slots, {mean:.0f} particles, depth {config.depth}\n"
        f"  ours    {fast:9,.0f} jets/s with {parameters[0]:,} parameters, "
        f"{flops / 1e9:.1f} GFLOP/s, {100 * flops / peak:.0f} % of a matrix product's "
        f"{peak / 1e9:.0f}\n"
        f"  padded  {slow:9,.0f} jets/s with {parameters[1]:,} parameters: 1 : {fast / slow:.2f}\n"
        f"  data    {data:9,.0f} jets/s without a network: {data / fast:.0f} times ours",
        flush=True,
    )


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", nargs="?", help="folder of ROOT files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(f"{chosen.threads} thread(s)")
    for width, slots in CELLS:
        if chosen.data:
            train = open_jets(chosen.data, "train")
            jets = open_set(train, "full", slots)
            rows = balanced_subset(train.label, 10_000, seed=0)
        else:
            whole = random_jets()
            jets, rows = JetSet(whole.jets, whole.features, slots), np.arange(JETS)
        measure(jets, rows, width=width, seconds=chosen.seconds)


if __name__ == "__main__":
    main()
