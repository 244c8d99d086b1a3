"""Batches: balanced nested subsets, leading particles, padding."""

import numpy as np
import pytest

from isoflop.training.jets.batches import Room, Splits, balanced_subset, open_set, shuffled_batches
from isoflop.training.jets.features import open_features

LABEL = np.repeat(np.arange(10, dtype=np.uint8), 50)


@pytest.mark.parametrize("size", [10, 37, 500])
def test_subset_holds_each_class_equally_often(size: int) -> None:
    rows = balanced_subset(LABEL, size, seed=3)
    counts = np.bincount(LABEL[rows], minlength=10)
    assert counts.max() - counts.min() <= 1
    assert len(set(rows.tolist())) == size


def test_smaller_subset_is_the_start_of_a_larger_one() -> None:
    small, large = (balanced_subset(LABEL, size, seed=3) for size in (60, 400))
    np.testing.assert_array_equal(small, large[:60])


def test_another_seed_gives_another_subset() -> None:
    one, other = (balanced_subset(LABEL, 100, seed=seed) for seed in (1, 2))
    assert set(one.tolist()) != set(other.tolist())


def test_more_jets_than_there_are_is_refused_with_both_numbers() -> None:
    label = np.concatenate([LABEL, np.repeat(np.arange(9, dtype=np.uint8), 5)])
    message = r"501 jets asked for, 500 there are in equal classes \(50 Tbl jets, the fewest\); sim"
    with pytest.raises(ValueError, match=message):
        balanced_subset(label, 501, seed=0)


def test_batch_holds_the_leading_particles_of_each_jet(splits: Splits) -> None:
    features = open_features(splits.train, "full")
    rows = np.array([7, 3, 100])
    batch = open_set(splits.train, "full", 10).batch(rows)
    for place, row in enumerate(rows):
        own = features[splits.train.offsets[row] : splits.train.offsets[row + 1]][:10]
        assert batch.mask[place].sum() == len(own)
        np.testing.assert_array_equal(batch.x[place][batch.mask[place]], own)
    np.testing.assert_array_equal(batch.label, splits.train.label[rows])


def test_packed_jets_are_the_particles_of_the_padded_ones(splits: Splits) -> None:
    jets, rows = open_set(splits.train, "full", 10), np.array([7, 3, 100, 7])
    batch = jets.batch(rows)
    x, mask, place, bounds = jets.packed(rows)
    np.testing.assert_array_equal(x, batch.x[batch.mask])
    np.testing.assert_array_equal(mask[:, : batch.mask.shape[1]], batch.mask)
    np.testing.assert_array_equal(place, np.flatnonzero(mask))
    np.testing.assert_array_equal(np.diff(bounds), batch.mask.sum(axis=1))


def test_a_room_is_filled_by_nearly_every_batch(splits: Splits) -> None:
    jets, rows = open_set(splits.train, "full", 20), np.arange(len(splits.train))
    room = jets.room(rows, 64)
    generator = np.random.default_rng(0)
    for _ in range(200):
        batch = generator.choice(rows, 64, replace=False)
        x, mask, _, bounds = jets.packed(batch, room)
        assert (len(x), len(mask), bounds[-1]) == (room.particles, room.jets, room.particles)
        assert mask.any(axis=1).all()
        np.testing.assert_array_equal(x[: bounds[64]], jets.packed(batch)[0])
    mean = 64 * jets.mean_particles(rows)
    assert mean < room.particles < 1.5 * mean


@pytest.mark.parametrize("size", [1, 64])
def test_jets_that_do_not_fit_into_a_room_stay_as_they_are(splits: Splits, size: int) -> None:
    jets, rows = open_set(splits.train, "full", 20), np.arange(size)
    room = Room(jets=size, particles=jets.packed(rows)[3][-1] + (-1 if size > 1 else 25))
    np.testing.assert_array_equal(jets.packed(rows, room)[3], jets.packed(rows)[3])


def test_mean_particles_counts_after_truncation(splits: Splits) -> None:
    rows = np.arange(len(splits.train))
    lengths = np.minimum(np.diff(splits.train.offsets), 10)
    assert open_set(splits.train, "kin", 10).mean_particles(rows) == lengths.mean()


def test_an_epoch_holds_every_jet_once() -> None:
    rows = np.arange(100, 150)
    batches = list(shuffled_batches(rows, 16, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]
    assert sorted(np.concatenate(batches)) == rows.tolist()


def test_parts_by_length_hold_every_place_once_and_little_padding(splits: Splits) -> None:
    jets = open_set(splits.train, "kin", 128)
    rows = np.random.default_rng(0).permutation(len(splits.train))
    parts = jets.by_length(rows, 32)
    assert sorted(np.concatenate(parts)) == list(range(len(rows)))
    assert max(map(len, parts)) <= 32
    filled = [jets.batch(rows[part]).mask.mean() for part in parts]
    assert np.mean(filled) > 0.9 > 0.6 > jets.batch(rows).mask.mean()
