"""Train students on data of a fixed random teacher, where the irreducible loss is known exactly.

    python -m studies.known_floor.train

trains what runs.csv beside this script lacks, on one thread, and may be interrupted. Students of
one width, samples and passes train together, as one stack of matrix products.

Regression: y = f(x) + noise, Var f = 1, judged by the mean squared error, whose floor is the
variance of the noise. Classification: labels drawn from the teacher's softmax, judged by the
cross-entropy in nat, whose floor is the mean entropy of that softmax.
"""

import math
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from isoflop.files import writing

TABLE = Path(__file__).parent / "runs.csv"
NOISE = {"noise-0.25": 0.25, "noise-0.05": 0.05, "noise-0.01": 0.01, "noise-0": 0.0}
"""Variance of the noise of each group of regression, its floor."""
CLASSIFICATION = "classes"
CLASSES = 4
SHARPNESS = 3.0
"""Standard deviation of the teacher's logits."""
INPUTS, TEACHER_WIDTH = 8, 256
WIDTHS = (6, 10, 16, 28, 48, 84, 150)
SAMPLES = tuple(1024 * 4**k for k in range(6))
AGAIN = tuple(product((10, 28, 84), (4096, 65536), (1,)))
"""Width, samples and seed of the runs that tell how seeds scatter."""
REPEATED = "noise-0.05"
"""The group with runs of several passes."""
PASSES = tuple(product((28, 84), (4096, 16384), (2, 4, 8, 16)))
"""Width, distinct samples and passes of those."""
POOL, TEST, FLOOR = 1 << 21, 200_000, 1_000_000
"""Samples that runs draw theirs from, that they are judged on, and of the entropy's mean."""
CHUNK = 8192


@dataclass(frozen=True)
class Run:
    """One student and what it sees."""

    group: str
    width: int
    samples: int
    unique_samples: int
    seed: int

    @property
    def run_id(self) -> str:
        """Unique name; it seeds all that is random in the run."""
        size = f"w{self.width}-D{self.samples}-U{self.unique_samples}"
        return f"{self.group}-{size}-s{self.seed}"

    @property
    def outputs(self) -> int:
        """A mean, or a logit a class."""
        return CLASSES if self.group == CLASSIFICATION else 1

    @property
    def params(self) -> int:
        """Weights and biases of two hidden layers."""
        return sum(a * b + b for a, b in self.layers)

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of each layer."""
        return (INPUTS, self.width), (self.width, self.width), (self.width, self.outputs)

    @property
    def batch_size(self) -> int:
        """Samples a step: √D/4, so that steps grow with D too."""
        return round(math.sqrt(self.samples) / 4)

    @property
    def learning_rate(self) -> float:
        """Peak rate; within a factor 2 of the best at widths 6 to 150, D of 1k to 64k."""
        return float(0.02 * (48 / self.width) ** (2 / 3))


def grid() -> list[Run]:
    """Every run of the study."""
    groups = [*NOISE, CLASSIFICATION]
    once = [*product(WIDTHS, SAMPLES, (0,)), *AGAIN]
    runs = [Run(g, w, d, d, seed) for g in groups for w, d, seed in once]
    return runs + [Run(REPEATED, w, u * e, u, 0) for w, u, e in PASSES]


class Teacher:
    """A random network of two hidden layers, every output with mean 0 and variance 1."""

    def __init__(self, seed: int = 0) -> None:
        """Draw the weights, then measure mean and variance of the outputs."""
        rng = torch.Generator().manual_seed(seed)

        def normal(*shape: int, scale: float) -> Tensor:
            return scale * torch.randn(*shape, generator=rng)

        wide = TEACHER_WIDTH
        self.first = normal(INPUTS, wide, scale=INPUTS**-0.5), normal(wide, scale=0.5)
        self.second = normal(wide, wide, scale=1.6 * wide**-0.5), normal(wide, scale=0.5)
        self.last = normal(wide, 1 + CLASSES, scale=wide**-0.5)
        self.mean, self.deviation = torch.zeros(1), torch.ones(1)
        measured = self(inputs(1 << 18, seed=1))
        self.mean, self.deviation = measured.mean(0), measured.std(0)

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs (samples, 1 + CLASSES): f, and unscaled logits."""
        parts = []
        for some in torch.split(x, CHUNK):
            hidden = torch.tanh(some @ self.first[0] + self.first[1])
            parts.append(torch.tanh(hidden @ self.second[0] + self.second[1]) @ self.last)
        return (torch.cat(parts) - self.mean) / self.deviation


def inputs(samples: int, *, seed: int) -> Tensor:
    """Standard normal inputs, shape (samples, INPUTS)."""
    return torch.randn(samples, INPUTS, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Data:
    """Inputs (samples, INPUTS) and what the teacher says of them (samples, 1 + CLASSES)."""

    x: Tensor
    y: Tensor


def data(teacher: Teacher, samples: int, *, seed: int) -> Data:
    """Fresh inputs and the teacher's outputs, no noise."""
    x = inputs(samples, seed=seed)
    return Data(x, teacher(x))


def labels(group: str, outputs: Tensor, rng: torch.Generator) -> Tensor:
    """What a student is shown: f with noise, or a class drawn from the softmax; (samples,)."""
    if group == CLASSIFICATION:
        probabilities = torch.softmax(SHARPNESS * outputs[:, 1:], dim=1)
        return torch.multinomial(probabilities, 1, generator=rng)[:, 0]
    noise = torch.randn(len(outputs), generator=rng)
    return outputs[:, 0] + math.sqrt(NOISE[group]) * noise


def floor(group: str, outputs: Tensor) -> float:
    """The irreducible loss of a group; `outputs` are the teacher's over many samples."""
    if group != CLASSIFICATION:
        return NOISE[group]
    logs = torch.log_softmax(SHARPNESS * outputs[:, 1:].double(), dim=1)
    return float(-(logs.exp() * logs).sum(1).mean())


def excess(group: str, predicted: Tensor, outputs: Tensor) -> Tensor:
    """Expected loss of predictions less the floor, by sample, over all labels there could be.

    The squared distance from f, or the Kullback-Leibler divergence from the teacher's softmax.
    `predicted` is of shape (samples, 1) or (samples, CLASSES).
    """
    if group != CLASSIFICATION:
        return (predicted[:, 0] - outputs[:, 0]) ** 2
    true = torch.log_softmax(SHARPNESS * outputs[:, 1:], dim=1)
    return (true.exp() * (true - torch.log_softmax(predicted, dim=1))).sum(1)


class Stack:
    """Students of one shape side by side: matrices (students, inputs, outputs) of each layer."""

    def __init__(self, runs: list[Run], rngs: list[torch.Generator]) -> None:
        """Normal weights of variance 2/inputs, 1/inputs in the last layer; biases 0."""
        self.parameters: list[Tensor] = []
        for layer, (a, b) in enumerate(runs[0].layers):
            scale = math.sqrt((2.0 if layer < 2 else 1.0) / a)
            weights = torch.stack([scale * torch.randn(a, b, generator=rng) for rng in rngs])
            biases = torch.zeros(len(runs), 1, b)
            self.parameters += [weights.requires_grad_(), biases.requires_grad_()]

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs for x (students, samples, INPUTS)."""
        w1, b1, w2, b2, w3, b3 = self.parameters
        hidden = torch.relu(torch.baddbmm(b2, torch.relu(torch.baddbmm(b1, x, w1)), w2))
        return torch.baddbmm(b3, hidden, w3)


def train(runs: list[Run], pool: Data) -> Stack:
    """Train runs that differ in group and seed only, each on samples of its own."""
    one = runs[0]
    rngs = [torch.Generator().manual_seed(zlib.crc32(run.run_id.encode())) for run in runs]
    students = Stack(runs, rngs)
    start = [int(torch.randint(len(pool.x), (1,), generator=rng)) for rng in rngs]
    own = torch.stack([(s + torch.arange(one.unique_samples)) % len(pool.x) for s in start])
    pairs = zip(runs, own, rngs, strict=True)
    shown = torch.stack([labels(run.group, pool.y[rows], rng) for run, rows, rng in pairs])
    steps, batch = one.samples // one.batch_size, one.batch_size
    adam = torch.optim.Adam(students.parameters, betas=(0.9, 0.99), fused=True)
    for step in range(steps):
        at = step * batch % one.unique_samples
        if at == 0:  # a new pass in a new order
            order = torch.stack([torch.randperm(one.unique_samples, generator=rng) for rng in rngs])
        chosen = order[:, at : at + batch]
        predicted = students(pool.x[own.gather(1, chosen)])
        loss = training_loss(predicted, shown.gather(1, chosen))
        adam.param_groups[0]["lr"] = one.learning_rate * schedule(step, steps)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return students


def training_loss(predicted: Tensor, shown: Tensor) -> Tensor:
    """Sum over the students of the mean over their batch."""
    if shown.dtype == torch.int64:
        flat = torch.nn.functional.cross_entropy(predicted.flatten(0, 1), shown.flatten())
        return flat * len(shown)
    return ((predicted[..., 0] - shown) ** 2).mean(1).sum()


def schedule(step: int, steps: int) -> float:
    """Share of the peak rate: linear up over a tenth of the steps, linear down to zero."""
    warm = max(1, steps // 10)
    return min((step + 1) / warm, (steps - step) / (steps - warm))


@torch.no_grad()
def judge(runs: list[Run], students: Stack, test: Data) -> Iterable[tuple[float, float]]:
    """Each student's loss above the floor on the test samples, and its standard error."""
    some = [students(x.expand(len(runs), -1, -1)) for x in torch.split(test.x, CHUNK)]
    for run, predicted in zip(runs, torch.cat(some, dim=1), strict=True):
        above = excess(run.group, predicted, test.y).double()
        yield float(above.mean()), float(above.std()) / math.sqrt(len(above))


def stacks(runs: list[Run]) -> list[list[Run]]:
    """Runs that can train side by side, the cheapest first."""
    cells: dict[tuple[int, ...], list[Run]] = {}
    for run in runs:
        cells.setdefault((run.width, run.samples, run.unique_samples, run.outputs), []).append(run)
    return sorted(cells.values(), key=lambda cell: cell[0].params * cell[0].samples)


def record(run: Run, floor: float, above: tuple[float, float], seconds: float) -> dict[str, object]:
    """The run's row: the columns of a run record, and floor, excess and CPU time."""
    return {
        "run_id": run.run_id,
        "group": run.group,
        "params": run.params,
        "samples": run.samples,
        "unique_samples": run.unique_samples,
        "flops": 6 * run.params * run.samples,
        "loss": floor + above[0],
        "loss_stderr": above[1],
        "loss_kind": "final",
        "seed": run.seed,
        "architecture": f"width={run.width}",
        "dataset": "teacher, 200k test",
        "learning_rate": run.learning_rate,
        "batch_size": run.batch_size,
        "floor": floor,
        "excess": above[0],
        "cpu_seconds": seconds,
    }


def main() -> None:
    """Train the stacks that runs.csv lacks, a stack at a time."""
    torch.set_num_threads(1)
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame({"run_id": []})
    missing = [run for run in grid() if run.run_id not in set(table["run_id"])]
    teacher = Teacher()
    pool, test = data(teacher, POOL, seed=2), data(teacher, TEST, seed=3)
    many = teacher(inputs(FLOOR, seed=4))
    for runs in stacks(missing):
        began = time.process_time()
        found = judge(runs, train(runs, pool), test)
        seconds = (time.process_time() - began) / len(runs)
        rows = [
            record(run, floor(run.group, many), above, seconds)
            for run, above in zip(runs, found, strict=True)
        ]
        table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
        with writing(TABLE) as temporary:
            table.to_csv(temporary, index=False, float_format="%.7g")
        one = runs[0]
        print(f"{len(table)} runs: width {one.width}, {one.samples} samples, {seconds:.1f} s each")


if __name__ == "__main__":
    main()
