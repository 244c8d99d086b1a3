"""Training runs: they learn, repeat themselves, keep the best weights and say how they ended."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from isoflop.training import loop
from isoflop.training.config import RunConfig
from isoflop.training.counting import count_parameters
from isoflop.training.feeding import NO_LABEL, Part, feed
from isoflop.training.jets.batches import Splits, balanced_subset, open_set
from isoflop.training.jets.jetclass import CLASSES
from isoflop.training.loop import never_beat_guessing, pick_device, schedule, train
from isoflop.training.metrics import evaluate
from isoflop.training.models import POOLS, Packed, Padded, Pool, Transformer
from isoflop.training.records import CurvePoint
from isoflop.training.stepping import accumulate

RUN = RunConfig(
    features="full",
    particles=20,
    width=16,
    depth=1,
    unique_samples=400,
    stopping_samples=100,
    validation_samples=300,
)


def numbers(config: RunConfig, splits: Splits) -> tuple[object, ...]:
    result = train(config, splits, device="cpu")
    return replace(result.record, wall_seconds=None), result.working_points, result.curve


def test_a_network_learns_and_the_record_says_on_what(splits: Splits) -> None:
    record = train(replace(RUN, study="s", dataset="d"), splits, device="cpu").record
    assert record.loss is not None and record.loss < math.log(10) - 0.2
    assert record.accuracy is not None and record.accuracy > 0.15
    assert (record.status, record.loss_kind) == ("ok", "final")
    assert (record.samples, record.unique_samples) == (400, 400)
    assert record.params == record.params_total == count_parameters(RUN.network).total
    assert (record.study, record.dataset, record.group) == ("s", "d", "full-20")
    assert record.learning_rate == RUN.rate


def test_flops_of_the_record_are_6ndt(splits: Splits) -> None:
    record = train(RUN, splits, device="cpu").record
    lengths = np.minimum(np.diff(splits.train.offsets), 20)  # all 400 jets are in the subset
    assert record.tokens_per_sample == pytest.approx(lengths.mean())
    assert record.flops == pytest.approx(6 * record.params * 400 * lengths.mean())
    assert record.flops_convention == "6NDT"
    assert record.flops_counted == pytest.approx(record.flops, rel=0.3)


def test_the_same_configuration_gives_the_same_numbers(splits: Splits) -> None:
    config = replace(RUN, epochs=2)
    assert numbers(config, splits) == numbers(config, splits)


def test_another_seed_gives_another_loss(splits: Splits) -> None:
    one, other = (train(replace(RUN, seed=seed), splits, device="cpu") for seed in (0, 1))
    assert one.record.loss != other.record.loss


def test_early_stopping_keeps_the_best_weights(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Record what each validation of the run measured, then ask which one the record describes.
    seen: list[tuple[int, float]] = []
    predict = loop.predict

    def spy(model, jets, rows, *, device):  # type: ignore[no-untyped-def]
        scores, label = predict(model, jets, rows, device=device)
        everything = balanced_subset(jets.jets.label, 400, seed=0)[100:]
        full = evaluate(*predict(model, jets, everything, device=device))
        seen.append((len(rows), full.loss))
        return scores, label

    monkeypatch.setattr(loop, "predict", spy)
    config = replace(
        RUN, unique_samples=60, epochs=40, width=64, learning_rate=0.02, batch_size=20, patience=4
    )
    result = train(config, splits, device="cpu")
    stops = [point.loss for point in result.curve]
    best = int(np.argmin(stops))  # type: ignore[arg-type]
    assert len(stops) == best + 1 + 4 < 40
    assert result.record.samples == (best + 1) * 60
    assert result.record.unique_samples == 60
    assert result.record.loss == seen[best][1] == seen[-1][1]
    assert (result.record.status, result.record.loss_kind) == ("overfitting", "early_stopped")


def test_stopping_and_reported_jets_are_disjoint_and_the_same_for_every_seed(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[np.ndarray] = []
    predict = loop.predict

    def spy(model, jets, rows, *, device):  # type: ignore[no-untyped-def]
        calls.append(rows)
        return predict(model, jets, rows, device=device)

    monkeypatch.setattr(loop, "predict", spy)
    for seed in (0, 1):
        train(replace(RUN, epochs=2, seed=seed), splits, device="cpu")
    stopping, _, reported, *others = calls
    assert not set(stopping) & set(reported)
    np.testing.assert_array_equal(others[0], stopping)
    np.testing.assert_array_equal(others[2], reported)


def test_parts_by_length_give_the_loss_and_gradient_of_the_padded_batch(splits: Splits) -> None:
    jets, rows = open_set(splits.train, "full", 128), np.arange(200)
    torch.manual_seed(0)
    model = Transformer(replace(RUN, particles=128).network)
    torch.nn.init.normal_(model.head.weight)
    batch = jets.batch(rows)
    room = 128 - batch.mask.shape[1]  # pad to every slot there is
    x = torch.from_numpy(np.pad(batch.x, ((0, 0), (0, room), (0, 0)))).float()
    mask = torch.from_numpy(np.pad(batch.mask, ((0, 0), (0, room))))
    padded = functional.cross_entropy(model(x, Padded(mask)), torch.from_numpy(batch.label))
    padded.backward()  # type: ignore[no-untyped-call]
    expected = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    [(_, parts)] = feed(jets, [rows], torch.device("cpu"))
    total = accumulate(model, parts, len(rows))
    assert total == pytest.approx(padded.item(), abs=1e-5)
    found = [weight.grad for weight in model.parameters() if weight.grad is not None]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("pool", POOLS)
def test_fillers_change_neither_loss_nor_gradient(splits: Splits, pool: Pool) -> None:
    jets, rows = open_set(splits.train, "full", 20), np.arange(50)
    room = replace(jets.room(rows, 50), jets=70)  # most fillers hold one particle
    torch.manual_seed(0)
    model = Transformer(replace(RUN, pool=pool).network)
    torch.nn.init.normal_(model.head.weight)
    found = []
    for given in (None, room):
        x, mask, place, bounds = map(torch.from_numpy, jets.packed(rows, given))
        known = torch.full((len(mask),), NO_LABEL)
        known[:50] = torch.from_numpy(splits.train.label[rows].astype(np.int64))
        part = Part(x, Packed(mask, place, bounds), known)
        assert part.fills(room) is (given is not None)
        model.zero_grad()
        loss = accumulate(model, [part], 50)
        found.append(
            [
                torch.tensor(loss),
                *(w.grad.clone() for w in model.parameters() if w.grad is not None),
            ]
        )
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_diverged_run_is_kept_without_numbers(splits: Splits, epochs: int) -> None:
    config = replace(RUN, epochs=epochs, learning_rate=1e30)
    result = train(config, splits, device="cpu")
    assert result.record.status == "diverged"
    assert (result.record.loss, result.record.loss_stderr, result.record.accuracy) == (None,) * 3
    assert result.record.samples > 0
    assert result.working_points == ()


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_run_that_is_worse_than_guessing_throughout_is_diverged(
    splits: Splits, epochs: int
) -> None:
    config = replace(RUN, epochs=epochs, learning_rate=1.0, warmup=0.0, batch_size=20)
    result = train(config, splits, device="cpu")
    assert (result.record.status, result.record.loss) == ("diverged", None)
    losses = [x for point in result.curve for x in (point.train_loss, point.loss) if x is not None]
    assert math.log(10) < min(losses) and max(losses) < math.inf


def test_one_loss_below_guessing_is_enough_not_to_be_diverged() -> None:
    above, below = math.log(10) + 0.01, math.log(10) - 0.01
    for curve, loss, expected in (
        ([(above, None), (above, None)], above, True),
        ([(above, None), (below, None)], above, False),
        ([(above, below), (above, above)], above, False),
        ([(above, above)], below, False),
    ):
        points = [CurvePoint(run_id="", samples=1, train_loss=t, loss=v) for t, v in curve]
        assert never_beat_guessing(points, loss, 10) is expected


def test_curve_ends_at_the_last_jet(splits: Splits) -> None:
    curve = train(replace(RUN, batch_size=5), splits, device="cpu").curve
    assert len(curve) == loop.CURVE_POINTS
    assert curve[-1].samples == 400


def test_working_points_are_measured_for_every_signal(splits: Splits) -> None:
    rows = train(RUN, splits, device="cpu").working_points
    assert list(dict.fromkeys(row.signal for row in rows)) == list(CLASSES[1:])
    assert {row.n_background for row in rows} == {30}


def test_test_jets_judge_where_they_are_asked_for(splits: Splits) -> None:
    config = replace(RUN, test_samples=200, rejections=(5.0,))
    tested = Splits(splits.train, splits.validation, test=splits.train)
    result = train(config, tested, device="cpu")
    assert {row.n_background for row in result.working_points} == {20}
    assert {row.rejection for row in result.working_points if row.rejection} == {5.0}
    judged, unjudged = result.record.loss, train(RUN, splits, device="cpu").record.loss
    assert judged is not None and unjudged is not None and judged < unjudged  # jets it has seen


def test_test_jets_that_were_not_opened_are_said(splits: Splits) -> None:
    with pytest.raises(ValueError, match="test_samples is 200 and no test jets were opened"):
        train(replace(RUN, test_samples=200), splits, device="cpu")


def test_schedule_warms_up_then_falls_to_zero() -> None:
    config = replace(RUN, unique_samples=1600, batch_size=16)
    rates = [schedule(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 90)
    assert np.all(np.diff(rates[10:]) < 0)


def test_schedule_with_a_decay_is_constant_in_between() -> None:
    config = replace(RUN, unique_samples=1600, batch_size=16, decay=0.2)
    rates = [schedule(step, config) for step in range(100)]
    assert rates[:10] == [pytest.approx((step + 1) / 11) for step in range(10)]
    assert set(rates[10 : config.branch_step + 1]) == {1.0} and config.branch_step == 80
    assert rates[81:] == [pytest.approx((100 - step) / 20) for step in range(81, 100)]


@pytest.mark.parametrize("killed", [False, True])
def test_a_branch_ends_in_the_numbers_of_the_whole_run(
    splits: Splits, tmp_path: Path, killed: bool
) -> None:
    family = [
        replace(RUN, unique_samples=samples, trunk_samples=400, decay=0.2, batch_size=10)
        for samples in (100, 205, 400)
    ]
    for config in family:
        branch = train(config, splits, device="cpu", trunks=tmp_path).record
        whole = train(config, splits, device="cpu").record
        assert replace(branch, wall_seconds=None, flops_spent=None) == replace(
            whole, wall_seconds=None, flops_spent=None
        )
        assert whole.samples == config.unique_samples
        assert whole.flops_spent == whole.flops
        if killed:
            for piece in tmp_path.iterdir():
                piece.write_bytes(piece.read_bytes()[:-1])
    # The trunk is trained once: 80, then 160 - 80, then 320 - 160 jets; the decays by each branch.
    assert branch.flops_spent is not None
    share = 1.0 if killed else (400 - 160) / 400
    assert branch.flops_spent == pytest.approx(share * whole.flops)


def test_missing_cuda_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda' asked for, torch sees no CUDA device; use --devi"):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_loss_of_the_cpu_to_bfloat16(splits: Splits) -> None:
    on_cpu, on_cuda = (train(RUN, splits, device=name).record.loss for name in ("cpu", "cuda"))
    assert on_cuda == pytest.approx(on_cpu, rel=0.05)
