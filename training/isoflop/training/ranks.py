"""Processes that train one run together: each takes its share of every batch, sums are over all.

A process that torchrun did not start is the first and only one, and nothing here costs it anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, with NCCL where there is CUDA, else with Gloo."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    # One process may wait for another machine to finish a run, while the others wait for it.
    distributed.init_process_group(backend, timeout=timedelta(days=7))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def number() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def own_share(size: int) -> npt.NDArray[np.int64]:
    """The places from 0 to `size` that this process works on."""
    first = distributed.get_rank() if distributed.is_initialized() else 0
    return np.arange(first, size, number())


def told_by_first(value: bool) -> bool:
    """What the first process says."""
    if number() == 1:
        return value
    said: list[Any] = [value]
    distributed.broadcast_object_list(said)
    return bool(said[0])


def sum_gradients(model: torch.nn.Module, loss: float) -> float:
    """Replace the gradients by their sums over all processes; the sum of the losses."""
    if number() == 1:
        return loss
    weights = list(model.parameters())
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    total = torch.cat([*(g.flatten() for g in gradients), gradients[0].new_tensor([loss])])
    distributed.all_reduce(total)
    pieces = torch.split(total[:-1], [weight.numel() for weight in weights])
    for weight, piece in zip(weights, pieces, strict=True):
        weight.grad = piece.view_as(weight)
    return total[-1].item()


def sum_rows(rows: npt.NDArray[np.float32], device: torch.device) -> npt.NDArray[np.float32]:
    """The sum of an array over all processes; same shape."""
    if number() == 1:
        return rows
    total = torch.from_numpy(rows).to(device)
    distributed.all_reduce(total)
    return total.cpu().numpy()
