"""Batches on their way to the network: cut into parts, laid out and moved to its device.

On a CPU a part is a few jets of about the same length, in slots; short parts stay in its caches. On
a GPU it is the whole batch, packed, and while the network works on one batch the next ones are read
into pinned memory.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isoflop.training import ranks
from isoflop.training.jets.batches import IntArray, JetSet, Room
from isoflop.training.models import Layout, Packed, Padded

PART_SLOTS = 4_096  # particles, padded, that go through the network together, on a CPU
EVALUATION_BATCH = 256  # jets that are judged together, on a CPU
_GPU_JETS = 4_096  # that go through it together on a GPU, for its memory
NO_LABEL = -100  # the label of fillers, which torch's cross-entropy leaves out
_AHEAD = 2  # batches that are read while the network works


@dataclass(frozen=True)
class Part:
    """Some jets as the network takes them."""

    x: Tensor
    """Features, shape (..., inputs) as the layout has them."""
    layout: Layout
    """Which particles are whose."""
    label: Tensor
    """Class index, shape (jets,)."""

    def to(self, device: torch.device) -> "Part":
        """On the device; a copy to a GPU goes on while others are begun."""
        x, label = (tensor.to(device, non_blocking=True) for tensor in (self.x, self.label))
        return Part(x, self.layout.to(device), label)

    def fills(self, room: Room | None) -> bool:
        """Whether it has been filled up to a room."""
        return room is not None and (len(self.layout.mask), len(self.x)) == (
            room.jets,
            room.particles,
        )

    def take(self, other: "Part") -> None:
        """Overwrite the values by those of another part of the same shapes."""
        for mine, new in zip(self._tensors(), other._tensors(), strict=True):
            mine.copy_(new, non_blocking=True)

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.x, self.label, *vars(self.layout).values()


def feed(
    jets: JetSet, batches: Iterable[IntArray], device: torch.device, room: Room | None = None
) -> Iterator[tuple[IntArray, Iterable[Part]]]:
    """Each batch with its parts, laid out for the device; of several processes each has its share.

    Those of a GPU are filled up to a room where they fit.
    """
    size = max(1, PART_SLOTS // jets.particles)

    def read(rows: IntArray) -> Iterator[Part]:
        own = rows[ranks.own_share(len(rows))]
        parts = cut(jets, own, size, device)
        return (part_of(jets, own[places], device, room) for places in parts)

    if device.type == "cpu":
        for rows in batches:
            yield rows, read(rows)
        return
    with ThreadPoolExecutor(1) as reader:
        coming: deque[tuple[IntArray, Future[list[Part]]]] = deque()
        for rows in batches:
            coming.append((rows, reader.submit(list, read(rows))))
            if len(coming) > _AHEAD:
                rows, parts = coming.popleft()
                yield rows, parts.result()
        for rows, parts in coming:
            yield rows, parts.result()


def cut(jets: JetSet, rows: IntArray, size: int, device: torch.device) -> list[IntArray]:
    """Places in `rows` in parts that go through the network together, on a CPU of `size` jets."""
    if device.type == "cpu":
        return jets.by_length(rows, size)
    return np.array_split(np.arange(len(rows)), -(-len(rows) // _GPU_JETS)) if len(rows) else []


def part_of(jets: JetSet, rows: IntArray, device: torch.device, room: Room | None = None) -> Part:
    """Read some jets, laid out for `device` but not on it yet."""
    label = jets.jets.label[rows].astype(np.int64)
    if device.type == "cpu":
        batch = jets.batch(rows)
        layout = Padded(torch.from_numpy(batch.mask))
        return Part(torch.from_numpy(batch.x), layout, torch.from_numpy(label))
    arrays = jets.packed(rows, room)
    fillers = np.full(len(arrays[1]) - len(rows), NO_LABEL)
    given = (*arrays, np.concatenate([label, fillers]))
    x, mask, place, bounds, known = (torch.from_numpy(array).pin_memory() for array in given)
    return Part(x, Packed(mask, place, bounds), known)
