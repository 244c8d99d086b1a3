"""Batches for the network: balanced nested subsets of the jets, and padded arrays of particles."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isoflop.training.jets.features import open_features
from isoflop.training.jets.jetclass import CLASSES, Jets, open_jets

IntArray = npt.NDArray[np.int64]

_DEVIATIONS = 5.0  # of the number of particles of a batch that a room allows for
_ROUND = 64  # particles; matrix products are fastest on such multiples


@dataclass(frozen=True)
class Batch:
    """Some jets, padded to the longest of them."""

    x: npt.NDArray[np.float16]
    """Features; padding repeats the first particle; shape (jets, particles, features)."""
    mask: npt.NDArray[np.bool_]
    """True on particles, False on padding, shape (jets, particles)."""
    label: IntArray
    """Class index, shape (jets,)."""


@dataclass(frozen=True)
class Room:
    """Numbers that packed batches are filled up to, so that all have the same shapes."""

    jets: int
    """Jets, fillers included."""
    particles: int
    """Particles, those of fillers included."""

    def fillers(self, count: IntArray, slots: int) -> IntArray:
        """Particles of the jets that fill it up, 1 to `slots` each; none if it does not fit."""
        jets, particles = self.jets - len(count), self.particles - int(count.sum())
        if not jets <= particles <= slots * jets:
            return np.zeros(0, np.int64)
        more = slots - 1
        return 1 + np.clip(particles - jets - more * np.arange(jets), 0, more)


@dataclass(frozen=True)
class Splits:
    """The jets to train on and the jets to judge by."""

    train: Jets
    """Training jets."""
    validation: Jets
    """Validation jets: for early stopping and for the final loss, each its own part."""
    test: Jets | None = None
    """Test jets, where runs are judged by them."""


@dataclass(frozen=True)
class JetSet:
    """A split seen through one feature set, cut to the leading particles."""

    jets: Jets
    """Jets and their labels."""
    features: npt.NDArray[np.float16]
    """Features of all particles, memory-mapped, shape (particles, features)."""
    particles: int
    """Leading particles kept per jet."""

    def batch(self, rows: IntArray) -> Batch:
        """The jets of the given row numbers, shape (jets,)."""
        start, count = self._spans(rows)
        slot = np.arange(count.max())
        mask = slot < count[:, None]
        x = np.take(self.features, start[:, None] + np.where(mask, slot, 0), axis=0)
        return Batch(x, mask, self.jets.label[rows].astype(np.int64))

    def packed(
        self, rows: IntArray, room: Room | None = None
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_], IntArray, npt.NDArray[np.int32]]:
        """The jets of the given row numbers, particles end to end, then fillers up to a room.

        Features, shape (all particles, features); the slots they fill, shape (jets, slots of this
        set); their places among all slots, in order; the bounds of the jets, shape (jets + 1,).
        """
        start, count = self._spans(rows)
        fillers = room.fillers(count, self.particles) if room else np.zeros(0, np.int64)
        own = np.repeat(start - np.cumsum(count) + count, count) + np.arange(count.sum())
        x = np.take(self.features, np.concatenate([own, np.zeros(fillers.sum(), int)]), axis=0)
        count = np.concatenate([count, fillers])
        mask = np.arange(self.particles) < count[:, None]
        bounds = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
        return x, mask, np.flatnonzero(mask), bounds

    def room(self, rows: IntArray, size: int) -> Room:
        """What nearly every batch of `size` jets out of `rows` fits into, with few fillers."""
        count = self._spans(rows)[1]
        mean, spread = size * count.mean(), _DEVIATIONS * np.sqrt(size) * count.std()
        most, least = min(mean + spread, size * self.particles), max(size, mean - spread)
        # Fillers, one particle each at least, that take up the rest of the smallest batch.
        jets = math.ceil((most + _ROUND - least) / max(1, self.particles - 1))
        return Room(size + jets, _ROUND * math.ceil((most + jets) / _ROUND))

    def by_length(self, rows: IntArray, size: int) -> list[IntArray]:
        """Places in `rows` in parts of at most `size` jets that are about equally long.

        Jets fill a third of the room that the longest need. What is computed jet by jet, such as
        the gradient of a batch, can be summed over these parts, and hardly any of it is padding.
        """
        order = np.argsort(-self._spans(rows)[1], kind="stable")
        return np.array_split(order, -(-len(rows) // size)) if len(rows) else []

    def mean_particles(self, rows: IntArray) -> float:
        """Mean number of particles a jet after truncation."""
        return float(self._spans(rows)[1].mean())

    def _spans(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        start = self.jets.offsets[rows]
        count = np.minimum(self.jets.offsets[rows + 1] - start, self.particles)
        return start, count


def open_splits(data: str | Path, *, test: bool = False) -> Splits:
    """Open the training and validation jets of a folder of ROOT files, and test jets if asked."""
    return Splits(
        open_jets(data, "train"), open_jets(data, "val"), open_jets(data, "test") if test else None
    )


def open_set(jets: Jets, features: str, particles: int) -> JetSet:
    """See `jets` through the feature set `features`, with at most `particles` leading particles."""
    return JetSet(jets, open_features(jets, features), particles)


def balanced_subset(label: npt.NDArray[np.uint8], size: int, *, seed: int) -> IntArray:
    """Row numbers of `size` jets, the same number of each class to within one, shape (size,).

    A seeded permutation of each class, dealt out in turn: the subset of size n is the first n rows
    of every larger subset of the same seed.
    """
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(label == index)) for index in range(len(CLASSES))]
    each = min(map(len, rows))
    if size > each * len(CLASSES):
        scarce = CLASSES[int(np.argmin([len(of_class) for of_class in rows]))]
        raise ValueError(
            f"{size} jets asked for, {each * len(CLASSES)} there are in equal classes "
            f"({each} {scarce} jets, the fewest); simulate more jets or ask for fewer"
        )
    return np.stack([of_class[:each] for of_class in rows], axis=1).ravel()[:size]


def shuffled_batches(
    rows: IntArray, size: int, generator: np.random.Generator, *, most: int | None = None
) -> Iterator[IntArray]:
    """One pass over `rows` in random order, `size` at a time; the last batch may be smaller.

    Only the first `most` of that order, if given.
    """
    order = generator.permutation(rows)[:most]
    for start in range(0, len(order), size):
        yield order[start : start + size]
