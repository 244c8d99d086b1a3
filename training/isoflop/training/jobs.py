"""Cut a sweep into jobs for a batch system, and say what each job asks of a machine.

A run longer than a job should be has a job of its own, and is worth a GPU; the others are packed
into jobs of about equal work. The cut depends on the grid alone, so that every process that reads
the grid finds the same jobs, whatever is done already.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

from isoflop.training.config import RunConfig
from isoflop.training.counting import count_parameters
from isoflop.training.feeding import EVALUATION_BATCH, PART_SLOTS
from isoflop.training.models import TransformerConfig
from isoflop.training.pool import cost

# The 248 runs of studies/jets/records took cost(run) / (14e9 to 232e9 per s), median 45e9, on one
# thread of a shared machine. One H200 took 6e11 (width 8) to 8e12 (width 64, from start to end of a
# run) and 1.3e14 per s (ten blocks of width 128, compiled).
CORE_RATE = 3e10
GPU_RATE = 3e12
MARGIN = 3.0
"""Requested over expected time: nodes differ, and a batch system ends what takes longer."""
_START_SECONDS = 120.0  # imports and opening the cache, on a slow file system

_PROCESS_MB = 500.0  # Python and torch; measured 320 to 340
_CUDA_MB = 3000  # main memory that torch's CUDA libraries take, with room
_COPIES = 6  # of the weights: themselves, gradients, two moments, the best, one being saved
_MEAN_PARTICLES = 50  # of a jet
_ROUND_MB = 100


@dataclass(frozen=True)
class Job:
    """Some runs that one process trains one after the other."""

    runs: tuple[RunConfig, ...]
    """The runs, the longest first."""
    large: bool
    """Whether it is one run that is longer than a job should be."""

    @property
    def name(self) -> str:
        """Short hash of the run ids."""
        return hashlib.sha256(",".join(self.run_ids).encode()).hexdigest()[:12]

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of the runs."""
        return tuple(run.run_id for run in self.runs)


@dataclass(frozen=True)
class Request:
    """What a job asks of a machine."""

    threads: int
    """CPU cores."""
    memory_mb: int
    """Memory [MB]."""
    minutes: int
    """Wall time [min], three times what is expected."""
    gpus: int
    """GPUs."""


def cut(runs: Iterable[RunConfig], *, seconds: float = 1800.0) -> tuple[Job, ...]:
    """Cut runs into jobs of about `seconds` on one core, or of one longer run; the longest first.

    The longest run that is left goes to the job with the least work, so no packed job exceeds the
    mean by more than one run.
    """
    if not seconds > 0:
        raise ValueError(f"seconds of a job is {seconds:g}; it must be above 0")
    ordered = sorted(runs, key=lambda run: (-cost(run), run.run_id))
    large = [run for run in ordered if cost(run) > seconds * CORE_RATE]
    small = ordered[len(large) :]
    packs: list[list[RunConfig]] = [
        [] for _ in range(math.ceil(sum(map(cost, small)) / (seconds * CORE_RATE)))
    ]
    loads = [(0.0, number) for number in range(len(packs))]
    for run in small:
        load, number = loads[0]
        packs[number].append(run)
        heapq.heapreplace(loads, (load + cost(run), number))
    alone = [Job((run,), large=True) for run in large]
    return (*alone, *(Job(tuple(pack), large=False) for pack in packs if pack))


def request(job: Job, *, gpus: int = 0) -> Request:
    """Cores, memory, time and GPUs for a job; `gpus` are asked for by large jobs only."""
    gpus = gpus if job.large else 0
    expected = sum(map(cost, job.runs)) / (GPU_RATE if gpus else CORE_RATE)
    minutes = math.ceil((_START_SECONDS + MARGIN * expected) / 60)
    memory = max(map(memory_mb, job.runs)) + (_CUDA_MB if gpus else 0)
    return Request(1, memory, minutes, gpus)


def memory_mb(run: RunConfig) -> int:
    """Memory of a training on one core [MB], its idle parent process included.

    Two processes, the weights and what the optimiser keeps of them, the activations of a part of a
    batch or of a block in evaluation, the logits of the jets that judge, and the mapped pages of
    the training jets.
    """
    network, jet = run.network, min(run.particles, _MEAN_PARTICLES)
    weights = 4 * _COPIES * count_parameters(network).total
    activations = 4 * max(
        min(run.batch, PART_SLOTS // run.particles) * _saved_floats(network, run.particles),
        EVALUATION_BATCH * _saved_floats(network, run.particles) / network.depth,
    )
    judges = run.stopping_samples + max(run.validation_samples, run.test_samples)
    logits = 4 * 8 * network.classes * judges
    pages = 2 * run.unique_samples * jet * network.inputs
    needed = 2 * _PROCESS_MB + (weights + activations + logits + pages) / 1e6
    return _ROUND_MB * math.ceil(needed / _ROUND_MB)


def _saved_floats(network: TransformerConfig, particles: int) -> float:
    """Numbers that one jet leaves for the backward pass: some 18 d a particle and block, and twice
    the scores of the attention."""
    block = (10 + 2 * network.mlp_ratio) * network.width + 2 * network.heads * particles
    return particles * (network.depth * block + 4 * network.width + network.inputs)
