"""Metrics against their definitions, counted by brute force."""

import numpy as np
import pytest
import torch

from isoflop.training.jets.jetclass import CLASSES
from isoflop.training.metrics import efficiency_cut, evaluate, working_points

GENERATOR = np.random.default_rng(5)
LABEL = GENERATOR.integers(0, 10, 2000)
LOGITS = (GENERATOR.normal(0, 1, (2000, 10)) + 1.5 * np.eye(10)[LABEL]).astype(np.float32)


def test_loss_equals_torchs_cross_entropy() -> None:
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(LOGITS).double(), torch.from_numpy(LABEL)
    )
    assert evaluate(LOGITS, LABEL).loss == pytest.approx(expected.item(), rel=1e-12)


def test_loss_error_is_the_spread_over_jets_by_the_root_of_their_number() -> None:
    probability = np.exp(LOGITS.astype(float))
    probability /= probability.sum(axis=1, keepdims=True)
    losses = [-np.log(probability[jet, LABEL[jet]]) for jet in range(len(LABEL))]
    mean = sum(losses) / len(losses)
    variance = sum((loss - mean) ** 2 for loss in losses) / (len(losses) - 1)
    assert evaluate(LOGITS, LABEL).loss_stderr == pytest.approx(np.sqrt(variance / len(losses)))


def test_accuracy_is_the_share_of_right_answers() -> None:
    right = sum(max(range(10), key=row.__getitem__) == y for row, y in zip(LOGITS, LABEL))  # noqa: B905
    assert evaluate(LOGITS, LABEL).accuracy == right / len(LABEL)


def test_working_points_equal_a_brute_force_count() -> None:
    probability = np.exp(LOGITS.astype(float))
    rows = working_points(LOGITS, LABEL, run_id="a", rejections=())
    assert [row.signal for row in rows] == list(CLASSES[1:])
    for index, row in enumerate(rows, start=1):
        score = probability[:, index] / (probability[:, index] + probability[:, 0])
        signal, background = score[index == LABEL], score[LABEL == 0]
        # The tightest of all possible cuts that keeps the asked share of the signal.
        kept = [cut for cut in signal if (signal >= cut).mean() >= row.efficiency]
        assert row.n_background_passed == (background >= max(kept) * (1 - 1e-12)).sum()
        assert (row.n_signal, row.n_background) == (len(signal), len(background))


def test_leptonic_decays_have_their_own_efficiencies() -> None:
    rows = working_points(LOGITS, LABEL, run_id="a", rejections=())
    special = {"Hqql": 0.99, "Tbl": 0.995}
    assert {r.signal: r.efficiency for r in rows} == {s: special.get(s, 0.5) for s in CLASSES[1:]}


def test_cuts_on_the_background_keep_one_jet_in_the_rejection() -> None:
    rows = working_points(LOGITS, LABEL, run_id="a", rejections=(10.0,))
    for row in (row for row in rows if row.rejection):
        assert row.n_background_passed == np.ceil(row.n_background / 10)
        assert row.n_signal_passed == round(row.efficiency * row.n_signal)
        assert row.efficiency > 0.1  # better than chance


def test_other_efficiencies_are_counted_on_request() -> None:
    rows = working_points(LOGITS, LABEL, run_id="a", efficiencies=(0.8,), rejections=())
    hbb = {row.efficiency: row.n_background_passed for row in rows[:2]}
    assert set(hbb) == {0.5, 0.8} and hbb[0.8] > hbb[0.5]


@pytest.mark.parametrize(("efficiency", "count", "kept"), [(0.5, 10, 5), (0.995, 1000, 995)])
def test_cut_keeps_exactly_the_asked_number(efficiency: float, count: int, kept: int) -> None:
    score = GENERATOR.permutation(count).astype(float)
    assert (score >= efficiency_cut(score, efficiency)).sum() == kept


def test_saturated_probabilities_keep_their_order() -> None:
    logits = np.zeros((20, 10), dtype=np.float32)
    logits[:10, 1] = 60 + np.arange(10)  # Hbb; 1 - p is below double precision
    logits[10:, 1] = 55 + np.arange(10)  # QCD
    label = np.repeat([1, 0], 10)
    (row,) = working_points(logits, label, run_id="a", rejections=())
    assert row.n_background_passed == 0
